"""The weights of convolutions in half precision, cast together once a step."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.depthwise import AtrousDepthwise


class HalfWeights:
    """A model as a step under autocast calls it. Equal to the bit: autocast casts each weight, and each gradient, by a kernel.

    A step has one part: several would add up their gradients in half precision.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._full = {
            f"{name}.{parameter_name}": parameter
            for name, module in model.named_modules()
            if isinstance(module, nn.Conv2d) and not isinstance(module, AtrousDepthwise)
            for parameter_name, parameter in module.named_parameters(recurse=False)
            if parameter.requires_grad
        }
        self._half = {name: weight.detach().bfloat16().requires_grad_() for name, weight in self._full.items()}

    def __call__(self, inputs: Tensor) -> Any:
        with torch.no_grad():
            torch._foreach_copy_(list(self._half.values()), list(self._full.values()))
        return functional_call(self._model, self._half, (inputs,))

    def give_gradients(self) -> None:
        """Hand what a backward pass found to the model's own weights, before anything reads their gradients."""
        reached = {name: weight.grad for name, weight in self._half.items() if weight.grad is not None}
        gradients = [
            torch.empty_like(gradient, dtype=torch.float32) for gradient in reached.values()
        ]  # of equal strides: one kernel
        torch._foreach_copy_(gradients, list(reached.values()))
        for name, gradient in zip(reached, gradients, strict=True):
            self._full[name].grad, self._half[name].grad = gradient, None
