"""What a report's figures show, in a sentence each, and what they cannot show."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import median, quantiles

from search.deciding.outcomes import Status
from search.findings.contributions import Contributions
from search.findings.control import Control
from search.findings.cost_front import CostFront, Landmark
from search.findings.course import Course, RungCourse
from search.findings.operator_usage import OperatorUsage, Usage
from search.findings.search_noise import SearchNoise
from search.findings.training_course import CoursePoint
from search.findings.two_rankings import Ranking, proxy_trust
from search.journal.record import SearchRecord, TrialRecord
from search.views.figures.landmarks import name_of
from search.wording import counted, ordinal, percent, quantity

NAMED = 5
"""Operators that a sentence names."""
CLOSE = 0.01
"""A cell this much mIoU below the best is called close to it."""


def state(course: Course) -> str:
    """Where the search stands."""
    if course.closed:
        return f"Complete: {course.closed}."
    ended = f"{course.ended:,} of {counted(course.planned, 'trial')}" if course.planned else counted(course.ended, "trial")
    text = f"Not complete: {ended} {'has' if course.ended == 1 else 'have'} ended"
    return f"{text}, {course.open:,} run or were interrupted." if course.open else f"{text}; none is under way."


def best_cell(record: SearchRecord, course: Course) -> str:
    """What was found."""
    best = record.best
    if best is None:
        if course.ended == 0:
            return "No trial has finished yet."
        finished = counted(course.ended, "finished trial")
        return f"None of the {finished} has a score." if course.ended > 1 else "The finished trial has no score."
    costs = f"{quantity(best.params)} params and {quantity(best.madds)} multiply-adds"
    name = "best cell" if course.closed else "best cell so far"
    text = f"The {name} scores {percent(best.miou)} % mIoU {record.scored_on}, with {costs}"
    if best.status == Status.COMPLETED:
        return f"{text}."
    where = "where it was stopped" if record.completed() else "and no trial has completed yet"
    return f"{text}, at rung {len(best.rungs)}, {where}."


def of_progress(record: SearchRecord, control: Control | None) -> str:
    """When the best completed cell was found, and whether what was learnt helped."""
    found = _progress(record)
    return f"{found} {control.text()}" if control else found


def _progress(record: SearchRecord) -> str:
    in_order = record.in_order_of_finishing()
    scores = [trial.score if trial.status == Status.COMPLETED else -1.0 for trial in in_order]
    if max(scores, default=-1.0) < 0:
        return "No trial has completed."
    best = list(accumulate(scores, max))
    place, half = best.index(best[-1]) + 1, best[(len(best) - 1) // 2]
    text = f"The best completed cell was the {ordinal(place)} of {counted(len(best), 'trial')} to finish"
    if half == best[-1]:
        return f"{text}; the second half brought nothing better."
    return f"{text}; halfway, the best was {percent(half if half >= 0 else None)} %, now it is {percent(best[-1])} %."


def of_scores(record: SearchRecord, rungs: Sequence[RungCourse]) -> str:
    """How the completed trials' scores spread, and who is not among them."""
    mious = [trial.score for trial in record.completed()]
    stopped = sum(rung.stopped for rung in rungs)
    others = f"; {stopped:,} stopped ones are drawn at the rung where they ended and cannot be compared with them"
    if len(mious) < 2:
        return f"{counted(len(mious), 'trial')} completed{others if stopped else ''}."
    low, _, high = quantiles(mious, method="inclusive")
    return (
        f"Of {len(mious):,} completed trials half score {percent(low)} to {percent(high)} %, "
        f"the median is {percent(median(mious))} %{others if stopped else ''}."
    )


def of_rungs(rungs: Sequence[RungCourse]) -> str:
    """Whether early stopping can be trusted."""
    found = [rung.correlation for rung in rungs if rung.correlation]
    if not found:
        return "Too few trials completed to say how well early scores rank cells."
    first = found[0]
    bias = "Only completed trials have both scores: early scores chose them, which makes these correlations lower."
    text = f"Spearman's rho of completed cells' scores at iteration {first.iteration:,} with their last ones is {first.text()}."
    return f"{text} {bias}" if any(rung.stopped for rung in rungs) else text


def of_costs(front: CostFront, landmarks: Sequence[Landmark]) -> str:
    """What the best score costs, and what a little less would."""
    if not front.front:
        return "No trial has completed, so there is no front yet."
    best = front.front[-1]
    close = next(one for one in front.front if one.score >= best.score - CLOSE)
    are = "is" if len(front.front) == 1 else "are"
    completed = counted(len(front.completed), "completed cell")
    text = f"{len(front.front)} of {completed} {are} on the front of mIoU and multiply-adds"
    if close is best:
        text += f"; none within a point of the best ({percent(best.miou)} %, {quantity(best.madds)}) costs less"
    else:
        share = f"{100 * close.madds / best.madds:.0f} % of the best's multiply-adds"
        text += f"; {percent(close.miou)} % mIoU, within a point of the best, takes {share}"
    unscored = [name_of(landmark) for landmark in landmarks if landmark.miou is None]
    return f"{text}. {' and '.join(unscored)}: only the costs are known here." if unscored else f"{text}."


def of_operators(usage: OperatorUsage) -> str:
    """Which operators stand out."""
    known = {str(operator): used for operator, used in usage.operators.items() if not used.is_noise}
    often = _named({name: used for name, used in known.items() if used.lift > 1}, reverse=True)
    seldom = _named({name: used for name, used in known.items() if used.lift < 1}, reverse=False)
    of_cells = f"the best {usage.good_cells:,} of {usage.all_cells:,} cells"
    if not known:
        return f"In {of_cells} no operator differs from all cells by more than chance explains."
    parts = [f"{often} more often" if often else "", f"{seldom} less often" if seldom else ""]
    return (
        f"Than all cells, {of_cells} use {'; '.join(filter(None, parts))}, beyond chance if cells were independent: an "
        "algorithm that works near the best repeats what these have."
    )


def of_reranked(ranking: Ranking) -> str:
    """What the longer training changed, and how sure it is."""
    best = ranking.compared[0]
    name = f"The best of {len(ranking.compared)}, {best.cell.digest[:8]}"
    changed = f"{name}, was {ordinal(best.proxy_rank)} by proxy. Seeds of each: {len(ranking.seeds)}."
    return " ".join([changed, *ranking.verdict(), f"Spearman's rho of both scores: {proxy_trust(ranking)}."])


def of_ancestry(line: Sequence[TrialRecord]) -> str:
    """Through which cells the best one most likely came, and that this is an inference."""
    return (
        f"The best cell and the {len(line) - 1} before it that it most likely came through; grey is what each has of the one "
        "before. A journal records no parents: the likely one is, of the best that had ended, that with the fewest differences."
    )


def of_training(steps: Sequence[CoursePoint]) -> str:
    """Where it was best, and whether it was still rising."""
    best, last = max(steps, key=lambda step: step.miou), steps[-1]
    known = {name: value for name, value in last.iou.items() if value is not None}
    text = f"The best of {len(steps)} validations is {percent(best.miou)} % mIoU at iteration {best.iteration:,}"
    if best is last:
        text += ", the last one: it may still have been rising"
    worst = min(known, key=known.__getitem__) if known else ""
    return f"{text}. Worst class at the end: {worst}, {percent(known[worst])} %." if worst else f"{text}."


def of_contributions(contributions: Contributions) -> str:
    """Which branch the trained projection reads most."""
    cell, values = contributions.cell, contributions.by_branch
    most = max(range(len(cell)), key=values.__getitem__)
    share = 100 * values[most] / (sum(values) or 1.0)
    return f"The projection reads b{most + 1} ({cell.branches[most]}) with the largest weights, {share:.0f} % of all."


def _how_lucky(record: SearchRecord, noise: SearchNoise | None) -> str:
    if noise:
        return "How much is measured above."
    twice = "Too few cells were" if record.repeats else "No cell was"
    return f"{twice} scored twice (noise=8), so how much is not known."


_OF_THE_PROXY = (
    "Scores are those of the proxy task: the cell on cached features of a frozen backbone, on the data that the search "
    "validates on. What a cell is worth after full training shows only when it is retrained."
)
_OF_AN_OBJECTIVE = "Scores are what the objective returned. What they say about fully trained models is not recorded."


def limits(record: SearchRecord, course: Course, noise: SearchNoise | None) -> list[str]:
    """What the page cannot tell."""
    said = [
        _OF_AN_OBJECTIVE if record.is_by_objective else _OF_THE_PROXY,
        "The best of many is partly luck: with another seed it would score lower more often than higher. "
        + _how_lucky(record, noise)
        + " What is drawn, and written as mIoU, is what was found: the score that the ranking selected on.",
        "How much an operator helps cannot be read from how often good cells have it: the algorithm chose what was tried.",
        "Hours are those of the machines that were used; the journal names the driver's hardware alone.",
    ]
    if course.ends[Status.STOPPED]:
        said.append("A stopped cell might have come out better than a completed one: it was not trained to the end.")
    if course.unscored:
        said.append(f"Without a score: {counted(course.unscored, 'cell')} that diverged or failed, and not known to be bad.")
    if any(not trial.is_comparable for trial in record.trials.values()):
        said.append("Inherited cells that were scored otherwise guided proposals, and are neither ranked nor drawn here.")
    return said


def _named(known: Mapping[str, Usage], reverse: bool) -> str:
    ordered = sorted(known, key=lambda name: (known[name].lift, name), reverse=reverse)
    more = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    return ", ".join(f"{name} ({known[name].lift:.1f}x)" for name in ordered[:NAMED]) + more
