"""``dpc track``: bring MLflow up to date with a search."""

from data.system.locks import is_held
from search.session.hints import print_lines
from search.session.tracking import dashboard, draw, result_files
from search.settings.track import TrackSettings
from search.tracking.follower import track
from search.views.console import plain_console
from search.wording import counted


def run(settings: TrackSettings) -> int:
    """Tell the tracker what it lacks of a search."""
    journal, tracking = settings.journal, settings.tracking.resolved(settings.output_dir)
    has_stopped = not is_held(journal.with_suffix(".lock"))
    files = result_files(journal.parent)
    shown = track(journal, tracking, settings.space.operator_kinds, files, draw, has_stopped=has_stopped)
    console = plain_console()
    console.print(f"{tracking} shows {counted(len(shown.record.trials), 'trial')} of {settings.name}", soft_wrap=True)
    print_lines(dashboard(tracking, shown.link), console)
    return 0
