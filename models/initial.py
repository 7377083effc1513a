"""The weights that a training begins with."""

from torch import nn

from models.settings import CellSettings

_DEPTHWISE, _DENSE, _LOGITS = 0.33, 0.06, 0.01
"""Standard deviations in DeepLab's code (research/deeplab: core/utils.py, model.py)."""


def initialise(parts: nn.Module, classifier: nn.Conv2d, settings: CellSettings) -> None:
    """Draw the weights of a cell (and decoder) and of its classifier anew, as ``settings.initial`` has it.

    ``torch`` leaves them as torch made them; ``deeplab`` draws from normals that are cut off at twice their standard deviation.
    Under batch norm the effective learning rate goes with 1 / |w|^2, so that it changes what a rate means.
    """
    if settings.initial == "torch":
        return
    for module in parts.modules():
        if isinstance(module, nn.Conv2d):
            _draw(module, _DEPTHWISE if module.weight.shape[1] == 1 else _DENSE)
    _draw(classifier, _LOGITS)


def _draw(convolution: nn.Conv2d, std: float) -> None:
    nn.init.trunc_normal_(convolution.weight, std=std, a=-2 * std, b=2 * std)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
