"""A study, run for a person: journal, live table, dashboard, store, cluster; and how to go on where it was interrupted."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock

import torch
from rich.console import Console

from data.system.disk import DiskPatience
from data.system.termination import interrupted_code
from search.config import ConfigError
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.journal.events import SearchOpened, TrialInherited
from search.journal.fingerprints import CODE, accepted, differences
from search.journal.folder import JOURNAL, open_search
from search.journal.fork import inherit
from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.journal.remote.keeper import StoredSearch
from search.journal.study import Study
from search.running.kept_checkpoint import KeptTask
from search.running.nodes.cluster import slots
from search.running.nodes.gpus import check_gpus
from search.running.nodes.store_access import check_nodes, clean_nodes
from search.running.resources import Node
from search.running.run import run_study
from search.running.trial import CellTask
from search.session.hints import from_here
from search.session.joining import join
from search.session.stored import kept, restored
from search.session.tracking import dashboard, follow, result_files
from search.settings.groups import Workplace
from search.tracking.settings import Tracking
from search.views.live import SearchDisplay

DISK_PATIENCE_S = 3600.0
"""How long a search waits for space on a full disk before it ends."""


@dataclass(frozen=True)
class Session:
    """One study in ``folder``, from where its journal left it, or from its beginning.

    Attributes:
        opened: what the journal of a new study begins with.
        task: scores a cell on a worker.
        title: what is about to be done, for the first line.
        cure: what to choose where the journal holds a search with other settings.
        accept: digests of code in the fingerprint whose differences change no result, as the user says.
        parent: the folder of the search that this one is forked from.
        rescore: so many of the parent's best cells are scored first, where its scores do not compare with this study's.
        retry_failed: whether the trials that failed before are tried again.
        write_results: called from time to time, at the end, and again while the disk is full; never twice at once.
    """

    folder: Path
    plan: Plan
    opened: SearchOpened
    task: CellTask
    workplace: Workplace
    tracking: Tracking
    console: Console
    title: str
    cure: str
    accept: Sequence[str] = ()
    parent: Path | None = None
    rescore: int = 0
    retry_failed: bool = False
    write_results: Callable[[SearchRecord], None] = lambda record: None

    def run(self) -> tuple[Study, dict[str, str]]:
        """The study, as far as it came, and lines that open its dashboard.

        Raises:
            ConfigError: the journal holds a search with other settings, or one that is no fork of ``parent``.
        """
        patience = DiskPatience(DISK_PATIENCE_S, lambda error: self._say(f"Waiting for disk space: {error}"))
        with ExitStack() as beside:
            journal = beside.enter_context(Journal(self.folder / JOURNAL, self.plan.space.operator_kinds, patience))
            stored = beside.enter_context(restored(self.workplace, journal, self._say))
            record, opened = self._begin(journal)
            self._say(self._headline(record))
            tracked = beside.enter_context(
                follow(
                    journal,
                    self.tracking,
                    self.plan.space.operator_kinds,
                    self.folder,
                    self.console,
                    self._write_one_at_a_time,
                )
            )
            beside.enter_context(kept(stored, journal, record, result_files(self.folder), self._say))
            study = self._run_study(journal, record, opened, stored)
            patience(lambda: self._write_one_at_a_time(record))
        return study, dashboard(self.tracking, tracked.link)

    def exit_code(self, study: Study) -> int:
        """0 of a complete study; else says how to go on, and returns 1, or what a signal's receiver should."""
        if study.is_complete:
            return 0
        if study.trouble:
            self._say(
                f"Stopped: {self.workplace.faults.give_up_after} trials in a row failed alike ({study.trouble}). Once that is "
                f"mended, the same command goes on from {from_here(self.folder / JOURNAL)}; with retry_failed=true it tries "
                "them again."
            )
            return 1
        self._say(
            f"Stopped with {study.record.num_ended} of {study.plan.trials} trials done. Nothing is lost: the same command "
            f"goes on from {from_here(self.folder / JOURNAL)}."
        )
        return interrupted_code()

    def _begin(self, journal: Journal) -> tuple[SearchRecord, SearchOpened]:
        """What the journal holds, begun with the parent's cells where it is a new fork; and how it is opened now."""
        record = SearchRecord(journal.events)
        if record.opened is None:
            journal.clear()  # a fork that was killed before it was opened begins anew
            inherited, opened = self._inherited()
            journal.append(*inherited)
            return SearchRecord(inherited), opened
        if self.parent and record.opened.settings.get("from") != self.parent.name:
            raise ConfigError(f"name: {self.folder} is no fork of {self.parent.name}; choose another name=...")
        now = self.opened.fingerprint
        harmless = accepted(record.fingerprint, now, self.accept)
        if changed := differences({**record.fingerprint, **{code: now[code] for code in harmless}}, now):
            raise ConfigError(f"{self.folder}: holds a search with other settings ({changed}); choose {self._cure(record)}.")
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
        return inherit(parent, scored_as, self.plan, self.rescore), replace(self.opened, accepted=harmless)

    def _headline(self, record: SearchRecord) -> str:
        parts = [self.title]
        if record.num_inherited:
            trial = record.trials[0]
            begins = f"it begins with {record.num_inherited} cells of {trial.source}"
            otherwise = ", which were scored otherwise: they guide proposals and are not ranked"
            parts.append(begins if trial.is_comparable else begins + otherwise)
        if record.num_ended:
            done = f"{record.num_ended} are done already"
            if failed := record.ends[Status.FAILED]:
                again = "and are tried again" if self.retry_failed else "(retry_failed=true tries them again)"
                done += f", of which {failed} failed {again}"
            parts.append(done)
        return "; ".join(parts)

    def _run_study(self, journal: Journal, record: SearchRecord, opened: SearchOpened, stored: StoredSearch | None) -> Study:
        task, workplace = self.task, self.workplace
        if stored:
            opened = replace(opened, settings={**opened.settings, "store": str(stored.place)})
            task = KeptTask(task, stored.checkpoints)
        with SearchDisplay(record, self.plan.trials, self.console) as display:
            give_up_after = workplace.faults.give_up_after
            study = Study(journal, record, self.plan, opened, display, give_up_after, self.retry_failed)
            if is_joined := not study.is_over:
                self._join(study, stored)
            run_study(
                study,
                task,
                workplace.resources,
                workplace.faults,
                self._checkpoints,
                self.plan.space.operator_kinds,
                workplace.ray.max_pending,
                self._say,
                workplace.ray.max_concurrent,
            )
            if stored and is_joined and study.is_complete:
                clean_nodes(self._checkpoints)
        return study

    def _join(self, study: Study, stored: StoredSearch | None) -> None:
        """Connect to the cluster, and see that its nodes can use the store and have the GPUs that Ray counts."""
        join(self.workplace)
        if self.workplace.is_cluster and self.workplace.resources.gpu:
            check_gpus()
        if stored:
            check_nodes(stored.checkpoints, self._checkpoints, study.record.digest)
        there = slots(self.workplace.resources)
        if self.plan.window is not None and there > self.plan.window:
            self._say(f"window: a deterministic search keeps {self.plan.window} of {there} slots busy at most.")

    def _write_one_at_a_time(self, record: SearchRecord) -> None:
        """The tracking thread renews what the end of the search writes once more."""
        with self._lock:
            self.write_results(record)

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True)

    @cached_property
    def _lock(self) -> Lock:
        return Lock()

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"


def check_workplace(workplace: Workplace) -> None:
    """Check what settings alone do not tell: that this machine can use the store, and has the GPUs of a trial that runs on it.

    Raises:
        ResourcesError: it has not.
        StoreError: it cannot use the store.
    """
    if workplace.resources.gpu and not workplace.is_cluster:
        machine = Node({"CPU": workplace.resources.cpu, "GPU": torch.cuda.device_count()})
        replace(workplace.resources, custom=None, label_selector=None).check_fits([machine], "this machine")
    if workplace.bucket:
        workplace.bucket.check()
