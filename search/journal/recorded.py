"""What a search was begun with, read from the first line of its journal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.cost import FeatureShape
from search.deciding.space import AtrousConvs, CellSpace, OperatorFamily, PointwiseConvs, PyramidPoolings
from search.journal.events import SearchOpened

_FAMILIES: Mapping[str, type[OperatorFamily]] = {
    f"{module}{family.__name__}": family
    for family in (PointwiseConvs, AtrousConvs, PyramidPoolings)
    for module in ("", "search.deciding.space.", "search.space.")
}
"""By what a journal calls them: the class alone, or with the module that it lay in when the search began."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The settings of a search by name. What its journal does not say is None."""

    opened: SearchOpened

    @property
    def known(self) -> Mapping[str, Any]:
        """All of them, as plain values."""
        return {**self.opened.settings, **self.opened.fingerprint}

    @property
    def algorithm(self) -> str | None:
        """Its class, ``NearBest``, or the function that makes it, ``listed_in``; likewise ``scheduler``."""
        return kind_of(self.known.get("algorithm"))

    @property
    def scheduler(self) -> str | None:
        return kind_of(self.known.get("scheduler"))

    @property
    def seed(self) -> int | None:
        return self.opened.fingerprint.get("seed")

    @property
    def space(self) -> CellSpace | None:
        """To be counted and sampled; None, too, if it has operators of a user's own: nothing read back is looked up."""
        return space_of(self.known.get("space", {}))

    @property
    def features(self) -> FeatureShape | None:
        """What the cells read."""
        shape = self.opened.fingerprint.get("features", {}).get("shape")
        return FeatureShape(*shape) if shape else None

    @property
    def filters(self) -> int | None:
        """Of a cell's branches."""
        filters: int | None = self._proxy.get("cell", {}).get("filters")
        return filters

    @property
    def rungs(self) -> tuple[int, ...]:
        """Iterations after which a cell is scored."""
        return tuple(self._proxy.get("rungs", ()))

    @property
    def is_by_objective(self) -> bool:
        """Whether an objective of the user's gave the scores, and not the proxy task on cached features."""
        features = self.opened.fingerprint.get("features", {})
        return bool(features) and not any(isinstance(split, Mapping) for split in features.values())

    @property
    def can_be_retrained(self) -> bool:
        """Whether ``dpc retrain`` has images to train on: those of an objective that a program called are not known."""
        return not self.is_by_objective or "arguments" in self.known

    @property
    def _proxy(self) -> Mapping[str, Any]:
        proxy: Mapping[str, Any] = self.opened.fingerprint.get("proxy", {})
        return proxy


def space_of(settings: Mapping[str, Any]) -> CellSpace | None:
    """The space that a fingerprint records; None if it has operators of a user's own."""
    families: dict[str, OperatorFamily] = {}
    for name, recorded in settings.get("operators", {}).items():
        family = _FAMILIES.get(recorded.get("kind", ""))
        if family is None:
            return None
        families[name] = family(**{key: value for key, value in recorded.items() if key != "kind"})
    return CellSpace(settings["num_branches"], families) if families else None


def kind_of(settings: Any) -> str | None:
    """The class, or the function, that some settings are built by, without the module that it lies in."""
    kind = settings.get("kind") if isinstance(settings, Mapping) else None
    return str(kind).rpartition(".")[2] if kind else None
