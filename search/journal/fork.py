"""A search that begins with what another one found."""

from collections.abc import Mapping
from typing import Any

from search.deciding.outcomes import Status
from search.deciding.policy import Plan
from search.journal.events import TrialInherited, now_s
from search.journal.fingerprints import differences
from search.journal.folder import LoadedSearch

SCORING = ("proxy", "task", "features", "settings", "scoring_code")
"""The parts of a fingerprint that decide what a score means."""


def inherit(parent: LoadedSearch, fingerprint: Mapping[str, Any], plan: Plan, rescore: int = 0) -> list[TrialInherited]:
    """The finished trials of ``parent`` whose cells are in the space of ``plan``, numbered from 0.

    Their scores are comparable if that search scored as ``fingerprint`` says and the plan's budget allows them; costs are
    counted anew. Trials that failed are left behind: what failed them may have been the night. Of a cell with several trials,
    as in recorded tables, the last one counts: the first may be what it was chosen by.

    Args:
        rescore: how many cells this search scores anew before any other: the best in its space and budget, where their scores
            are not comparable. They have the first numbers, the best the very first.
    """
    as_parent, as_child = ({key: how.get(key) for key in SCORING} for how in (parent.record.fingerprint, fingerprint))
    scores_alike = not differences(as_parent, as_child)
    last = {trial.cell.digest: trial for trial in parent.record.finished}
    ranked = [trial for trial in parent.record.ranked() if trial is last.get(trial.cell.digest)]
    best_first = [trial for trial in ranked if trial.miou is not None and trial.cell in plan.space and plan.allows(trial.cell)]
    first = {trial.cell.digest: trial for trial in best_first[: 0 if scores_alike else rescore]}
    time_s = now_s()
    inherited: list[TrialInherited] = []
    for trial in (first | last).values():
        if trial.ended is None or trial.ended.status == Status.FAILED or trial.cell not in plan.space:
            continue
        cost = plan.cost_of(trial.cell)
        inherited.append(
            TrialInherited(
                trial=len(inherited),
                source=parent.opened.name,
                is_comparable=scores_alike and trial.is_comparable and plan.allows(trial.cell),
                cell=trial.cell,
                seed=trial.proposed.seed,
                params=cost.params,
                madds=cost.madds,
                rungs=tuple((rung.iteration, rung.miou, rung.loss, rung.elapsed_s) for rung in trial.rungs),
                status=trial.ended.status,
                reason=trial.ended.reason,
                elapsed_s=trial.elapsed_s,
                time_s=time_s,
                comes_first=trial.cell.digest in first,
                latency_ms=cost.latency_ms,
            )
        )
    return inherited
