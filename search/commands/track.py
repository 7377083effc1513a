"""``dpc track``: bring MLflow up to date with a search."""

from search.session.hints import print_lines
from search.session.tracking import dashboard, result_files
from search.settings.track import TrackSettings
from search.tracking.follower import track
from search.views.console import plain_console


def run(settings: TrackSettings) -> int:
    """Tell the tracker what it lacks of a search."""
    journal, tracking = settings.journal, settings.tracking.resolved(settings.output_dir)
    shown = track(journal, tracking, settings.space.operator_kinds, result_files(journal.parent))
    console = plain_console()
    console.print(f"{len(shown.record.trials)} trials of {settings.name} are in {tracking}", soft_wrap=True)
    print_lines(dashboard(tracking, shown.link), console)
    return 0
