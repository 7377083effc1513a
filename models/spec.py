"""What a cell is: a value that can be written down, compared and hashed. No torch here.

A Dense Prediction Cell (Chen et al. 2018, section 3.1) is a list of branches. Each branch applies one operator to the
backbone's feature map or to the output of an earlier branch, and the cell's output is the concatenation of all branches.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from data.system.errors import UserError
from data.system.json_file import read_json

BACKBONE = -1
"""The ``input`` of a branch that reads the backbone's feature map, as in DeepLab's published cells."""

MAX_BRANCHES = 64
"""Far above the paper's 5: a bound, so that no file can exhaust the stack."""


class CellError(UserError):
    """A cell that cannot be: malformed, reading a later branch, or outside its search space."""


@runtime_checkable
class Operator(Protocol):
    """One operation of a branch. Values that compare equal are the same operator.

    A new operator is a frozen dataclass with these methods, a family in the search space that lists it
    (``search.deciding.space.OperatorFamily``), and a module (``models.operators.build_operator.register``) with its cost
    (``models.cost.operator_cost.register``).
    """

    def to_json(self) -> dict[str, Any]:
        """The operator in DeepLab's published format, without the branch's ``input``."""
        ...

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self | None:
        """The operator that ``entry`` describes, or None where ``entry`` is of another kind."""
        ...

    def __str__(self) -> str:
        """A few characters for tables and diagrams, e.g. ``atrous 1x6``."""
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Conv1x1:
    """1x1 convolution."""

    def to_json(self) -> dict[str, Any]:
        return {"op": "conv", "kernel": 1}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self | None:
        is_mine = entry.get("op") == "conv" and entry.get("kernel") in (1, [1, 1])
        return cls() if is_mine else None

    def __str__(self) -> str:
        return "conv 1x1"


@dataclass(frozen=True, slots=True)
class AtrousConv:
    """3x3 separable convolution dilated by ``rate`` (rows, columns), in feature pixels at output stride 16."""

    rate: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        _check_pair("AtrousConv: rate", self.rate)

    def to_json(self) -> dict[str, Any]:
        return {"op": "conv", "kernel": 3, "rate": list(self.rate)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self | None:
        is_mine = entry.get("op") == "conv" and entry.get("kernel") in (3, [3, 3])
        return cls(_pair(entry.get("rate", 1))) if is_mine else None

    def __str__(self) -> str:
        return f"atrous {self.rate[0]}x{self.rate[1]}"


@dataclass(frozen=True, slots=True)
class PyramidPooling:
    """Average in each cell of a ``grid`` (rows, columns), 1x1 convolution, bilinear resize back to the input's size."""

    grid: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        _check_pair("PyramidPooling: grid", self.grid)

    def to_json(self) -> dict[str, Any]:
        return {"op": "pyramid_pooling", "grid_size": list(self.grid)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self | None:
        is_mine = entry.get("op") == "pyramid_pooling"
        return cls(_pair(entry.get("grid_size"))) if is_mine else None

    def __str__(self) -> str:
        return f"pool {self.grid[0]}x{self.grid[1]}"


PUBLISHED_OPERATORS: tuple[type[Operator], ...] = (Conv1x1, AtrousConv, PyramidPooling)
"""The operators of the paper, which DeepLab's published JSON can hold."""


@dataclass(frozen=True, slots=True)
class Branch:
    """``operator`` applied to the output of branch ``input``, or to the backbone's features (``BACKBONE``)."""

    input: int
    operator: Operator

    def __str__(self) -> str:
        source = "F" if self.input == BACKBONE else f"b{self.input + 1}"
        return f"{self.operator} <- {source}"


@dataclass(frozen=True)
class CellSpec:
    """The architecture of one Dense Prediction Cell.

    Raises:
        CellError: the number of branches is not from 1 to 64, or a branch reads itself or a later one.
    """

    branches: tuple[Branch, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.branches) <= MAX_BRANCHES:
            raise CellError(f"cell: it has 1 to {MAX_BRANCHES} branches, got {len(self.branches)}.")
        for index, branch in enumerate(self.branches):
            if not BACKBONE <= branch.input < index:
                earlier = f" or an earlier branch (0 to {index - 1})" if index else ""
                raise CellError(f"cell: branch {index} must read the backbone (-1){earlier}, got input {branch.input}.")

    def __len__(self) -> int:
        return len(self.branches)

    def __str__(self) -> str:
        return ", ".join(map(str, self.branches))

    def to_json(self) -> list[dict[str, Any]]:
        """The cell in DeepLab's published format: plain lists, dicts and numbers."""
        return [{**branch.operator.to_json(), "input": branch.input} for branch in self.branches]

    @classmethod
    def from_json(cls, value: object, operators: Iterable[type[Operator]] = PUBLISHED_OPERATORS) -> Self:
        """Read a cell in DeepLab's published format.

        Args:
            value: what ``json.loads`` gave.
            operators: the kinds of operator that may occur.

        Raises:
            CellError: names the branch and what is accepted.
        """
        if not isinstance(value, list):
            raise CellError(f"cell: expected a JSON list of branches, got {type(value).__name__}.")
        kinds = tuple(operators)
        return cls(tuple(_branch_from_json(index, entry, kinds) for index, entry in enumerate(value)))

    @classmethod
    def read(cls, path: str | Path, operators: Iterable[type[Operator]] = PUBLISHED_OPERATORS) -> Self:
        """Read a cell from a JSON file: the published list of branches, or an object with that as ``cell`` and its ``digest``.

        Raises:
            CellError: the file is missing, is not a cell, or not the one that its digest names; the message names the file.
        """
        try:
            value = read_json(Path(path))
            if not isinstance(value, dict):
                return cls.from_json(value, operators)
            cell = cls.from_json(value.get("cell"), operators)
            cell.check_digest(value.get("digest"))
            return cell
        except (OSError, UnicodeDecodeError) as error:
            raise CellError(f"cell file {path}: cannot be read ({error}).") from error
        except ValueError as error:
            raise CellError(f"cell file {path}: {str(error).removeprefix('cell: ')}") from error

    def check_digest(self, digest: object) -> None:
        """Refuse a cell that was kept under the digest of another one.

        Raises:
            CellError: it was.
        """
        if digest != self.digest:
            raise CellError(f"cell: its digest was {digest} and is {self.digest}: it has been changed.")

    @cached_property
    def children(self) -> Mapping[int, tuple[int, ...]]:
        """For the backbone (-1) and each branch, the branches that read it, in order."""
        readers: dict[int, list[int]] = {index: [] for index in range(BACKBONE, len(self.branches))}
        for index, branch in enumerate(self.branches):
            readers[branch.input].append(index)
        return {index: tuple(found) for index, found in readers.items()}

    def canonical(self) -> Self:
        """The same network under its one agreed name: cells equal up to branch order have equal canonical forms.

        A branch has one input, so a cell is a rooted, unordered, labelled tree whose root is the backbone. Branches are
        put in preorder with siblings sorted by their subtree's encoding (Aho, Hopcroft and Ullman 1974, example 3.2).
        """
        encoding: dict[int, tuple[Any, ...]] = {}
        for index in reversed(range(len(self.branches))):
            label = key_of(self.branches[index].operator)
            encoding[index] = (label, *sorted(encoding[child] for child in self.children[index]))

        branches: list[Branch] = []

        def place(index: int, parent: int) -> None:
            if index != BACKBONE:
                branches.append(Branch(parent, self.branches[index].operator))
            position = len(branches) - 1
            for child in sorted(self.children[index], key=encoding.__getitem__):
                place(child, position)

        place(BACKBONE, BACKBONE)
        found = type(self)(tuple(branches))
        text = json.dumps(found.to_json(), sort_keys=True, separators=(",", ":"))
        vars(found)["digest"] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return found

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that name the network: equal for cells equal up to branch order."""
        return self.canonical().digest  # which is there from its making


@lru_cache(maxsize=10_000)
def key_of(operator: Operator) -> str:
    """The same for equal operators."""
    return json.dumps(operator.to_json(), sort_keys=True)


def _branch_from_json(index: int, entry: object, operators: Sequence[type[Operator]]) -> Branch:
    if not isinstance(entry, dict):
        raise CellError(f"cell: branch {index} must be a JSON object, got {json.dumps(entry)}.")
    source = entry.get("input")
    if not isinstance(source, int) or isinstance(source, bool):
        raise CellError(f"cell: branch {index} needs an integer 'input', got {json.dumps(source)}.")
    try:
        found = next((operator for kind in operators if (operator := kind.from_json(entry)) is not None), None)
    except ValueError as error:
        raise CellError(f"cell: branch {index}: {error}") from error
    if found is None:
        raise CellError(
            f"cell: branch {index} has no known operator, got {json.dumps(entry)}; accepted are "
            f"{', '.join(kind.__name__ for kind in operators)} in DeepLab's format."
        )
    return Branch(source, found)


def _pair(value: object) -> tuple[int, int]:
    """(rows, columns) from JSON, where one number stands for both; the operator's constructor checks them."""
    return tuple(value) if isinstance(value, list) else (value, value)  # type: ignore[return-value]


def _check_pair(field: str, pair: Sequence[Any]) -> None:
    is_pair = isinstance(pair, Sequence) and len(pair) == 2
    if not (is_pair and type(pair[0]) is int and type(pair[1]) is int and min(pair) >= 1):
        raise ValueError(f"{field} must be two integers of at least 1 (rows, columns), got {list(pair) if is_pair else pair}.")
