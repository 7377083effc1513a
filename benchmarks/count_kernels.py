"""What the Triton kernels of a training step take of an H100, counted without a GPU.

    python benchmarks/count_kernels.py [--size CamVid ADE20K] [--cell aspp] [--shapes]

A step is taken with tensors that have no data, its launches are written down and each kernel is compiled for sm_90 as it was
launched. Registers, spilled bytes and shared memory are the compiler's; the warps that a multiprocessor holds follow from them.
Bytes are those of all tensors that a launch is given, moved once at --tbytes: what no kernel of this shape can beat.
The exit code is 1 if a kernel spills.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ["TRITON_INTERPRET"] = "0"

import torch
import triton
from torch import Tensor
from torch._subclasses import FakeTensorMode
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import fused
from models.dpc import classifier_on
from models.kernels import atrous, layers
from models.settings import CellSettings
from models.spec import CellSpec
from training import losses
from training.kernels import upsampled_loss
from training.losses import segmentation_loss
from training.optim import build_optimizer
from training.settings import OptimizerSettings
from training.step import update

H100 = GPUTarget("cuda", 90, 32)
REGISTERS, SHARED_BYTES, WARPS, BLOCKS = 65_536, 227 * 1024, 64, 32
"""Of a multiprocessor (CUDA's programming guide, compute capability 9.0)."""
SIZES = {"City": ((49, 49), 19), "CamVid": ((24, 31), 11), "ADE20K": ((33, 33), 150)}
BATCH, CHANNELS, STRIDE = 8, 320, 16
TYPES = {
    torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16",
    torch.uint8: "u8", torch.int32: "i32", torch.int64: "i64", torch.bool: "i1",
}  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """A kernel as it was launched: its arguments by name, its programs and its options."""

    kernel: JITFunction[Any]
    arguments: dict[str, Any]
    programs: int
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.kernel.__name__)

    @property
    def bytes(self) -> int:
        return sum(value.nbytes for value in self.arguments.values() if isinstance(value, Tensor))


@dataclass(frozen=True)
class Compiled:
    registers: int
    spilled_bytes: int
    shared_bytes: int
    warps: int

    @property
    def resident_warps(self) -> int:
        """That a multiprocessor holds at once; registers are handed out to warps in units of 256."""
        of_warp = -(-self.registers * 32 // 256) * 256
        by_registers = REGISTERS // of_warp // self.warps
        by_shared = SHARED_BYTES // (self.shared_bytes + 1024)  # the system keeps 1 KiB of each program
        return min(by_registers, by_shared, BLOCKS, WARPS // self.warps) * self.warps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="*", choices=SIZES, default=["City"])
    parser.add_argument("--cell", default="dpc_top1", help="a file of conf/cell")
    parser.add_argument("--tbytes", type=float, default=3.0, help="the memory's TB/s (H100: a copy moves 3.0)")
    parser.add_argument("--shapes", action="store_true", help="also the others that a GPU chooses from")
    parser.add_argument("--registers", type=int, help="the most that a thread may have")
    options = parser.parse_args()
    spilling: set[str] = set()
    for size in options.size:
        launches = launches_of_a_step(options.cell, *SIZES[size])
        spilling |= report(f"{options.cell}, {size}", launches, options.tbytes, options.registers)
    for number in range(1, len(atrous.CONVOLVE.shapes)) if options.shapes else ():
        for choice in (atrous.CONVOLVE, atrous.CORRELATE):
            choice.chosen = choice.shapes[number]
            print(choice.chosen)
        launches = [
            launch
            for launch in launches_of_a_step(options.cell, *SIZES[options.size[0]])
            if launch.kernel in (atrous._convolve, atrous._correlate)
        ]
        spilling |= report(f"shape {number + 1}", launches, options.tbytes, options.registers)
    if spilling:
        sys.exit(f"spilled: {', '.join(sorted(spilling))}")


def report(title: str, launches: Sequence[Launch], tbytes: float, registers: int | None) -> set[str]:
    """Print a line for each kernel and each way that it is compiled; returns those that spill."""
    spilling = set()
    print(f"{title:<26}{'calls':>6}{'programs':>10}{'registers':>11}{'spilled':>9}{'shared':>8}{'warps':>7}{'MB':>8}{'us':>8}")
    for name in dict.fromkeys(launch.name for launch in launches):
        of_name = [launch for launch in launches if launch.name == name]
        ways: dict[Compiled, list[Launch]] = {}
        for launch in of_name:
            ways.setdefault(compiled(launch, registers), []).append(launch)
        for way, of_way in ways.items():
            megabytes = sum(launch.bytes for launch in of_way) / 1e6
            print(
                f"{name:<26}{len(of_way):>6}{max(launch.programs for launch in of_way):>10}{way.registers:>11}"
                f"{way.spilled_bytes:>9}{way.shared_bytes:>8}{way.resident_warps:>7}{megabytes:>8.1f}{megabytes / tbytes:>8.1f}"
            )
            if way.spilled_bytes:
                spilling.add(name)
    megabytes = sum(launch.bytes for launch in launches) / 1e6
    print(f"{len(launches)} launches, {megabytes:.0f} MB, {megabytes / tbytes:.0f} us at {tbytes} TB/s", flush=True)
    return spilling


def launches_of_a_step(cell: str, size: tuple[int, int], classes: int) -> Sequence[Launch]:
    """Of one step of ``cell`` in bfloat16, forward, loss, backward and update."""
    spec = CellSpec.read(Path(__file__).parents[1] / "conf" / "cell" / f"{cell}.json")
    with (
        recorded() as launches,
        FakeTensorMode(allow_non_fake_inputs=True),
        patch.multiple(fused, _layer_kernels=lambda device: layers),
        patch.multiple(losses, _loss_kernels=lambda *_: upsampled_loss),
    ):
        model = classifier_on(spec, CHANNELS, classes, CellSettings()).train()
        features_BCHW = torch.empty(BATCH, CHANNELS, *size, dtype=torch.float16)
        features_BCHW = features_BCHW.contiguous(memory_format=torch.channels_last)
        labels_BHW = torch.empty(BATCH, *(STRIDE * (side - 1) + 1 for side in size), dtype=torch.uint8)
        optimizer = build_optimizer(OptimizerSettings(), model)
        update(model, optimizer, partial(segmentation_loss, ignore_label=255), features_BCHW, labels_BHW, "bfloat16")
    return launches


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """What is launched meanwhile; nothing runs."""
    launches: list[Launch] = []

    def run(kernel: JITFunction[Any], *positional: Any, grid: Sequence[int], warmup: bool = False, **named: Any) -> None:
        arguments = dict(zip(kernel.arg_names, positional, strict=False))
        options = {name: value for name, value in named.items() if name not in kernel.arg_names}
        arguments |= {name: value for name, value in named.items() if name in kernel.arg_names}
        programs = 1
        for axis in grid:
            programs *= axis
        launches.append(Launch(kernel, arguments, programs, options))

    with patch.object(JITFunction, "run", run):
        yield launches


_compiled: dict[str, Compiled] = {}


def compiled(launch: Launch, registers: int | None = None) -> Compiled:
    """For sm_90, specialised as Triton does: what is 1 is a constant, and multiples of 16 are known to be such."""
    signature, constants, attributes = {}, {}, {}
    for position, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        is_number = isinstance(value, int) and not parameter.is_constexpr and not parameter.do_not_specialize
        if parameter.is_constexpr or value is None or (is_number and value == 1):
            signature[parameter.name], constants[(position,)] = "constexpr", value
        elif isinstance(value, Tensor):
            signature[parameter.name] = f"*{TYPES[value.dtype]}"
        elif isinstance(value, float):
            signature[parameter.name] = "fp32"
        else:
            signature[parameter.name] = "i32" if -(2**31) <= value < 2**31 else "i64"
        if isinstance(value, Tensor) or (is_number and value % 16 == 0):
            attributes[(position,)] = [["tt.divisibility", 16]]
    options = launch.options | ({"maxnreg": registers} if registers else {})
    key = repr((launch.name, signature, constants, attributes, options))
    if key not in _compiled:
        kernel = triton.compile(ASTSource(launch.kernel, signature, constants, attributes), H100, options)
        _compiled[key] = _usage(kernel.asm["cubin"], kernel.metadata.num_warps)
    return _compiled[key]


def _usage(cubin: bytes, warps: int) -> Compiled:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        tool = Path(nvidia.__path__[0]) / "bin" / "cuobjdump"
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    usage = {name: int(value) for name, value in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", said)}
    return Compiled(usage["REG"], max(usage["STACK"], usage["LOCAL"]), usage["SHARED"], warps)


if __name__ == "__main__":
    main()
