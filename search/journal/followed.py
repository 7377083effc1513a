"""A search that another process may be writing, read as far as it has come. Nothing is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from data.store import Store
from data.system.locks import is_held
from search.journal.events import Event
from search.journal.folder import JOURNAL, journal_in
from search.journal.foreign import ANY_OPERATOR
from search.journal.glance import state
from search.journal.lines import BEGIN, JournalError, Place, decode, read_events
from search.journal.record import SearchRecord
from search.journal.remote.owner import Watched
from search.journal.remote.segments import StoredJournal


@dataclass
class Followed:
    """A search, at the last look.

    Attributes:
        place: where its journal lies, in words.
        events: all of its journal's; ``record`` is what they add up to.
    """

    place: str
    read: Callable[[Place], tuple[Sequence[Event], Place]]
    holder: Callable[[], bool]
    events: list[Event] = field(default_factory=list)
    record: SearchRecord = field(default_factory=SearchRecord)
    _end: Place = BEGIN
    _is_held: bool = False

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Raises a JournalError where there is none."""
        journal = journal_in(folder)
        held = partial(is_held, journal.with_suffix(".lock"))
        return cls(str(folder), partial(read_events, journal, operators=ANY_OPERATOR), held)

    @classmethod
    def in_store(cls, bucket: Store, name: str) -> Self:
        """One that a driver keeps in ``bucket``, or kept there before it was killed."""
        place = bucket / name
        stored = StoredJournal(place / "journal", Path(JOURNAL))

        def read(since: Place) -> tuple[Sequence[Event], Place]:
            lines = stored.read(since.offset).splitlines(keepends=True)
            return decode(Path(f"{place}/{JOURNAL}"), lines, since, ANY_OPERATOR)

        return cls(str(place), read, Watched(place))

    @property
    def state(self) -> str:
        """``running``, ``complete`` or ``stopped``."""
        return state(self._is_held, self.record.closed is not None)

    def look(self) -> bool:
        """Take in what is new, and say whether anything was.

        Raises:
            JournalError: there is no search, or its journal is damaged.
            StoreError: the store fails.
        """
        self._is_held = self.holder()
        new, self._end = self.read(self._end)
        for event in new:
            self.record.apply(event)
        self.events += new
        if self.record.opened is None:
            raise JournalError(f"name: no search has begun in {self.place}.")
        return bool(new)
