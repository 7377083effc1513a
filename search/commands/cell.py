"""``dpc cell``: what a cell is and what it costs."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from models.cost import FeatureShape, cell_cost
from models.spec import PUBLISHED_OPERATORS, CellError, CellSpec
from search.config import CONF, Config, ConfigError
from search.diagram import cell_tree
from search.figures.cells import draw_cell
from search.leaderboard import quantity
from search.space import AnyCell, CellSpace


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


def read_cell(name: str, space: CellSpace | AnyCell) -> CellSpec:
    """The cell in conf/cell/ called ``name``, or of a JSON file; a search's best.json is one, too.

    Raises:
        CellError: there is no such cell, it is malformed, or it is outside ``space``.
    """
    named = CONF / "cell" / f"{name}.json"
    path = named if named.is_file() else Path(name)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in named.parent.glob("*.json")))
        raise CellError(f"cell: no file {name}; accepted are a JSON file and the named cells {names}.")
    kinds = space.operator_kinds if isinstance(space, CellSpace) else PUBLISHED_OPERATORS
    cell = CellSpec.read(path, kinds)
    if isinstance(space, CellSpace):
        try:
            space.check(cell)
        except CellError as error:
            raise CellError(f"{error} (space=any accepts every cell)") from error
    return cell
