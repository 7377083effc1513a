"""The Dense Prediction Cell as a torch module."""

from typing import Any

from torch import Tensor, nn

from models.dropout import Dropout
from models.fused import FusedJoin
from models.initial import initialise
from models.operators import build_operator
from models.settings import CellSettings
from models.spec import BACKBONE, CellSpec


class DensePredictionCell(nn.Module):
    """The cell that ``spec`` describes: branches, their concatenation, and its projection to ``settings.filters``.

    Concat, dropout, 1x1 convolution, batch norm, ReLU follow the branches as in DeepLab's released cell code. ASPP is a
    cell like any other (``conf/cell/aspp.json``).
    """

    def __init__(self, spec: CellSpec, in_channels: int, settings: CellSettings) -> None:
        super().__init__()
        self.spec = spec
        self.branches = nn.ModuleList(
            build_operator(branch.operator, in_channels if branch.input == BACKBONE else settings.filters, settings)
            for branch in spec.branches
        )
        self.project = FusedJoin(
            Dropout(settings.dropout),
            nn.Conv2d(len(spec) * settings.filters, settings.filters, kernel_size=1, bias=False),
            nn.BatchNorm2d(settings.filters, momentum=settings.bn_momentum),
            nn.ReLU(inplace=True),
        )

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) backbone features to (B, filters, H, W)."""
        joint = self.project.begun(len(self.spec), features_BCHW.device)
        read = {branch.input for branch in self.spec.branches}
        outputs: list[Any] = []
        for number, (branch, module) in enumerate(zip(self.spec.branches, self.branches, strict=True)):
            inputs = features_BCHW if branch.input == BACKBONE else outputs[branch.input]
            outputs.append(joint.add(module, inputs, number in read) if joint else module(inputs))
        joined: Tensor = joint.finish() if joint else self.project(outputs)
        return joined


def classifier_on(spec: CellSpec, in_channels: int, num_classes: int, settings: CellSettings) -> nn.Sequential:
    """A cell and its 1x1 classifier: (B, in_channels, H, W) features to (B, num_classes, H, W) logits."""
    cell = DensePredictionCell(spec, in_channels, settings)
    classifier = nn.Conv2d(settings.filters, num_classes, kernel_size=1)
    initialise(cell, classifier, settings)
    return nn.Sequential(cell, classifier)
