"""Operators that this program does not know, for who only looks at a search: their cells are shown as they were written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from models.spec import PUBLISHED_OPERATORS


@dataclass(frozen=True, slots=True)
class ForeignOperator:
    """An operator of a kind that this program does not know.

    Attributes:
        text: its JSON as the journal holds it, without the branch's ``input``; keys are sorted.
    """

    text: str

    def to_json(self) -> dict[str, Any]:
        return dict(json.loads(self.text))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        return cls(json.dumps({key: value for key, value in entry.items() if key != "input"}, sort_keys=True))

    def __str__(self) -> str:
        return " ".join(map(str, self.to_json().values()))


ANY_OPERATOR = (*PUBLISHED_OPERATORS, ForeignOperator)
"""The kinds that a cell of any search may hold."""
