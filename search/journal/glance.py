"""A search at a glance: what its journal's lines say without the cells, whatever operators those have. Nothing is written."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.system.locks import is_held
from search.deciding.outcomes import Status
from search.deciding.ranking import Ranking
from search.journal.folder import JOURNAL
from search.journal.lines import JournalError, is_whole


@dataclass(frozen=True)
class Glance:
    """One search.

    Attributes:
        state: ``running`` where a process has it, ``complete``, or ``stopped``: the same command resumes. ``damaged`` is one
            whose journal cannot be read: its numbers are 0.
        planned: trials in all as it was last started, if the journal says it.
        ended: trials of its own that have ended, and ``failed`` those of them without a score.
        best_miou: of the leaderboard's first.
        trial_s: of training and validation, over all trials; one that was opened again trained anew, and costs twice.
        last_s: when something last happened, in seconds since 1970; of a damaged journal, when it was last written.
        damage: where a journal cannot be read.
    """

    name: str
    state: str
    planned: int | None
    ended: int
    failed: int
    best_miou: float | None
    trial_s: float
    last_s: float
    damage: str | None = None


def glances(folder: Path) -> Sequence[Glance]:
    """Every search in ``folder`` that has begun, the latest last."""
    found = [glance for journal in folder.glob(f"*/{JOURNAL}") if (glance := _glance_or_damage(journal))]
    return sorted(found, key=lambda glance: glance.last_s)


def _glance_or_damage(journal: Path) -> Glance | None:
    try:
        return _glance(journal)
    except JournalError as error:
        return Glance(journal.parent.name, "damaged", None, 0, 0, None, 0.0, journal.stat().st_mtime, str(error))


def _glance(journal: Path) -> Glance | None:
    planned: int | None = None
    mious: dict[int, list[float]] = defaultdict(list)
    repeats: set[int] = set()
    ends: dict[int, Status] = {}
    inherited: dict[int, list[float]] = {}
    is_complete, trial_s, last_s = False, 0.0, 0.0
    lines = journal.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        event = line[11 : line.find(b'"', 11)].decode(errors="replace")  # each line begins with {"event": "
        if event == "cell_proposed" and b'"repeats": ' not in line:
            continue  # most of a journal's bytes
        try:
            body = json.loads(line)
            last_s = body.get("time_s", last_s)
            match event:
                case "search_opened":
                    planned, is_complete = body["settings"].get("trials", planned), False
                case "cell_proposed":
                    repeats.add(body["trial"])
                case "trial_inherited" if body["is_comparable"] and Status(body["status"]).has_score:
                    inherited[body["trial"]] = [miou for _, miou, _, _ in body["rungs"]]
                case "rung_reached":
                    mious[body["trial"]].append(body["miou"])
                case "trial_ended":
                    ends[body["trial"]] = Status(body["status"])
                    trial_s += body["elapsed_s"]
                case "trials_reopened":
                    ends = {trial: end for trial, end in ends.items() if trial not in body["trials"]}
                    is_complete = False
                case "search_closed":
                    is_complete = True
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines) and not is_whole(line):
                break
            raise JournalError(f"{journal}: line {number} is damaged.") from error
    if not lines or not last_s:
        return None
    own = {trial: end for trial, end in ends.items() if trial not in repeats}
    scored = inherited | {trial: mious[trial] for trial, end in own.items() if end.has_score}
    count = Counter(own.values())
    return Glance(
        name=journal.parent.name,
        state=state(is_held(journal.with_suffix(".lock")), is_complete),
        planned=planned,
        ended=len(own),
        failed=sum(number for end, number in count.items() if not end.has_score),
        best_miou=_best(scored),
        trial_s=trial_s,
        last_s=last_s,
    )


def state(is_held: bool, is_complete: bool) -> str:
    """The state of a search in a word: ``running``, ``complete`` or ``stopped``.

    Args:
        is_held: whether a process has its journal.
        is_complete: whether its journal says that nothing is left to run.
    """
    return "running" if is_held else "complete" if is_complete else "stopped"


def _best(scored: dict[int, list[float]]) -> float | None:
    ranking, trials = Ranking(), [trial for trial, mious in scored.items() if mious]
    for trial in trials:
        ranking.add(trial, scored[trial])
    return scored[trials[ranking.first()]][-1] if trials else None
