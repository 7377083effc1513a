"""Finished trials: their one order, and who is worth waiting for."""

from itertools import combinations
from random import Random

import pytest

from models.spec import AtrousConv, Branch, CellSpec
from search.deciding.outcomes import Evaluation, Finished, Status, ranked
from search.deciding.ranking import Ranking

CELL = CellSpec((Branch(-1, AtrousConv()),))


def trial(number, *mious, is_comparable=True):
    return Evaluation(number, CELL, Status.COMPLETED if mious else Status.FAILED, mious, is_comparable=is_comparable)


def order(*evaluations):
    return [one.trial for one in ranked(evaluations)]


def test_trials_that_got_equally_far_stand_by_their_last_scores_and_the_earlier_first():
    assert order(trial(0, 0.2, 0.4), trial(1, 0.1, 0.6), trial(2, 0.3, 0.6)) == [1, 2, 0]


def test_a_cell_that_is_bad_to_its_end_stands_below_one_that_was_stopped_at_more():
    assert order(trial(0, 0.30, 0.339), trial(1, 0.5834), trial(2, 0.60, 0.70)) == [2, 1, 0]


def test_who_trained_for_longer_has_the_benefit_of_the_doubt_where_comparisons_run_in_a_circle():
    better, worse, stopped = trial(0, 0.4, 0.2, 0.45), trial(1, 0.6, 0.5, 0.3), trial(2, 0.5)
    assert order(better, worse, stopped) == [0, 1, 2]  # better ends above worse, which was above stopped, which is above better


def test_a_cell_that_blossoms_late_stands_above_one_that_was_stopped_at_less():
    assert order(trial(0, 0.10, 0.20, 0.99), trial(1, 0.28)) == [0, 1]


def test_equal_scores_at_the_common_rung_put_who_got_further_first():
    assert order(trial(0, 0.5), trial(1, 0.5, 0.6)) == [1, 0]


def test_scores_of_other_searches_come_after_all_of_ones_own_and_trials_without_a_score_last():
    assert order(trial(0), trial(1, 0.9, 0.9, is_comparable=False), trial(2, 0.1), trial(3)) == [2, 1, 0, 3]


def test_a_trial_that_ends_while_another_thread_asks_for_the_order_is_in_the_next_one(monkeypatch):
    finished = Finished([trial(0, 0.5)])
    order = Ranking.order

    def order_beside_a_trial_that_ends(ranking):
        found = order(ranking)
        monkeypatch.undo()
        finished.add(trial(1, 0.9))
        return found

    monkeypatch.setattr(Ranking, "order", order_beside_a_trial_that_ends)
    assert finished.best(2) == [trial(0, 0.5)]
    assert [one.trial for one in finished.ranked()] == [1, 0]


@pytest.mark.parametrize("seed", range(20))
def test_the_order_follows_from_the_scores_whatever_the_order_of_arrival(seed):
    """And whoever stands above another is not worse, or somebody between them got further and is not worse."""
    rng = Random(seed)
    evaluations = [trial(n, *(rng.random() for _ in range(rng.randint(1, 4)))) for n in range(40)]
    ordered = ranked(evaluations)
    assert ranked(rng.sample(evaluations, len(evaluations))) == ordered
    for (place, above), (_, below) in combinations(enumerate(ordered), 2):
        common = min(len(above.mious), len(below.mious)) - 1
        if len(above.mious) == len(below.mious):
            assert above.mious[-1] >= below.mious[-1]
        elif len(above.mious) < len(below.mious):
            assert above.mious[-1] > max(below.mious[common:])
        elif max(above.mious[common:]) < below.mious[-1]:
            shields = ordered[place + 1 : ordered.index(below)]
            assert any(len(one.mious) > len(below.mious) and max(one.mious[common:]) >= below.mious[-1] for one in shields)


def test_the_best_is_the_first_of_the_order_after_each_trial_without_an_order(monkeypatch):
    rng, finished, arrived = Random(0), Finished(), []
    order, asked = Ranking.order, []
    monkeypatch.setattr(Ranking, "order", lambda ranking: asked.append(ranking) or order(ranking))
    for number in rng.sample(range(300), 300):
        arrived.append(trial(number, *(rng.randint(0, 6) / 6 for _ in range(rng.randint(1, 4)))))  # many are equal
        finished.add(arrived[-1])
        (best,) = finished.best(1)
        assert asked == []
        assert best == ranked(arrived)[0]
        asked.clear()


def test_adding_one_by_one_gives_the_same_best_as_all_at_once():
    rng = Random(0)
    evaluations = [trial(n, *(rng.random() for _ in range(rng.randint(0, 4)))) for n in range(100)]
    finished = Finished()
    for evaluation in evaluations:
        finished.add(evaluation)
        finished.best(3)
    assert finished.best(7) == Finished(evaluations).best(7) == [one for one in ranked(evaluations) if one.mious][:7]


def test_a_young_trial_is_awaited_and_one_that_many_have_overtaken_is_not():
    finished = Finished(trial(n, 0.5) for n in (4, 0, 2, 1, 7, 8))
    assert finished.first_awaited(lag=10) == 3  # 4, 7 and 8 have overtaken trial 3
    assert finished.first_awaited(lag=3) == 5
    assert finished.first_awaited(lag=2) == 9
    assert finished.first_awaited(lag=0) == 9
    assert Finished().first_awaited(lag=10) == 0


@pytest.mark.parametrize("mious", [(75.0,), (0.5, float("nan")), (-0.1,)])
def test_a_score_that_is_none_is_refused(mious):
    with pytest.raises(ValueError, match="mious must be from 0 to 1"):
        trial(0, *mious)
