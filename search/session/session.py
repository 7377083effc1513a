"""A study, run for a person: journal, live table, dashboard, store, cluster; and how to resume where it was interrupted."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock

import torch
from rich.console import Console

from data.system.disk import DiskPatience
from data.system.termination import interrupted_code
from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.journal.events import Event, SearchOpened
from search.journal.folder import JOURNAL
from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.journal.remote.keeper import StoredSearch
from search.journal.resumed import to_resume
from search.journal.study import Callback, RunningSearch, Study
from search.running.kept_checkpoint import KeptTask
from search.running.nodes.cluster import slots
from search.running.nodes.gpus import check_gpus
from search.running.nodes.store_access import check_nodes, clean_nodes
from search.running.run import run_study
from search.running.task import CellTask
from search.session.beginning import Beginning
from search.session.hints import from_here
from search.session.joining import join
from search.session.stored import kept, restored
from search.session.tracking import dashboard, follow, result_files
from search.settings.groups import Workplace
from search.tracking.follower import TrackingThread
from search.tracking.settings import Tracking
from search.views.live import SearchDisplay
from search.wording import counted

DISK_PATIENCE_S = 3600.0
"""How long a search waits for space on a full disk before it ends."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One study in ``folder``, from where its journal left it, or from its beginning.

    Attributes:
        task: scores a cell on a worker.
        tracking: the MLflow tracker that shows it; None for none.
        title: what is about to be done, for the first line.
        timeout_s: after so long no more trials are begun, and those running finish; None for no limit.
        callbacks: told what happens.
        retry_failed: whether the trials that failed before are tried again.
        resume: trials that continue to the full budget, by number or by their cell's digest.
        write_results: called from time to time, at the end, and again while the disk is full; never twice at once.
    """

    folder: Path
    beginning: Beginning
    task: CellTask
    workplace: Workplace
    tracking: Tracking | None
    console: Console
    title: str
    timeout_s: float | None = None
    callbacks: Sequence[Callback] = ()
    retry_failed: bool = False
    resume: Sequence[int | str] = ()
    write_results: Callable[[SearchRecord], None] = lambda record: None

    @property
    def plan(self) -> Plan:
        return self.beginning.plan

    def run(self) -> tuple[Study, dict[str, str]]:
        """The study, as far as it came, and lines that open its dashboard.

        Raises:
            ConfigError: the journal holds a search with other settings, or one that is no fork of ``parent``.
        """
        patience = DiskPatience(DISK_PATIENCE_S, lambda error: self._say(f"Waiting for disk space: {error}"))
        with ExitStack() as beside:
            journal = beside.enter_context(Journal(self.folder / JOURNAL, self.plan.space.operator_kinds, patience))
            stored = beside.enter_context(restored(self.workplace, journal, self._say))
            record, opened = self.beginning.begin(journal)
            resumed = to_resume(record, self.resume)
            self._say(self._headline(record, resumed))
            tracked: TrackingThread | None = None
            display = beside.enter_context(SearchDisplay(record, self.plan, self.console, lambda: self._lines(tracked)))
            tracked = beside.enter_context(self._follow(journal, self.tracking)) if self.tracking else None
            beside.enter_context(kept(stored, journal, record, result_files(self.folder), self._say))
            study = self._run_study(journal, record, opened, stored, resumed, display)
            display.finish("writing results")
            patience(lambda: self._write_one_at_a_time(record))
        return study, self._dashboard(tracked)

    def conclude(self, study: Study) -> int:
        """The exit code: 0 of a complete study; else 1, or what a signal's receiver should; then it says how to resume."""
        if study.is_complete:
            return 0
        if study.trouble:
            self._say(
                f"Stopped: {self.workplace.faults.give_up_after} trials in a row failed alike ({study.trouble}). Fix the "
                f"cause, then run the same command again to resume from {from_here(self.folder / JOURNAL)}; "
                "retry_failed=true tries the failed ones again, too."
            )
            return 1
        why = f" ({study.stopped})" if study.stopped else ""
        done = f"{study.record.num_ended} of {counted(study.plan.trials, 'trial')}"
        journal = from_here(self.folder / JOURNAL)
        self._say(f"Stopped after {done}{why}. Nothing is lost: run the same command again to resume from {journal}.")
        return 0 if study.stopped else interrupted_code()

    def _follow(self, journal: Journal, tracking: Tracking) -> AbstractContextManager[TrackingThread]:
        kinds = self.plan.space.operator_kinds
        return follow(journal, tracking, kinds, self.folder, self.console, self._write_one_at_a_time)

    def _dashboard(self, tracked: TrackingThread | None) -> dict[str, str]:
        return dashboard(self.tracking, tracked.link) if self.tracking and tracked else {}

    def _lines(self, tracked: TrackingThread | None) -> dict[str, str]:
        """What a person may look at or do while the study runs."""
        page = self.folder / "report.html"
        there = {"report": from_here(page)} if page.is_file() else {"results": from_here(self.folder)}
        return {**there, **self._dashboard(tracked), "Ctrl-C": "stops safely; run the same command again to resume"}

    def _headline(self, record: SearchRecord, resumed: Sequence[int]) -> str:
        parts = [self.title]
        if record.num_inherited:
            inherited = [trial for trial in record.trials.values() if trial.source]
            begins = f"it begins with {counted(len(inherited), 'cell')} of {inherited[0].source}"
            guides = sum(not trial.is_comparable for trial in inherited)
            which = "which were" if guides == len(inherited) else f"of which {guides:,} {'was' if guides == 1 else 'were'}"
            otherwise = f", {which} scored otherwise or cost too much: they guide proposals and are not ranked"
            parts.append(begins + otherwise if guides else begins)
        if record.num_ended:
            done = f"{record.num_ended} {'is' if record.num_ended == 1 else 'are'} done already"
            if failed := record.ends[Status.FAILED]:
                again = "and are tried again" if self.retry_failed else "(retry_failed=true tries them again)"
                done += f", of which {failed} failed {again}"
            parts.append(done)
        if resumed:
            goes = "trial {} continues" if len(resumed) == 1 else "trials {} continue"
            parts.append(f"{goes.format(', '.join(map(str, resumed)))} to the full budget")
        return "; ".join(parts)

    def _run_study(
        self,
        journal: Journal,
        record: SearchRecord,
        opened: SearchOpened,
        stored: StoredSearch | None,
        resumed: Sequence[int],
        display: SearchDisplay,
    ) -> Study:
        task, workplace = self.task, self.workplace
        if stored:
            opened = replace(opened, settings={**opened.settings, "store": str(stored.place)})
            task = KeptTask(task, stored.checkpoints)
        give_up_after = workplace.faults.give_up_after
        callbacks = [*([] if self.timeout_s is None else [stop_after(self.timeout_s)]), *self.callbacks]
        study = Study(
            journal,
            record,
            self.plan,
            opened,
            on_event=display,
            give_up_after=give_up_after,
            retry_failed=self.retry_failed,
            callbacks=callbacks,
            resume=resumed,
        )
        if is_joined := not study.is_over:
            display.phase = "starting Ray"
            self._join(study, stored)
            display.phase = "starting workers"
        run_study(
            study,
            task,
            resources=workplace.resources,
            tolerance=workplace.faults,
            checkpoints=self._checkpoints,
            operators=self.plan.space.operator_kinds,
            max_pending=workplace.ray.max_pending,
            say=self._say,
            max_concurrent=workplace.ray.max_concurrent,
            show_running=display.run,
        )
        if stored and is_joined and study.is_complete:
            clean_nodes(self._checkpoints)
        return study

    def _join(self, study: Study, stored: StoredSearch | None) -> None:
        """Connect to the cluster, and see that its nodes can use the store and have the GPUs that Ray counts."""
        join(self.workplace)
        if self.workplace.is_cluster and self.workplace.resources.gpu:
            check_gpus(self.workplace.resources)
        if stored:
            check_nodes(stored.checkpoints, self._checkpoints, self.workplace.resources, study.record.digest)
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


def stop_after(timeout_s: float) -> Callback:
    """Stops a study at its first event after so long, from now on."""
    until_s = time.monotonic() + timeout_s

    def stop(study: RunningSearch, event: Event) -> None:
        if not study.stopped and time.monotonic() >= until_s:
            study.stop(f"timeout_s={timeout_s:g}")

    return stop


def check_workplace(workplace: Workplace) -> None:
    """Check what settings alone do not tell: that this machine can use the store, and has the GPUs of a trial that runs on it.

    Raises:
        ResourcesError: it has not.
        StoreError: it cannot use the store.
    """
    if workplace.resources.gpu and not workplace.is_cluster:
        workplace.resources.check_machine(gpus=torch.cuda.device_count())
    if workplace.bucket:
        workplace.bucket.check()
