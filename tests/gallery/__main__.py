"""Every figure and the report at every size, for a person to look at.

    python -m tests.gallery FOLDER [--trials 1 2 10 366 28000] [--browser chromium]

With a browser each report is also rendered at 1400 and at 400 px, dark, and printed. Nothing is compared: what a test can hold
is in tests/search/views/.
"""

import argparse
import subprocess
from pathlib import Path

from search.cli import main
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from tests.gallery.cells_and_classes import draw_cells, draw_classes, draw_courses
from tests.gallery.searches import write_reranking, write_search

TRIALS = (1, 2, 10, 366, 28_000)
WIDTHS = (3.3, 7.2)
TALL_PX = 9000
NARROW_PAGE = '<!DOCTYPE html><iframe src="{page}" style="width:400px;height:{tall}px;border:0"></iframe>'
"""A browser has no window of 400 px; a frame has any width, and the page's style goes by it."""


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, nargs="*", default=TRIALS, help="of the searches")
    parser.add_argument("--browser", help="Chromium's program, for pictures of the pages")
    options = parser.parse_args()
    folder = options.folder.resolve()
    for trials in options.trials:
        page = _report(folder, trials)
        if options.browser:
            _look(options.browser, page)
    draw_cells(folder / "cells")
    draw_classes(folder / "classes")
    draw_courses(folder / "courses")
    simulated = ["schedulers=[none,asha]", "trials=200", "workers=8", "landscapes=3", f"output_dir={folder}"]
    main(["simulate", "algorithms=[near_best,evolution]", *simulated])


def _report(folder: Path, trials: int) -> Path:
    """A made-up search of so many trials, its page, and the page's figures in two widths."""
    name = f"search-{trials}"
    journal = folder / name / "journal.jsonl"
    if not journal.exists():
        write_search(journal, name, trials, repeats=8 if trials >= 100 else 0)
        if 10 <= trials < 1000:
            write_reranking(folder / name, SearchRecord(read_events(journal)[0]), seeds=3, top=12)
    for width in WIDTHS:
        figures = f"figures={folder / name / f'{width} inches'}"
        main(["report", f"name={name}", f"output_dir={folder}", figures, "format=png", f"width={width}"])
    return journal.with_name("report.html")


def _look(browser: str, page: Path) -> None:
    narrow = page.with_name("narrow.html")
    narrow.write_text(NARROW_PAGE.format(page=page.name, tall=TALL_PX))
    dark = "--blink-settings=preferredColorScheme=0"
    shots = {"1400": (page, 1400, []), "dark": (page, 1400, [dark]), "400": (narrow, 500, [])}
    for name, (shown, width, more) in shots.items():
        _browse(browser, shown, f"--window-size={width},{TALL_PX}", f"--screenshot={page.with_name(f'page {name}.png')}", *more)
    _browse(browser, page, "--no-pdf-header-footer", f"--print-to-pdf={page.with_name('page.pdf')}")


def _browse(browser: str, page: Path, *options: str) -> None:
    plain = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files")
    subprocess.run([browser, *plain, *options, page.as_uri()], check=True, capture_output=True, timeout=300)


if __name__ == "__main__":
    run()
