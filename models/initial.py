"""The weights that a training begins with."""

from torch import nn

from models.depthwise import AtrousDepthwise
from models.settings import CellSettings

_DEPTHWISE, _POINTWISE, _LOGITS = 0.33, 0.06, 0.01
"""Standard deviations in DeepLab's code (research/deeplab: core/utils.py, split_separable_conv2d; model.py)."""


def initialise(parts: nn.Module, classifier: nn.Conv2d, settings: CellSettings) -> None:
    """Draw the weights of a cell (and decoder) and of its classifier anew, as ``settings.initial`` has it.

    ``torch`` leaves them as torch made them. ``deeplab`` draws both parts of a separable convolution, and the classifier, from
    normals that are cut off at twice their standard deviation; every other convolution has what ``slim.conv2d`` gives where
    nobody says otherwise, Xavier's uniform distribution (Glorot and Bengio 2010). Under batch norm the effective learning rate
    goes with 1 / |w|^2, so that it changes what a rate means.
    """
    if settings.initial == "torch":
        return
    for block in parts.modules():
        follows_depthwise = False
        for layer in block.children():
            if isinstance(layer, nn.Conv2d):
                _draw(layer, follows_depthwise)
                follows_depthwise = isinstance(layer, AtrousDepthwise)
    _draw_normal(classifier, _LOGITS)


def _draw(convolution: nn.Conv2d, follows_depthwise: bool) -> None:
    if isinstance(convolution, AtrousDepthwise):
        _draw_normal(convolution, _DEPTHWISE)
    elif follows_depthwise:
        _draw_normal(convolution, _POINTWISE)
    else:
        nn.init.xavier_uniform_(convolution.weight)
        _clear_bias(convolution)


def _draw_normal(convolution: nn.Conv2d, std: float) -> None:
    nn.init.trunc_normal_(convolution.weight, std=std, a=-2 * std, b=2 * std)
    _clear_bias(convolution)


def _clear_bias(convolution: nn.Conv2d) -> None:
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
