"""Searches in virtual time: the table, the engine, and the command."""

import csv
import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chisquare, ks_2samp, spearmanr

from models.cost import CellCost, FeatureShape, cell_cost
from models.spec import Branch, CellSpec
from search.cli import main
from search.config import load
from search.deciding.algorithms.evolution import RegularizedEvolution
from search.deciding.algorithms.local_search import LocalSearch
from search.deciding.algorithms.near_best import NearBest
from search.deciding.algorithms.pareto import Pareto
from search.deciding.algorithms.predictor import Predictor
from search.deciding.algorithms.prior import NearPrior, Prior
from search.deciding.algorithms.tpe import Tpe
from search.deciding.algorithms.uniform import Uniform
from search.deciding.budget import Budget
from search.deciding.outcomes import Finished, Status
from search.deciding.policy import Plan
from search.deciding.schedulers import Asha, NoStopping
from search.deciding.space import AnyCell, AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings
from search.journal.events import CellProposed, RungReached, SearchOpened, TrialEnded
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.study import Study
from search.settings.named_cells import read_cell
from search.settings.simulate import read
from search.simulation.compare import Contender, compare, top_quality
from search.simulation.engine import Reranking, Trouble, simulate
from search.simulation.landscape import Landscape, LandscapeSettings
from search.simulation.recorded import Nearest, RecordedTable
from search.simulation.surrogate import SurrogateTable
from search.views.figures.simulation import _curve
from training.score import RungScore

SPACE = CellSpace(
    5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
)
TABLES = Path(__file__).parents[3] / "benchmarks" / "tables"
TINY = CellSpace(2, {"a": PointwiseConvs(), "b": AtrousConvs([1, 6])})
RUNGS = (1875, 3750, 7500, 15000, 30000)
COST = partial(cell_cost, features=FeatureShape(320, 49, 49))


def plan(trials, algorithm=Uniform(), scheduler=NoStopping(), space=SPACE, **changes):  # noqa: B008
    return Plan(space, algorithm, scheduler, RUNGS, trials, 0, cost_of=COST, **changes)


def landscape(seed=0, space=SPACE, **settings):
    return Landscape(LandscapeSettings(seed=seed, **settings), space, COST, RUNGS)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_cell_of_a_landscape_is_known_and_all_others_are_worse(seed):
    table = landscape(seed)
    assert table.quality(table.best) == pytest.approx(0.8)
    assert max(table.quality(cell) for cell in SPACE.neighbours(table.best)) < 0.8
    rng = Random(seed)
    assert max(table.quality(SPACE.sample(rng)) for _ in range(2000)) < 0.8


def test_in_a_small_space_nothing_but_the_best_cell_is_as_good():
    table = landscape(space=TINY)
    as_good = [cell for cell in TINY.members if table.quality(cell) > 0.8 - 1e-9]
    assert as_good == [table.best]


def test_the_order_of_branches_changes_no_score():
    table, cell = landscape(), SPACE.sample(Random(1))
    for order in permutations(range(5)):
        place = {-1: -1} | {old: new for new, old in enumerate(order)}
        branches = tuple(Branch(place[cell.branches[old].input], cell.branches[old].operator) for old in order)
        if all(branch.input < index for index, branch in enumerate(branches)):
            assert table.quality(CellSpec(branches)) == pytest.approx(table.quality(cell))


def test_early_rungs_rank_cells_less_well_than_late_ones_as_was_measured():
    table, rng = landscape(), Random(0)
    scores = [table.scores(SPACE.sample(rng), seed) for seed in range(1500)]
    last = [one[-1].miou for one in scores]
    rho = [spearmanr([one[rung].miou for one in scores], last).statistic for rung in range(4)]
    assert rho == sorted(rho)
    assert 0.6 < rho[0] < 0.8
    assert 0.85 < rho[3] < 0.95


def test_a_trial_of_the_papers_length_takes_about_ninety_minutes():
    table, rng = landscape(), Random(0)
    minutes = [table.scores(SPACE.sample(rng), seed)[-1].elapsed_s / 60 for seed in range(300)]
    assert 80 < sum(minutes) / 300 < 100


def test_simulated_workers_are_as_busy_as_their_trials_and_no_trial_is_lost():
    table = landscape()
    simulated = simulate(table, plan(50), workers=8)
    assert len(simulated.quality) == simulated.completed == 50
    busy_s = [0.0]

    @dataclass
    class Spy:
        quality = staticmethod(table.quality)

        def scores(self, cell, seed):
            scores = table.scores(cell, seed)
            busy_s[0] += scores[-1].elapsed_s
            return scores

    again = simulate(Spy(), plan(50), workers=8)
    assert again == simulated
    assert again.worker_hours[-1] == pytest.approx(busy_s[0] / 3600)
    assert again.worker_hours[-1] <= 8 * again.hours[-1]
    assert list(again.hours) == sorted(again.hours)


def test_early_stopping_saves_hours_and_more_workers_save_time_on_the_clock():
    table = landscape()
    full, stopped = (simulate(table, plan(200, scheduler=s), workers=4) for s in (NoStopping(), Asha(RUNGS[0])))
    assert stopped.worker_hours[-1] < 0.6 * full.worker_hours[-1]
    assert 0 < stopped.completed < 200
    assert simulate(table, plan(200), workers=16).hours[-1] < full.hours[-1] / 3


def test_one_driver_answers_one_worker_at_a_time_and_the_others_wait():
    table = landscape()
    alone, answered = (simulate(table, plan(10), workers=1, driver_s=driver_s) for driver_s in (0.0, 60.0))
    asked = 10 * (1 + len(RUNGS))
    assert answered.hours[-1] == pytest.approx(alone.hours[-1] + asked * 60 / 3600)
    crowded = simulate(table, plan(300), workers=300, driver_s=60.0)
    assert crowded.hours[-1] >= 300 * (1 + len(RUNGS)) * 60 / 3600
    assert crowded.hours[-1] > 3 * simulate(table, plan(300), workers=300).hours[-1]


def test_processes_change_no_result():
    contenders = [Contender("uniform", "none", plan(30)), Contender("near_best", "asha", plan(30, NearBest(), Asha(RUNGS[0])))]
    tables = [landscape(0), landscape(1)]
    one, two = (compare(tables, contenders, workers=4, seeds=2, processes=processes) for processes in (1, 2))
    assert [result.by_table for result in one] == [result.by_table for result in two]
    assert len({run.quality[-1] for run in one[0].runs}) == 4


def test_an_interval_is_made_of_tables_where_there_are_several():
    contender = Contender("uniform", "none", plan(10))
    (one,) = compare([landscape()], [contender], workers=4, seeds=3, processes=1)
    (several,) = compare([landscape(0), landscape(1)], [contender], workers=4, seeds=3, processes=1)
    assert one.independent(lambda run: run.result) == [run.result for run in one.runs]
    assert several.independent(lambda run: run.result)[0] == pytest.approx(fmean(run.result for run in several.by_table[0]))
    assert len(several.independent(lambda run: run.result)) == 2


def test_re_ranking_is_paid_for_and_finds_what_the_luck_of_a_seed_hid():
    noisy = landscape(seed_noise=0.05)
    runs = [simulate(noisy, replace(plan(40), seed=seed), workers=4, reranking=Reranking(8, 16)) for seed in range(12)]
    assert all(run.rerank_hours > 0 for run in runs)
    assert fmean(run.result for run in runs) > fmean(run.quality[-1] for run in runs)
    without = simulate(noisy, plan(40), workers=4)
    assert (without.result, without.rerank_hours) == (without.quality[-1], 0.0)
    with pytest.raises(ValueError, match="rerank.(top must be at least 0|seeds must be at least 1)"):
        Reranking(1, 0)


def test_the_top_share_is_a_quantile_of_uniform_samples():
    table = landscape(space=TINY)
    of_plan = plan(10, space=TINY)
    assert top_quality(table, of_plan, 0.5, 1000) < top_quality(table, of_plan, 0.01, 1000) == pytest.approx(0.8)


def test_a_goal_is_within_the_budget():
    table = landscape(space=TINY)
    dearest = COST(table.best).madds
    allowed = [cell for cell in TINY.members if COST(cell).madds < dearest]
    of_plan = plan(10, space=TINY, budget=Budget(madds=dearest - 1))
    assert top_quality(table, of_plan, 0.01, 1000) == max(map(table.quality, allowed)) < 0.8
    with pytest.raises(ValueError, match="budget: none of 10 sampled cells is within it"):
        top_quality(table, plan(10, space=TINY, budget=Budget(madds=1)), 0.01, 10)


LEARNING = [
    NearBest(),
    RegularizedEvolution(population_size=20, sample_size=10),
    LocalSearch(),
    Tpe(history=50),
    Pareto(population_size=20),
    Predictor(),
]


@pytest.mark.parametrize("algorithm", LEARNING, ids=lambda algorithm: type(algorithm).__name__)
def test_trials_that_fail_or_hang_do_not_keep_an_algorithm_from_learning(algorithm):
    """Whoever waited for the first trial that hangs would propose uniform samples from then on."""

    @dataclass(frozen=True)
    class Watched:
        cells: list

        def propose(self, space, finished, pending, rng):
            state = rng.getstate()
            uniform = next(Uniform().propose(space, finished, pending, rng))
            rng.setstate(state)
            self.cells.append((proposed := next(algorithm.propose(space, finished, pending, rng)), uniform))
            yield proposed

    watched = Watched([])
    trouble = Trouble(failing=0.03, hanging=0.02, hang_hours=1000)
    assert any(trouble.fails_after_s(17, trial, 1.0) == 3600_000 for trial in range(40))
    simulate(landscape(), replace(plan(160, watched, Asha()), seed=17), workers=8, trouble=trouble)
    late = watched.cells[-20:]
    assert sum(proposed == uniform for proposed, uniform in late) < len(late) / 2


def test_trouble_takes_the_time_that_it_takes_and_gives_no_score():
    table = landscape()
    failing = simulate(table, plan(20), workers=2, trouble=Trouble(failing=1.0))
    assert (failing.completed, set(failing.quality)) == (0, {0.0})
    hanging = simulate(table, plan(4), workers=2, trouble=Trouble(hanging=1.0, hang_hours=5))
    assert hanging.hours[-1] == pytest.approx(10)
    with pytest.raises(ValueError, match="failing and hanging must be at most 1 together"):
        Trouble(failing=0.6, hanging=0.6)


def in_a_table(cells, mious=None):
    """A journal in which each cell scored so much, the best first unless it is said otherwise."""
    events = []
    for trial, (cell, miou) in enumerate(zip(cells, mious or [0.9 - 0.01 * place for place in range(len(cells))], strict=True)):
        events.append(CellProposed(trial, cell, trial, 1, 1, 0.0))
        events.append(RungReached(trial, 1, RUNGS[-1], miou, 1.0, 5.0, False, "", 0.0))
        events.append(TrialEnded(trial, Status.COMPLETED, "", 5.0, 0.0))
    return RecordedTable.of(events)


def cells_by_rank(count, seed=0):
    rng = Random(seed)
    return [SPACE.sample(rng).canonical() for _ in range(count)]


def places_of_the_best(table, algorithm, searches=60):
    """How many trials each of some searches took until it had the best cell."""
    goal = max(map(table.quality, table.cells))
    plans = (replace(table.searched_by(plan(len(table.cells), algorithm)), seed=seed) for seed in range(searches))
    return [simulate(table, one, workers=2).first_at_least(goal) for one in plans]


@pytest.mark.parametrize("algorithm", [Uniform(), LocalSearch(num_initial=5)], ids=["uniform", "local_search"])
def test_shuffling_a_recorded_table_changes_nothing_in_distribution(algorithm):
    """Its leaderboard stands best first; an answer that took the first of equally near ones would tell of that."""
    table = in_a_table(cells_by_rank(16))
    rng = Random(1)
    shuffled = RecordedTable({cell.digest: table.recorded(cell) for cell in rng.sample(table.cells, len(table.cells))})
    assert ks_2samp(places_of_the_best(table, algorithm), places_of_the_best(shuffled, algorithm)).pvalue > 0.01


def test_a_uniform_search_of_a_recorded_table_is_one_in_random_order():
    places = places_of_the_best(in_a_table(cells_by_rank(16)), Uniform(), searches=80)
    assert set(places) == set(range(16))
    assert chisquare(list(Counter(place // 4 for place in places).values())).pvalue > 0.01


def test_a_subset_of_a_table_has_so_many_of_its_cells_with_all_their_scores():
    table = in_a_table(cells_by_rank(24))
    one, other = (table.subset(6, Random(seed)) for seed in range(2))
    assert (len(one.cells), set(one.cells) < set(table.cells)) == (6, True)
    assert set(one.cells) != set(other.cells)
    assert all(one.quality(cell) == table.quality(cell) for cell in one.cells)


def test_a_surrogate_ranks_cells_that_were_not_recorded_and_repeats_the_tables_noise():
    made_up, rng = landscape(), Random(0)
    recorded, others = ([SPACE.sample(rng).canonical() for _ in range(count)] for count in (150, 60))
    surrogate = SurrogateTable(in_a_table(recorded, list(map(made_up.quality, recorded))), noise=0.01)
    rho = spearmanr(list(map(surrogate.quality, others)), list(map(made_up.quality, others))).statistic
    assert rho > 0.4
    assert spearmanr(surrogate.recorded, surrogate.predicted).statistic == pytest.approx(rho, abs=0.3)
    drawn = [surrogate.scores(others[0], seed)[-1].miou for seed in range(400)]
    assert stdev(drawn) == pytest.approx(0.01, rel=0.15)
    assert fmean(drawn) == pytest.approx(surrogate.quality(others[0]), abs=0.002)
    assert surrogate.scores(others[0], 7) == surrogate.scores(others[0], 7)
    best = simulate(surrogate, surrogate.searched_by(replace(plan(30, NearBest()), rungs=surrogate.rungs)), workers=4)
    assert len(best.quality) == 30


@pytest.fixture
def recorded(tmp_path):
    """A whole tiny space, searched without early stopping, and one cell that failed."""
    path = tmp_path / "recorded" / "journal.jsonl"
    of_plan = Plan(TINY, Uniform(), NoStopping(), (1, 2), TINY.num_distinct, 0, cost_of=lambda cell: CellCost(1, 1, 1, 1))
    with Journal(path) as journal:
        study = Study(journal, SearchRecord(), of_plan, SearchOpened("recorded", {}, {}, 0.0))
        while (proposed := study.propose()) is not None:
            if proposed.trial == 3:
                study.failed(3, Status.FAILED, "for the test")
                continue
            for rung in (1, 2):
                miou = int(proposed.cell.digest, 16) / 2**64 * rung / 2
                study.reached(proposed.trial, RungScore(rung, rung, miou, 1.0, 10.0 * rung))
        study.close()
    return path


def test_what_a_search_scored_twice_is_recorded_twice():
    of_plan = replace(plan(10, space=TINY), scheduler=NoStopping(), rungs=(10,), repeats=4)
    events = []
    study = Study(
        SimpleNamespace(append=lambda *new: events.extend(new)), SearchRecord(), of_plan, SearchOpened("", {}, {}, 0.0)
    )
    while (proposed := study.propose()) is not None:
        study.reached(proposed.trial, RungScore(1, 10, 0.3 if proposed.repeats is None else 0.5, 1.0, 1.0))
    table = RecordedTable.of(events)
    assert table.num_repeated == len(study.record.repeats) > 0
    assert {table.quality(cell) for cell in table.cells} == {0.3, 0.4}


def test_a_recorded_search_answers_with_its_own_scores_and_its_best_cell_is_found(recorded):
    events, _ = read_events(recorded)
    table = RecordedTable.of(events)
    assert len(table.cells) == TINY.num_distinct - 1
    best = SearchRecord(events).ranked()[0]
    of_plan = table.searched_by(replace(plan(1000, NearBest(), space=TINY), rungs=table.rungs))
    simulated = simulate(table, of_plan, workers=2)
    assert len(simulated.quality) == len(table.cells)
    assert simulated.quality[-1] == best.miou
    assert simulated.worker_hours[-1] == pytest.approx(20.0 * len(table.cells) / 3600)
    for cell in table.cells:
        assert [score.miou for score in table.scores(cell, 0)] == [table.quality(cell) / 2, table.quality(cell)]


def test_a_cell_that_was_recorded_answers_itself(recorded):
    table = RecordedTable.of(read_events(recorded)[0])
    nearest = Nearest(Uniform(), table.cells)
    for seed in range(20):
        wanted = TINY.sample(Random(seed)).canonical()
        answer = next(nearest.propose(TINY, Finished(), (), Random(seed)))
        assert answer in table.cells
        assert answer == wanted or wanted not in table.cells


def test_a_cell_that_was_recorded_under_several_seeds_has_their_mean_and_each_of_them_by_seed():
    first, other = TINY.members[:2]
    events = []
    for trial, (cell, miou) in enumerate([(first, 0.2), (other, 0.3), (first, 0.4)]):
        events.append(CellProposed(trial, cell, trial, 1, 1, 0.0))
        events.append(RungReached(trial, 1, 10, miou, 1.0, 5.0, False, "", 0.0))
        events.append(TrialEnded(trial, Status.COMPLETED, "", 5.0, 0.0))
    table = RecordedTable.of(events)
    assert set(table.cells) == {first, other}
    assert table.num_repeated == 1
    assert table.quality(first) == pytest.approx(0.3)
    assert {table.scores(first, seed)[0].miou for seed in range(4)} == {0.2, 0.4}
    assert {table.scores(other, seed)[0].miou for seed in range(4)} == {0.3}


@pytest.mark.parametrize("file", sorted(TABLES.glob("*.jsonl.gz")), ids=lambda file: file.name)
def test_the_recorded_tables_of_this_project_can_be_searched(file):
    table = RecordedTable.of(read_events(file)[0])
    assert all(len(table.scores(cell, 0)) == len(table.rungs) for cell in table.cells)


def test_a_search_that_stopped_all_but_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="journal: 0 cells ran through every rung .* at least 2 are needed"):
        RecordedTable.of([])


def test_cells_beyond_the_budget_are_no_part_of_a_recorded_search(recorded):
    events, _ = read_events(recorded)
    whole = RecordedTable.of(events)
    allowed = set(whole.cells[:4])
    assert RecordedTable.of(events, allowed.__contains__).cells == whole.cells[:4]


def test_the_command_prints_a_table_and_writes_figures_and_curves(tmp_path, capsys):
    arguments = ["simulate", "algorithms=[near_best]", "schedulers=[none,asha]", "trials=40", "workers=4", "landscapes=2"]
    assert main([*arguments, "rerank.top=3", "processes=1", "top_share=0.01", f"output_dir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    assert "mIoU: of the best cell found, after re-ranking the best 3 under 4 further seeds" in printed
    assert "difference: from the first line, in pairs" in printed
    folder = tmp_path / "simulation"
    rows = list(csv.DictReader((folder / "simulation.csv").open()))
    assert [(row["algorithm"], row["scheduler"]) for row in rows] == [
        ("near_best", "none"),
        ("near_best", "asha"),
        ("uniform", "none"),
        ("uniform", "asha"),
    ]
    assert rows[0]["difference"] == ""
    assert float(rows[2]["difference_low"]) < float(rows[2]["difference"]) < float(rows[2]["difference_high"])
    assert all(0 < float(row["miou_low"]) < float(row["miou"]) < 1 for row in rows)
    assert " ± " in printed
    record = json.loads((folder / "simulation.json").read_text())
    assert len(record["results"]) == 8
    assert record["results"][0]["trials"][-1] == 40
    with Image.open(folder / "simulation.png") as picture:
        assert min(picture.size) > 500


def test_one_algorithm_is_simulated_with_settings_of_its_own(tmp_path, capsys):
    one = ["algorithms=null", "algorithm=evolution", "algorithm.population_size=20", "schedulers=[none]"]
    one += ["algorithm.sample_size=5"]
    here = [f"output_dir={tmp_path}", "name=evolution"]
    assert main(["simulate", *one, "trials=30", "landscapes=1", "processes=1", *here]) == 0
    assert "RegularizedEvolution" in capsys.readouterr().out
    assert [folder.name for folder in tmp_path.iterdir()] == ["evolution"]  # beside comparisons of other names


def test_the_command_searches_a_recorded_search_again(recorded, tmp_path, capsys):
    small = ["space.num_branches=2", "space.operators.atrous.rates=[1,6]", "~space.operators.pooling"]
    given = [f"journal={recorded.parent}", "algorithms=[uniform]", "seeds=2", "workers=2", "processes=1", *small]
    given += ["schedulers=[none,asha]"]
    assert main(["simulate", *given, f"output_dir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    assert f"{TINY.num_distinct - 1} cells of" in printed
    assert "the mIoU of the other 39 is their one score with its luck" in printed
    assert "answered by the nearest untried cell, which handicaps algorithms that explore" in printed
    results = json.loads((tmp_path / "simulation" / "simulation.json").read_text())["results"]
    assert [result["completed"] < TINY.num_distinct - 1 for result in results] == [False, False, True, True]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["workers=0"], "workers: must be at least 1, got 0"),
        (["seeds=0"], "seeds: must be at least 1, got 0"),
        (["landscapes=0"], "landscapes: must be at least 1, got 0"),
        (["surrogate=true"], "journal: surrogate=true and subsets= are for a recorded search; add journal=..."),
        (["rerank.top=-1"], "rerank.top must be at least 0"),
        (["algorithms=[none]"], "algorithms: no choice 'none'"),
        (["top_share=2"], "top_share: must be between 0 and 1, got 2"),
        (["landscape.reach=0"], "landscape.reach must be above 0, got 0"),
        (["landscape.best_miou=0.1"], "landscape.worst_miou must be above 0 and below best_miou (0.1), got 0.6"),
        (["journal=/nowhere"], "journal: no file /nowhere"),
    ],
)
def test_a_wrong_setting_is_one_line(given, message, tmp_path, capsys):
    assert main(["simulate", *given, f"output_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["surrogate=true"], "a random forest's, fitted to 39 recorded cells: cross-validated Spearman's rho"),
        (["subsets=3", "subset_cells=8"], "3 random sets of 8 cells of"),
    ],
    ids=["surrogate", "subsets"],
)
def test_what_answers_for_a_recorded_search_is_said(given, said, recorded, tmp_path, capsys):
    small = ["space.num_branches=2", "space.operators.atrous.rates=[1,6]", "~space.operators.pooling", "schedulers=[none]"]
    given = [f"journal={recorded.parent}", "seeds=2", "workers=2", "processes=1", "trials=20", *small, *given]
    assert main(["simulate", *given, f"output_dir={tmp_path}"]) == 0
    assert said in capsys.readouterr().out


def test_more_cells_than_were_recorded_cannot_be_drawn(recorded, tmp_path, capsys):
    small = ["space.num_branches=2", "space.operators.atrous.rates=[1,6]", "~space.operators.pooling"]
    assert main(["simulate", f"journal={recorded}", *small, "subsets=2", "subset_cells=99", f"output_dir={tmp_path}"]) == 2
    assert "subset_cells: must be at most the journal's" in capsys.readouterr().err


def test_with_a_prior_each_algorithm_is_compared_without_it_too_and_uniform_search_has_none(tmp_path):
    config = load("simulate", ["prior.cell=aspp", "prior.strength=3", "schedulers=[asha]", f"output_dir={tmp_path}"])
    plain, with_prior, uniform = read(config).contenders
    assert [one.algorithm for one in (plain, with_prior, uniform)] == ["near_best", "near_best with prior", "uniform"]
    assert [one.plan.algorithm for one in (plain, uniform)] == [NearBest(), Uniform()]
    assert with_prior.plan.algorithm == NearPrior(NearBest(), Prior(read_cell("aspp", AnyCell()), 3.0))


def test_a_curve_begins_once_every_search_has_a_score():
    runs = [SimpleNamespace(quality=quality) for quality in ([0.0, 0.6, 0.7], [0.5, 0.5, 0.8])]
    result = SimpleNamespace(runs=runs, by_table=[runs])
    curve = _curve([np.array([1.0, 2.0, 4.0])] * 2, result)
    assert curve.places[0] == pytest.approx(2.0)
    assert min(curve.means) == pytest.approx(55.0)
