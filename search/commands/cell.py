"""``dpc cell``: what a cell is and what it costs, or what two have in common."""

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console

from data.system.outputs import note_made
from models.cost import cell_cost
from models.spec import CellSpec
from search.findings.kinship import shared_branches
from search.settings.cell import CellCommandSettings
from search.views.console import plain_console
from search.views.diagram import cell_tree
from search.wording import quantity


def run(settings: CellCommandSettings) -> int:
    """Show one cell or two as text or JSON, and as a picture where wanted."""
    cells, picture = settings.cells, settings.picture
    if picture:
        _draw(settings)
        note_made(picture, "cell")
    if settings.format == "json":
        told = [_record(cell, settings) for cell in cells.values()]
        print(json.dumps(told if len(told) > 1 else told[0]))
        return 0
    console = plain_console()
    for name, cell in cells.items():
        _tell(cell, settings, console, name if len(cells) > 1 else "")
    if len(cells) > 1:
        one, other = cells.values()
        console.print(f"both have        {len(shared_branches(one, other)[0])} branches, from the backbone down")
    if picture:
        console.print(f"picture         {picture}", soft_wrap=True)
    return 0


def _draw(settings: CellCommandSettings) -> None:
    assert settings.picture is not None
    if len(settings.cells) > 1:
        from search.views.figures.kinship import draw_pair

        draw_pair(settings.cells, settings.picture)
        return
    from search.views.figures.cell_diagram import draw_cell

    (cell,) = settings.cells.values()
    draw_cell(cell, settings.picture)


def _record(cell: CellSpec, settings: CellCommandSettings) -> dict[str, Any]:
    cost = cell_cost(cell, settings.features, settings.filters)
    known = {name: value for name, value in asdict(cost).items() if value is not None}  # of no table, it has no latency
    return {**known, "digest": cell.digest, "cell": cell.to_json()}


def _tell(cell: CellSpec, settings: CellCommandSettings, console: Console, name: str) -> None:
    features = settings.features
    cost = cell_cost(cell, features, settings.filters)
    if name:
        console.print(name, style="bold", markup=False, soft_wrap=True)
    console.print(cell_tree(cell))
    console.print(f"\ndigest          {cell.digest}")
    console.print(f"params          {quantity(cost.params):>6}  with projection and batch norm")
    console.print(f"multiply-adds   {quantity(cost.madds):>6}  at {features.height} x {features.width} features")
    console.print(f"as table 1      {quantity(cost.params_paper):>6}  params, {quantity(cost.madds_paper)} multiply-adds")
    if name:
        console.print()
