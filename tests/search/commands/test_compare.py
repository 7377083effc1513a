"""Searches of one experiment: what each way had found at equal hours."""

import csv
from dataclasses import replace
from random import Random

import pytest
from PIL import Image

from search.deciding.algorithms.near_best import NearBest
from search.deciding.algorithms.uniform import Uniform
from search.deciding.outcomes import Status
from search.findings.anytime import anytime
from search.journal.events import CellProposed, RungReached, SearchOpened, TrialEnded, TrialInherited
from search.journal.journal import Journal
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.study import Study
from tests.search.journal.studies import SPACE, plan, run

from .conftest import dpc

KINDS = {"near_best": NearBest(), "uniform": Uniform()}


def searched(folder, name, algorithm, seed, trials=12, **scoring):
    """A search that some function scored, with the fingerprint of its kind."""
    fingerprint = {
        "algorithm": {"kind": type(KINDS[algorithm]).__name__},
        "scheduler": {"kind": "Asha"},
        "seed": seed,
        **scoring,
    }
    with Journal(folder / name / "journal.jsonl") as journal:
        opened = SearchOpened(name, fingerprint, {}, 0.0)
        study = Study(journal, SearchRecord(), replace(plan(trials), algorithm=KINDS[algorithm], seed=seed), opened)
        run(study)


@pytest.fixture
def four(tmp_path):
    for name in KINDS:
        for seed in (0, 1):
            searched(tmp_path, f"{name}-{seed}", name, seed)
    return tmp_path


def test_ways_to_search_are_compared_at_equal_hours_in_pairs_of_seeds(four):
    done = dpc(four, "compare", "names=[uniform-0,uniform-1,near_best-1,near_best-0]")
    assert done.returncode == 0, done
    rows = list(csv.DictReader((four / "comparison" / "comparison.csv").open()))
    assert [(row["algorithm"], row["searches"]) for row in rows] == [("Uniform", "2"), ("NearBest", "2")] * 3
    assert len({row["hours"] for row in rows}) == 3
    runs = {
        name: anytime(read_events(four / name / "journal.jsonl")[0])
        for name in ("uniform-0", "uniform-1", "near_best-0", "near_best-1")
    }
    budget_h = min(one.hours[-1] for one in runs.values())
    differences = [(runs[f"near_best-{seed}"].at(budget_h) - runs[f"uniform-{seed}"].at(budget_h)) for seed in (0, 1)]
    assert float(rows[-1]["difference"]) == pytest.approx(sum(differences) / 2, abs=1e-6)
    assert float(rows[-1]["miou_low"]) < float(rows[-1]["miou"]) < float(rows[-1]["miou_high"])
    assert "selected on" in done.stdout
    with Image.open(four / "comparison" / "comparison.png") as picture:
        assert min(picture.size) > 400


def test_what_was_found_by_then_is_the_best_of_the_trials_that_had_ended():
    cells = [SPACE.members[number] for number in range(3)]
    events = [SearchOpened("", {}, {}, 0.0)]
    for trial, miou in enumerate((0.3, 0.2, 0.5)):
        events.append(CellProposed(trial, cells[trial], 0, 1, 1, 0.0))
        events.append(RungReached(trial, 1, 10, miou, 1.0, 3600.0, False, "", 0.0))
        events.append(TrialEnded(trial, Status.COMPLETED, "", 3600.0, 0.0))
    found = anytime(events)
    assert [found.at(hours) for hours in (0.5, 1.0, 2.5, 3.0, 99.0)] == [0.0, 0.3, 0.3, 0.5, 0.5]


def test_a_search_that_has_no_score_by_then_counts_as_nothing_and_not_as_0(tmp_path):
    searched(tmp_path, "uniform-0", "uniform", 0)
    fingerprint = {"algorithm": {"kind": "NearBest"}, "scheduler": {"kind": "Asha"}, "seed": 0}
    with Journal(tmp_path / "near_best-0" / "journal.jsonl") as journal:
        cell = SPACE.sample(Random(0))
        journal.append(SearchOpened("near_best-0", fingerprint, {}, 0.0), CellProposed(0, cell, 0, 1, 1, 0.0))
        journal.append(RungReached(0, 1, 10, 0.3, 1.0, 1e6, False, "", 0.0), TrialEnded(0, Status.COMPLETED, "", 1e6, 0.0))
    assert dpc(tmp_path, "compare", "names=[uniform-0,near_best-0]").returncode == 0
    rows = list(csv.DictReader((tmp_path / "comparison" / "comparison.csv").open()))
    assert {(row["miou"], row["difference"]) for row in rows if row["algorithm"] == "NearBest"} == {("", "")}


def test_what_a_fork_begins_with_cost_its_parents_hours():
    known = TrialInherited(
        0, "parent", True, SPACE.members[0], 0, 1, 1, ((10, 0.4, 1.0, 7200.0),), Status.COMPLETED, "", 7200.0, 0.0
    )
    own = [CellProposed(1, SPACE.members[1], 0, 1, 1, 0.0), RungReached(1, 1, 10, 0.3, 1.0, 3600.0, False, "", 0.0)]
    found = anytime([known, SearchOpened("", {}, {}, 0.0), *own, TrialEnded(1, Status.COMPLETED, "", 3600.0, 0.0)])
    assert [found.at(hours) for hours in (0.0, 1.0, 2.9, 3.0)] == [0.0, 0.0, 0.0, 0.4]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("[uniform-0]", "names: at least two searches are compared, got uniform-0."),
        ("[uniform-0,nobody]", "names: no search 'nobody'"),
        ("[uniform-0,near_best-1]", "names: every way to search needs the same seeds, got uniform-0: [0]; near_best-1: [1]."),
        ("[uniform-0,other]", "names: other scores differently from uniform-0 (proxy.filters was None and is 7)."),
        ("[uniform-0,again]", "names: two searches have the same settings and seed: uniform-0, again."),
    ],
)
def test_what_cannot_be_compared_is_refused(four, names, says):
    searched(four, "other", "near_best", 0, proxy={"filters": 7})
    searched(four, "again", "uniform", 0)
    refused = dpc(four, "compare", f"names={names}")
    assert refused.returncode == 2
    assert says in refused.stderr


@pytest.mark.parametrize("setting", ["space", "budget", "prior", "first", "deterministic"])
def test_searches_that_decide_otherwise_are_another_way(four, setting):
    for seed in (0, 1):
        searched(four, f"other-{seed}", "uniform", seed, **{setting: {"kind": "Other"}})
    done = dpc(four, "compare", "names=[uniform-0,uniform-1,other-0,other-1]")
    assert done.returncode == 0, done
    rows = list(csv.DictReader((four / "comparison" / "comparison.csv").open()))
    assert [(row["algorithm"], row["searches"]) for row in rows[:2]] == [("Uniform", "2"), ("Uniform (other-0)", "2")]


def test_a_window_makes_another_way_where_it_decides(four):
    for name, is_deterministic in {"plain": False, "fixed": True}.items():
        for window in (4, 8):
            for seed in (0, 1):
                searched(four, f"{name}-{window}-{seed}", "uniform", seed, deterministic=is_deterministic, window=window)
    done = dpc(four, "compare", "names=[fixed-4-0,fixed-4-1,fixed-8-0,fixed-8-1]")
    assert (done.returncode, "Uniform (fixed-8-0)" in done.stdout) == (0, True), done
    refused = dpc(four, "compare", "names=[plain-4-0,plain-8-0]")
    assert "two searches have the same settings and seed" in refused.stderr


def test_without_a_score_there_is_nothing_to_compare(four):
    with Journal(four / "empty" / "journal.jsonl") as journal:
        journal.append(SearchOpened("empty", {"algorithm": {"kind": "Uniform"}, "scheduler": {"kind": "None"}}, {}, 0.0))
    done = dpc(four, "compare", "names=[uniform-0,empty]")
    assert (done.returncode, "nothing to compare" in done.stdout) == (1, True)
