"""What the site has beside the pages of docs/: settings from conf/, notebooks, files of the checkout that pages link to.

MkDocs calls these functions; https://www.mkdocs.org/user-guide/configuration/#hooks.
"""

import logging
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from api_page import api_page  # noqa: E402
from notebook_pages import notebook_page  # noqa: E402
from settings_pages import choice_pages, command_pages  # noqa: E402

GENERATED = {"settings/": command_pages, "choices/": choice_pages}
_LOG = logging.getLogger("mkdocs.hooks.site")
CHECKOUT = "checkout/"
"""Where files of the checkout lie in the site."""


def on_config(config):
    """A nav entry that names one of ``GENERATED`` becomes its pages."""
    for section in config.nav:
        for items in section.values():
            for item in items if isinstance(items, list) else ():
                for title, pages in item.items():
                    if isinstance(pages, list):
                        (folder,) = pages
                        item[title] = [{name: f"reference/{folder}{name}.md"} for name in GENERATED[folder]()]
    return config


def on_files(files, config):
    for folder, pages in GENERATED.items():
        for name, text in pages().items():
            files.append(File.generated(config, f"reference/{folder}{name}.md", content=text))
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        text, pictures = notebook_page(notebook)
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=text))
        for name, data in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=data))
    pages = [file.abs_src_path for file in files.documentation_pages() if file.abs_src_path]
    for path in sorted(_linked({str(Path(page).relative_to(ROOT)) for page in pages})):
        text = (ROOT / path).read_text()
        page = text if path.endswith(".md") else f"# {path}\n\n```{Path(path).suffix[1:]}\n{text}\n```\n"
        file = File.generated(config, _in_site(path), content=page, inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(file)
    return files


def on_page_markdown(markdown, page, config, files):
    """Links of the checkout become links of the site, and the API's page gets its names."""
    source = page.file.src_uri
    if source == "reference/api.md":
        return markdown + api_page()
    here = source.removeprefix(CHECKOUT) if source.startswith(CHECKOUT) else f"docs/{source}"

    def moved(link):
        target, anchor = link[1], link[2] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        return f"]({posixpath.relpath(_in_site(path), posixpath.dirname(source))}{anchor})"

    return _LINK.sub(moved, markdown) if source.startswith(CHECKOUT) else _OUTWARD.sub(moved, markdown)


def on_post_page(output, page, config):
    """A page that loads something from elsewhere is a warning, and so an error."""
    for remote in re.findall(
        r"<(?:script|img|iframe)\b[^>]*\bsrc=\"(https?:[^\"]+)|<link\b[^>]*\bhref=\"(https?:[^\"]+)", output
    ):
        _LOG.warning("%s loads %s", page.file.src_uri, "".join(remote))
    return output


_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")
_OUTWARD = re.compile(
    r"\]\(((?:\.\./)+(?:README|CONTRIBUTING|CHANGELOG|LICENSE|benchmarks|cluster/|examples)[^)#\s]*)(#[^)\s]*)?\)"
)


def _linked(pages, known=frozenset()):
    """The files outside docs/ that pages link to, and those that these do."""
    found = set()
    for page in pages:
        for target, _ in _LINK.findall((ROOT / page).read_text()):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
            if not path.startswith(("docs", "..")) and (ROOT / path).is_file():
                found.add(path)
    new = found - known
    return found | (_linked({path for path in new if path.endswith(".md")}, known | found) if new else set())


def _in_site(path):
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{CHECKOUT}{path}" if path.endswith(".md") else f"{CHECKOUT}{path}.md"
