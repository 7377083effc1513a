"""``dpc compare``: several searches as one experiment, at equal cost."""

import csv
import io

from rich.table import Table

from data.system.files import write_text
from search.findings.anytime import anytime
from search.findings.estimates import mean, paired_difference
from search.session.hints import from_here
from search.settings.compare import CompareSettings
from search.views.console import plain_console, print_table
from search.wording import percent

SHARES = (0.25, 0.5, 1.0)
"""Of the hours that all searches have spent: when they are compared."""


def run(settings: CompareSettings) -> int:
    """Print what each way to search had found at equal hours, and the differences from the first in pairs of seeds."""
    console = plain_console()
    ways = {way: [anytime(search.events) for search in searches] for way, searches in settings.ways.items()}
    runs = [one for of_way in ways.values() for one in of_way]
    if not all(one.found and one.found[-1] > 0 for one in runs):
        console.print("A search has no score yet, so there is nothing to compare.")
        return 1
    budget_h = min(one.hours[-1] for one in runs)
    rows = []
    for share in SHARES:
        at_h = share * budget_h
        first = [one.at(at_h) for one in next(iter(ways.values()))]
        for number, ((algorithm, scheduler), of_way) in enumerate(ways.items()):
            found = [one.at(at_h) for one in of_way]
            miou = mean(found).text(percent) if all(found) else "-"
            difference = paired_difference(found, first).text(percent) if number and all([*found, *first]) else "-"
            rows.append((f"{at_h:.3g}", algorithm, scheduler, str(len(found)), miou, difference))
    header = ("hours", "algorithm", "scheduler", "searches", "mIoU", "difference")
    table = Table(title="At equal hours of trials", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in header:
        table.add_column(name, justify="left" if name in ("algorithm", "scheduler") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    print_table(table, console)
    console.print(
        "\nmIoU: of the best cell found by then, selected on; mean and 95 % interval over searches (Student's t). Difference: "
        "from the first way, in pairs of searches with the same seed. -: a search had no score by then.",
        soft_wrap=True,
    )
    from search.views.figures.anytime import draw_anytime

    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    settings.folder.mkdir(parents=True, exist_ok=True)
    write_text(settings.folder / "comparison.csv", text.getvalue())
    named = {f"{algorithm} + {scheduler}": of_way for (algorithm, scheduler), of_way in ways.items()}
    draw_anytime(named, settings.folder / "comparison.png", "Best cell found, over hours of trials")
    console.print(
        f"\nresults    {from_here(settings.folder)}\npicture    {from_here(settings.folder / 'comparison.png')}", soft_wrap=True
    )
    return 0
