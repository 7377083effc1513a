"""A second classifier, for the time of a training."""

from torch import nn

from models.fused import FusedSequential
from models.initial import initialise
from models.settings import CellSettings


def auxiliary_head(in_channels: int, num_classes: int, settings: CellSettings) -> nn.Sequential:
    """Classes from an inner map of the backbone: early layers get gradients by a shorter way (Zhao et al. 2017, section 3.3).

    3x3 convolution to ``settings.filters``, batch norm, ReLU, dropout, 1x1 classifier.
    """
    parts = FusedSequential(
        nn.Conv2d(in_channels, settings.filters, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(settings.filters, momentum=settings.bn_momentum),
        nn.ReLU(inplace=True),
    )
    classifier = nn.Conv2d(settings.filters, num_classes, kernel_size=1)
    initialise(parts, classifier, settings)
    return nn.Sequential(parts, nn.Dropout(settings.dropout), classifier)
