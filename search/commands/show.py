"""``dpc show``: how a search stands, whether it runs or not. Nothing is written."""

import json
import shlex
import time
from contextlib import nullcontext, suppress
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from search.findings.course import course
from search.findings.leaderboard import leaderboard
from search.journal.followed import Followed
from search.journal.recorded import Recorded
from search.session.conf_choices import retrain_best
from search.session.hints import from_here, print_lines, program
from search.session.tracking import dashboard
from search.settings.show import ShowSettings
from search.views.console import Wide, plain_console, print_table
from search.views.standing import standing

LOOK_EVERY_S = 2.0


def run(settings: ShowSettings) -> int:
    """Show counts, leaderboard, failures and what to run next, from the journal as it is."""
    bucket, console = settings.bucket, plain_console()
    search = Followed.in_store(bucket, settings.name) if bucket else Followed.in_folder(settings.folder)
    search.look()
    if settings.format == "json":
        print(json.dumps(_as_json(search), indent=2))
        return 0
    if settings.watch:
        with suppress(KeyboardInterrupt):
            _watch(search, settings, console)
    for part in _parts(search, settings.rows):
        if isinstance(part, Table):
            print_table(part, console)
        else:
            console.print(part, soft_wrap=True)
    console.print()
    print_lines(_lines(search, settings), console)
    return 0


def _watch(search: Followed, settings: ShowSettings, console: Console) -> None:
    """Show the search anew whenever something happened, until no process has it; in a log, a line each time."""
    with Live(console=console, auto_refresh=False, transient=True) if console.is_interactive else nullcontext() as live:
        while search.state == "running":
            parts = [Wide(part) if isinstance(part, Table) else part for part in _parts(search, settings.rows)]
            if live:
                live.update(Group(*parts), refresh=True)
            else:
                console.print(parts[0], soft_wrap=True)
            while not _later(search) and search.state == "running":
                pass


def _later(search: Followed) -> bool:
    time.sleep(LOOK_EVERY_S)
    return search.look()


def _parts(search: Followed, rows: int) -> list[str | Table]:
    return standing(search.record, course(search.events, search.record), search.state, rows)


def _lines(search: Followed, settings: ShowSettings) -> dict[str, str]:
    """Where things lie, and the command that comes next, if the journal knows how the search was started."""
    tracking = settings.tracking.resolved(settings.output_dir)
    lines = {"results": search.place if settings.store else from_here(settings.folder)}
    if (page := settings.folder / "report.html").is_file():
        lines["report"] = from_here(page)
    if tracking.sqlite_file is None or tracking.sqlite_file.is_file():
        lines |= dashboard(tracking, "")
    if following := _next(search, settings):
        lines["next"] = shlex.join([program("dpc"), *following])
    return lines


def _next(search: Followed, settings: ShowSettings) -> list[str]:
    """Train the best cell, or resume the search as it was started; nothing where that is not known, or a process has it."""
    record, here = search.record, settings.overrides.of("output_dir")
    given = [text for text in record.settings.get("arguments", ()) if not text.startswith("output_dir=")]
    if search.state == "running" or record.opened is None:
        return []
    if record.closed is not None and not Recorded(record.opened).can_be_retrained:
        return []
    if record.closed is not None:
        return retrain_best(here, record.opened, settings.name)
    return ["search", *given, *here] if given else []


def _as_json(search: Followed) -> dict[str, Any]:
    record, went = search.record, course(search.events, search.record)
    assert record.opened is not None
    return {
        "name": record.opened.name,
        "state": search.state,
        "planned": went.planned,
        "ended": {str(status): count for status, count in went.ends.items() if count},
        "under_way": [
            {"trial": trial.number, "digest": trial.cell.digest, "rung": len(trial.rungs), "miou": trial.miou}
            for trial in record.running
        ],
        "trial_s": went.trial_s,
        "without_score": [{"status": status, "reason": reason, "trials": count} for status, reason, count in went.reasons],
        "leaderboard": [{**row, "cell": row["cell"].to_json()} for row in leaderboard(record)],
    }
