"""What a search leaves for people, renewed while it runs: leaderboard, pictures and its page. Loads matplotlib."""

from search.findings.leaderboard import write_leaderboard
from search.journal.record import SearchRecord
from search.session.report import write_report
from search.settings.report import ReportSettings
from search.views.figures.cell_diagram import draw_cell
from search.views.figures.progress import draw_progress
from search.wording import percent


def write_results(record: SearchRecord, settings: ReportSettings) -> None:
    """Write all of it into the search's folder."""
    folder = settings.folder
    write_leaderboard(record, folder)
    draw_progress(record, folder / "progress.png", record.opened.name if record.opened else "")
    best = record.best
    if best is not None:
        draw_cell(best.cell, folder / "best_cell.png", f"{best.cell.digest}: {percent(best.miou)} mIoU")
    write_report(settings)
