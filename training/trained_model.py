"""What a full training trains: the model, what is beside it for the time of the training, and the average that follows it."""

from typing import cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from data.datasets.contract import DatasetInfo
from models.auxiliary import auxiliary_head
from models.backbones import channels_of
from models.segmenter import CoarseLogits, Segmenter
from models.settings import BackboneSettings
from models.spec import CellSpec
from training.recomputed import recompute_blocks
from training.settings import RetrainSettings
from training.sync_batch_norm import synchronise
from training.workers import Workers


class TrainedModel:
    """A model in training, on its worker's device.

    Attributes:
        model: that is trained.
        whole: as a step calls it, with its auxiliary head.
        states: all that a checkpoint of the training keeps.
    """

    def __init__(
        self, cell: CellSpec, classes: DatasetInfo, backbone: BackboneSettings, settings: RetrainSettings, workers: Workers
    ) -> None:
        has_decoder, names = settings.has_decoder(backbone.name), classes.class_names
        self.model = Segmenter(cell, classes.num_classes, backbone, settings.cell, has_decoder, names, classes.palette)
        _set_momentum(self.model.encoder, settings.backbone_momentum(backbone.name))
        auxiliary = None
        if settings.auxiliary > 0:
            auxiliary = auxiliary_head(channels_of(self.model.encoder)[-2], classes.num_classes, settings.cell)
        self.whole = CoarseLogits(self.model, auxiliary)
        if settings.sync_batch_norm and workers.size > 1:
            synchronise(self.whole, workers.device)
        self.whole.to(workers.device)
        if settings.gpu.channels_last and workers.device.type == "cuda":
            self.whole.to(memory_format=torch.channels_last)
        self._averaged = _averaged(self.model, settings)
        if settings.activation_checkpointing:
            recompute_blocks(self.model.encoder)
        self._freezes = settings.freeze_batch_norm
        self.states = nn.ModuleList(part for part in (self.model, self._averaged, auxiliary) if part is not None)

    @property
    def scored(self) -> Segmenter:
        """What is validated and saved: the average, where one is kept."""
        return cast(Segmenter, self._averaged.module) if self._averaged else self.model

    def set_mode(self, model: nn.Module) -> None:
        """Training mode, in which the backbone's batch norm may keep its running statistics; scale and shift are trained."""
        model.train()
        for module in self.model.encoder.modules():
            if self._freezes and isinstance(module, _BatchNorm):
                module.eval()

    def follow(self) -> None:
        """Let the average follow a step."""
        if self._averaged:
            self._averaged.update_parameters(self.model)


def _averaged(model: Segmenter, settings: RetrainSettings) -> AveragedModel | None:
    if settings.ema_decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=True)


def _set_momentum(backbone: nn.Module, momentum: float) -> None:
    """Of the running statistics of batch norm of any kind."""
    for module in backbone.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = momentum
