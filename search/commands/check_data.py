"""``dpc check-data``: a data set's whole health, before a GPU-hour is spent on it."""

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data.datasets.check import DatasetReport, Finding, SplitReport, check_dataset
from data.system.files import write_text
from search.session.hints import from_here
from search.settings.check_data import CheckDataSettings
from search.views.console import plain_console, print_table, table_of
from search.views.figures.contact_sheet import draw_contact_sheet
from search.views.progress_bar import progress_bar
from search.wording import percent

EXAMPLES = 3
"""Files named of each finding; check.json names all."""


def run(settings: CheckDataSettings) -> int:
    """Read everything once and print a report. The exit code is 1 if there are errors."""
    console = plain_console()
    dataset, folder = settings.dataset, settings.folder
    with progress_bar(console, f"reading {dataset.info.name}") as progress:
        report = check_dataset(dataset, settings.splits, settings.workers, progress)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "check.json", json.dumps(report.to_json(), indent=1) + "\n")
    draw_contact_sheet(dataset, settings.splits, settings.samples, folder / "contact_sheet.png")
    _print(report, folder, console)
    return 1 if report.errors else 0


def _print(report: DatasetReport, folder: Path, console: Console) -> None:
    for name, split in report.splits.items():
        console.print(f"{name}: {split.num_readable:,} of {split.num_samples:,} samples are whole, {_sizes(split)}")
    console.print("\nShare of labelled pixels in %, and samples that show the class:")
    print_table(_class_table(report), console)
    for finding in report.findings:
        for line in _lines(finding):
            console.print(line, soft_wrap=True, markup=False)
    errors, warnings = len(report.errors), len(report.findings) - len(report.errors)
    console.print(f"\n{errors} errors, {warnings} warnings")
    console.print(f"{'report':<11}{from_here(folder / 'check.json')}", soft_wrap=True)
    console.print(f"{'pictures':<11}{from_here(folder / 'contact_sheet.png')}", soft_wrap=True)


def _sizes(split: SplitReport) -> str:
    sizes = list(split.sizes)
    match len(sizes):
        case 0:
            return "no size is known"
        case 1:
            return f"{sizes[0]} pixels"
        case count:
            return f"{count} sizes, most often {sizes[0]} pixels"


def _class_table(report: DatasetReport) -> Table:
    """Each class' share of the labelled pixels, and how many samples show it."""
    header = ("class", *(column for name in report.splits for column in (name, "samples")))
    rows = []
    for class_name in next(iter(report.splits.values())).class_pixels:
        cells = []
        for split in report.splits.values():
            share = split.class_pixels[class_name] / split.num_labelled if split.num_labelled else 0.0
            cells += [percent(share), f"{split.class_samples[class_name]:,}"]
        rows.append((class_name, *cells))
    ignored = [split.ignored_pixels / max(1, split.ignored_pixels + split.num_labelled) for split in report.splits.values()]
    rows.append(("(ignored, of all)", *(cell for share in ignored for cell in (percent(share), ""))))
    return table_of(header, rows, left=("class",))


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.level.upper()} {finding.split}, {finding.kind}: {finding.text}"
    for example in finding.examples[:EXAMPLES]:
        yield f"  {example}"
    if len(finding.examples) > EXAMPLES:
        yield f"  ... and {len(finding.examples) - EXAMPLES:,} more in check.json"
