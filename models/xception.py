"""The features of timm's Xception where DeepLab's decoder reads them."""

from torch import Tensor, nn


def give_features_before_relu(encoder: nn.Module) -> None:
    """Let Xception give its finer features as ``separable_conv2_pointwise`` in DeepLab, not after the ReLU that follows.

    The network computes what it did: that ReLU comes with the convolution behind it.
    """
    for name, module in encoder.named_modules():
        if name.endswith(".stack.act3"):
            module.forward = _as_it_is  # type: ignore[method-assign]
        if name.endswith(".stack.conv3") and hasattr(encoder.get_submodule(name.removesuffix(".conv3")), "act3"):
            module.register_forward_pre_hook(_rectified)


def _as_it_is(values_BCHW: Tensor) -> Tensor:
    return values_BCHW


def _rectified(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0].relu(),)
