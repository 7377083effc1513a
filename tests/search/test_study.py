"""A search without Ray: what is proposed, journalled and resumed."""

import pytest

from models.cost import CellCost
from search.algorithms.near_best import NearBest
from search.evaluation import Status
from search.journal import Journal, SearchClosed, SearchOpened, read_events
from search.record import SearchRecord
from search.space import AtrousConvs, CellSpace, PointwiseConvs
from search.study import Plan, Study

SPACE = CellSpace(3, {"pointwise": PointwiseConvs(), "atrous": AtrousConvs([1, 6, 12])})
OPENED = SearchOpened("test", {}, {}, 0.0)


def plan(trials, space=SPACE):
    return Plan(space, NearBest(), trials, seed=0, cost_of=lambda cell: CellCost(1, 2, 3, 4))


def open_study(journal, trials, space=SPACE):
    return Study(journal, SearchRecord(journal.events), plan(trials, space), OPENED)


def score(cell):
    return int(cell.digest, 16) / 2**64


def run(study, stop_after=None):
    """Evaluate trials one by one; leave without ending the one after ``stop_after``."""
    while (proposed := study.propose()) is not None:
        study.reached(proposed.trial, 1, 10, score(proposed.cell) / 2, 1.0, 1.0)
        if proposed.trial == stop_after:
            return
        study.reached(proposed.trial, 2, 20, score(proposed.cell), 0.5, 2.0)
        study.ended(proposed.trial, Status.COMPLETED, "full budget")
    study.close()


def cells(path):
    return [trial.cell for trial in SearchRecord(read_events(path)[0]).trials.values()]


@pytest.mark.parametrize("stop_after", [0, 3, 9])
def test_a_search_cut_anywhere_goes_on_to_the_same_cells(tmp_path, stop_after):
    with Journal(tmp_path / "whole.jsonl") as journal:
        run(open_study(journal, 10))
    with Journal(tmp_path / "cut.jsonl") as journal:
        run(open_study(journal, 10), stop_after)
    with Journal(tmp_path / "cut.jsonl") as journal:
        study = open_study(journal, 10)
        run(study)
        assert study.is_complete
    assert cells(tmp_path / "cut.jsonl") == cells(tmp_path / "whole.jsonl")


def test_an_interrupted_trial_comes_first_under_its_number_and_its_rungs_count_once(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        run(open_study(journal, 5), stop_after=2)
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = open_study(journal, 5)
        proposed = study.propose()
        assert proposed is not None
        assert proposed.trial == 2
        study.reached(2, 1, 10, score(proposed.cell) / 2, 1.0, 1.0)
        assert len(study.record.trials[2].rungs) == 1


def test_raising_the_number_of_trials_goes_on(tmp_path):
    path = tmp_path / "journal.jsonl"
    for trials in (4, 7):
        with Journal(path) as journal:
            study = open_study(journal, trials)
            run(study)
            assert len(study.record.finished) == trials


def test_a_tiny_space_ends_complete_and_says_that_it_is_exhausted(tmp_path):
    space = CellSpace(1, {"atrous": AtrousConvs([1, 6])})
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = open_study(journal, 100, space)
        run(study)
    events, _ = read_events(tmp_path / "journal.jsonl")
    assert len(study.record.finished) == 4
    assert isinstance(events[-1], SearchClosed)
    assert "all 4 different cells" in events[-1].reason


def test_the_leaderboard_compares_equal_rungs_and_puts_trials_without_a_score_last(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = open_study(journal, 4)
        for status, mious in (
            (Status.STOPPED, [0.9]),
            (Status.COMPLETED, [0.3, 0.4]),
            (Status.DIVERGED, [0.95]),
            (Status.COMPLETED, [0.2, 0.6]),
        ):
            proposed = study.propose()
            assert proposed is not None
            for rung, miou in enumerate(mious, start=1):
                study.reached(proposed.trial, rung, 10 * rung, miou, 1.0, 1.0)
            study.ended(proposed.trial, status, "")
        assert [trial.proposed.trial for trial in study.record.leaderboard()] == [3, 1, 0, 2]
        assert study.record.trials[2].miou is None


@pytest.mark.parametrize("trials", [0, -3])
def test_zero_trials_are_refused(trials):
    with pytest.raises(ValueError, match="trials must be at least 1"):
        plan(trials)
