"""How a cell and settings look in a run: parameters that a person sorts and filters by, and tags that a program reads."""

import json
import re
from collections.abc import Mapping
from typing import Any

from models.spec import CellSpec
from search.journal.fingerprints import flat
from search.tracking.client import Tracker, one_line_errors
from search.tracking.settings import Tracking, TrackingError

CELL_TAG = "dpc.cell"
"""Holds a run's cell as JSON."""
REGISTRY = "models:/"


def child_run_cell(run: str, uri: str) -> tuple[list[Any], str | None]:
    """The cell of a run, in DeepLab's published format and unchecked, and the digest that it was kept under.

    Args:
        run: MLflow's id of it, or ``models:/<name>/<version>`` of a model in its registry.

    Raises:
        TrackingError: there is no such run, model or tracker, or the run has no cell.
    """
    tracking = Tracking(uri)
    if tracking.sqlite_file and not tracking.sqlite_file.exists():
        raise TrackingError(f"{tracking}: there is no such file.")
    with one_line_errors(tracking):
        tracker = Tracker(tracking)
        data = tracker.run(tracker.run_of_model(run) if run.startswith(REGISTRY) else run).data
    try:
        cell = json.loads(data.tags[CELL_TAG])
    except (KeyError, ValueError):
        cell = None
    if not isinstance(cell, list):
        raise TrackingError(f"{tracking}: run {run} has no cell; choose the run of a cell, not that of a search.")
    return cell, data.params.get("digest")


def percentage(miou: float) -> float:
    """mIoU as people read it in a dashboard, which shows all the digits of a number."""
    return round(100 * miou, 4)


def cell_params(cell: CellSpec) -> dict[str, str]:
    branches = {f"branch_{index}": str(branch) for index, branch in enumerate(cell.branches, start=1)}
    return {"digest": cell.digest, "branches": str(len(cell))} | branches


def cell_tag(cell: CellSpec) -> dict[str, str]:
    return {CELL_TAG: json.dumps(cell.to_json(), separators=(",", ":"))}


def flat_params(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as parameters, whose names have only what MLflow takes."""
    return {
        re.sub(r"[^\w\-. /]", "_", path)[:250]: value if isinstance(value, str) else json.dumps(value, default=str)
        for path, value in flat(settings)
    }
