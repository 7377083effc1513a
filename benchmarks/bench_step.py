"""A training step of the published cell against plain PyTorch, and two trials side by side on a CPU.

    python benchmarks/bench_step.py [--rounds 7] [--sizes CamVid City] [--end-to-end demo CamVid "CamVid, decoder"]

A proxy trial's step trains a cell on features, forward and backward; a step end to end trains backbone, cell and, where named,
DeepLabv3+'s decoder on images, and moves the weights.

Plain is what one writes first: torch's depthwise convolution and dropout, logits upsampled to the image, cross entropy,
float32, torch's allocator settings. Each way runs in a process of its own with one thread; they take turns, so that a drift
of the machine's speed meets all of them, and their CPU time counts, which other work delays less than the clock. Losses on
equal logits are compared with plain's in float64 before anything is timed.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from statistics import median

import torch
import torch.nn.functional as F
from result_file import save
from torch import Tensor, nn

from models.depthwise import AtrousDepthwise
from models.dpc import classifier_on
from models.dropout import Dropout
from models.grid import resized
from models.segmenter import CoarseLogits, Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import CellSpec
from search.conf_files import CONF
from training.allocator import keep_freed_memory
from training.losses import segmentation_loss
from training.optim import build_optimizer
from training.settings import OptimizerSettings, Precision
from training.step import predicted, update

TINY = "tiny"
"""Is the script in order?"""
SIZES = {"CamVid": ((24, 31), (369, 481), 11), "City": ((49, 49), (769, 769), 19), TINY: ((2, 3), (17, 33), 3)}
BATCH, CHANNELS = 8, 320
WAYS = ("plain", "float32", "bfloat16")
CELL = CellSpec.read(CONF / "cell" / "dpc_top1.json")


@dataclass(frozen=True)
class Recipe:
    """An end-to-end training, as conf/training has it."""

    encoder: str
    filters: int
    height_px: int
    width_px: int
    classes: int
    decoder: bool = False


RECIPES = {
    "demo": Recipe("local", 32, 321, 321, 7),
    "CamVid": Recipe("tu-mobilenetv2_100", 256, 369, 481, 11),
    "CamVid, decoder": Recipe("tu-mobilenetv2_100", 256, 369, 481, 11, decoder=True),
    TINY: Recipe("local", 8, 33, 49, 3, decoder=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", nargs="*", default=[name for name in SIZES if name != TINY], choices=list(SIZES))
    whole = [name for name in RECIPES if name != TINY]
    parser.add_argument("--end-to-end", nargs="*", default=whole, choices=list(RECIPES))
    options = parser.parse_args()
    rounds = options.rounds
    figures: dict[str, float] = {}
    print(f"batch {BATCH}, one thread, medians of {rounds} rounds in CPU time; errors of losses against float64")
    print(f"proxy: {CHANNELS} channels, 256 filters")
    for size in options.sizes:
        ways = {way: Worker(proxy_work, size, way) for way in WAYS}
        figures |= in_turns(size, ways, rounds)
        for way in WAYS[1:]:
            figures |= side_by_side(size, way, ways[way], rounds)
        for worker in ways.values():
            worker.stop()
    print("end to end")
    for recipe in options.end_to_end:
        ways = {way: Worker(end_to_end_work, recipe, way) for way in WAYS}
        figures |= in_turns(f"end to end {recipe}", ways, rounds)
        for worker in ways.values():
            worker.stop()
    save(__file__, figures)


def in_turns(size: str, ways: dict[str, "Worker"], rounds: int) -> dict[str, float]:
    """The loss alone and the whole step, in all ways."""
    figures = {}
    print(f"{size}: " + ", ".join(f"{way} {worker.error:.1e}" for way, worker in ways.items()))
    for what in ("loss", "step"):
        times: dict[str, list[float]] = {way: [] for way in ways if (what, way) != ("loss", "bfloat16")}
        for _ in range(rounds):
            for way, seconds in times.items():
                seconds.append(ways[way].run(what)[0])
        figures |= report(size, what, {way: median(seconds) for way, seconds in times.items()})
    return figures


def report(size: str, what: str, times: dict[str, float]) -> dict[str, float]:
    figures = {}
    for way, seconds in times.items():
        ratio = times["plain"] / seconds
        print(f"{size:<28}{what:<6}{way:<10}{1000 * seconds:>8.0f} ms{ratio:>8.2f}x", flush=True)
        figures |= {f"{size} {what} {way}, ms": 1000 * seconds, f"{size} {what} {way} to plain, x": ratio}
    return figures


def side_by_side(size: str, way: str, first: "Worker", rounds: int) -> dict[str, float]:
    """Two one-thread trials at once against one alone: 2 would be perfect."""
    second = Worker(proxy_work, size, way)
    alone, together = [], []
    for _ in range(rounds):
        alone.append(first.run("step")[1])
        started_s = time.perf_counter()
        for worker in (first, second):
            worker.start("step")
        for worker in (first, second):
            worker.wait()
        together.append(time.perf_counter() - started_s)
    second.stop()
    ratio = 2 * median(alone) / median(together)
    print(f"{size:<28}two   {way:<10}trials at once: {ratio:.2f} times the steps of one", flush=True)
    return {f"{size} two {way} trials to one, x": ratio}


class Worker:
    """A process that steps when it is told to.

    Attributes:
        error: of its loss, relative to that in float64.
    """

    def __init__(self, work_of: "Callable[[str, str], Work]", name: str, way: str) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(theirs, work_of, name, way), daemon=True
        )
        self._process.start()
        self.error: float = self._connection.recv()

    def run(self, what: str) -> tuple[float, float]:
        """Seconds of one step, or of its loss alone: of the CPU, and by the clock."""
        self.start(what)
        return self.wait()

    def start(self, what: str) -> None:
        self._connection.send(what)

    def wait(self) -> tuple[float, float]:
        cpu_s, clock_s = self._connection.recv()
        return cpu_s, clock_s

    def stop(self) -> None:
        self._connection.send("stop")
        self._process.join()


@dataclass(frozen=True)
class Work:
    """What a worker times, and the error of its loss on equal logits, relative to that in float64."""

    loss: Callable[[], object]
    step: Callable[[], object]
    error: float


def serve(connection: Connection, work_of: Callable[[str, str], Work], name: str, way: str) -> None:
    """A worker's life: tell the error, then time what is asked for."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if way != "plain":
        keep_freed_memory()
    work = work_of(name, way)
    connection.send(work.error)
    work.loss()
    work.step()
    while (what := connection.recv()) != "stop":
        connection.send(timed(getattr(work, what)))


def proxy_work(size: str, way: str) -> Work:
    (height, width), (height_px, width_px), classes = SIZES[size]
    features_BCHW = torch.randn(BATCH, CHANNELS, height, width)
    labels_BHW = torch.randint(0, classes, (BATCH, height_px, width_px), dtype=torch.uint8)
    model = classifier_on(CELL, CHANNELS, classes, CellSettings())
    loss_of = partial(plain_loss if way == "plain" else segmentation_loss, ignore_label=255)
    if way == "plain":
        as_plain(model)
    logits_BKhw = torch.randn(BATCH, classes, height, width, requires_grad=True)
    return Work(
        lambda: loss_of(logits_BKhw, labels_BHW).backward(),
        lambda: loss_of(predicted(model, features_BCHW, precision_of(way)), labels_BHW).backward(),
        error_of(loss_of, logits_BKhw, labels_BHW),
    )


def end_to_end_work(name: str, way: str) -> Work:
    recipe = RECIPES[name]
    images_BCHW = torch.randn(BATCH, 3, recipe.height_px, recipe.width_px)
    labels_BHW = torch.randint(0, recipe.classes, (BATCH, recipe.height_px, recipe.width_px), dtype=torch.uint8)
    segmenter = Segmenter(
        CELL, recipe.classes, BackboneSettings(recipe.encoder), CellSettings(filters=recipe.filters), recipe.decoder
    )
    optimizer = build_optimizer(OptimizerSettings(), segmenter)
    model = CoarseLogits(segmenter)
    with torch.inference_mode():
        size = model(images_BCHW[:1]).shape[1:]
    logits_BKhw = torch.randn(BATCH, *size, requires_grad=True)
    loss_of = partial(plain_loss if way == "plain" else segmentation_loss, ignore_label=255)
    if way == "plain":
        as_plain(segmenter)

    def plain_step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(segmenter(images_BCHW), labels_BHW.long(), ignore_index=255).backward()
        optimizer.step()

    return Work(
        lambda: loss_of(logits_BKhw, labels_BHW).backward(),
        plain_step if way == "plain" else lambda: update(model, optimizer, loss_of, images_BCHW, labels_BHW, precision_of(way)),
        error_of(loss_of, logits_BKhw, labels_BHW),
    )


def error_of(loss_of: Callable[[Tensor, Tensor], Tensor], logits_BKhw: Tensor, labels_BHW: Tensor) -> float:
    logits_BKhw, labels_BHW = logits_BKhw.detach()[:1], labels_BHW[:1]
    exact = plain_loss(logits_BKhw.double(), labels_BHW, 255)
    return float(abs(loss_of(logits_BKhw, labels_BHW) - exact) / exact)


def precision_of(way: str) -> Precision:
    return "bfloat16" if way == "bfloat16" else "float32"


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the CPU, and by the clock."""
    cpu_s, clock_s = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu_s, time.perf_counter() - clock_s


def plain_loss(logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int) -> Tensor:
    logits_BKHW = resized(logits_BKhw, labels_BHW.shape[-2:])
    return F.cross_entropy(logits_BKHW, labels_BHW.long(), ignore_index=ignore_label)


def as_plain(model: nn.Module) -> None:
    """Put torch's own modules in the place of ours."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, AtrousDepthwise):
                channels, rate = child.in_channels, child.dilation
                setattr(parent, name, nn.Conv2d(channels, channels, 3, 1, rate, rate, groups=channels, bias=False))
            elif isinstance(child, Dropout):
                setattr(parent, name, nn.Dropout(child.p))


if __name__ == "__main__":
    main()
