"""Journals from the table of an H100's trials, for `dpc simulate journal=...`.

python benchmarks/tables/from_h100.py TABLE.jsonl
"""

import gzip
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.cost import FeatureShape, cell_cost
from models.spec import CellSpec
from search.deciding.outcomes import Status
from search.journal.events import CellProposed, Event, RungReached, SearchClosed, SearchOpened, TrialEnded
from search.journal.journal import Journal

HERE = Path(__file__).parent
FEATURES = FeatureShape(320, 24, 31)
FILTERS = {"f64-400": 64, "f256-400": 256, "f256-800-v4": 256}
"""Of each protocol's branches."""

Row = Mapping[str, Any]


def main() -> None:
    """Write one journal for each protocol and number of branches: a space has cells of one size, a table rungs of one kind."""
    (table,) = sys.argv[1:]
    journals: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for line in Path(table).read_text().splitlines():
        row = json.loads(line)
        journals[row["protocol"], len(row["cell"])].append(row)
    for (protocol, branches), rows in journals.items():
        name = f"camvid-h100-{protocol}-{branches}"
        with TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl") as journal:
            journal.append(*events(name, protocol, rows))
            lines = journal.path.read_bytes()
        path = HERE / f"{name}.jsonl.gz"
        path.write_bytes(gzip.compress(lines, mtime=0))
        cells = len({row["digest"] for row in rows})
        print(f"{path.name}: {len(rows)} trials of {cells} cells, {hashlib.sha256(lines).hexdigest()[:16]}")


def events(name: str, protocol: str, rows: Sequence[Row]) -> Iterator[Event]:
    """A search whose trials are the rows in their order; times count from the table's first second."""
    phases: dict[str, list[int]] = defaultdict(list)
    for trial, row in enumerate(rows):
        phases[row["phase"]].append(trial)
    settings = {"protocol": protocol, "filters": FILTERS[protocol], "device": "NVIDIA H100 80GB HBM3", "phases": phases}
    yield SearchOpened(name, {"features": {"shape": [320, 24, 31]}}, settings, 0.0)
    for trial, row in enumerate(rows):
        cell = CellSpec.from_json(row["cell"])
        cell.check_digest(row["digest"])
        cost = cell_cost(cell, FEATURES, FILTERS[protocol])
        last_s = row["rungs"][-1][3]
        yield CellProposed(trial, cell, row["seed"], cost.params, cost.madds, round(row["ended_s"] - last_s, 3))
        for rung, (iteration, miou, loss, elapsed_s) in enumerate(row["rungs"], start=1):
            is_last = rung == len(row["rungs"])
            time_s = round(row["ended_s"] - last_s + elapsed_s, 3)
            reason = "full budget" if is_last else "no early stopping"
            yield RungReached(trial, rung, iteration, miou, loss, elapsed_s, not is_last, reason, time_s)
        yield TrialEnded(trial, Status.COMPLETED, "full budget", last_s, row["ended_s"])
    yield SearchClosed(f"{len(rows)} trials", rows[-1]["ended_s"])


if __name__ == "__main__":
    main()
