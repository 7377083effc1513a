"""Encoders of segmentation-models-pytorch, with dilation in place of their last strides."""

from collections.abc import Iterable

from torch import nn


def dilate(encoder: nn.Module, output_stride: int) -> None:
    """Let an encoder of output stride 32 give features at 16 or 8: those of stride 32, and new ones between.

    A convolution that loses its stride sees the map of the stage before, and keeps that stage's dilation; those behind it see
    a map that is finer than what they were trained on (Chen et al. 2017, "Rethinking Atrous Convolution", section 3.1). smp's
    own ``make_dilated`` dilates the former, too, and so gives other features than the weights were trained to.

    Raises:
        ValueError: the encoder has no such form.
    """
    strided = {module for module in _convolutions([encoder]) if max(module.stride) > 1}
    encoder.make_dilated(output_stride)  # type: ignore[operator]
    for stage_stride, modules in encoder.get_stages().items():  # type: ignore[operator]
        if stage_stride <= output_stride:
            continue
        behind = stage_stride // output_stride
        before = rate = max(1, behind // 2)
        for convolution in _convolutions(modules):
            own = before if convolution in strided else rate
            if convolution in strided:
                rate = behind
            height, width = convolution.kernel_size
            convolution.dilation = (own, own)
            convolution.padding = (height // 2 * own, width // 2 * own)


def _convolutions(modules: Iterable[nn.Module]) -> list[nn.Conv2d]:
    """In the order of their making, which is that of their use."""
    return [part for module in modules for part in module.modules() if isinstance(part, nn.Conv2d)]
