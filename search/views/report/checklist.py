"""Lindauer and Hutter's checklist for publishing architecture searches (JMLR 21, 2020), answered from the journal."""

from collections.abc import Mapping
from typing import Any

from search.findings.control import Control
from search.findings.course import Course
from search.findings.search_noise import SearchNoise
from search.journal.events import SearchOpened
from search.journal.record import SearchRecord
from search.journal.recorded import Recorded
from search.views.report.searched import Fact, in_words
from search.wording import counted, in_time

UNKNOWN = "not recorded; please fill in"


def checklist(
    opened: SearchOpened,
    record: SearchRecord,
    course: Course,
    noise: SearchNoise | None,
    control: Control | None,
    is_random: bool,
) -> list[Fact]:
    """Question and answer; what a journal cannot know is said to be the author's.

    Args:
        is_random: whether its cells were drawn uniformly.
    """
    known, space = Recorded(opened).known, Recorded(opened).space
    seed = known.get("seed", "none recorded")
    repeatable = "the same table whatever the timing" if known.get("deterministic") else "early stops follow timing"
    answers = {
        "Code of the training pipeline": f"digest {known.get('scoring_code', UNKNOWN)}; where it is published, {UNKNOWN}",
        "Code of the search": f"digest {known.get('search_code', UNKNOWN)}",
        "Search space": f"{space.num_distinct:,} different cells" if space else in_words(known.get("space", UNKNOWN)),
        "Hyperparameters of the training": in_words(known.get("proxy", UNKNOWN)),
        "Hyperparameters of the search": f"{in_words(known.get('algorithm', UNKNOWN))}, {in_words(known.get('scheduler', ''))}",
        "How they were tuned, at what cost": UNKNOWN,
        "Seeds": f"search {seed}, and one for each training, in the journal; {repeatable}",
        "Data and splits": f"{_splits(known)}; the search selected on the second",
        "Same data, space, code and training for all cells": _sameness(record),
        "Hardware and versions": in_words(known["machine"]) if "machine" in known else UNKNOWN,
        "Performance over time": "the figure of progress above",
        "Beside random search": "this is random search" if is_random else _beside_random(control),
        "Several runs": _runs(record, noise),
        "Cost of the whole search": (
            f"{in_time(course.trial_s)} of trials in {in_time(course.wall_s)}, started {counted(course.starts, 'time')}; "
            "re-ranking, retraining and searches before this one are not in it"
        ),
    }
    return [Fact(question, answer) for question, answer in answers.items()]


def _sameness(record: SearchRecord) -> str:
    changed = [f"{code} from {was} to {now}" for code, (was, now) in record.accepted.items()]
    if not changed:
        return "yes: the fingerprint below may not change"
    return f"but for code that was changed on the way, of no consequence as a person said: {', '.join(changed)}"


def _runs(record: SearchRecord, noise: SearchNoise | None) -> str:
    if noise:
        return f"one search; {noise.repeated} cells scored twice, sd {100 * noise.noise.sd:.2f} points between seeds"
    repeated = f"{counted(len(record.repeats), 'cell')} scored twice" if record.repeats else "each cell once"
    return f"one search, {repeated}; dpc compare puts several beside each other"


def _splits(known: Mapping[str, Any]) -> str:
    splits = {name: part for name, part in known.get("features", {}).items() if isinstance(part, Mapping)}
    contents = [f"{name} {part['dataset']['content']}" for name, part in splits.items()]
    return f"{in_words(known['dataset']) if 'dataset' in known else UNKNOWN}; content {', '.join(contents) or UNKNOWN}"


def _beside_random(control: Control | None) -> str:
    return control.text() if control else "no: dpc compare beside a search with algorithm=uniform"
