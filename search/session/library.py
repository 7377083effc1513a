"""``dpc.search``: a search of one's own, run by Ray Tune."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.system.errors import UserError
from data.system.paths import absolute
from data.system.termination import INTERRUPTED, TRY_AGAIN, own_signals
from models.cost import FeatureShape
from models.spec import CellSpec
from search.deciding.algorithms.base import Algorithm
from search.deciding.algorithms.prior import Prior
from search.deciding.budget import Budget
from search.deciding.schedulers import Scheduler
from search.deciding.space import CellSpace
from search.findings.failures import failures, no_score_code
from search.journal.record import SearchRecord
from search.journal.study import Callback
from search.overrides import Overrides
from search.running.faults.tolerance import FaultTolerance
from search.running.resources import Resources
from search.session.described import described
from search.session.machine import machine
from search.session.planned import ascending, check_kinds, planned
from search.session.results import write_results
from search.session.scoring import by_objective
from search.session.session import Session, check_workplace
from search.settings.groups import Count, RayAddress, RayCluster, Workplace
from search.settings.report import ReportSettings
from search.settings.search import TimeLimit, TrialNames
from search.tracking.settings import Tracking
from search.typed_values import typed
from search.views.console import plain_console
from training.score import Objective


def search(
    space: CellSpace,
    objective: Objective,
    *,
    rungs: Sequence[int] = (1,),
    trials: int = 50,
    name: str = "default",
    output_dir: str | Path = "outputs",
    algorithm: Algorithm | None = None,
    scheduler: Scheduler | None = None,
    first: Sequence[CellSpec | str | Path] = (),
    prior: Prior | None = None,
    budget: Budget | None = None,
    features: FeatureShape | None = None,
    filters: int = 256,
    latency: str | Path | None = None,
    seed: int = 0,
    window: int | None = None,
    settings: Mapping[str, Any] | None = None,
    accept: Sequence[str] = (),
    retry_failed: bool = False,
    resume: Sequence[int | str] = (),
    timeout_s: float | None = None,
    max_concurrent: int | None = None,
    callbacks: Sequence[Callback] = (),
    cpu: int = 1,
    gpu: float = 0.0,
    retries: int = 2,
    give_up_after: int | None = 3,
    ray_address: str | None = None,
    tracking: Tracking | None = Tracking(),  # noqa: B008 - a frozen value
) -> SearchRecord:
    """Search ``space`` for the cells that ``objective`` scores best, on this machine or a Ray cluster.

    The same call resumes where it was stopped or killed: the search's journal is ``output_dir/name/journal.jsonl``. Beside it
    lie ``leaderboard.csv``, ``best.json``, pictures and ``report.html``; MLflow shows every cell.

    Args:
        objective: scores a cell: ``objective(cell, seed)`` yields one number from 0 to 1 for each of ``rungs``, more is better
            (``dpc.Objective``). It runs in processes of its own, so what it needs must be importable there, or is sent along.
        rungs: how far a cell is trained when it is scored: ascending numbers of iterations or epochs, as the objective has it.
        trials: cells in all, over every time that the search is resumed.
        algorithm: proposes cells; None for ``dpc.NearBest()``.
        scheduler: stops cells early at a rung; None for ``dpc.Asha()``.
        first: cells that are scored before any other: values, names such as ``"dpc_top1"`` and ``"aspp"``, or JSON files.
        prior: a cell that good ones are expected to resemble, and how surely: proposals near it are mixed with the algorithm's.
        budget: the most that a cell may cost; None for no limit.
        features: the map that cells read, and ``filters`` of their branches: their exact cost follows. None for the objective's
            attribute ``features``, and where it has none for the paper's map.
        latency: a table of ``dpc latency``, for ``Budget(latency_ms=...)`` and ``Pareto("latency_ms")``, of any hardware.
        seed: of proposals; a cell's own seed follows from it and from the cell.
        window: None lets proposals see all results that have arrived; a number makes the search deterministic: proposal n
            sees the results of trials up to n - window.
        settings: what scores depend on besides the objective's code and fields, such as a version of data: a resume with
            others is refused.
        accept: ``"scoring_code"``, ``"search_code"``: code that changed meanwhile, where you say that no result does.
        retry_failed: whether cells that failed before are tried again.
        resume: cells that were stopped or failed and continue to the full budget, by trial number or digest.
        timeout_s: seconds after which no more cells are begun; those running finish.
        max_concurrent: cells at once at most; None for as many as there is room for.
        callbacks: each is called as ``callback(search, event)`` after every event (``dpc.Callback``);
            ``search.stop("enough")`` begins no more cells.
        cpu: cores of one cell, and threads. ``gpu=0.25`` packs four cells on a GPU.
        retries: how often a cell whose process dies is tried again.
        give_up_after: cells in a row that fail alike before the search stops; None never gives up.
        ray_address: of a cluster; None for that of the surrounding job, or else this machine.
        tracking: the MLflow tracker; the default is a SQLite file in ``output_dir``; None for none.

    Returns:
        The search as it stands: ``.best``, ``.ranked()``, ``.trials``.

    Raises:
        ValueError: an argument is wrong, the name is that of a search with other settings, or no cell got a score; one line.
        KeyboardInterrupt: Ctrl-C, or SIGTERM: what had ended is in the journal, and the same call resumes.
    """
    console, folder = plain_console(), absolute(output_dir, "output_dir")
    check_kinds(features=(features, FeatureShape), tracking=(tracking, Tracking))
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise UserError(f"callbacks: give a list of functions, got {callbacks!r}.")
    resume, timeout_s = typed(resume, TrialNames, "resume"), typed(timeout_s, TimeLimit | None, "timeout_s")
    workplace = Workplace(
        output_dir=folder,
        resources=Resources(typed(cpu, float, "cpu"), typed(gpu, float, "gpu")),
        faults=FaultTolerance(typed(retries, int, "retries"), None, typed(give_up_after, int | None, "give_up_after")),
        ray=RayCluster(
            address=typed(ray_address, RayAddress | None, "ray_address"),
            max_pending=32,
            max_concurrent=typed(max_concurrent, Count | None, "max_concurrent"),
        ),
    )
    check_workplace(workplace)
    rungs = ascending(rungs)
    scoring = by_objective(objective, rungs, filters, workplace, features)
    scored_by = {"task": described(objective), "scoring_code": scoring.fingerprint["scoring_code"]}
    asked = planned(
        space=space,
        rungs=rungs,
        trials=trials,
        name=name,
        algorithm=algorithm,
        scheduler=scheduler,
        first=first,
        prior=prior,
        budget=budget,
        features=scoring.features,
        filters=filters,
        latency=latency,
        seed=seed,
        window=window,
        settings=settings or {},
        scored_by=scored_by,
        accept=accept,
    )
    opened = asked.opened
    beginning = replace(asked, opened=replace(opened, settings={**opened.settings, "machine": machine()}))
    report = ReportSettings(
        name=name, output_dir=folder, space=space, rows=20, good_share=0.1, landmarks={}, overrides=Overrides()
    )
    session = Session(
        folder=folder / name,
        beginning=beginning,
        task=scoring.task,
        workplace=workplace,
        tracking=tracking.resolved(folder) if tracking else None,
        console=console,
        title=f"Search {name}: {trials} of {space.size:,} encodings, {space.num_distinct:,} different cells",
        timeout_s=timeout_s,
        callbacks=callbacks,
        retry_failed=retry_failed,
        resume=resume,
        write_results=lambda record: write_results(record, report),
    )
    with own_signals():
        study, _ = session.run()
    if study.trouble:
        raise UserError(
            f"objective: {give_up_after} cells in a row failed alike ({study.trouble}). Fix the cause, then make the same "
            "call again to resume."
        )
    if session.conclude(study) in (INTERRUPTED, TRY_AGAIN):
        raise KeyboardInterrupt
    if study.is_complete and no_score_code([study.record]):
        raise UserError(f"objective: no cell has a score: {failures([study.record])}.")
    return study.record
