"""The strip loss against plain upsampling and cross entropy: the loss alone, and a whole training step of the published cell.

python benchmarks/bench_loss.py
"""

import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from models.dpc import classifier_on
from models.operators import CellSettings
from models.spec import CellSpec
from search.config import CONF
from training.losses import segmentation_loss, upsample_logits

SIZES = {"CamVid": ((24, 31), (369, 481), 11), "City": ((49, 49), (769, 769), 19)}
BATCH, CHANNELS, ROUNDS = 8, 320, 5

Loss = Callable[[Tensor, Tensor, int], Tensor]


def plain_loss(logits_BKhw: Tensor, labels_BHW: Tensor, ignore_label: int) -> Tensor:
    logits_BKHW = upsample_logits(logits_BKhw, *labels_BHW.shape[-2:])
    return F.cross_entropy(logits_BKHW, labels_BHW.long(), ignore_index=ignore_label)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"batch {BATCH}, {CHANNELS} channels, fp32, one thread, medians of {ROUNDS} alternating rounds")
    print(f"{'size':<8}{'what':<12}{'plain ms':>10}{'strips ms':>11}{'ratio':>7}")
    for name, (features, pixels, classes) in SIZES.items():
        labels_BHW = torch.randint(0, classes, (BATCH, *pixels), dtype=torch.uint8)
        logits_BKhw = torch.randn(BATCH, classes, *features, requires_grad=True)
        report(name, "loss alone", lambda loss, x=logits_BKhw, y=labels_BHW: loss(x, y, 255).backward())
        features_BCHW = torch.randn(BATCH, CHANNELS, *features)
        model = classifier_on(CellSpec.read(CONF / "cell" / "dpc_top1.json"), CHANNELS, classes, CellSettings())
        report(name, "whole step", lambda loss, m=model, x=features_BCHW, y=labels_BHW: loss(m(x), y, 255).backward())


def report(size: str, what: str, run: Callable[[Loss], object]) -> None:
    """Time both losses in turn, so that a drift of the machine's speed meets both."""
    times: dict[Loss, list[float]] = {plain_loss: [], segmentation_loss: []}
    for round_number in range(ROUNDS + 1):
        for loss, seconds in times.items():
            start = time.perf_counter()
            run(loss)
            if round_number > 0:
                seconds.append(time.perf_counter() - start)
    plain, strips = (1000 * median(seconds) for seconds in times.values())
    print(f"{size:<8}{what:<12}{plain:>10.0f}{strips:>11.0f}{plain / strips:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
