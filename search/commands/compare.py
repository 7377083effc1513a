"""``dpc compare``: several searches as one experiment, at equal cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from data.system.files import write_csv
from search.findings.anytime import Anytime, anytime
from search.findings.estimates import Estimate, mean, paired_difference
from search.session.hints import from_here
from search.settings.compare import CompareSettings
from search.views.console import plain_console, print_table, table_of
from search.wording import percent

SHARES = (0.25, 0.5, 1.0)
"""Of the hours that all searches have spent: when they are compared."""
_ESTIMATES = ("miou", "miou_low", "miou_high", "difference", "difference_low", "difference_high")
COLUMNS = ("hours", "algorithm", "scheduler", "searches", *_ESTIMATES)


def run(settings: CompareSettings) -> int:
    """Print what each way to search had found at equal hours, and the differences from the first in pairs of seeds."""
    console = plain_console()
    ways = {way: [anytime(search.events) for search in searches] for way, searches in settings.ways.items()}
    runs = [one for of_way in ways.values() for one in of_way]
    if not all(one.found and one.found[-1] > 0 for one in runs):
        console.print("A search has no score yet, so there is nothing to compare.")
        return 1
    budget_h = min(one.hours[-1] for one in runs)
    lines = [line for share in SHARES for line in _lines(ways, share * budget_h)]
    header = ("hours", "algorithm", "scheduler", "searches", "mIoU", "difference")
    printed = table_of(header, [line.text for line in lines], left=("algorithm", "scheduler"), title="At equal hours of trials")
    print_table(printed, console)
    console.print(
        "\nmIoU: of the best cell found by then, selected on; mean and 95 % interval over searches (Student's t). Difference: "
        "from the first way, in pairs of searches with the same seed. -: a search had no score by then.",
        soft_wrap=True,
    )
    from search.views.figures.anytime import draw_anytime

    settings.folder.mkdir(parents=True, exist_ok=True)
    write_csv(settings.folder / "comparison.csv", COLUMNS, [line.numbers for line in lines])
    named = {f"{algorithm} + {scheduler}": of_way for (algorithm, scheduler), of_way in ways.items()}
    draw_anytime(named, settings.folder / "comparison.png", "Best cell found, over hours of trials")
    console.print(
        f"\nresults    {from_here(settings.folder)}\npicture    {from_here(settings.folder / 'comparison.png')}", soft_wrap=True
    )
    return 0


@dataclass(frozen=True, slots=True)
class _Line:
    """What one way to search had found by some hours.

    Attributes:
        miou: None where one of its searches had no score by then; ``difference``, from the first way, likewise.
    """

    hours: float
    algorithm: str
    scheduler: str
    searches: int
    miou: Estimate | None
    difference: Estimate | None

    @property
    def text(self) -> tuple[str, ...]:
        estimates = (one.text(percent) if one else "-" for one in (self.miou, self.difference))
        return f"{self.hours:.3g}", self.algorithm, self.scheduler, str(self.searches), *estimates

    @property
    def numbers(self) -> tuple[object, ...]:
        """As ``COLUMNS`` names them."""
        nothing = (None, None, None)
        estimates = (one.numbers if one else nothing for one in (self.miou, self.difference))
        return self.hours, self.algorithm, self.scheduler, self.searches, *(number for of in estimates for number in of)


def _lines(ways: Mapping[tuple[str, str], Sequence[Anytime]], hours: float) -> Iterator[_Line]:
    first = [one.at(hours) for one in next(iter(ways.values()))]
    for number, ((algorithm, scheduler), searches) in enumerate(ways.items()):
        found = [one.at(hours) for one in searches]
        miou = mean(found) if all(found) else None
        difference = paired_difference(found, first) if number and all([*found, *first]) else None
        yield _Line(hours, algorithm, scheduler, len(found), miou, difference)
