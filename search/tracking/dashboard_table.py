"""A search's cells in MLflow's dashboard, best first, with the columns that a reviewer wants and score against cost.

MLflow keeps the views that people share as tags of an experiment; this is one.
"""

import json
from typing import Any

VIEW_TAG = "mlflow.sharedViewState."
"""With a view's key: the tag that holds it."""
SECTION = "Score and cost"
"""Of the view's charts."""
MOST_BRANCHES = 8
"""MLflow leaves out columns that no run has."""


def cells_view(condition: str) -> str:
    """The view of the runs that ``condition`` (MLflow's filter string) holds for, as MLflow stores it."""
    rank, score = "metrics.`rank`", "final_miou_percent"
    widths_px = {
        rank: 60,
        f"metrics.`{score}`": 160,
        "tags.`status`": 100,
        "tags.`reason`": 150,
        "metrics.`rung`": 60,
        "metrics.`params`": 90,
        "metrics.`madds`": 110,
        **{f"params.`branch_{branch}`": 150 for branch in range(1, MOST_BRANCHES + 1)},
    }
    view: dict[str, Any] = {
        "searchFilter": condition,
        "orderByKey": rank,
        "orderByAsc": True,
        "selectedColumns": list(widths_px),
        "columnOrder": list(widths_px),
        "columnWidths": widths_px,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [_scatter(cost, score) for cost in ("madds", "params")],
        "compareRunSections": [
            {"uuid": SECTION, "name": SECTION, "display": True, "isReordered": False, "deleted": False, "isGenerated": False}
        ],
    }
    return json.dumps(view)


def _scatter(across: str, up: str) -> dict[str, Any]:
    """A chart of the view: a metric of each run against another."""
    return {
        "uuid": f"{up}-{across}",
        "type": "SCATTER",
        "metricSectionId": SECTION,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
        "xaxis": {"key": across, "type": "METRIC"},
        "yaxis": {"key": up, "type": "METRIC"},
    }


def view_link(dashboard: str, experiment: str, key: str) -> str:
    """Where ``dashboard``, such as http://127.0.0.1:5000, shows a view."""
    return f"{dashboard}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={key}"
