"""What a benchmark found, as JSON; ``benchmarks/compare.py`` sets two such files side by side."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

FOLDER = Path("outputs/bench")


def save(script: str, figures: Mapping[str, float]) -> None:
    """Write the figures of ``script`` (its ``__file__``), whose names end in their unit: `, s`, `, /s`, `, x`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{Path(script).stem}.json"
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    path.write_text(json.dumps({"machine": machine, "figures": dict(figures)}, indent=2) + "\n")
