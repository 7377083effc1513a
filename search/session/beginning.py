"""How a study begins: anew, from its journal, or from another search's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search.config_errors import ConfigError
from search.deciding.policy import Plan
from search.journal.events import SearchOpened, TrialInherited
from search.journal.fingerprints import CODE, accepted, differences
from search.journal.folder import open_search
from search.journal.fork import inherit
from search.journal.journal import Journal
from search.journal.record import SearchRecord


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a study is begun with, and what it is compared with where its journal has begun already.

    Attributes:
        opened: what the journal of a new study begins with.
        cure: what to choose where the journal holds a search with other settings.
        accept: digests of code in the fingerprint whose differences change no result, as the user says.
        parent: the folder of the search that this one is forked from.
        rescore: so many of the parent's best cells are scored first, where its scores do not compare with this study's.
    """

    plan: Plan
    opened: SearchOpened
    cure: str
    accept: Sequence[str] = ()
    parent: Path | None = None
    rescore: int = 0

    def begin(self, journal: Journal) -> tuple[SearchRecord, SearchOpened]:
        """What the journal holds, begun with the parent's cells where it is a new fork; and how it is opened now.

        Raises:
            ConfigError: the journal holds a search with other settings, or one that is no fork of ``parent``.
        """
        folder, record = journal.path.parent, SearchRecord(journal.events)
        if record.opened is None:
            journal.clear()  # a fork that was killed before it was opened begins anew
            inherited, opened = self._inherited()
            journal.append(*inherited)
            return SearchRecord(inherited), opened
        if self.parent and record.opened.settings.get("from") != self.parent.name:
            raise ConfigError(f"name: {folder} is not a fork of {self.parent.name}; choose another name=...")
        now = self.opened.fingerprint
        harmless = accepted(record.fingerprint, now, self.accept)
        if changed := differences({**record.fingerprint, **{code: now[code] for code in harmless}}, now):
            raise ConfigError(f"{folder}: holds a search with other settings ({changed}); choose {self._cure(record)}.")
        return record, replace(self.opened, accepted=harmless)

    def _cure(self, record: SearchRecord) -> str:
        codes = accepted(record.fingerprint, self.opened.fingerprint, CODE)
        return f"{self.cure}; or, where that code changes no result, accept=[{','.join(codes)}]" if codes else self.cure

    def _inherited(self) -> tuple[Sequence[TrialInherited], SearchOpened]:
        if self.parent is None:
            return (), self.opened
        parent, now = open_search(self.parent, self.plan.space.operator_kinds, "from"), self.opened.fingerprint
        harmless = accepted(parent.record.fingerprint, now, self.accept)
        scored_as = {**now, **{code: was for code, (was, _) in harmless.items()}}
        inherited = inherit(parent, scored_as, self.plan, self.rescore)
        if parent.record.finished and not inherited:
            count = len(parent.record.finished)
            raise ConfigError(
                f"from: none of the {count} finished cells of {self.parent.name} has a score and is in this space."
            )
        return inherited, replace(self.opened, accepted=harmless)
