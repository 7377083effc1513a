"""A proxy trial on a GPU: are the kernels right, how long is a step, and what would the paper's search take?

    python benchmarks/gpu_trial.py                       # needs torch, numpy and timm alone; minutes
    python benchmarks/gpu_trial.py --device cpu --features 5 --steps 2 --cells 1      # is the script itself in order?

The paper's trial: 30,000 steps of batch 8 on 49x49x320 features, 769x769 labels of 19 classes, bfloat16. Each cell is timed in
three ways: eager (torch's own operators, every kernel launched by the host, logits upsampled), graph (the same in a CUDA
graph), fused (graph, with our kernels for layers and loss). The floor is counted: three times the forward pass's operations at
``--tflops``, or the bytes that must move at ``--tbytes``, whichever takes longer.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import fused
from models.cost import FeatureShape, cell_cost
from models.dpc import classifier_on
from models.settings import CellSettings
from models.spec import BACKBONE, AtrousConv, CellSpec
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings
from training import losses
from training.graph_step import EAGER_STEPS, GraphStep
from training.losses import loss_and_gradient_in_strips, segmentation_loss
from training.optim import build_optimizer
from training.settings import OptimizerSettings

BATCH, CHANNELS, FILTERS, CLASSES, STRIDE, IMAGES = 8, 320, 256, 19, 16, 64
STEPS_A_TRIAL, CELLS_A_SEARCH = 30_000, 28_000
SPACE = CellSpace(
    5,
    {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])},
)
WAYS = ("eager", "graph", "fused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--features", type=int, default=49, help="side of the feature maps")
    parser.add_argument("--steps", type=int, default=300, help="steps that are timed")
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--pack", type=int, nargs="*", default=[1, 2, 4], help="trials at once on the device")
    parser.add_argument("--tflops", type=float, default=989.0, help="the device's dense bfloat16 peak (H200)")
    parser.add_argument("--tbytes", type=float, default=4.8, help="its memory's TB/s (H200)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: no CUDA device here; --device cpu tries the script alone")
    device = torch.device(options.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "a CPU: times mean nothing"
    print(f"torch {torch.__version__} on {name}; batch {BATCH}, {options.features}x{options.features}x{CHANNELS}")
    check(device)
    print(
        f"{'cell':<12}{'way':<8}{'ms a step':>11}{'to eager':>10}{'to floor':>10}{'s a trial':>11}{'hours':>11}{'capture':>9}"
    )
    for label, cell in cells()[: options.cells]:
        report(label, cell, device, options)
    pack(options)


def check(device: torch.device) -> None:
    """Say how far layers and loss are from torch, before anything is timed."""
    for title, kernels in (("layers", fused._layer_kernels(device)), ("loss", losses._loss_kernels(device))):
        print(f"kernels for {title}: {'agree with float64' if kernels else 'not used (see the warning above)'}")
    torch.manual_seed(0)
    logits = torch.randn(BATCH, CLASSES, 49, 49, device=device)
    labels = torch.randint(0, CLASSES, (BATCH, 769, 769), dtype=torch.uint8, device=device)
    exact_loss, exact = loss_and_gradient_in_strips(logits.double().cpu()[:1].float(), labels[:1].cpu(), 255, True)
    leaf = logits[:1].clone().requires_grad_()
    loss = segmentation_loss(leaf, labels[:1], 255)
    loss.backward()
    assert leaf.grad is not None
    loss = loss.detach()
    error = float((leaf.grad.cpu() - exact).abs().max() / exact.abs().max())
    print(
        f"full-size loss: {float(loss):.6f} against {float(exact_loss):.6f}, gradient off by {error:.1e} of its largest value"
    )


def cells() -> Sequence[tuple[str, CellSpec]]:
    """The published cell, ASPP, and random ones."""
    folder = Path(__file__).parents[1] / "conf" / "cell"
    named = [(name, CellSpec.from_json(json.loads((folder / f"{name}.json").read_text()))) for name in ("dpc_top1", "aspp")]
    return [*named, *((f"random {seed}", SPACE.sample(Random(seed))) for seed in range(3))]


def report(label: str, cell: CellSpec, device: torch.device, options: argparse.Namespace) -> None:
    eager_ms = 0.0
    floor_ms = counted_floor_ms(cell, options)
    for way in WAYS:
        if device.type == "cpu" and way == "graph":
            continue
        step_ms, capture_s = timed(cell, way, device, options.features, options.steps)
        eager_ms = eager_ms or step_ms
        trial_s = step_ms / 1000 * STEPS_A_TRIAL
        print(
            f"{label:<12}{way:<8}{step_ms:>11.3f}{eager_ms / step_ms:>10.2f}{step_ms / floor_ms:>10.2f}{trial_s:>11.1f}"
            f"{trial_s * CELLS_A_SEARCH / 3600:>11.0f}{capture_s:>8.2f}s",
            flush=True,
        )


def counted_floor_ms(cell: CellSpec, options: argparse.Namespace) -> float:
    """What no kernel can beat: forward pass and both gradients at the peak, or all that convolutions give, moved eight times.

    It is written and read once as it is and once normalised, and so are its gradients; only a fusion of matrix products with
    what surrounds them would save some of that.
    """
    madds = cell_cost(cell, FeatureShape(CHANNELS, options.features, options.features)).madds
    convolved = FILTERS * (len(cell.branches) + 1) + sum(
        CHANNELS if branch.input == BACKBONE else FILTERS for branch in cell.branches if isinstance(branch.operator, AtrousConv)
    )
    moved_bytes = 8 * 2 * convolved * options.features**2 + (STRIDE * (options.features - 1) + 1) ** 2
    return BATCH * max(3 * 2 * madds / (options.tflops * 1e12), moved_bytes / (options.tbytes * 1e12)) * 1000


def timed(cell: CellSpec, way: str, device: torch.device, side: int, steps: int) -> tuple[float, float]:
    """Milliseconds a step, and seconds until the first captured one."""
    plain = patch.multiple(fused, _layer_kernels=lambda device: None), patch.multiple(losses, _loss_kernels=lambda device: None)
    if way == "fused":
        return run(cell, segmentation_loss, True, device, side, steps)
    with plain[0], plain[1]:
        return run(cell, plain_loss, way == "graph", device, side, steps)


def run(
    cell: CellSpec,
    loss_of: Callable[[Tensor, Tensor, int], Tensor],
    captured: bool,
    device: torch.device,
    side: int,
    steps: int,
) -> tuple[float, float]:
    torch.manual_seed(0)
    model = classifier_on(cell, CHANNELS, CLASSES, CellSettings(bn_momentum=0.01)).to(device).train()
    optimizer = build_optimizer(OptimizerSettings("sgd", 0.01), model.parameters())
    features_NHWC = torch.randn(IMAGES, side, side, CHANNELS, device=device).half()
    labels_NHW = torch.randint(0, CLASSES, (IMAGES, *2 * [STRIDE * (side - 1) + 1]), dtype=torch.uint8, device=device)
    total = EAGER_STEPS + 1 + 2 * steps
    samples_IB = torch.randint(0, IMAGES, (total, BATCH), device=device)

    def batch_at(iteration_1: Tensor) -> tuple[Tensor, Tensor]:
        samples_B = samples_IB.index_select(0, iteration_1)[0]
        return features_NHWC[samples_B].permute(0, 3, 1, 2), labels_NHW[samples_B]

    rates_I = torch.full((total,), 0.01, device=device)
    step = GraphStep(model, optimizer, batch_at, lambda logits, labels: loss_of(logits, labels, 255), rates_I, "bfloat16")
    if not captured:
        step._eager_steps_left = -1
    wait(device)
    started_s = time.perf_counter()
    for iteration in range(EAGER_STEPS + 1):
        loss = step(iteration)
    wait(device)
    capture_s = time.perf_counter() - started_s
    for iteration in range(EAGER_STEPS + 1, EAGER_STEPS + 1 + steps):
        step(iteration)
    wait(device)
    started_s = time.perf_counter()
    for iteration in range(EAGER_STEPS + 1 + steps, total):
        loss = step(iteration)
    wait(device)
    assert torch.isfinite(loss)
    return (time.perf_counter() - started_s) / steps * 1000, capture_s


def plain_loss(logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int) -> Tensor:
    logits_BKHW = F.interpolate(logits_BKhw.float(), size=labels_BHW.shape[-2:], mode="bilinear", align_corners=True)
    return nn.functional.cross_entropy(logits_BKHW, labels_BHW.long(), ignore_index=ignore_label)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def pack(options: argparse.Namespace) -> None:
    """Trials of the published cell at once, each in a process of its own."""
    alone = 0.0
    for trials in options.pack:
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(trials)
        with context.Pool(trials, initializer=_remember, initargs=(barrier,)) as pool:
            jobs = [pool.apply_async(packed, (options.device, options.features, options.steps)) for _ in range(trials)]
            steps_a_second = sum(1000 / job.get() for job in jobs)
        alone = alone or steps_a_second
        print(
            f"{trials} trials at once: {steps_a_second:.0f} steps a second, {steps_a_second / alone:.2f} times one", flush=True
        )


_BARRIER: list[object] = []


def _remember(barrier: object) -> None:
    _BARRIER.append(barrier)


def packed(device: str, side: int, steps: int) -> float:
    """Milliseconds a step, measured while the others run, too."""
    timed(cells()[0][1], "fused", torch.device(device), side, 2)  # compiles
    _BARRIER[0].wait()  # type: ignore[attr-defined]
    return timed(cells()[0][1], "fused", torch.device(device), side, steps)[0]


if __name__ == "__main__":
    main()
