"""The public names of dpc-search, loaded when they are asked for: ``dpc.CellSpec``, ``dpc.Segmenter``.

This project's packages have names that others use, too: models, data, search, training. Here they are found first, whatever
lies in the folder that Python was started in.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_PUBLIC = {
    "BackboneSettings": "models.settings",
    "CellCost": "models.cost",
    "CellSettings": "models.settings",
    "CellSpace": "search.deciding.space",
    "CellSpec": "models.spec",
    "DensePredictionCell": "models.dpc",
    "FeatureShape": "models.cost",
    "Inference": "training.settings",
    "Segmenter": "models.segmenter",
    "cell_cost": "models.cost",
    "predict_labels": "training.prediction",
}
__all__ = sorted(_PUBLIC)  # noqa: PLE0605 - one list of names is enough


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dpc' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(load(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__


def load(module: str) -> Any:
    """This project's ``module``, and not one of that name from elsewhere.

    Raises:
        ImportError: a package of that name from elsewhere is loaded already.
    """
    package = module.partition(".")[0]
    there = getattr(sys.modules.get(package), "__file__", None) or str(ROOT)
    if not Path(there).resolve().is_relative_to(ROOT):
        raise ImportError(f"dpc: its package {package!r} is hidden by {there}, which is loaded already; use dpc first.")
    sys.path.insert(0, str(ROOT))
    try:
        return import_module(module)
    finally:
        sys.path.remove(str(ROOT))
