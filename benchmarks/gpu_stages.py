"""The stages of ``gpu_first.py``: each gives (what, figures) as it finds them."""

import argparse
import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from paper_space import SPACE
from torch import Tensor, nn

from models.dpc import classifier_on
from models.fused import check_layer_kernels
from models.segmenter import CoarseLogits, Segmenter
from models.settings import KERNELS, BackboneSettings, CellSettings
from models.spec import CellSpec
from training.graph_step import EAGER_STEPS, GraphStep
from training.losses import check_loss_kernels, segmentation_loss
from training.optim import build_optimizer
from training.settings import OptimizerSettings, Precision

Found = Iterator[tuple[str, Any]]
PROJECT = Path(__file__).parents[1]
SIZES = {"City": (49, 49, 19), "CamVid": (24, 31, 11)}
TINY = {"City": (3, 3, 3), "CamVid": (2, 3, 3)}
BATCH, CHANNELS, STRIDE, IMAGES = 8, 320, 16, 64
PACKS = (1, 4, 8, 12)


def machine(device: str) -> dict[str, str]:
    """Asked of the driver: a process that has begun with CUDA is no client of an MPS that starts later."""
    name = "a CPU: times mean nothing"
    if device == "cuda":
        asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        name = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {"device": name, "torch": torch.__version__, "cuda": str(torch.version.cuda)}


def kernels(options: argparse.Namespace) -> Found:
    """Errors against float64, of kernels at the sizes of trials; on a CPU nothing but the script is tried."""
    device = torch.device(options.device)
    if device.type == "cuda":
        from models.kernels import layers  # noqa: PLC0415
        from training.kernels import upsampled_loss  # noqa: PLC0415

        started_s = time.monotonic()
        check_layer_kernels(layers, device)
        check_loss_kernels(upsampled_loss, device, (2, 11, 19, 21, 59, 150))
        for kind in ((True, False), (False, True), (True, True)):
            check_loss_kernels(upsampled_loss, device, (19, 150), kind)
        yield "compiled and checked, s", time.monotonic() - started_s
    for name, (height, width, classes) in sizes(options).items():
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(1, classes, height, width, generator=generator)
        labels = torch.randint(0, classes, (1, *pixels(height, width)), generator=generator, dtype=torch.uint8)
        in_float64 = logits.double().requires_grad_()
        exact_loss = plain_loss(in_float64, labels, 255)
        (exact,) = torch.autograd.grad(exact_loss, in_float64)
        leaf = logits.to(device).requires_grad_()
        loss = segmentation_loss(leaf, labels.to(device), 255)
        loss.backward()
        assert leaf.grad is not None
        error = float((leaf.grad.cpu() - exact).norm() / exact.norm())
        yield f"loss, {name}", {"ours": float(loss.detach()), "exact": float(exact_loss.detach()), "gradient's error": error}
    for channels, rate in product(() if device.type == "cpu" else (80, 256, 320), ((1, 1), (1, 6), (21, 15))):
        check_layer_kernels(layers, device, [(channels, rate, torch.bfloat16), (channels, rate, torch.float32)], (49, 49))
        yield f"layers, {channels} channels, rate {rate}", "agree"


def step(options: argparse.Namespace) -> Found:
    device, steps = torch.device(options.device), 2 if options.tiny else 200
    for size, (height, width, classes) in sizes(options).items():
        for (label, cell), way in product(cells(), ("fused", "graph", "eager")):
            if (way != "fused" and (size, label) != ("City", "dpc_top1")) or (device.type == "cpu" and way == "graph"):
                continue
            with kernels_on(way == "fused"):
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                trial = Trial.of(cell, (height, width), classes, device, plain=way != "fused", captured=way != "eager")
                found = {"ms": trial.timed(steps), "first steps, s": trial.first_s}
                if device.type == "cuda":
                    found["peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
                yield f"step, {size}, {label}, {way}", found
                if way == "fused" and device.type == "cuda":
                    yield f"by kernel, {size}, {label}", profile(trial.step, 20)
                del trial


def variants(options: argparse.Namespace) -> Found:
    """Microseconds of each kernel with other shapes of its programs, at the size of Cityscapes."""
    if options.device == "cpu":
        yield "variants", "need a GPU"
        return
    from triton.testing import do_bench_cudagraph  # noqa: PLC0415

    from models.kernels import atrous, batch_norm  # noqa: PLC0415
    from models.kernels.shapes import Shape  # noqa: PLC0415
    from training.kernels import upsampled_loss  # noqa: PLC0415

    device = torch.device("cuda")
    maps = torch.randn(BATCH, 256, 49, 49, device=device).bfloat16().contiguous(memory_format=torch.channels_last)
    rows, weight = batch_norm.as_rows(maps), torch.randn(9, 256, device=device)
    norm = nn.BatchNorm2d(256).to(device)
    statistics = torch.rand(2, 256, device=device) + 0.5
    logits = torch.randn(BATCH, 19, 49, 49, device=device).bfloat16().contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 19, (BATCH, 769, 769), device=device, dtype=torch.uint8)
    affine = norm.weight.detach(), norm.bias.detach()
    calls: dict[str, tuple[Any, Sequence[Shape], Callable[[], object]]] = {
        "MEASURE": (
            batch_norm,
            [Shape(32, 8), Shape(32, 4), Shape(64, 4), Shape(64, 4, 8)],
            lambda: batch_norm._measured(rows, norm),
        ),
        "REDUCE": (
            batch_norm,
            [Shape(32, 8), Shape(32, 4), Shape(16, 8), Shape(64, 4, 8)],
            lambda: batch_norm.backward(norm, rows, None, rows, statistics, *affine),
        ),
        "EACH": (
            batch_norm,
            [Shape(32, 1), Shape(64, 1), Shape(16, 1), Shape(64, 1, 8)],
            lambda: batch_norm.normalise(rows, statistics, *affine, torch.empty_like(rows)),
        ),
    }
    for rate in ((1, 1), (6, 3), (18, 15)):
        for kernel, choice, run in (
            ("convolve", atrous.CONVOLVE, partial(atrous.convolved, maps, weight, rate, norm)),
            ("correlate", atrous.CORRELATE, partial(atrous.weight_gradient, maps, rows, rate, norm)),
        ):
            for shape in choice.shapes:
                choice.chosen = shape
                yield f"{kernel}, rate {rate}, {shape}, us", do_bench_cudagraph(run) * 1000
    for name, (module, shapes, call) in calls.items():
        for shape in shapes:
            setattr(module, name, shape)
            yield f"{name} {shape}, us", do_bench_cudagraph(call) * 1000
        setattr(module, name, shapes[0])
    for threads in (32, 64, 128, 256):
        upsampled_loss._THREADS = threads
        loss_call = lambda: upsampled_loss.loss_and_gradient(logits, labels, 255)  # noqa: E731
        yield f"loss, {threads} threads a program, us", do_bench_cudagraph(loss_call) * 1000


def determinism(options: argparse.Namespace) -> Found:
    device, steps = torch.device(options.device), 2 if options.tiny else 300
    height, width, classes = sizes(options)["CamVid"]
    for label, cell in cells():
        weights = []
        for _ in range(2):
            trial = Trial.of(cell, (height, width), classes, device)
            trial.timed(steps)
            weights.append([parameter.detach().clone() for parameter in trial.model.parameters()])
        yield f"same bits twice, {label}", all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        Trial.of(cells()[0][1], (height, width), classes, device, captured=False).timed(1)
        torch.use_deterministic_algorithms(False)
    yield (
        "torch warns of",
        sorted({str(warning.message)[:160] for warning in caught if "deterministic" in str(warning.message)}),
    )


def packing(options: argparse.Namespace) -> Found:
    """Trials at once: as processes without MPS, with it, and all reading one copy of the features; as graphs of one process."""
    packs, seconds = ((2,), 0.2) if options.tiny else (PACKS, 5.0)
    for use_mps, is_shared in ((False, False), (True, False), (True, True))[2 if options.tiny else 0 :]:
        with mps() if use_mps else kernels_on(True):
            for number in packs:
                yield (
                    f"{number} trials, {'MPS' if use_mps else 'no MPS'}, {'one copy' if is_shared else 'a copy each'}",
                    packed(options, number, is_shared, seconds),
                )
    for number in packs:
        yield f"{number} trials, streams of one process, one copy", streamed(options, number, seconds)


def models(options: argparse.Namespace) -> Found:
    """A training step of whole models, ms."""
    device = torch.device(options.device)
    cases = (
        [("tu-mobilenetv2_100", 33, 33, 2)]
        if options.tiny
        else [("tu-mobilenetv2_100", 369, 481, 8), ("tu-xception65", 769, 769, 8)]
    )
    for name, height_px, width_px, batch in cases:
        for precision, is_last, chooses in (("bfloat16", False, False), ("bfloat16", True, False), ("bfloat16", True, True)):
            torch.backends.cudnn.benchmark = chooses
            settings = CellSettings(8 if options.tiny else 256)
            model = CoarseLogits(Segmenter(cells()[1][1], 19, BackboneSettings(name), settings)).to(device).train()
            images = torch.randn(batch, 3, height_px, width_px, device=device)
            if is_last:
                model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
            labels = torch.randint(0, 19, (batch, height_px, width_px), device=device, dtype=torch.uint8)
            trial = Trial(model, lambda _, images=images, labels=labels: (images, labels), device, precision)
            ways = [precision, *(["channels last"] if is_last else []), *(["cudnn.benchmark"] if chooses else [])]
            what = f"{name} {height_px}x{width_px}, {', '.join(ways)}"
            yield f"{what}, graph", {"ms": trial.timed(2 if options.tiny else 20), "first steps, s": trial.first_s}
            if device.type == "cuda" and chooses:
                yield f"by kernel, {what}", profile(trial.step, 3)
            del trial, model


def search(options: argparse.Namespace) -> Found:
    """The real thing, where its packages are: Ray Tune, Hydra and MLflow."""
    absent = [name for name in ("ray", "hydra", "mlflow") if importlib.util.find_spec(name) is None]
    if absent or not options.search:
        yield "search", f"not run: {', '.join(absent) or 'no --search overrides'}"
        return
    command = [sys.executable, "-m", "search.cli", "search", "experiment=camvid", *options.search]
    with mps():
        started_s = time.monotonic()
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    yield "search", {"status": done.returncode, "s": time.monotonic() - started_s, "said": (done.stdout + done.stderr)[-4000:]}


STAGES: dict[str, Callable[[argparse.Namespace], Found]] = {
    stage.__name__: stage for stage in (kernels, step, variants, determinism, packing, models, search)
}


class Trial:
    """Training steps of a model, its first ones already taken, as ``training.proxy`` takes them."""

    def __init__(
        self,
        model: nn.Module,
        batch_at: Callable[[Tensor], tuple[Tensor, Tensor]],
        device: torch.device,
        precision: Precision,
        *,
        plain: bool = False,
        captured: bool = True,
    ) -> None:
        self.model, self.device, self.done = model, device, 0
        optimizer = build_optimizer(OptimizerSettings("sgd", 0.01), model)
        rates_I = torch.full((100_000,), 0.001, device=device)
        loss_of = partial(plain_loss if plain else segmentation_loss, ignore_label=255)
        eager_steps = EAGER_STEPS if captured else None
        self._step = GraphStep(model, optimizer, batch_at, loss_of, rates_I, precision, eager_steps=eager_steps)
        started_s = time.perf_counter()
        for _ in range(EAGER_STEPS + 2):
            self.step()
        self.wait()
        self.first_s = time.perf_counter() - started_s

    @classmethod
    def of(
        cls,
        cell: CellSpec,
        size: tuple[int, int],
        classes: int,
        device: torch.device,
        *,
        plain: bool = False,
        captured: bool = True,
        features_NHWC: Tensor | None = None,
    ) -> "Trial":
        """Of a cell on features that lie on the device."""
        torch.manual_seed(0)
        filters = 256 if device.type == "cuda" else 8
        model = classifier_on(cell, CHANNELS, classes, CellSettings(filters, bn_momentum=0.01)).to(device).train()
        if features_NHWC is None:
            features_NHWC = features_on(size, device)
        labels_NHW = torch.randint(0, classes, (IMAGES, *pixels(*size)), dtype=torch.uint8, device=device)
        samples_IB = torch.randint(0, IMAGES, (100_000, BATCH), device=device)

        def batch_at(iteration_1: Tensor) -> tuple[Tensor, Tensor]:
            samples_B = samples_IB.index_select(0, iteration_1)[0]
            return features_NHWC[samples_B].permute(0, 3, 1, 2), labels_NHW[samples_B]

        return cls(model, batch_at, device, "bfloat16", plain=plain, captured=captured)

    def step(self) -> Tensor:
        self.done += 1
        return self._step(self.done)

    def timed(self, steps: int) -> float:
        """Milliseconds a step."""
        self.wait()
        started_s = time.perf_counter()
        for _ in range(steps):
            loss = self.step()
        self.wait()
        assert torch.isfinite(loss)
        return (time.perf_counter() - started_s) / steps * 1000

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def plain_loss(logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int) -> Tensor:
    logits_BKhw = logits_BKhw.float() if logits_BKhw.dtype == torch.bfloat16 else logits_BKhw
    logits_BKHW = F.interpolate(logits_BKhw, size=labels_BHW.shape[-2:], mode="bilinear", align_corners=True)
    return F.cross_entropy(logits_BKHW, labels_BHW.long(), ignore_index=ignore_label)


def profile(run: Callable[[], object], times: int) -> dict[str, Any]:
    """Microseconds and calls of each kernel, a step; the 30 that take longest."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        for _ in range(times):
            run()
        torch.cuda.synchronize()
    found = sorted(seen.key_averages(), key=lambda kernel: -kernel.self_device_time_total)
    rows = {kernel.key[:80]: [round(kernel.self_device_time_total / times, 1), kernel.count / times] for kernel in found[:30]}
    return {"all, us": round(sum(kernel.self_device_time_total for kernel in found) / times, 1), "us, calls": rows}


def packed(options: argparse.Namespace, number: int, is_shared: bool, seconds: float) -> dict[str, float]:
    """Steps a second of all trials together while all of them run, and how much of the device's memory is taken."""
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(number), context.Queue()
    inboxes = [context.Queue() for _ in range(number)]
    arguments = options.device, sizes(options)["CamVid"], seconds, barrier, found
    workers = [context.Process(target=_packed, args=(*arguments, inbox)) for inbox in inboxes]
    for worker in workers:
        worker.start()
    height, width, _ = sizes(options)["CamVid"]
    features = features_on((height, width), torch.device(options.device)) if is_shared else None
    for inbox in inboxes:  # a tensor on a GPU travels as a handle of its memory, which this process keeps
        inbox.put(features)
    rates, taken = zip(*(found.get(timeout=120) for _ in workers), strict=True)
    for worker in workers:
        worker.join()
    return {"steps a second": sum(rates), "GiB taken": max(taken)}


def streamed(options: argparse.Namespace, number: int, seconds: float) -> dict[str, float]:
    """``packed`` as graphs that one process replays, each on a stream of its own."""
    device = torch.device(options.device)
    height, width, classes = sizes(options)["CamVid"]
    features = features_on((height, width), device)
    trials = [Trial.of(cells()[0][1], (height, width), classes, device, features_NHWC=features) for _ in range(number)]
    streams = [torch.cuda.Stream() if device.type == "cuda" else None for _ in trials]
    steps, started_s = 0, time.monotonic()
    while (took_s := time.monotonic() - started_s) < seconds:
        for _ in range(5):
            for trial, stream in zip(trials, streams, strict=True):
                with torch.cuda.stream(stream):
                    trial.step()
        trials[0].wait()
        steps += 5 * number
    free, total = torch.cuda.mem_get_info() if device.type == "cuda" else (0, 0)
    return {"steps a second": steps / took_s, "GiB taken": (total - free) / 2**30}


def _packed(device: str, size: tuple[int, int, int], seconds: float, barrier: Any, found: Any, inbox: Any) -> None:
    height, width, classes = size
    trial = Trial.of(cells()[0][1], (height, width), classes, torch.device(device), features_NHWC=inbox.get())
    barrier.wait()
    steps, started_s = 0, time.monotonic()
    while (took_s := time.monotonic() - started_s) < seconds:
        trial.timed(5)
        steps += 5
    free, total = torch.cuda.mem_get_info() if device == "cuda" else (0, 0)
    barrier.wait()
    found.put((steps / took_s, (total - free) / 2**30))


@contextmanager
def mps() -> Iterator[None]:
    """NVIDIA's MPS for the processes that are started meanwhile, where it is installed."""
    from shutil import which  # noqa: PLC0415

    control = which("nvidia-cuda-mps-control") or which("nvidia-cuda-mps-control", path="/usr/local/nvidia/bin:/usr/bin")
    if control is None:
        yield
        return
    folders = {name: f"/tmp/dpc-mps/{name}" for name in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")}
    for folder in folders.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    os.environ.update(folders)
    subprocess.run([control, "-d"], check=False)
    try:
        yield
    finally:
        subprocess.run([control], input="quit\n", text=True, timeout=20, check=False)
        for name in folders:
            del os.environ[name]


@contextmanager
def kernels_on(are_on: bool) -> Iterator[None]:
    os.environ[KERNELS] = "1" if are_on else "0"
    try:
        yield
    finally:
        del os.environ[KERNELS]


def cells() -> Sequence[tuple[str, CellSpec]]:
    named = [(name, PROJECT / "conf" / "cell" / f"{name}.json") for name in ("dpc_top1", "aspp")]
    return [
        *((name, CellSpec.from_json(json.loads(path.read_text()))) for name, path in named),
        ("random", SPACE.sample(Random(0))),
    ]


def sizes(options: argparse.Namespace) -> dict[str, tuple[int, int, int]]:
    return TINY if options.tiny else SIZES


def pixels(height: int, width: int) -> tuple[int, int]:
    return STRIDE * (height - 1) + 1, STRIDE * (width - 1) + 1


def features_on(size: tuple[int, int], device: torch.device) -> Tensor:
    return torch.randn(IMAGES, *size, CHANNELS, device=device).half()
