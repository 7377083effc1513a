"""How cells are scored, from a command's settings: the task for workers, and all that its scores depend on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from data.cache.settings import CacheSettings
from data.datasets.contract import SegmentationDataset, search_splits
from data.digests import FileDigests
from data.folds import folds_digest
from models.backbones import build_backbone, weights_digest
from models.cost import FeatureShape
from models.settings import BackboneSettings
from search.config import Config
from search.deciding.space import CellSpace
from search.running.nodes.shared_folders import SharedPath
from search.running.resources import Resources
from search.running.trial import CellTask
from search.session.caches import build_caches
from search.session.code_version import scoring_code
from search.session.nodes import DATA, check_copies, join_cluster, on_shared, shared_data
from training.end_to_end import EndToEndTask
from training.extraction import refuse_leaks, search_folds
from training.proxy import ProxyTask
from training.settings import ProxySettings, RetrainSettings


@dataclass(frozen=True)
class Scoring:
    """What scores a cell.

    Attributes:
        rungs: iterations at which it does.
        features: that cells read, and ``filters`` that their branches have: a cell's cost follows.
        fingerprint: all that a score depends on, but the cell and its seed.
    """

    task: CellTask
    rungs: Sequence[int]
    features: FeatureShape
    filters: int
    fingerprint: Mapping[str, Any]


def by_proxy(config: Config, console: Console) -> Scoring:
    """On cached features, which are extracted where they are missing."""
    settings, cache_settings = config.build("proxy", ProxySettings), config.build("cache", CacheSettings)
    dataset: SegmentationDataset = config.build("dataset", SegmentationDataset)
    folds, splits = search_folds(dataset, cache_settings), search_splits(dataset)
    caches = build_caches(config, splits, console, ("output_dir", "cache.folder"))
    train, val = caches[splits[0]], caches[splits[-1]]
    shape = [train.channels, train.height, train.width]
    features: dict[str, Any] = {**{split: cache.content for split, cache in caches.items()}, "shape": shape}
    if folds:
        features["folds"] = folds_digest(folds)
    folders, local = tuple(cache.folder for cache in caches.values()), cache_settings.local
    copies = Path(local).absolute() if local else None  # not resolved: a link may lead elsewhere on each node
    if copies:
        check_copies(config, folders, copies)
    seen = [SharedPath.seen("cache.folder", folder) for folder in folders]
    task = ProxyTask(train.folder, val.folder, settings, copies, folds)
    kinds = config.build("space", CellSpace).operator_kinds
    return Scoring(
        on_shared(config, task, seen),
        settings.rungs,
        FeatureShape(*shape),
        settings.cell.filters,
        {**config.plain("proxy"), "features": features, "scoring_code": scoring_code(task, *kinds)},
    )


def end_to_end(config: Config, console: Console) -> Scoring:
    """Backbone and cell together, on images. A trial loads them in no more processes than it has CPUs: no score changes."""
    settings = config.build("training", RetrainSettings)
    if settings.workers > (threads := config.build("resources", Resources).threads):
        console.print(f"training.workers: a trial loads images in {threads}, not {settings.workers}: resources.cpu={threads}.")
        settings = replace(settings, workers=threads)
    dataset: SegmentationDataset = config.build("dataset", SegmentationDataset)
    backbone_settings = config.build("backbone", BackboneSettings)
    cache = config.build("cache", CacheSettings)
    join_cluster(config, ("output_dir",), DATA)
    splits = settings.train_split, settings.val_split
    refuse_leaks(dataset, splits, cache)
    backbone = build_backbone(backbone_settings)
    memory = FileDigests(Path(cache.folder) / "digests.json")
    height, width = ((side - 1) // backbone_settings.output_stride + 1 for side in (settings.height_px, settings.width_px))
    channels: Sequence[int] = backbone.out_channels  # type: ignore[assignment]
    task, kinds = EndToEndTask(dataset, backbone_settings, settings), config.build("space", CellSpace).operator_kinds
    return Scoring(
        on_shared(config, task, shared_data(config)),
        settings.stops,
        FeatureShape(channels[-1], height, width),
        settings.cell.filters,
        {
            **config.plain("training", "backbone"),
            "weights": weights_digest(backbone),
            "data": {split: dataset.split(split).fingerprint(memory) for split in splits},
            "scoring_code": scoring_code(task, dataset, *kinds),
        },
    )
