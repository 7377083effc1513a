"""What an error tells of memory and devices."""

import sys
from errno import EIO, ENOMEM

import pytest
import torch

from search.running.faults import diagnosis
from search.running.faults.diagnosis import (
    LocalFault,
    Location,
    OutOfMemory,
    Short,
    death_of,
    died_at,
    fault_of,
    is_shared_in_turns,
)
from search.running.resources import Node
from training.score import FeaturesGoneError

GPU, CPU = (Location("node", "10.0.0.3", gpus) for gpus in (("0",), ()))


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), Short.GPU),
        (torch.AcceleratorError("CUDA error: out of memory"), Short.GPU),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), Short.GPU),
        (RuntimeError("Triton Error [CUDA]: out of memory"), Short.GPU),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"), Short.NODE),
        (MemoryError(), Short.NODE),
        (OSError(ENOMEM, "Cannot allocate memory"), Short.NODE),
    ],
    ids=str,
)
def test_errors_that_say_that_memory_is_short_say_which(error, short):
    fault = fault_of(error, GPU)
    assert isinstance(fault, OutOfMemory)
    assert fault.short == short


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
    ],
    ids=str,
)
def test_errors_of_a_device_name_it_where_the_trial_has_one(error):
    fault = fault_of(error, GPU)
    assert isinstance(fault, LocalFault)
    assert str(fault.location) == "10.0.0.3 GPU 0"
    assert fault.reason == f"{type(error).__name__}: {str(error).splitlines()[0]}"
    assert fault_of(error, CPU) is None


@pytest.mark.parametrize("error", [ValueError("sizes differ"), RuntimeError("mat1 and mat2")], ids=str)
def test_other_errors_are_no_faults(error):
    assert fault_of(error, GPU) is None


def test_trouble_of_a_disk_or_a_damaged_file_names_the_node():
    fault = fault_of(OSError(EIO, "read"), GPU)
    assert (str(fault.location), fault.reason, fault.with_kernels) == ("node 10.0.0.3", "OSError: [Errno 5] read", False)
    assert fault_of(OSError(EIO, "read"), CPU).location == fault.location


def test_the_end_of_the_process_that_keeps_a_gpus_features_is_no_fault_of_the_nodes_other_gpus():
    assert fault_of(FeaturesGoneError("the process has ended"), GPU).location == GPU


@pytest.mark.parametrize(("alive", "draining"), [("here", ""), ("here", "here"), ("another", "")])
def test_a_process_died_at_a_node_that_is_there_to_stay(monkeypatch, alive, draining):
    monkeypatch.setattr(diagnosis, "place_of_actor", {"it died": ("here", "10.0.0.3")}.get)
    monkeypatch.setattr(diagnosis, "nodes", lambda: [Node({}, id=alive)])
    monkeypatch.setattr(diagnosis, "draining_nodes", lambda: [draining])
    assert died_at("it died") == (Location("here", "10.0.0.3") if (alive, draining) == ("here", "") else None)
    assert died_at("it is not known where") is None


def test_a_process_that_ray_ended_for_memory_ran_out_of_it():
    said = "Worker exit detail: 1 worker(s) were killed due to the node running low on memory. Memory on the node was 60GB"
    assert death_of(said) is not None
    assert death_of("Worker exit detail: the process was killed by the OOM killer due to high memory usage, or") is None


@pytest.mark.parametrize(("loaded", "setting", "with_kernels"), [(True, "1", True), (True, "0", False), (False, "1", False)])
def test_a_device_error_tells_whether_the_projects_kernels_were_in_use(monkeypatch, loaded, setting, with_kernels):
    monkeypatch.setenv("DPC_KERNELS", setting)
    monkeypatch.delitem(sys.modules, "models.kernels.layers", raising=False)
    if loaded:
        monkeypatch.setitem(sys.modules, "models.kernels.layers", sys)
    fault = fault_of(RuntimeError("CUDA error: an illegal memory access was encountered"), GPU)
    assert fault.with_kernels is with_kernels


@pytest.mark.parametrize(("device", "share", "runs", "expected"), [
    (GPU, 0.25, False, True), (GPU, 0.25, True, False), (GPU, 1.0, False, False), (CPU, 0.0, False, False),
])  # fmt: skip
def test_parts_of_a_gpu_without_mps_are_used_in_turns(monkeypatch, tmp_path, device, share, runs, expected):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    if runs:
        (tmp_path / "control").touch()
    assert is_shared_in_turns(device, share) is expected
