"""``dpc cell``: what a cell is and what it costs."""

import json
from dataclasses import asdict

from data.system.outputs import note_made
from models.cost import cell_cost
from search.findings.leaderboard import quantity
from search.settings.cell import CellSettings
from search.views.console import plain_console
from search.views.diagram import cell_tree


def run(settings: CellSettings) -> int:
    """Show a cell as text or JSON, and as a picture where wanted."""
    cell, features, picture = settings.cell, settings.features, settings.picture
    cost = cell_cost(cell, features, settings.filters)
    if picture:
        from search.views.figures.cell_diagram import draw_cell

        draw_cell(cell, picture)
        note_made(picture, "cell")
    if settings.format == "json":
        print(json.dumps({**asdict(cost), "digest": cell.digest, "cell": cell.to_json()}))
        return 0
    console = plain_console()
    console.print(cell_tree(cell))
    console.print(f"\ndigest          {cell.digest}")
    console.print(f"params          {quantity(cost.params):>6}  with projection and batch norm")
    console.print(f"multiply-adds   {quantity(cost.madds):>6}  at {features.height} x {features.width} features")
    console.print(f"as table 1      {quantity(cost.params_paper):>6}  params, {quantity(cost.madds_paper)} multiply-adds")
    if picture:
        console.print(f"picture         {picture}", soft_wrap=True)
    return 0
