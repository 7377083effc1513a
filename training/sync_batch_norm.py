"""Batch norm over the whole batch of a training that several processes share."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(model: nn.Module, device: torch.device) -> None:
    """Let every batch norm of ``model`` see the values of all processes: 8 with 2 images each train as one with 16."""
    kind = OfGpu if device.type == "cuda" else OfCpu
    for module in list(model.modules()):
        for place, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, place, _like(child, kind))


class OfGpu(nn.SyncBatchNorm):
    """Torch's, and what timm computes in one layer with batch norm."""

    drop: nn.Module
    act: nn.Module

    def forward(self, values_BCHW: Tensor) -> Tensor:
        output_BCHW: Tensor = self.act(self.drop(super().forward(values_BCHW)))
        return output_BCHW


class OfCpu(_BatchNorm):
    """The same; torch has none for CPUs."""

    drop: nn.Module
    act: nn.Module

    def forward(self, values_BCHW: Tensor) -> Tensor:
        if self.training:
            normed_BCHW = self._shared(values_BCHW)
        else:
            own = self.running_mean, self.running_var, self.weight, self.bias
            normed_BCHW = F.batch_norm(values_BCHW, *own, training=False, eps=self.eps)
        output_BCHW: Tensor = self.act(self.drop(normed_BCHW))
        return output_BCHW

    def _shared(self, values_BCHW: Tensor) -> Tensor:
        """Every process has as many values as this one."""
        wide_BCHW = values_BCHW.to(torch.promote_types(values_BCHW.dtype, torch.float32))
        count = values_BCHW.numel() // values_BCHW.shape[1] * dist.get_world_size()
        mean_1C11 = _SumOfAll.apply(wide_BCHW.sum(dim=(0, 2, 3), keepdim=True)) / count
        centred_BCHW = wide_BCHW - mean_1C11
        var_1C11 = _SumOfAll.apply(centred_BCHW.square().sum(dim=(0, 2, 3), keepdim=True)) / count
        self._follow(mean_1C11.detach().flatten(), var_1C11.detach().flatten() * count / (count - 1))
        normed_BCHW = centred_BCHW * (var_1C11 + self.eps).rsqrt()
        if self.affine:
            normed_BCHW = normed_BCHW * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
        return normed_BCHW.to(values_BCHW.dtype)

    def _follow(self, mean_C: Tensor, var_C: Tensor) -> None:
        """Move the running statistics as batch norm does, by a plain average where there is no momentum."""
        if not self.track_running_stats:
            return
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, momentum)
        self.running_var.lerp_(var_C, momentum)


def _like(norm: _BatchNorm, kind: type[OfGpu] | type[OfCpu]) -> OfGpu | OfCpu:
    """With the parameters and statistics of ``norm``, and not copies of them."""
    like = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    like.weight, like.bias = norm.weight, norm.bias
    like.running_mean, like.running_var = norm.running_mean, norm.running_var
    like.num_batches_tracked = norm.num_batches_tracked
    for name in ("drop", "act"):  # of timm.layers.BatchNormAct2d, in its order
        setattr(like, name, getattr(norm, name, nn.Identity()))
    return like.train(norm.training)


class _SumOfAll(torch.autograd.Function):
    """Over the processes; a gradient of what each makes of the sum comes back to each."""

    @staticmethod
    def forward(_: object, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: object, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
