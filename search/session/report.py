"""The page of a search: written by ``dpc report``, and by a running search from time to time; and its figures as files."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from data.system.files import write_text
from search.findings.control import Control, control
from search.findings.course import course, rung_courses
from search.findings.search_noise import search_noise
from search.journal.folder import LoadedSearch, open_search
from search.session.conf_choices import by_choice, retrain_best
from search.session.drawings import Drawing, by_section, drawings
from search.settings.groups import SHARED
from search.settings.report import ReportSettings
from search.views.report import readings
from search.views.report.checklist import checklist
from search.views.report.inline_svg import inline
from search.views.report.leaderboard import Board, board
from search.views.report.page import Picture, Report, render
from search.views.report.searched import fingerprint_lines, scope, searched

COLUMN, PAGE = 4.2, 7.2
"""Inches of a figure on the page: of a column, which is what a phone shows, and of the whole width."""
WIDE = ("signature", "ancestry", "reranked")
"""Sections whose figures are drawn twice: for the page's whole width, and for a phone."""
NATURAL = ("cells",)
"""Sections whose figures are as wide as they are."""


def write_report(settings: ReportSettings) -> tuple[Path, Report]:
    """Write the page of a search, whatever its state, from its journal; and its figures as files where they are asked for."""
    folder = settings.folder
    search = open_search(folder, settings.space.operator_kinds)
    record, events = search.record, search.events
    gone, rungs = course(events, record), rung_courses(record)
    ranked, noise = record.scored(), search_noise(record)
    own = _control(search)
    found = list(drawings(settings, search, ranked, rungs, own))
    rows, named = board(record, ranked, settings.rows), by_choice(search.opened)
    report = Report(
        name=search.opened.name,
        scope=scope(named),
        state=readings.state(gone),
        summary=readings.best_cell(record, gone),
        facts=searched(named, record.accepted),
        checklist=checklist(named, record, gone, noise, own, search.recorded.algorithm == "Uniform"),
        course=gone,
        rungs=rungs,
        rungs_reading=readings.of_rungs(rungs),
        board=rows,
        noise=noise,
        next_command=_next(settings, search),
        pictures=_pictures(found, rows),
        limits=readings.limits(record, gone, noise),
        fingerprint=list(fingerprint_lines(search.opened.fingerprint)),
        folder=settings.name,
    )
    page = folder / "report.html"
    write_text(page, render(report))
    return page, report


def write_figures(settings: ReportSettings, folder: Path, suffix: str, width: float) -> list[Path]:
    """Each figure of the page as a file, so many inches wide, without titles: captions are the paper's."""
    search = open_search(settings.folder, settings.space.operator_kinds)
    ranked = search.record.scored()
    paths = []
    for drawing in drawings(settings, search, ranked, rung_courses(search.record)):
        paths.append(folder / f"{drawing.name}.{suffix}")
        drawing.draw(paths[-1], width=width)
    return paths


def _next(settings: ReportSettings, search: LoadedSearch) -> str:
    if not search.recorded.can_be_retrained:
        return ""
    given = settings.overrides.arguments(*SHARED)
    return shlex.join(["dpc", *retrain_best(given, search.opened, settings.name)])


def _control(search: LoadedSearch) -> Control | None:
    """Of the default algorithm alone, in a space that can be made again."""
    known = search.opened.fingerprint
    space = search.recorded.space
    if space is None or "prior" in known or search.recorded.algorithm != "NearBest":
        return None
    return control(search.record, space, known["algorithm"]["near_best"], known["seed"])


def _pictures(found: Sequence[Drawing], rows: Board) -> Mapping[str, Sequence[Picture]]:
    return {section: [_picture(one, rows) for one in drawn] for section, drawn in by_section(found).items()}


def _picture(drawing: Drawing, rows: Board) -> Picture:
    widths = (None,) if drawing.section in NATURAL else (PAGE, COLUMN) if drawing.section in WIDE else (COLUMN,)
    sizes = []
    for number, width in enumerate(widths):
        links = {"links": rows.links} if drawing.is_linked and number == 0 else {}  # no finger hits a mark of a phone's
        with TemporaryDirectory() as folder:
            path = Path(folder) / "figure.svg"
            drawing.draw(path, width=width, **links)
            label = f"{drawing.title}. {drawing.reading}"
            sizes.append(inline(path.read_bytes(), f"{drawing.name}{number}", label, rows.hovers if links else {}))
    return Picture(drawing.title, sizes, drawing.reading)
