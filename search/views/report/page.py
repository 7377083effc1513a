"""A report as one HTML page that needs nothing else: no network, no scripts, images inside.

What a journal says is text, whatever it looks like: the template escapes all of it, and the page's own policy lets a
browser load no more than the images and the style that are in it.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from search.findings.leaderboard import percent, quantity
from search.findings.search_noise import SearchNoise
from search.journal.record import TrialRecord
from search.views.report.course import Course, RungCourse, in_time, moment
from search.views.report.searched import Fact

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure and what it shows.

    Attributes:
        svg: the file's content.
        is_wide: as wide as the page; else as large as it was drawn.
    """

    title: str
    svg: bytes
    reading: str = ""
    is_wide: bool = True

    @property
    def uri(self) -> str:
        """The image inside of the page. A browser runs no script of such an image."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page says.

    Attributes:
        scope: how, in how large a space, on what, in a few words.
        state, summary: a sentence each.
        ranked: the leaderboard's first rows.
        noise: what the search says of its own scores; None where it scored no cells twice.
        next_command: what trains the best cell; "" where there is none.
        pictures: by section: progress, scores, cells, reranked, costs, choices, operators, contributions; any may be empty.
        checklist: of what a publication must say.
        fingerprint: everything that decided, a line each.
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
    ranked: Sequence[TrialRecord]
    noise: SearchNoise | None
    next_command: str
    pictures: dict[str, Sequence[Picture]]
    limits: Sequence[str]
    fingerprint: Sequence[str]


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
    style = (_HERE / "page.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return environment.get_template("page.html").render(report=report, style=style, policy=policy)
