"""A report as one HTML page that needs nothing else: no network, no scripts, figures inside.

What a journal says is text, whatever it looks like: the template escapes all of it, and the page's own policy lets a
browser load no more than the images and the style that are in it.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from search.findings.course import Course, RungCourse
from search.findings.search_noise import SearchNoise
from search.views.report.glyph import glyph
from search.views.report.leaderboard import Board
from search.views.report.searched import Fact
from search.wording import counted, in_time, moment, percent, quantity

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure and what it shows.

    Attributes:
        sizes: the figure for a page; a second one is for a phone.
    """

    title: str
    sizes: Sequence[Markup]
    reading: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that the page says.

    Attributes:
        scope: how, in how large a space, on what, in a few words.
        state, summary: a sentence each.
        board: the leaderboard's rows.
        noise: what the search says of its own scores; None where it scored no cells twice.
        next_command: what trains the best cell; "" where there is none.
        pictures: by section, as ``search.session.drawings`` names them; a section without any is absent.
        checklist: of what a publication must say.
        fingerprint: everything that decided, a line each.
        folder: the search's, by which a command finds it.
    """

    name: str
    scope: str
    state: str
    summary: str
    facts: Sequence[Fact]
    checklist: Sequence[Fact]
    course: Course
    rungs: Sequence[RungCourse]
    rungs_reading: str
    board: Board
    noise: SearchNoise | None
    next_command: str
    pictures: Mapping[str, Sequence[Picture]]
    limits: Sequence[str]
    fingerprint: Sequence[str]
    folder: str


def render(report: Report) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "quantity": quantity, "in_time": in_time, "moment": moment}
    environment.filters |= {"glyph": glyph, "counted": counted}
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return environment.get_template("page.html").render(report=report, style=style, policy=policy)
