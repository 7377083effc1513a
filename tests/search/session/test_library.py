"""``dpc.search``: an objective of one's own, and what is wrong with it told in a line."""

import signal
import sys

import pytest

import dpc
from search.config_errors import ConfigError
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes import shared_folders
from search.running.nodes.shared_folders import SharedFolderError
from search.running.objective import ObjectiveTask
from search.running.resources import Resources
from search.session.scoring import by_objective
from search.settings.groups import RayCluster, Workplace

pytestmark = pytest.mark.usefixtures("without_ray")
SPACE = dpc.CellSpace(2, {"conv": dpc.PointwiseConvs(), "atrous": dpc.AtrousConvs([1, 3, 6])})

LARGEST = dpc.CellSpec((dpc.Branch(-1, dpc.AtrousConv((1, 1))), dpc.Branch(-1, dpc.AtrousConv((3, 3)))))


def worth(cell):
    return int(cell.digest, 16) / 2**64


def scored_twice(cell, seed):
    yield worth(cell) / 2
    yield worth(cell)


def search(folder, objective=scored_twice, **changes):
    return dpc.search(SPACE, objective, **{"rungs": (1, 3), "trials": 12, "output_dir": folder} | changes)


def test_it_gives_the_cells_best_first_and_the_same_call_scores_none_twice(tmp_path):
    found = search(tmp_path)
    assert found.best.miou == max(worth(trial.cell) for trial in found.finished if trial.status == "completed")
    assert {trial.status for trial in found.finished} == {"completed", "stopped"}
    assert found.settings["machine"]["torch"]
    assert {rung.loss for trial in found.finished for rung in trial.rungs} == {None}
    before = (tmp_path / "default" / "journal.jsonl").read_bytes()
    again = search(tmp_path, trials=14)
    assert (tmp_path / "default" / "journal.jsonl").read_bytes().startswith(before)
    assert [trial.cell for trial in again.trials.values()][:12] == [trial.cell for trial in found.trials.values()]
    assert [row["miou"] for row in dpc.leaderboard(dpc.load(tmp_path / "default"))] == [one.miou for one in again.ranked()]


def test_the_former_name_of_the_ranking_works_with_a_warning_that_says_the_new_one(tmp_path):
    found = search(tmp_path, trials=2)
    with pytest.warns(DeprecationWarning, match=r"leaderboard\(\) is called ranked\(\) now"):
        assert found.leaderboard() == found.ranked()


def nothing(cell, seed):
    pass


def in_percent(cell, seed):
    yield 75


def in_words(cell, seed):
    yield "good"


def broken(cell, seed):
    raise KeyError("fog\nof war")


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (nothing, "must yield its scores, one per rung; it returned None."),
        (in_percent, "a score must be from 0 to 1, got 75; divide a percentage by 100."),
        (in_words, "a score must be a number from 0 to 1, got 'good'."),
        (broken, r"KeyError: 'fog\nof war'"),
    ],
)
def test_an_objective_that_is_wrong_ends_the_search_after_three_cells_with_one_line(tmp_path, objective, said):
    with pytest.raises(ValueError, match="3 cells in a row failed alike") as refused:
        search(tmp_path, objective, scheduler=dpc.NoStopping())
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert dpc.load(tmp_path / "default").num_ended == 3


def test_cells_that_all_fail_after_a_first_score_are_told_too(tmp_path):
    def once(cell, seed):
        yield 0.5

    reason = r"2 failed \(the reason: ObjectiveError: objective: must yield 2 scores, one per rung; it yielded 1."
    with pytest.raises(ValueError, match=f"no cell has a score: {reason}"):
        search(tmp_path, once, trials=2)


def test_a_training_that_diverged_says_so_by_nan_and_fails_no_search(tmp_path):
    def sometimes(cell, seed):
        yield worth(cell)
        yield float("nan") if worth(cell) < 0.5 else worth(cell)

    found = search(tmp_path, sometimes, scheduler=dpc.NoStopping())
    assert {trial.status for trial in found.finished} == {"completed", "diverged"}


def test_an_objective_that_keeps_checkpoints_is_given_their_path(tmp_path):
    def keeps(cell, seed, checkpoint):
        yield 1.0 if checkpoint == "here" else 0.0

    (score,) = ObjectiveTask.of(keeps, [4])(SPACE.members[0], 0, "here")
    assert (score.rung, score.iteration, score.miou) == (1, 4, 1.0)


def test_an_objective_of_the_users_folder_is_found_by_a_worker_that_runs_elsewhere(monkeypatch, tmp_path):
    (tmp_path / "users_module.py").write_text("def objective(cell, seed):\n    yield 0.25\n")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as driver:
        driver.syspath_prepend(tmp_path)
        import users_module

        task = ObjectiveTask.of(users_module.objective, [1])
    del sys.modules["users_module"]
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    assert [score.miou for score in task(SPACE.members[0], 0)] == [0.25]


def test_other_code_of_the_objective_is_refused_under_the_same_name(monkeypatch, tmp_path):
    search(tmp_path, trials=2)
    monkeypatch.setattr("search.session.scoring.objective_code", lambda objective: "other")
    with pytest.raises(ConfigError, match=r"scoring_code was \w+ and is other.*accept=\[scoring_code\]"):
        search(tmp_path)
    assert search(tmp_path, accept=["scoring_code"], trials=3).num_ended == 3


def test_settings_that_scores_depend_on_are_refused_where_they_differ(tmp_path):
    search(tmp_path, trials=2, settings={"images": 100})
    with pytest.raises(ConfigError, match="settings.images was 100 and is 200"):
        search(tmp_path, settings={"images": 200})


class Reads:
    """An objective that says what its cells read, or means something else by that name."""

    def __init__(self, features):
        self.features = features

    def __call__(self, cell, seed):
        return scored_twice(cell, seed)


NARROW, WIDE = dpc.FeatureShape(16, 9, 9), dpc.FeatureShape(64, 9, 9)


@pytest.mark.parametrize(
    ("attribute", "given", "read"),
    [(NARROW, None, NARROW), (NARROW, NARROW, NARROW), ("a file of features", WIDE, WIDE), (None, WIDE, WIDE)],
)
def test_the_map_that_cells_read_is_the_one_that_is_given_or_else_the_objectives(tmp_path, attribute, given, read):
    found = search(tmp_path, Reads(attribute), features=given, trials=1)
    assert found.trials[0].params == dpc.cell_cost(found.trials[0].cell, read).params


def test_two_maps_for_one_objective_are_refused_in_a_line(tmp_path):
    with pytest.raises(
        ValueError, match=r"^features: the objective's own attribute .*=16, .*, got .*=64, .*; give one of them\.$"
    ):
        search(tmp_path, Reads(NARROW), features=WIDE)
    with pytest.raises(ValueError, match="objective: its attribute features must be a FeatureShape, got 'a file'"):
        search(tmp_path, Reads("a file"))


def test_signals_do_afterwards_what_they_did_before(tmp_path):
    def of_the_program(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, of_the_program)
    try:
        search(tmp_path, trials=1)
        assert signal.getsignal(signal.SIGTERM) is of_the_program
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_which_ray_tune_takes_for_itself_ends_the_program_too_and_the_same_call_goes_on(tmp_path, monkeypatch):
    with monkeypatch.context() as interrupted:
        interrupted.setattr("search.session.session.run_study", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path)
    assert search(tmp_path).num_ended == 12


def test_a_timeout_ends_it_in_order_and_the_same_call_goes_on(tmp_path, capsys):
    found = search(tmp_path, timeout_s=1e-9)
    assert found.num_ended == 0
    assert "Stopped after 0 of 12 trials (timeout_s=1e-09)." in " ".join(capsys.readouterr().out.split())
    assert search(tmp_path).num_ended == 12


def test_a_callback_is_told_what_happens_and_may_stop_the_search(tmp_path):
    told = []

    def enough(study, event):
        told.append(type(event).__name__)
        if study.record.num_ended == 5:
            study.stop("five are enough")

    assert search(tmp_path, callbacks=[enough]).num_ended == 5
    assert told[:3] == ["SearchOpened", "CellProposed", "RungReached"]


def test_cells_that_are_known_come_first_as_values_or_files(tmp_path):
    known = [SPACE.members[5], SPACE.members[2]]
    (tmp_path / "mine.json").write_text(str(known[1].to_json()).replace("'", '"'))
    found = search(tmp_path, first=[known[0], tmp_path / "mine.json"])
    assert [found.trials[number].cell for number in (0, 1)] == known
    with pytest.raises(ConfigError, match="first was "):
        search(tmp_path, first=[known[0]])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first": ["aspp"]}, "first: cell: this space has cells of 2 branches, got 5."),
        ({"first": ["nobody"]}, "first: no file nobody; accepted are a JSON file and the named cells aspp, dpc_top1."),
        ({"first": [SPACE.members[0]] * 2}, "first: it names a cell twice"),
        ({"first": list(SPACE.members[:3]), "trials": 2}, "trials must be at least 3 for the cells that come first, got 2."),
        ({"first": [LARGEST], "budget": dpc.Budget(params=2.9e5)}, "is over the budget: 303,488 params"),
        ({"rungs": (3, 1)}, "rungs must be ascending whole numbers of at least 1, got [3, 1]."),
        ({"first": "aspp"}, "first: give a list of cells, such as ['aspp']."),
        ({"rungs": 5}, "rungs: must be a list in brackets, got 5."),
        ({"rungs": (1.5, 2)}, "rungs: input should be a valid integer, got a number with a fractional part, got 1.5."),
        ({"trials": 0}, "trials: must be at least 1, got 0."),
        ({"trials": "many"}, "trials: input should be a valid integer"),
        ({"filters": 0}, "filters: must be at least 1, got 0."),
        ({"seed": -1}, "seed: must be at least 0, got -1."),
        ({"window": 0}, "window: must be at least 1, got 0."),
        ({"accept": ["all"]}, "accept: accepted are scoring_code and search_code, got 'all'."),
        ({"algorithm": dpc.NearBest}, "algorithm: give a dpc.Algorithm, such as dpc.NearBest(), got the class NearBest."),
        ({"scheduler": "asha"}, "scheduler: give a dpc.Scheduler, such as dpc.Asha(), got 'asha'."),
        ({"budget": 5}, "budget: give a dpc.Budget, such as dpc.Budget(params=1e6), got 5."),
        ({"settings": {"data": object()}}, "settings.data: builtins.object cannot be told from another"),
        ({"name": "a/b"}, "name: must be one plain folder name"),
        ({"prior": "aspp"}, "prior: give a dpc.Prior, such as dpc.Prior(cell), got 'aspp'."),
        ({"features": (16, 9, 9)}, "features: give a dpc.FeatureShape, such as dpc.FeatureShape(320, 49, 49), got (16, 9, 9)."),
        ({"tracking": "http://host"}, 'tracking: give a dpc.Tracking, such as dpc.Tracking("http://host:5000"), got \'http'),
        ({"resume": ["best"]}, "resume: must name trials by number, or cells by digest"),
        ({"timeout_s": -1}, "timeout_s: must be above 0, got -1."),
        ({"timeout_s": float("nan")}, "timeout_s: must be a finite number, got nan."),
        ({"max_concurrent": 0}, "max_concurrent: must be at least 1, got 0."),
        ({"cpu": "two"}, "cpu: input should be a valid number, unable to parse string as a number, got 'two'."),
        ({"gpu": None}, "gpu: input should be a valid number, got None."),
        ({"retries": 0.5}, "retries: input should be a valid integer, got a number with a fractional part, got 0.5."),
        ({"give_up_after": "never"}, "give_up_after: input should be a valid integer"),
        ({"ray_address": "head"}, "ray_address: 'head' is not a Ray address"),
        ({"callbacks": print}, "callbacks: give a list of functions, got <built-in function print>."),
    ],
)
def test_a_wrong_argument_is_one_line(tmp_path, changes, said):
    with pytest.raises(ValueError, match="^[^\n]+$") as refused:
        search(tmp_path, **changes)
    assert said in str(refused.value)


@pytest.mark.parametrize(("resume", "named"), [(14, [14]), ("14", [14]), ([1, "4"], [1, 4]), ((1,), [1])])
def test_trials_to_resume_are_named_one_or_several(tmp_path, resume, named, monkeypatch):
    asked = []
    monkeypatch.setattr("search.session.session.to_resume", lambda record, names: asked.extend(names) or [])
    search(tmp_path, trials=1, resume=resume)
    assert asked == [str(number) for number in named]


def test_nodes_that_do_not_share_its_folder_are_refused_as_for_any_search(tmp_path, monkeypatch):
    def looked_at(workplace, written, read):
        raise SharedFolderError(f"output_dir: {written['output_dir']}")

    monkeypatch.setattr("search.session.scoring.join_cluster", looked_at)
    with pytest.raises(SharedFolderError, match=f"output_dir: {tmp_path}"):
        search(tmp_path, ray_address="10.0.0.1:6379")


def test_a_node_that_joins_late_is_asked_for_it_before_each_cell(tmp_path, monkeypatch):
    monkeypatch.setattr("search.session.scoring.join_cluster", lambda *_: True)
    workplace = Workplace(
        output_dir=tmp_path,
        resources=Resources(),
        faults=FaultTolerance(),
        ray=RayCluster(address="10.0.0.1:6379", max_pending=1, max_concurrent=None),
    )
    scores = by_objective(scored_twice, (1, 3), 256, workplace).task(LARGEST, 0)
    monkeypatch.setattr(shared_folders, "this_node", lambda: "node 10.0.0.3 (late)")
    tmp_path.rmdir()
    with pytest.raises(SharedFolderError, match=r"output_dir: node 10\.0\.0\.3 \(late\) cannot see"):
        next(scores)
