"""How cells are scored: the task for workers, and all that its scores depend on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from data.cache.stored_copy import fetch_from_store, keep_in_store
from data.datasets.contract import search_splits
from data.folds import folds_digest
from data.system.errors import UserError
from models.backbones import build_backbone, feature_shape, weights_digest
from models.cost import TABLE_1, FeatureShape, cell_cost
from models.spec import CellSpec
from search.deciding.algorithms.listed import Listed
from search.deciding.policy import Plan
from search.deciding.schedulers import Scheduler
from search.deciding.space import CellSpace
from search.running.nodes.shared_folders import SharedPath
from search.running.objective import ObjectiveTask
from search.running.resources import Resources
from search.running.task import CellTask, PreparedTask
from search.session.backbone import backbone_of
from search.session.caches import build_caches
from search.session.code_version import objective_code, scoring_code
from search.session.joining import check_copies, join_cluster, on_shared, shared_data
from search.session.training_data import content_of, refuse_unfit
from search.settings.groups import Images, Workplace
from training.end_to_end import EndToEndTask
from training.extraction import search_folds
from training.proxy import ProxyTask
from training.score import Objective
from training.settings import ProxySettings, RetrainSettings


@dataclass(frozen=True)
class Scoring:
    """What scores a cell.

    Attributes:
        rungs: iterations at which it does.
        features: that cells read, and ``filters`` that their branches have: a cell's cost follows.
        fingerprint: all that a score depends on, but the cell, its seed and the settings of the protocol.
    """

    task: CellTask
    rungs: Sequence[int]
    features: FeatureShape
    filters: int
    fingerprint: Mapping[str, Any]

    def plan_of(
        self, cells: Sequence[CellSpec], seed: int, space: CellSpace, scheduler: Scheduler, features: FeatureShape
    ) -> Plan:
        """Each of ``cells`` once, all trained under ``seed``.

        Args:
            features: by which their costs are counted.
        """
        cost_of = partial(cell_cost, features=features, filters=self.filters)
        return Plan(space, Listed(tuple(cells)), scheduler, self.rungs, len(cells), seed, cost_of=cost_of, paired=True)


def scoring_for(
    settings: ProxySettings | RetrainSettings, space: CellSpace, images: Images, workplace: Workplace, console: Console
) -> Scoring:
    """How the cells of ``space`` are scored with ``settings``: those of a proxy task, or of a training end to end."""
    if isinstance(settings, ProxySettings):
        return by_proxy(settings, space, images, workplace, console)
    return by_training(settings, space, images, workplace, console)


def by_proxy(settings: ProxySettings, space: CellSpace, images: Images, workplace: Workplace, console: Console) -> Scoring:
    """Cells are trained for a short while on cached features, which are extracted where they are missing."""
    dataset = images.dataset
    folds, splits = search_folds(dataset, images.cache), search_splits(dataset)
    caches = build_caches(images, splits, workplace, console, written={"output_dir": workplace.output_dir}, folds=folds)
    train, val = caches[splits[0]], caches[splits[-1]]
    shape = [train.channels, train.height, train.width]
    features: dict[str, Any] = {**{split: cache.content for split, cache in caches.items()}, "shape": shape}
    if folds:
        features["folds"] = folds_digest(folds)
    folders, local = tuple(cache.folder for cache in caches.values()), images.cache.local
    copies = Path(local) if local else None
    if copies:
        check_copies(workplace, folders, copies)
    task = ProxyTask(train.folder, val.folder, settings, copies, folds, shares_gpu=0 < workplace.resources.gpu < 1)
    replace(task, local=None).check()
    return Scoring(
        _where_caches_are(workplace, task, folders, console),
        settings.rungs,
        FeatureShape(*shape),
        settings.cell.filters,
        {"features": features, "scoring_code": scoring_code(task, *space.operator_kinds)},
    )


def by_objective(
    objective: Objective, rungs: Sequence[int], filters: int, workplace: Workplace, features: FeatureShape | None = None
) -> Scoring:
    """By a callable of one's own.

    Args:
        features: the map that its cells read; None for its attribute ``features``, and where it has none ``TABLE_1``.

    Raises:
        UserError: it cannot be sent to workers, or both name a map, and not the same.
        SharedFolderError: a node of the cluster does not see ``output_dir``.
    """
    features = _features(objective, features)
    task = ObjectiveTask.of(objective, rungs)
    join_cluster(workplace, {"output_dir": workplace.output_dir}, {})
    return Scoring(
        on_shared(workplace, task, ()),
        rungs,
        features,
        filters,
        {
            "features": {"shape": [features.channels, features.height, features.width]},
            "scoring_code": objective_code(objective),
        },
    )


def _features(objective: Objective, given: FeatureShape | None) -> FeatureShape:
    own = getattr(objective, "features", None)
    if given is None:
        if own is not None and not isinstance(own, FeatureShape):
            raise UserError(f"objective: its attribute features must be a FeatureShape, got {own!r}.")
        return own or TABLE_1
    if isinstance(own, FeatureShape) and own != given:
        raise UserError(f"features: the objective's own attribute of that name is {own}, got {given}; give one of them.")
    return given


def _where_caches_are(workplace: Workplace, task: CellTask, folders: Sequence[Path], console: Console) -> CellTask:
    """``task`` on nodes that share the caches, or that fetch them from the store."""
    bucket = workplace.bucket
    if bucket is None or not workplace.is_cluster:
        return on_shared(workplace, task, [SharedPath.seen("cache.folder", folder) for folder in folders])
    caches = bucket / "caches"
    for folder in folders:
        if keep_in_store(folder, caches / folder.name):
            console.print(f"Brought to the store, for nodes to fetch: {caches / folder.name}", soft_wrap=True, markup=False)
    fetch = [partial(fetch_from_store, caches / folder.name, folder) for folder in folders]
    return PreparedTask(on_shared(workplace, task, ()), fetch)


def by_training(settings: RetrainSettings, space: CellSpace, images: Images, workplace: Workplace, console: Console) -> Scoring:
    """Backbone and cell are trained together, on images."""
    settings = _with_loaders(settings, workplace.resources, console)
    dataset, splits = images.dataset, (settings.train_split, settings.val_split)
    backbone_settings = backbone_of(images, console)
    settings.check(backbone_settings.output_stride)
    join_cluster(workplace, {"output_dir": workplace.output_dir}, images.paths)
    refuse_unfit(images, settings, console)
    backbone = build_backbone(backbone_settings)
    weights = weights_digest(backbone)
    task = EndToEndTask(dataset, backbone_settings, settings, {"weights": weights})
    return Scoring(
        on_shared(workplace, task, shared_data(workplace, images.paths)),
        settings.stops,
        feature_shape(backbone, backbone_settings.output_stride, settings.height_px, settings.width_px),
        settings.cell.filters,
        {
            "backbone": asdict(backbone_settings),
            "weights": weights,
            "data": content_of(images, splits),
            "scoring_code": scoring_code(task, dataset, *space.operator_kinds),
        },
    )


def _with_loaders(settings: RetrainSettings, resources: Resources, console: Console) -> RetrainSettings:
    """With ``workers`` lowered to a trial's CPUs where it is above them; what may be too few is said."""
    threads, said = resources.threads, None
    if settings.workers is None and resources.gpu and threads == 1:
        said = "one process loads images beside a trial's GPU, which may wait for it"
    elif settings.workers is not None and settings.workers > threads:
        said = f"a trial loads images in {threads}, not {settings.workers}"
        settings = replace(settings, workers=threads)
    if said:
        console.print(f"training.workers: {said}: resources.cpu={threads}.", soft_wrap=True)
    return settings
