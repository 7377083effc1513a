"""``dpc report``: a search as one HTML page."""

from search.session.hints import from_here
from search.session.report import write_figures, write_report
from search.settings.report import ReportSettings
from search.views.console import plain_console


def run(settings: ReportSettings) -> int:
    """Write the page of a search, and say what it begins with."""
    page, report = write_report(settings)
    plain_console().print(
        f"{report.state} {report.summary}\nreport     {from_here(page)} ({page.stat().st_size / 1e6:.1f} MB)", soft_wrap=True
    )
    if settings.figures:
        settings.figures.mkdir(parents=True, exist_ok=True)
        files = write_figures(settings, settings.figures, settings.format, settings.width)
        plain_console().print(
            f"figures    {from_here(settings.figures)} ({len(files)} {settings.format} files)", soft_wrap=True
        )
    return 0
