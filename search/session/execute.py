"""Runs a study for a command: journal, live table, dashboard, cluster; and says how to go on where it was interrupted."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock

import torch
from rich.console import Console

from data.system.disk import DiskPatience
from data.system.termination import handle_sigterm, interrupted_code
from search.config import Config, ConfigError
from search.deciding.policy import Plan
from search.journal.events import SearchOpened
from search.journal.fork import inherit
from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.journal.remote.keeper import StoredSearch
from search.journal.study import Study
from search.running.faults.tolerance import FaultTolerance
from search.running.kept_checkpoint import KeptTask
from search.running.nodes.cluster import connect, names_cluster, slots
from search.running.nodes.store_access import check_nodes, clean_nodes
from search.running.resources import Node, Resources
from search.running.run import run_study
from search.running.trial import CellTask
from search.session.hints import from_here
from search.session.plan import differences
from search.session.store import kept, restored, store_of
from search.session.tracking import dashboard, follow, result_files, tracking_settings
from search.views.live import SearchDisplay

DISK_PATIENCE_S = 3600.0
"""How long a search waits for space on a full disk before it ends."""


def execute(
    config: Config,
    plan: Plan,
    opened: SearchOpened,
    task: CellTask,
    folder: Path,
    title: str,
    cure: str,
    console: Console,
    parent: Path | None = None,
    write_results: Callable[[SearchRecord], None] = lambda record: None,
) -> tuple[Study, dict[str, str]]:
    """Run ``plan`` from where the journal in ``folder`` left it, or from its beginning.

    Args:
        task: scores a cell on a worker.
        title: what is about to be done, for the first line.
        cure: what to choose where the journal holds a search with other settings.
        parent: the journal of the search that this one is forked from.
        write_results: called from time to time, at the end, and again while the disk is full.

    Returns:
        The study, and lines that open its dashboard.

    Raises:
        ConfigError: the journal holds a search with other settings, or one that is no fork of ``parent``.
    """
    resources, faults = config.build("resources", Resources), config.build("faults", FaultTolerance)
    pending, checkpoints = config.value("ray.max_pending", int), folder / "checkpoints"
    tracking, operators = tracking_settings(config), plan.space.operator_kinds
    say = partial(console.print, soft_wrap=True)
    patience = DiskPatience(DISK_PATIENCE_S, lambda error: say(f"Waiting for disk space: {error}"))
    with (
        Journal(folder / "journal.jsonl", operators, patience) as journal,
        restored(config, journal, say) as stored,
    ):
        record = _begin(journal, parent, opened, plan, config.optional("fork_rescore", int) or 0, cure)
        say(_headline(title, record))
        write = _one_at_a_time(write_results)
        if stored:
            opened = replace(opened, settings={**opened.settings, "store": str(stored.place)})
            task = KeptTask(task, stored.checkpoints)
        with (
            follow(journal.path, tracking, operators, folder, console, write) as tracked,
            kept(stored, record, result_files(folder), say),
        ):
            with SearchDisplay(record, plan.trials, console) as display:
                study = Study(journal, record, plan, opened, on_event=display)
                if is_joined := not study.is_over:
                    _join(config, study, stored, checkpoints, say)
                run_study(study, task, resources, faults, checkpoints, operators, pending, say)
                if stored and is_joined and study.is_complete:
                    clean_nodes(checkpoints)
            patience(lambda: write(record))
    return study, dashboard(tracking, tracked.link)


def _join(config: Config, study: Study, stored: StoredSearch | None, checkpoints: Path, say: Callable[[str], None]) -> None:
    """Connect to the cluster, and see that its nodes can use the store."""
    connect(config.optional("ray.address", str))
    handle_sigterm()
    if stored:
        check_nodes(stored.checkpoints, checkpoints, study.record.digest)
    there = slots(config.build("resources", Resources))
    window = study.plan.window
    if window is not None and there > window:
        say(f"window: a deterministic search keeps {window} of {there} slots busy at most.")


def exit_code(study: Study, folder: Path, console: Console) -> int:
    """0 of a complete study; else says how to go on, and returns what a signal's receiver should."""
    if study.is_complete:
        return 0
    console.print(
        f"Stopped with {study.record.num_ended} of {study.plan.trials} trials done. Nothing is lost: the same command goes on "
        f"from {from_here(folder / 'journal.jsonl')}.",
        soft_wrap=True,
    )
    return interrupted_code()


def check_running(config: Config) -> None:
    """Check how trials are to run, that this machine can use the store, and, where no cluster is named, hold a trial.

    Raises:
        ConfigError: no trial might ever wait for a place, so that none would run.
        ResourcesError: it cannot hold one.
        StoreError: it cannot use the store.
    """
    if (max_pending := config.value("ray.max_pending", int)) < 1:
        raise ConfigError(f"ray.max_pending must be at least 1, got {max_pending}.")
    resources, _ = config.build("resources", Resources), config.build("faults", FaultTolerance)
    if not names_cluster(config.optional("ray.address", str)):
        machine = Node({"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()})
        replace(resources, custom=None, label_selector=None).check_fits([machine], "this machine")
    if store := store_of(config):
        store.check()


def _one_at_a_time(write_results: Callable[[SearchRecord], None]) -> Callable[[SearchRecord], None]:
    """The tracking thread renews what the end of the search writes once more."""
    lock = Lock()

    def write(record: SearchRecord) -> None:
        with lock:
            write_results(record)

    return write


def _begin(journal: Journal, parent: Path | None, opened: SearchOpened, plan: Plan, rescore: int, cure: str) -> SearchRecord:
    """What the journal holds, begun with the parent's cells where it is a new fork."""
    folder = journal.path.parent
    record = SearchRecord(journal.events)
    if record.opened is None:
        journal.clear()  # a fork that was killed before it was opened begins anew
        inherited = inherit(parent, opened.fingerprint, plan, plan.space.operator_kinds, rescore) if parent else []
        journal.append(*inherited)
        return SearchRecord(inherited)
    if parent and record.opened.settings.get("from") != parent.parent.name:
        raise ConfigError(f"name: {folder} is no fork of {parent.parent.name}; choose another name=...")
    if changed := differences(record.opened.fingerprint, opened.fingerprint):
        raise ConfigError(f"{folder}: holds a search with other settings ({changed}); choose {cure}.")
    return record


def _headline(title: str, record: SearchRecord) -> str:
    parts = [title]
    if record.num_inherited:
        parts.append(_history(record))
    if record.num_ended:
        parts.append(f"{record.num_ended} are done already")
    return "; ".join(parts)


def _history(record: SearchRecord) -> str:
    trial = record.trials[0]
    text = f"it begins with {record.num_inherited} cells of {trial.source}"
    return text if trial.is_comparable else f"{text}, which were scored otherwise: they guide proposals and are not ranked"
