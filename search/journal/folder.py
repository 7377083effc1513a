"""A search's folder: where its journal lies, and what it says of the search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.cost import FeatureShape
from models.spec import PUBLISHED_OPERATORS, Operator
from search.journal.events import Event, SearchOpened
from search.journal.lines import JournalError, read_events
from search.journal.record import SearchRecord
from search.journal.recorded import Recorded

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class LoadedSearch:
    """A search that has begun, as its journal tells it.

    Attributes:
        opened: what was searched.
        record: what its ``events`` add up to.
    """

    folder: Path
    opened: SearchOpened
    events: Sequence[Event]
    record: SearchRecord

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def recorded(self) -> Recorded:
        """The settings that it was begun with."""
        return Recorded(self.opened)

    @property
    def features(self) -> FeatureShape:
        """What its cells read.

        Raises:
            JournalError: its first line does not say so.
        """
        if (features := self.recorded.features) is None:
            raise JournalError(f"{self.folder / JOURNAL}: its first line has no features.shape, so that no cell has a cost.")
        return features


def journal_in(folder: Path, setting: str = "name") -> Path:
    """The journal of the search in ``folder``.

    Args:
        setting: that names the search, for the message.

    Raises:
        JournalError: there is none.
    """
    path = folder / JOURNAL
    if not path.is_file():
        raise JournalError(f"{setting}: no search {folder.name!r}, {path} does not exist.")
    return path


def open_search(
    folder: Path, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS, setting: str = "name"
) -> LoadedSearch:
    """Read the search in ``folder``.

    Args:
        operators: the kinds of operator that its cells may hold.
        setting: that names the search, for the message.

    Raises:
        JournalError: there is none, or its journal is damaged.
    """
    path = journal_in(folder, setting)
    events, _ = read_events(path, operators=operators)
    record = SearchRecord(events)
    if record.opened is None:
        raise JournalError(f"{setting}: no search {folder.name!r}, {path} has no first line.")
    return LoadedSearch(folder, record.opened, events, record)


def load(folder: str | Path, operators: tuple[type[Operator], ...] = PUBLISHED_OPERATORS) -> SearchRecord:
    """What a search has found so far, whether it still runs or not; nothing is written.

    Args:
        folder: ``output_dir/name``.
        operators: the kinds of operator that its cells may hold: ``space.operator_kinds`` where it has some of your own.

    Returns:
        ``.best``, ``.ranked()``, ``.trials`` by number; each trial has ``.cell``, ``.miou``, ``.rungs``, ``.status``.

    Raises:
        ValueError: there is no search, or its journal is damaged.
    """
    return open_search(Path(folder), operators, "folder").record
