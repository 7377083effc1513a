"""A search's own control: its uniform samples, beside the mutants that its algorithm made of what it had learnt."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from search.deciding.algorithms.base import ATTEMPTS, proposal_seed
from search.deciding.outcomes import Status
from search.deciding.space import CellSpace
from search.findings.estimates import Estimate, mean, welch_difference
from search.journal.record import SearchRecord, TrialRecord
from search.wording import percent

FEWEST = 2
"""Scores of either kind."""


@dataclass(frozen=True, slots=True)
class Control:
    """Scores of uniform samples and of mutants at the same rung, which no scheduler has selected.

    Attributes:
        rung: the last one, or the first where trials were stopped early.
        difference: how much higher mutants score on average, with Welch's interval.
    """

    rung: int
    uniform: Estimate
    mutants: Estimate
    difference: Estimate

    def text(self) -> str:
        """In words."""
        return (
            f"Its own control: {self.mutants.count:,} mutants score {self.difference.text(percent)} points more at rung "
            f"{self.rung} than {self.uniform.count:,} uniform samples, whose mean is {percent(self.uniform.value)} %."
        )


def control(record: SearchRecord, space: CellSpace, near_best: float, seed: int) -> Control | None:
    """Of a search by ``NearBest``; None where either kind has fewer than ``FEWEST`` scores.

    Cells that somebody chose, as ``first`` or for a fork to score first, are of neither kind.

    Args:
        near_best: its share of mutants.
        seed: of its proposals.
    """
    chosen = {
        *(record.opened.fingerprint.get("first", ()) if record.opened else ()),
        *(trial.cell.digest for trial in record.trials.values() if trial.comes_first),
    }
    drawn = [trial for number, trial in record.trials.items() if not trial.source and number not in record.repeats]
    own = [trial for trial in drawn if trial.cell.digest not in chosen]
    scored = [trial for trial in own if trial.miou is not None]
    rung = fair_rung(scored)
    reached = [trial for trial in scored if len(trial.rungs) >= rung]
    is_uniform = {trial.number: _is_uniform(trial, space, near_best, seed) for trial in reached}
    uniform, mutants = (_scores(reached, rung, is_uniform, kind) for kind in (True, False))
    if min(len(uniform), len(mutants)) < FEWEST:
        return None
    return Control(rung, mean(uniform), mean(mutants), welch_difference(mutants, uniform))


def fair_rung(scored: Sequence[TrialRecord]) -> int:
    """The last rung that no scheduler has selected: the first where trials were stopped early."""
    has_stopped = any(trial.status == Status.STOPPED for trial in scored)
    return 1 if has_stopped else max((len(trial.rungs) for trial in scored), default=1)


def _is_uniform(trial: TrialRecord, space: CellSpace, near_best: float, seed: int) -> bool:
    """Whether ``NearBest`` drew the cell from the whole space: its draws are made again.

    Before anything is known it draws no lot. A uniform sample that followed a mutant which was refused is not recognised.
    """
    proposal, cell = proposal_seed(seed, trial.number), trial.cell
    if space.sample(Random(proposal)).digest == cell.digest:
        return True
    rng = Random(proposal)
    for _ in range(ATTEMPTS):
        if rng.random() < near_best:
            return False
        if space.sample(rng).digest == cell.digest:
            return True
    return False


def _scores(trials: Sequence[TrialRecord], rung: int, is_uniform: dict[int, bool], kind: bool) -> list[float]:
    return [trial.rungs[rung - 1].miou for trial in trials if is_uniform[trial.number] == kind]
