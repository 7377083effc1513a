"""An objective of one's own: cells for depth estimation, a dense task that is not segmentation.

    python examples/depth_estimation.py

The images are generated: balls of one size hang in fog, so that near ones look larger and darker. A cell reads a small stem's
features, is trained with it for a few epochs, and scored by the share of pixels whose depth is right to 25 % (delta 1 of
Eigen et al. 2014), which is from 0 to 1 as a score must be.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

import dpc

SIDE_PX, STRIDE = 64, 4
EPOCHS = (1, 2, 4)
SPACE = dpc.CellSpace(
    3, {"conv": dpc.PointwiseConvs(), "atrous": dpc.AtrousConvs([1, 2, 4]), "pooling": dpc.PyramidPoolings([1, 2])}
)


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (B, 1, 64, 64) from 0 to 1, and the depth of each pixel in metres, (B, 64, 64)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    depth_BHW = np.full((count, SIDE_PX, SIDE_PX), 10.0)
    for depth_HW in depth_BHW:
        for metres in sorted(rng.uniform(1, 8, size=5), reverse=True):  # near ones hide far ones
            centre_y, centre_x = rng.uniform(0, SIDE_PX, size=2)
            depth_HW[(y - centre_y) ** 2 + (x - centre_x) ** 2 < (20 / metres) ** 2] = metres
    fog_BHW = 1 - np.exp(-depth_BHW / 5) + rng.normal(0, 0.05, depth_BHW.shape)
    return torch.tensor(fog_BHW[:, None], dtype=torch.float32), torch.tensor(depth_BHW, dtype=torch.float32)


def depth_model(cell: dpc.CellSpec) -> nn.Module:
    """(B, 1, H, W) images to (B, 1, H / 4, W / 4) logarithms of depth."""
    stem = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU()]
    settings = dpc.CellSettings(filters=16, bn_momentum=0.3, dropout=0.0)
    return nn.Sequential(*stem, dpc.DensePredictionCell(cell, 16, settings), nn.Conv2d(16, 1, 1))


def objective(cell: dpc.CellSpec, seed: int) -> Iterator[float]:
    """Train ``cell`` and score it after 1, 2 and 4 epochs."""
    torch.manual_seed(seed)
    images_BCHW, depth_BHW = scenes(96, seed=0)  # the same for all cells
    model = depth_model(cell)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for epoch in range(1, EPOCHS[-1] + 1):
        model.train()
        for batch in torch.randperm(64).split(8):
            log_depth_Bhw = model(images_BCHW[batch]).squeeze(1)
            loss = (log_depth_Bhw - depth_BHW[batch, ::STRIDE, ::STRIDE].log()).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch in EPOCHS:
            yield delta_1(model, images_BCHW[64:], depth_BHW[64:])


@torch.no_grad()
def delta_1(model: nn.Module, images_BCHW: Tensor, depth_BHW: Tensor) -> float:
    """The share of pixels whose depth is less than 1.25 times too large or too small."""
    model.eval()
    log_depth_Bhw = model(images_BCHW).squeeze(1)
    is_right_Bhw = (log_depth_Bhw - depth_BHW[:, ::STRIDE, ::STRIDE].log()).abs() < np.log(1.25)
    return float(is_right_Bhw.float().mean())


def search(output_dir: str = "outputs", trials: int = 12) -> dpc.SearchRecord:
    """The same call resumes where it was stopped."""
    features = dpc.FeatureShape(16, SIDE_PX // STRIDE, SIDE_PX // STRIDE)
    return dpc.search(
        SPACE,
        objective,
        rungs=EPOCHS,
        trials=trials,
        name="depth",
        output_dir=output_dir,
        features=features,
        filters=16,
    )


if __name__ == "__main__":
    for row in dpc.leaderboard(search())[:5]:
        print(row["rank"], f"{row['miou']:.3f}", row["cell"])
