"""Pages hold together: links lead somewhere, settings in how-to guides exist, the README is short."""

import re
import shlex
import tomllib

import pytest
from yaml import safe_load

from search.config import load
from search.help import COMMANDS
from tests.docs.told_to_bash import ROOT, blocks

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_readme_is_a_screen_or_two():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_citation_names_this_version():
    cited = safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (str(cited["version"]), cited["license"]) == (project["version"], project["license"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_that_are_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text()), target


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text):
    """Of headings, as GitHub and MkDocs name them, and those that a page sets itself."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text))


def commands_of(page):
    """The commands of a page's blocks that a line gives whole: no variable of the shell in them."""
    for block in blocks(page):
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.lstrip().startswith("dpc ") and not re.search(r"[<$]|\.\.\.", line):
                words = shlex.split(line, comments=True)[1:]
                words = words[words.index("--") + 1 :] if "--" in words else words
                if words and not words[0].startswith("-"):
                    yield words


RUN = (ROOT / "README.md", ROOT / "docs" / "walkthrough.md", *(ROOT / "docs" / "tutorials").glob("*.md"))
GUIDES = [page for page in PAGES if page not in RUN and list(commands_of(page))]
"""Pages whose commands are not run, as they need data, a cluster or hours."""


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_that_a_page_gives_exists(page):
    for command, *given in commands_of(page):
        assert command in COMMANDS
        load(command, [text for text in given if "=" in text and not text.startswith("-")])
