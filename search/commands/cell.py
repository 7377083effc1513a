"""``dpc cell``: what a cell is and what it costs."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from models.cost import FeatureShape, cell_cost
from search.config import Config, ConfigError
from search.deciding.space import AnyCell, CellSpace
from search.findings.leaderboard import quantity
from search.session.named_cells import read_cell
from search.views.diagram import cell_tree
from search.views.figures.cell_diagram import draw_cell


def run(config: Config) -> int:
    """Show a cell as text or JSON, and as a picture where wanted."""
    output = config.value("format", str)
    if output not in ("text", "json"):
        raise ConfigError(f"format: accepted are text and json, got {output!r}.")
    cell = read_cell(config.value("cell", str), config.build("space", CellSpace | AnyCell))
    features = config.build("features", FeatureShape)
    cost = cell_cost(cell, features, config.value("filters", int))
    picture = config.optional("picture", Path)
    if picture:
        draw_cell(cell, picture)
    if output == "json":
        print(json.dumps({**asdict(cost), "digest": cell.digest, "cell": cell.to_json()}))
        return 0
    console = Console(highlight=False)
    console.print(cell_tree(cell))
    console.print(f"\ndigest          {cell.digest}")
    console.print(f"params          {quantity(cost.params):>6}  with projection and batch norm")
    console.print(f"multiply-adds   {quantity(cost.madds):>6}  at {features.height} x {features.width} features")
    console.print(f"as table 1      {quantity(cost.params_paper):>6}  params, {quantity(cost.madds_paper)} multiply-adds")
    if picture:
        console.print(f"picture         {picture}")
    return 0
