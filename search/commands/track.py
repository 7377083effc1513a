"""``dpc track``: bring MLflow up to date with a search."""

from pathlib import Path

from rich.console import Console

from search.config import Config, ConfigError
from search.deciding.space import CellSpace
from search.session.hints import print_lines
from search.session.tracking import dashboard, result_files, tracking_settings
from search.tracking.follower import track


def run(config: Config) -> int:
    """Tell the tracker what it lacks of a search."""
    name = config.value("name", str)
    folder = config.value("output_dir", Path).resolve() / name
    if not (folder / "journal.jsonl").is_file():
        raise ConfigError(f"name: no search {name!r}, {folder / 'journal.jsonl'} does not exist.")
    tracking = tracking_settings(config)
    shown = track(folder / "journal.jsonl", tracking, config.build("space", CellSpace).operator_kinds, result_files(folder))
    console = Console(highlight=False)
    console.print(f"{len(shown.record.trials)} trials of {name} are in {tracking}", soft_wrap=True)
    print_lines(dashboard(tracking, shown.link), console)
    return 0
