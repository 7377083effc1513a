"""Every file of examples/ does what it says."""

import importlib.util

import pytest

import dpc


def example(name):
    spec = importlib.util.spec_from_file_location(name, dpc.ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("without_ray", "one_thread")
def test_depth_estimation_learns_and_is_searched(tmp_path):
    found = example("depth_estimation").search(tmp_path, trials=1)
    (trial,) = found.trials.values()
    assert [rung.iteration for rung in trial.rungs] == [1, 2, 4]
    assert trial.rungs[-1].miou > max(0.2, trial.rungs[0].miou)


def test_an_algorithm_of_ones_own_finds_better_cells_than_uniform_search(tmp_path):
    own = example("own_algorithm")
    assert own.best_of(own.Annealing(), tmp_path) > own.best_of(dpc.Uniform(), tmp_path)


def test_ask_and_tell_keeps_all_places_busy_and_stops_cells_early(tmp_path):
    rows = example("ask_and_tell").search(tmp_path, trials=12)
    assert len(rows) == 12
    assert {row["status"] for row in rows} == {"completed", "stopped"}
