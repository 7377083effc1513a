import csv
import json
from random import Random
from statistics import fmean

import pytest

from models.spec import AtrousConv, Branch, CellSpec, Conv1x1
from search.config import load
from search.deciding.algorithms.base import SpaceExhaustedError
from search.deciding.algorithms.listed import Listed, listed_in
from search.deciding.outcomes import Evaluation, Finished, Status
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs
from search.findings.two_rankings import best_cells, proxy_correlation, proxy_trust, reranked, write_ranking
from search.journal.events import CellProposed, RungReached, SearchOpened, TrialEnded
from search.journal.fingerprints import differences
from search.journal.record import SearchRecord
from search.settings.groups import Deciding

SPACE = CellSpace(1, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6])})
CELLS = [CellSpec((Branch(-1, AtrousConv((1, rate))),)) for rate in (1, 3, 6, 9, 12, 15)]


def record(mious, statuses=None):
    """A search whose trial n scored ``mious[n]``."""
    events = [SearchOpened("toy", {}, {}, 0.0)]
    for trial, miou in enumerate(mious):
        status = (statuses or {}).get(trial, Status.COMPLETED)
        events.append(CellProposed(trial, CELLS[trial], 0, 10 + trial, 100, 0.0))
        if miou is not None:
            events.append(RungReached(trial, 1, 10, miou, 1.0, 5.0, False, "", 0.0))
        events.append(TrialEnded(trial, status, "", 5.0, 0.0))
    return SearchRecord(events)


def test_the_best_cells_are_the_leaderboards_first_with_a_score():
    search = record([0.3, None, 0.5, 0.4], {1: Status.FAILED})
    assert [(rank, trial.cell) for rank, trial in best_cells(search, 2)] == [(1, CELLS[2]), (2, CELLS[3])]
    assert [rank for rank, _ in best_cells(search, 10)] == [1, 2, 3]


def test_cells_are_ranked_by_their_mean_over_the_seeds():
    search = record([0.3, 0.4, 0.5])
    ranking = reranked(best_cells(search, 3), [record([0.9, 0.6, 0.7]), record([0.8, 0.7, 0.7])])
    rows = ranking.compared
    assert [(row.cell, row.proxy_rank) for row in rows] == [(CELLS[0], 3), (CELLS[2], 1), (CELLS[1], 2)]
    assert rows[0].miou == pytest.approx(0.85)
    assert rows[0].sd == pytest.approx(0.05 * 2**0.5)
    assert rows[1].sd == 0


def test_a_cell_that_failed_in_every_seed_comes_last_without_a_score():
    again = record([0.9, None, 0.7], {1: Status.DIVERGED})
    rows = reranked(best_cells(record([0.3, 0.5, 0.4]), 3), [again]).rows
    assert [row.miou for row in rows] == [0.9, 0.7, None]
    assert rows[-1].proxy_rank == 1
    assert rows[0].sd is None


def test_a_cell_that_completed_fewer_seeds_is_not_ranked_by_their_luck(tmp_path):
    lucky = record([0.7, 0.9, 0.6]), record([0.7, None, 0.6], {1: Status.FAILED})
    ranking = reranked(best_cells(record([0.3, 0.5, 0.4]), 3), lucky)
    assert [row.cell for row in ranking.rows] == [CELLS[0], CELLS[2], CELLS[1]]
    assert [row.cell for row in ranking.others] == [CELLS[1]]
    assert (
        f"Not ranked, as they have not completed the 2 seeds of the others: {CELLS[1].digest[:8]} (1 completed)."
        in ranking.verdict()
    )
    assert [row["rank"] for row in table_of(ranking, tmp_path)] == ["1", "2", ""]


def test_a_seed_that_most_cells_lack_is_left_out_and_the_cells_are_compared():
    proxy = record([0.6, 0.5, 0.4, 0.3])
    lucky_last = record([None, None, None, 0.9], dict.fromkeys(range(3), Status.FAILED))
    ranking = reranked(best_cells(proxy, 4), [record([0.8, 0.7, 0.6, 0.5]), lucky_last])
    assert [row.cell for row in ranking.compared] == CELLS[:4]
    assert ranking.compared[-1].miou == 0.5
    assert (ranking.seeds, ranking.others) == ([0], [])
    assert "1 seed left out, under which too few of the cells completed a training." in ranking.verdict()


def test_seeds_that_lack_different_cells_leave_most_cells_to_compare():
    proxy = record([0.6, 0.5, 0.4, 0.3])
    without = [record([0.7 if trial != lost else None for trial in range(4)], {lost: Status.FAILED}) for lost in range(3)]
    ranking = reranked(best_cells(proxy, 4), without)
    assert len(ranking.compared) == 3
    assert (ranking.seeds, ranking.left_out) == ([0], 2)


def test_a_trial_that_was_stopped_early_does_not_count():
    (row,) = reranked(best_cells(record([0.3]), 1), [record([0.9], {0: Status.STOPPED})]).rows
    assert row.miou is None


def drawn(worths, seeds, sd, rng, of_seed=0.05):
    """A re-ranking of cells with these worths, whose seeds are easy or hard for all of them."""
    ease = [rng.gauss(0, of_seed) for _ in range(seeds)]
    trained = [record([worth + luck + rng.gauss(0, sd) for worth in worths]) for luck in ease]
    return reranked(best_cells(record([0.9 - 0.1 * place for place in range(len(worths))]), len(worths)), trained)


def test_what_seeds_have_in_common_is_no_noise_between_cells():
    rng = Random(0)
    sds = [drawn([0.5] * 6, 4, 0.01, rng).noise.sd for _ in range(60)]
    assert fmean(sds) == pytest.approx(0.01, rel=0.08)


def test_cells_that_are_equal_are_seldom_told_apart_and_the_first_is_said_to_be_flattered():
    rng = Random(1)
    rankings = [drawn([0.5] * 6, 4, 0.01, rng) for _ in range(80)]
    assert fmean(len(ranking.rivals) < 5 for ranking in rankings) <= 0.1
    flattered = [ranking.compared[0].miou - fmean(row.miou for row in ranking.compared) for ranking in rankings]
    said = [ranking.compared[0].miou - ranking.shrunk[0] for ranking in rankings]
    assert fmean(said) > 0.5 * fmean(flattered)
    verdict = " ".join(rankings[0].verdict())
    assert "Statistically indistinguishable from the first: " in verdict
    assert "The first is the best of 6 means, which flatters it by about 0." in verdict


def test_cells_that_differ_are_told_apart_and_hardly_shrunk():
    ranking = drawn([0.70, 0.60, 0.50, 0.40, 0.30, 0.20], 4, 0.005, Random(2))
    assert not ranking.rivals
    assert ranking.shrunk[0] == pytest.approx(ranking.compared[0].miou, abs=0.001)
    assert "The first is distinguishable from all others." in ranking.verdict()


def test_more_seeds_find_the_best_cell_more_often_and_how_many_it_takes_is_said():
    ranking = drawn([0.50 + 0.005 * place for place in range(6)], 8, 0.01, Random(3), of_seed=0.0)
    chances = [ranking.chance(seeds) for seeds in (1, 4, 16)]
    assert chances == sorted(chances)
    assert 1 / 6 < chances[0] < chances[2] < 1
    assert any("1 / 2 / 4 / 8 / 16 / 32 seeds of 6 such cells put the best first in 0." in line for line in ranking.verdict())


def test_one_seed_tells_nothing_apart():
    ranking = reranked(best_cells(record([0.3, 0.4, 0.5]), 3), [record([0.9, 0.6, 0.7])])
    assert (ranking.noise, ranking.between, ranking.chance(4)) == (None, None, None)
    assert len(ranking.rivals) == 2
    assert "cells cannot be distinguished and seed noise is not known: use seeds=4 or more." in ranking.verdict()[1]


def test_the_proxy_is_judged_by_cells_with_both_scores():
    search = record([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    ranking = reranked(best_cells(search, 6), [record([0.2, 0.3, 0.4, 0.5, 0.6, None], {5: Status.FAILED})])
    fitted = proxy_correlation(ranking)
    assert (fitted.rho, fitted.pairs) == (pytest.approx(1.0), 5)


def test_a_cell_that_the_proxy_stopped_early_is_ranked_and_says_nothing_of_the_proxy():
    search = record([0.1, 0.2, 0.3, 0.4, 0.5, 0.05], {5: Status.STOPPED})
    ranking = reranked(best_cells(search, 6), [record([0.2, 0.3, 0.4, 0.5, 0.6, 0.9])])
    assert ranking.compared[0].cell == CELLS[5]
    fitted = proxy_correlation(ranking)
    assert (fitted.rho, fitted.pairs) == (pytest.approx(1.0), 5)
    assert "1.00 of 5 cells" in proxy_trust(ranking)
    assert "1 that the proxy stopped early not counted" in proxy_trust(ranking)


def table_of(ranking, folder):
    write_ranking(ranking, folder / "rerank.csv")
    return list(csv.DictReader((folder / "rerank.csv").open()))


def test_the_table_has_both_ranks_and_a_cell_that_can_be_read_back(tmp_path):
    rows = reranked(best_cells(record([0.3, 0.4]), 2), [record([0.9, 0.6])])
    first, second = table_of(rows, tmp_path)
    assert (first["rank"], first["proxy_rank"], first["miou"], first["sd"]) == ("1", "2", "0.9", "")
    assert second["proxy_miou"] == "0.4"
    assert CellSpec.from_json(json.loads(first["cell"])) == rows.rows[0].cell


def test_listed_cells_are_proposed_in_their_order_each_once():
    cells = (CELLS[2], CELLS[0], CellSpec((Branch(-1, Conv1x1()),)))
    listed = Listed(cells)
    finished = Finished([Evaluation(0, cells[0], Status.COMPLETED, (0.5,))])
    assert next(listed.propose(SPACE, Finished(), (), Random(0))) == cells[0]
    assert next(listed.propose(SPACE, finished, (), Random(0))) == cells[1]
    assert next(listed.propose(SPACE, finished, (cells[1],), Random(0))) == cells[2]
    with pytest.raises(SpaceExhaustedError, match="all 3 listed cells have been proposed"):
        next(listed.propose(SPACE, finished, cells[1:], Random(0)))


def test_a_file_lists_the_cells_of_a_study(tmp_path):
    file = tmp_path / "cells.json"
    file.write_text(json.dumps([cell.to_json() for cell in CELLS]))
    assert listed_in(file) == Listed(tuple(CELLS))


def test_a_search_of_listed_cells_is_known_by_the_cells_and_not_by_their_file(tmp_path):
    files = [tmp_path / name for name in ("cells.json", "moved.json")]
    for file in files:
        file.write_text(json.dumps([cell.to_json() for cell in CELLS]))

    def recorded(file):
        config = load("search", ["algorithm=listed", f"algorithm.file={file}"])
        return config.read(Deciding).fingerprint(config)

    before = recorded(files[0])
    assert differences(before, recorded(files[1])) == ""
    files[0].write_text(json.dumps([cell.to_json() for cell in CELLS[1:]]))
    assert differences(before, recorded(files[0])).startswith("algorithm.cells was ")


@pytest.mark.parametrize(
    ("text", "says"),
    [("[", "cannot be read as JSON"), ("[]", "list of cells"), ('{"cell": []}', "list of cells"), ("[1]", "list of branches")],
)
def test_a_file_that_lists_no_cells_is_refused(tmp_path, text, says):
    file = tmp_path / "cells.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=says):
        listed_in(file)
