"""Search for Dense Prediction Cells from Python: an objective, an algorithm, or cells of your own.

::

    import dpc

    space = dpc.CellSpace(3, {"conv": dpc.PointwiseConvs(), "atrous": dpc.AtrousConvs([1, 3, 6])})

    def objective(cell, seed):      # a score from 0 to 1 at each rung
        for epochs in (1, 3, 9):
            yield train_and_validate(cell, seed, epochs)

    found = dpc.search(space, objective, rungs=(1, 3, 9), trials=50, name="mine")
    print(found.best.cell, found.best.miou)

Names are loaded when they are first asked for: ``import dpc`` alone takes neither torch nor Ray.

Searches
    search                 any objective, run by Ray Tune: early stopping, journal, resume, MLflow
    study, AskTell         cells that you score yourself: ``ask``, which gives a CellProposed, and ``tell``; without Ray
    load, leaderboard      what a search has found so far: its SearchRecord, and that as rows
    what_mattered          importance and effect of each choice: operator kinds, rates, depth, what branches read
    Objective, RungScore   what scores a cell, and a score with its iteration, loss and time
    SearchRecord, TrialRecord, Status       a search, its trials, and how each ended
    Callback               is told each Event of a search and may stop it: a RunningSearch
    Tracking               which MLflow tracker shows a search
Cells
    CellSpec, Branch       what a cell is; ``to_json`` and ``from_json`` in DeepLab's published format
    Conv1x1, AtrousConv, PyramidPooling, Operator       what a branch applies
    CellSpace, PointwiseConvs, AtrousConvs, PyramidPoolings     which cells there are; OperatorFamily: operators of your own
    FeatureShape, cell_cost, CellCost, Budget           exact parameters and multiply-adds, and limits on them
What decides
    NearBest, Uniform, RegularizedEvolution, LocalSearch, Tpe, Predictor, Pareto    what comes next; Algorithm: one of your own
    Finished, Evaluation   what an algorithm learns from: the trials that ended, and one of them
    Prior                  a cell that good ones should resemble, to any of these
    Asha, MedianStopping, NoStopping                    which trials are stopped early; Scheduler and Decision: one of your own
Models and data
    DensePredictionCell, CellSettings                   a cell as a torch module: (B, C, h, w) to (B, filters, h, w)
    Segmenter, BackboneSettings, predict_labels, Inference      a whole model, its file, and labels for an image of any size
    ProxyTask, ProxySettings                            the objective of ``dpc search``: a short training on cached features
    Shapes, CamVid, Cityscapes, Voc2012, PersonPart, Folder     data sets; SegmentationDataset: one of your own
    DatasetInfo, Split, Sample, FileDigests, DatasetError       what that gives, is given and raises

Their types are in ``__init__.pyi``, for editors and checkers.

A wrong argument is a ValueError of one line. A public name that changes keeps working, with a warning, for two versions.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_PUBLIC = {
    "search.session.library": ("search",),
    "search.session.ask_and_tell": ("AskTell", "study"),
    "search.journal.folder": ("load",),
    "search.findings.leaderboard": ("leaderboard",),
    "search.findings.what_mattered": ("what_mattered",),
    "search.journal.record": ("SearchRecord", "TrialRecord"),
    "search.journal.events": ("CellProposed", "Event"),
    "search.journal.study": ("Callback", "RunningSearch"),
    "search.tracking.settings": ("Tracking",),
    "training.score": ("Objective", "RungScore"),
    "models.spec": ("AtrousConv", "Branch", "CellSpec", "Conv1x1", "Operator", "PyramidPooling"),
    "search.deciding.space": ("AtrousConvs", "CellSpace", "OperatorFamily", "PointwiseConvs", "PyramidPoolings"),
    "models.cost": ("CellCost", "FeatureShape", "cell_cost"),
    "search.deciding.budget": ("Budget",),
    "search.deciding.outcomes": ("Evaluation", "Finished", "Status"),
    "search.deciding.algorithms.base": ("Algorithm",),
    "search.deciding.algorithms.near_best": ("NearBest",),
    "search.deciding.algorithms.uniform": ("Uniform",),
    "search.deciding.algorithms.evolution": ("RegularizedEvolution",),
    "search.deciding.algorithms.local_search": ("LocalSearch",),
    "search.deciding.algorithms.tpe": ("Tpe",),
    "search.deciding.algorithms.predictor": ("Predictor",),
    "search.deciding.algorithms.pareto": ("Pareto",),
    "search.deciding.algorithms.prior": ("Prior",),
    "search.deciding.schedulers": ("Asha", "Decision", "MedianStopping", "NoStopping", "Scheduler"),
    "models.settings": ("BackboneSettings", "CellSettings"),
    "models.dpc": ("DensePredictionCell",),
    "models.segmenter": ("Segmenter",),
    "training.prediction": ("predict_labels",),
    "training.proxy": ("ProxyTask",),
    "training.settings": ("Inference", "ProxySettings"),
    "data.digests": ("FileDigests",),
    "data.datasets.contract": ("DatasetError", "DatasetInfo", "Sample", "SegmentationDataset", "Split"),
    "data.datasets.shapes": ("Shapes",),
    "data.datasets.camvid": ("CamVid",),
    "data.datasets.cityscapes": ("Cityscapes",),
    "data.datasets.pascal": ("PersonPart", "Voc2012"),
    "data.datasets.folder": ("Folder",),
}
"""By the module that has them; ``__init__.pyi`` has the same."""
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_MODULE_OF)  # noqa: PLE0605 - one list of names is enough


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'dpc' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(_loaded(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return __all__


def _loaded(module: str) -> Any:
    """This project's ``module``, and not one of that name from elsewhere.

    Raises:
        ImportError: a package of that name from elsewhere is loaded already.
    """
    package = module.partition(".")[0]
    loaded = sys.modules.get(package)
    there = str(next(iter(getattr(loaded, "__path__", ())), None) or getattr(loaded, "__file__", None) or ROOT)
    if not Path(there).resolve().is_relative_to(ROOT):
        raise ImportError(f"dpc: its package {package!r} is hidden by {there}, which is loaded already; use dpc first.")
    sys.path.insert(0, str(ROOT))
    try:
        return import_module(module)
    finally:
        sys.path.remove(str(ROOT))
