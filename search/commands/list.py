"""``dpc list``: all searches of a folder."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

from search.journal.glance import Glance, glances
from search.settings.list import ListSettings
from search.views.console import plain_console, print_table, table_of
from search.wording import percent

HEADER = ("search", "state", "trials", "without score", "best mIoU", "trial hours", "last event (UTC)")


def run(settings: ListSettings) -> int:
    """Show each search's state, best score and cost, the latest last; nothing is written. 1 where a journal is damaged."""
    found = glances(settings.output_dir)
    damages = [glance.damage for glance in found if glance.damage]
    if settings.format == "json":
        print(json.dumps([asdict(glance) for glance in found], indent=2))
        return int(bool(damages))
    console = plain_console()
    if not found:
        console.print(f"No search in {settings.output_dir}.", soft_wrap=True)
        return 0
    print_table(table_of(HEADER, map(_row, found), left=("search", "state")), console)
    for damage in damages:
        console.print(damage, soft_wrap=True)
    return int(bool(damages))


def _row(glance: Glance) -> tuple[str, ...]:
    planned = "" if glance.planned is None else f"/{glance.planned}"
    last = datetime.fromtimestamp(glance.last_s, UTC).strftime("%Y-%m-%d %H:%M")
    hours = f"{glance.trial_s / 3600:.2f}"
    failed = str(glance.failed or "-")
    return glance.name, glance.state, f"{glance.ended}{planned}", failed, percent(glance.best_miou), hours, last
