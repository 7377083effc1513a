import getpass
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from rich.console import Console

from models.spec import PUBLISHED_OPERATORS, AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling
from search.deciding.outcomes import Status
from search.journal.events import CellProposed, Event, RungReached, SearchClosed, SearchOpened, TrialEnded, TrialsReopened
from search.journal.journal import Journal
from search.session.tracking import follow
from search.tracking.client import one_line_errors
from search.tracking.follower import TrackingThread, track
from search.tracking.params import child_run_cell
from search.tracking.retrain_run import RetrainRun
from search.tracking.settings import Tracking, TrackingError, check_model_name

CELLS = [
    CellSpec((Branch(-1, AtrousConv((1, 6))), Branch(0, Conv1x1()), Branch(1, PyramidPooling((2, 4))))),
    CellSpec((Branch(-1, Conv1x1()),)),
    CellSpec((Branch(-1, AtrousConv((3, 3))),)),
    CellSpec((Branch(-1, PyramidPooling((1, 1))),)),
    CellSpec((Branch(-1, AtrousConv((9, 1))), Branch(-1, Conv1x1()))),
]
SETTINGS = {"space": {"num_branches": 5, "rates": [1, 6]}, "algorithm": "random", "forked from": None}
MANY = {f"setting_{index}": index for index in range(150)}


def opened(name: str, time_s: float = 1000.0, **settings: Any) -> SearchOpened:
    return SearchOpened(name, {"dataset": "shapes", "search_code": "5ea7c4"}, SETTINGS | settings, time_s)


def trial(number: int, mious: Sequence[float], status: Status | None, reason: str = "") -> list[Event]:
    """The events of a trial; without a ``status`` it has not ended."""
    start_s = 1010.0 + 10 * number
    events: list[Event] = [CellProposed(number, CELLS[number], 7 + number, 1000 + number, 2_000_000, start_s)]
    for rung, miou in enumerate(mious, start=1):
        events.append(RungReached(number, rung, 100 * rung, miou, 1 / rung, 2.0 * rung, True, "first", start_s + rung))
    if status:
        events.append(TrialEnded(number, status, reason, 2.0 * len(mious), start_s + 5))
    return events


def every_status() -> list[Event]:
    return [
        *trial(0, [0.2, 0.4], Status.COMPLETED),
        *trial(1, [0.1], Status.STOPPED, "below the rung's median"),
        *trial(2, [0.3], Status.DIVERGED, "loss is nan at iteration 150"),
        *trial(3, [], Status.FAILED, "out of memory\n" + 9000 * "x"),
        *trial(4, [0.25], None),
    ]


def write(path: Path, events: Sequence[Event]) -> Path:
    with Journal(path) as journal:
        for event in events:
            journal.append(event)
    return path


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """One SQLite tracker for the module: to create it takes seconds."""
    return Tracking(experiment="cells").resolved(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def journal(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A journal with a trial of each status, of a search that is named as the test."""
    return write(tmp_path / "journal.jsonl", [opened(request.node.name), *every_status()])


def runs_of(tracking: Tracking, name: str) -> tuple[Run, dict[str, Run]]:
    """The run of the search ``name``, and those of its trials by trial number."""
    client = MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    (search,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{search.info.run_id}'")
    by_trial = {run.data.params["trial"]: run for run in children}
    assert len(by_trial) == len(children)
    return search, by_trial


def everything(tracking: Tracking, name: str) -> dict[str, Any]:
    """All that the tracker shows of a search, without the ids of its runs."""
    client = MlflowClient(tracking.uri)
    search, trials = runs_of(tracking, name)
    shown = {}
    for run in (search, *trials.values()):
        tags = {key: value for key, value in run.data.tags.items() if key not in ("mlflow.parentRunId", "dpc.search")}
        histories = {
            key: [(point.step, point.value, point.timestamp) for point in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
            if key != "rank"  # it has as many points as it was looked at
        }
        histories["rank"] = run.data.metrics.get("rank")
        number = run.data.params.get("trial", "search")
        info = (run.info.status, run.info.start_time, run.info.end_time)
        shown[number] = (info, run.data.params, tags, histories)
    return shown


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.05)


def test_a_search_is_one_run_with_a_nested_run_for_each_cell(tracking, journal, request):
    track(journal, tracking)
    search, trials = runs_of(tracking, request.node.name)
    assert [trials[key].info.run_name.split()[0] for key in sorted(trials)] == [f"#000{n}" for n in range(5)]
    assert search.data.tags["stage"] == "search"
    assert {run.data.tags["stage"] for run in trials.values()} == {"proxy"}


def test_parameters_are_readable(tracking, tmp_path, request):
    journal = write(tmp_path / "journal.jsonl", [opened(request.node.name, many=MANY), *every_status()])
    track(journal, tracking)
    search, trials = runs_of(tracking, request.node.name)
    assert search.data.params["space.num_branches"] == "5"
    assert search.data.params["space.rates"] == "[1, 6]"
    assert search.data.params["algorithm"] == "random"
    assert search.data.params["many.setting_149"] == "149"
    params = trials["0"].data.params
    assert params["branch_1"] == "atrous 1x6 <- F"
    assert params["branch_3"] == "pool 2x4 <- b2"
    assert params["branches"] == "3"
    assert params["digest"] == CELLS[0].digest
    assert params["seed"] == "7"


def test_a_trial_ends_as_its_status_says_and_only_a_scored_one_has_a_final_miou(tracking, journal, request):
    track(journal, tracking)
    _, trials = runs_of(tracking, request.node.name)
    ends = {
        key: (run.data.tags["status"], run.info.status, run.data.metrics.get("final_miou_percent"))
        for key, run in trials.items()
    }
    assert ends == {
        "0": ("completed", "FINISHED", 40.0),
        "1": ("stopped", "FINISHED", 10.0),
        "2": ("diverged", "FAILED", None),
        "3": ("failed", "FAILED", None),
        "4": ("running", "RUNNING", None),
    }
    assert trials["1"].data.tags["reason"] == "below the rung's median"
    assert trials["0"].data.metrics["params"] == 1000
    assert trials["0"].data.metrics["madds"] == 2_000_000
    assert trials["0"].data.metrics["elapsed_s"] == 4.0
    assert {key: run.data.metrics["rung"] for key, run in trials.items()} == {"0": 2, "1": 1, "2": 1, "3": 0, "4": 1}
    assert trials["0"].info.end_time - trials["0"].info.start_time == 5000


def test_each_rung_is_a_point_at_its_iteration(tracking, journal, request):
    track(journal, tracking)
    histories = everything(tracking, request.node.name)["0"][3]
    assert [point[:2] for point in histories["miou_percent"]] == [(100, 20.0), (200, 40.0)]
    assert [point[:2] for point in histories["loss"]] == [(100, 1.0), (200, 0.5)]


def test_the_run_of_a_search_shows_its_best_over_the_trials_finished(tracking, journal, request):
    track(journal, tracking)
    search, _ = runs_of(tracking, request.node.name)
    histories = everything(tracking, request.node.name)["search"][3]
    assert [point[:2] for point in histories["best_miou_percent"]] == [(n, 40.0) for n in (1, 2, 3, 4)]
    assert [point[:2] for point in histories["trials_finished"]] == [(n, n) for n in (1, 2, 3, 4)]
    assert search.data.tags["best"].startswith("#0000 ")
    assert search.data.tags["search_code"] == "5ea7c4"
    assert search.info.status == "RUNNING"


def test_a_closed_search_is_finished_and_runs_again_when_it_is_resumed(tracking, journal, request):
    write(journal, [SearchClosed("5 trials", 1100.0)])
    track(journal, tracking)
    assert runs_of(tracking, request.node.name)[0].info.status == "FINISHED"
    write(journal, [opened(request.node.name, 2000.0)])
    track(journal, tracking)
    search, _ = runs_of(tracking, request.node.name)
    assert (search.info.status, search.data.tags["status"], search.data.tags["reason"]) == ("RUNNING", "running", "")


def statuses(tracking, name):
    search, trials = runs_of(tracking, name)
    return [(run.info.status, run.data.tags["status"]) for run in (search, trials["4"])]


def test_a_search_that_stopped_without_its_end_is_killed_with_its_open_trials_until_it_goes_on(tracking, journal, request):
    name = request.node.name
    track(journal, tracking, has_stopped=True)
    assert statuses(tracking, name) == [("KILLED", "stopped"), ("KILLED", "interrupted")]
    before = everything(tracking, name)
    track(journal, tracking, has_stopped=True)
    assert everything(tracking, name) == before
    write(journal, [opened(name, 2000.0)])
    track(journal, tracking)
    assert statuses(tracking, name) == [("RUNNING", "running"), ("RUNNING", "running")]
    end = [TrialEnded(4, Status.COMPLETED, "", 2.0, 2002.0), SearchClosed("5 trials", 2100.0)]
    track(write(journal, end), tracking, has_stopped=True)
    assert statuses(tracking, name) == [("FINISHED", "complete"), ("FINISHED", "completed")]


def test_a_search_that_another_driver_took_over_goes_on_though_the_one_that_lost_it_was_stopped(tracking, journal, request):
    console = Console(quiet=True)
    with Journal(journal) as held:
        beside = follow(held, tracking, PUBLISHED_OPERATORS, journal.parent, console, lambda record: None)
        held.give_up("another driver has taken over")
        with pytest.raises(KeyboardInterrupt), beside:
            raise KeyboardInterrupt
    assert statuses(tracking, request.node.name) == [("RUNNING", "running"), ("RUNNING", "running")]


def test_the_number_of_trials_is_that_of_the_last_time_that_the_search_was_opened(tracking, journal, request):
    for trials in (24, 40):
        write(journal, [SearchOpened(request.node.name, {}, {"trials": trials}, 2000.0)])
        track(journal, tracking)
        search, _ = runs_of(tracking, request.node.name)
        assert search.data.tags["trials"] == str(trials)
        assert "trials" not in search.data.params


def test_the_run_of_a_trial_that_is_tried_again_is_running_until_it_ends_once_more(tracking, journal, request):
    track(journal, tracking)
    write(journal, [opened(request.node.name, 2000.0), TrialsReopened((3,), 2000.0)])
    track(journal, tracking)
    again = runs_of(tracking, request.node.name)[1]["3"]
    assert (again.info.status, again.data.tags["status"], again.data.tags["reason"]) == ("RUNNING", "running", "")
    rung = RungReached(3, 1, 100, 0.6, 1.0, 2.0, False, "full budget", 2001.0)
    write(journal, [rung, TrialEnded(3, Status.COMPLETED, "full budget", 2.0, 2002.0)])
    track(journal, tracking)
    search, trials = runs_of(tracking, request.node.name)
    assert trials["3"].info.run_id == again.info.run_id
    assert (trials["3"].info.status, trials["3"].data.metrics["final_miou_percent"]) == ("FINISHED", 60.0)
    assert (search.data.metrics["best_miou_percent"], search.data.tags["best"][:5]) == (60.0, "#0003")


def test_a_stopped_trial_that_fails_on_its_way_to_the_full_budget_keeps_no_final_score(tracking, journal, request):
    track(journal, tracking)
    assert runs_of(tracking, request.node.name)[1]["1"].data.tags["status"] == "stopped"
    write(journal, [TrialsReopened((1,), 2000.0), TrialEnded(1, Status.FAILED, "no disk", 1.0, 2002.0)])
    track(journal, tracking)
    run = runs_of(tracking, request.node.name)[1]["1"]
    assert (run.info.status, run.data.tags["reason"]) == ("FAILED", "no disk")
    assert "final_miou_percent" not in run.data.metrics


def test_a_trial_that_was_tried_again_while_nobody_tracked_is_told_again(tracking, journal, request):
    track(journal, tracking)
    write(journal, [TrialsReopened((3,), 2000.0), TrialEnded(3, Status.FAILED, "no disk", 1.0, 2002.0)])
    track(journal, tracking)
    run = runs_of(tracking, request.node.name)[1]["3"]
    assert (run.info.status, run.data.tags["reason"]) == ("FAILED", "no disk")


def test_tracking_twice_adds_nothing(tracking, journal, request):
    track(journal, tracking)
    before = everything(tracking, request.node.name)
    track(journal, tracking)
    assert everything(tracking, request.node.name) == before


@pytest.mark.parametrize("half", [1, 3, 9])
def test_tracking_in_two_halves_gives_the_same_as_all_at_once(tracking, tmp_path, half, request):
    events = every_status()
    whole = request.node.name + " whole"
    halves = request.node.name + " halves"
    track(write(tmp_path / "whole.jsonl", [opened(whole), *events]), tracking)
    journal = write(tmp_path / "halves.jsonl", [opened(halves), *events[:half]])
    track(journal, tracking)
    track(write(journal, events[half:]), tracking)
    shown = [everything(tracking, name) for name in (whole, halves)]
    for kind in shown:
        kind["search"][2].pop("mlflow.runName")
    assert shown[0] == shown[1]


def test_a_run_whose_creation_was_sent_twice_is_shown_once(tracking, journal, request):
    track(journal, tracking)
    before = everything(tracking, request.node.name)
    child = runs_of(tracking, request.node.name)[1]["0"]
    client = MlflowClient(tracking.uri)
    client.create_run(child.info.experiment_id, 9_000_000, dict(child.data.tags))
    track(journal, tracking)
    assert everything(tracking, request.node.name) == before


def test_the_cell_of_a_run_is_read_back(tracking, journal, request):
    track(journal, tracking)
    search, trials = runs_of(tracking, request.node.name)
    kept, digest = child_run_cell(trials["0"].info.run_id, tracking.uri)
    assert CellSpec.from_json(kept) == CELLS[0]
    assert digest == CELLS[0].digest
    with pytest.raises(ValueError, match="has no cell"):
        child_run_cell(search.info.run_id, tracking.uri)
    with pytest.raises(ValueError, match="no such file"):
        child_run_cell(search.info.run_id, "sqlite:////nowhere/mlflow.db")
    with pytest.raises(ValueError, match=r"not found"):
        child_run_cell(32 * "0", tracking.uri)


def test_a_search_has_a_link_to_its_cells_with_columns_for_scores_costs_and_branches(tracking, journal, request):
    link = track(journal, tracking).link
    assert link == track(journal, tracking).link
    place, _, query = link.partition("?")
    search, trials = runs_of(tracking, request.node.name)
    assert place == f"http://127.0.0.1:5000/#/experiments/{search.info.experiment_id}/runs"
    key = parse_qs(query)["viewStateShareKey"][0]
    client = MlflowClient(tracking.uri)
    view = json.loads(client.get_experiment(search.info.experiment_id).tags[f"mlflow.sharedViewState.{key}"])
    shown = client.search_runs([search.info.experiment_id], view["searchFilter"])
    assert {run.info.run_id for run in shown} == {run.info.run_id for run in trials.values()}
    known = {f"metrics.`{name}`" for name in trials["0"].data.metrics} | {
        f"params.`{name}`" for name in trials["0"].data.params
    }
    columns = view["columnOrder"]
    assert {"metrics.`rank`", "metrics.`final_miou_percent`", "params.`branch_1`", "params.`branch_3`"} <= known & {*columns}
    assert max(columns.index("tags.`status`"), columns.index("tags.`reason`")) < columns.index("params.`branch_1`")


SCORES = [(0.2, 0.4), (0.45,), (0.1, 0.3), (0.5, 0.35), (0.22,)]
"""By rung. The second has the highest last one and stands third: the fourth scored more at the rung that both reached."""


def ended_trials() -> list[Event]:
    return [
        event
        for number, mious in enumerate(SCORES)
        for event in trial(number, mious, Status.COMPLETED if len(mious) == 2 else Status.STOPPED)
    ]


def ranks_of(trials: dict[str, Run]) -> dict[int, int]:
    return {int(key): int(run.data.metrics["rank"]) for key, run in trials.items() if "rank" in run.data.metrics}


@pytest.mark.parametrize("halves", [1, 2, 3])
def test_best_first_in_the_dashboard_is_the_order_of_the_leaderboard(tracking, tmp_path, halves, request):
    journal, name = tmp_path / "journal.jsonl", request.node.name
    events = [opened(name), *ended_trials(), SearchClosed("5 trials", 1100.0)]
    for part in range(halves):
        write(journal, events[len(events) * part // halves : len(events) * (part + 1) // halves])
        record = track(journal, tracking).record
    search, trials = runs_of(tracking, name)
    board = [one.number for one in record.ranked()]
    assert board != [one.number for one in sorted(record.finished, key=lambda one: -one.miou)]
    assert ranks_of(trials) == {number: rank for rank, number in enumerate(board, start=1)}
    client, tags = MlflowClient(tracking.uri), MlflowClient(tracking.uri).get_experiment(search.info.experiment_id).tags
    view = next(json.loads(tags[key]) for key in tags if key.endswith(search.data.tags["dpc.search"]))
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    shown = client.search_runs([search.info.experiment_id], view["searchFilter"], order_by=[order])
    assert [int(run.data.params["trial"]) for run in shown] == board


def test_while_a_search_runs_only_the_first_places_are_told_and_they_are_right(tracking, tmp_path, monkeypatch, request):
    monkeypatch.setattr("search.tracking.search_runs.RANKED_AS_IT_GOES", 2)
    monkeypatch.setattr("search.tracking.search_runs.RANKED", 4)
    journal, events = write(tmp_path / "journal.jsonl", [opened(request.node.name)]), ended_trials()
    for event in events:
        write(journal, [event])
        board = [one.number for one in track(journal, tracking).record.ranked()]
        first = {number: rank for number, rank in ranks_of(runs_of(tracking, request.node.name)[1]).items() if rank <= 2}
        assert first == {number: rank for rank, number in enumerate(board[:2], start=1)}
    write(journal, [SearchClosed("5 trials", 1100.0)])
    track(journal, tracking)
    ranks = ranks_of(runs_of(tracking, request.node.name)[1])
    assert {number: rank for number, rank in ranks.items() if rank <= 4} == dict(zip(board[:4], (1, 2, 3, 4), strict=True))


def test_a_search_that_was_told_of_from_0_to_1_is_told_again_in_percent(tracking, tmp_path, request):
    journal = write(tmp_path / "journal.jsonl", [opened(request.node.name), *every_status()])
    track(journal, tracking)
    client, (search, trials) = MlflowClient(tracking.uri), runs_of(tracking, request.node.name)
    expected = everything(tracking, request.node.name)
    for run in (search, *trials.values()):
        client.delete_run(run.info.run_id)
    earlier = client.create_run(search.info.experiment_id, search.info.start_time, search.data.tags, search.info.run_name)
    client.log_metric(earlier.info.run_id, "best_miou", 0.4, step=4)
    client.log_metric(earlier.info.run_id, "trials_finished", 4, step=4)
    for run in trials.values():
        tags = {**run.data.tags, "mlflow.parentRunId": earlier.info.run_id}
        copy = client.create_run(search.info.experiment_id, run.info.start_time, tags, run.info.run_name).info.run_id
        for key, value in run.data.params.items():
            client.log_param(copy, key, value)
        client.log_metric(copy, "miou", 0.2, step=100)
        client.log_metric(copy, "rung", run.data.metrics["rung"], step=200)
        client.set_terminated(copy, run.info.status, run.info.end_time)
    track(journal, tracking)
    again = everything(tracking, request.node.name)
    for number in ("0", "1", "2"):
        assert again[number][3]["miou_percent"] == expected[number][3]["miou_percent"]
    assert again["search"][3]["best_miou_percent"] == expected["search"][3]["best_miou_percent"]


def test_the_runs_of_the_best_cells_have_a_picture_of_them_which_is_drawn_once(tracking, journal, request):
    drawn = []

    def draw(cell: CellSpec, path: Path) -> None:
        drawn.append(cell)
        path.write_bytes(b"a picture")

    record = track(journal, tracking, draw=draw).record
    track(journal, tracking, draw=draw)
    assert drawn == [one.cell for one in record.ranked() if one.miou is not None]
    _, trials = runs_of(tracking, request.node.name)
    listed = MlflowClient(tracking.uri).list_artifacts(trials["0"].info.run_id)
    assert [file.path for file in listed] == ["cell.png"]


def test_files_are_attached_to_the_run_of_the_search(tracking, journal, request, tmp_path):
    leaderboard = tmp_path / "leaderboard.csv"
    leaderboard.write_text("rank\n")
    track(journal, tracking, files=[leaderboard, tmp_path / "missing.png"])
    search, _ = runs_of(tracking, request.node.name)
    listed = MlflowClient(tracking.uri).list_artifacts(search.info.run_id)
    assert [file.path for file in listed] == ["leaderboard.csv"]
    assert Path(tracking.sqlite_file.parent / "mlartifacts").is_dir()


def test_the_best_cells_stand_in_the_description_of_the_search(tracking, journal, request):
    record = track(journal, tracking).record
    search, _ = runs_of(tracking, request.node.name)
    lines = search.data.tags["mlflow.note.content"].splitlines()
    scored = [trial for trial in record.ranked() if trial.miou is not None]
    assert len(lines) == 2 + len(scored)
    assert lines[2].startswith(f"| 1 | {100 * scored[0].miou:.2f} |")
    assert str(scored[0].cell) in lines[2]


def test_a_journal_without_a_search_is_refused(tracking, tmp_path):
    with pytest.raises(TrackingError, match="no search"):
        track(tmp_path / "journal.jsonl", tracking)


def test_a_thread_follows_a_journal_while_it_grows(tracking, tmp_path, request):
    path = tmp_path / "journal.jsonl"
    thread = TrackingThread(path, tracking)
    thread.start()
    write(path, [opened(request.node.name), *every_status()[:2]])
    wait_until(lambda: thread.link)
    with pytest.raises(TrackingError, match="tracked already"):
        track(path, tracking)
    write(path, every_status()[2:])
    assert thread.close(timeout_s=20, files=[path])
    assert thread.last_error is None
    search, trials = runs_of(tracking, request.node.name)
    assert len(trials) == 5
    assert search.info.status == "KILLED"
    assert MlflowClient(tracking.uri).list_artifacts(search.info.run_id)[0].path == path.name


def test_results_of_a_running_search_are_renewed(tracking, journal, request, tmp_path, monkeypatch):
    monkeypatch.setattr("search.tracking.follower.RESULTS_S", 0.0)
    leaderboard = tmp_path / "leaderboard.csv"

    def write(record):
        leaderboard.write_text(f"{len(record.trials)} trials")
        return [leaderboard]

    thread = TrackingThread(journal, tracking, results=write)
    thread.start()
    wait_until(leaderboard.exists)
    assert thread.close(20)
    search, trials = runs_of(tracking, request.node.name)
    file = MlflowClient(tracking.uri).download_artifacts(search.info.run_id, "leaderboard.csv")
    assert Path(file).read_text() == f"{len(trials)} trials"


def test_a_tracker_that_is_down_neither_stops_nor_delays_and_is_told_later(tracking, journal, request):
    said: list[str] = []
    thread = TrackingThread(journal, Tracking(f"http://127.0.0.1:{free_port()}"), say=said.append)
    thread.start()
    wait_until(lambda: thread.last_error is not None)
    assert thread.last_error.endswith("it does not answer.")
    assert not thread.close(timeout_s=60)
    assert not thread.is_alive()  # it gave up by itself
    (line,) = said
    assert line.endswith("it does not answer.); the search continues, and MLflow catches up later.")
    assert len(track(journal, tracking).record.trials) == 5
    assert len(runs_of(tracking, request.node.name)[1]) == 5


def test_results_are_renewed_while_the_tracker_is_down(journal, tmp_path, monkeypatch):
    monkeypatch.setattr("search.tracking.follower.RESULTS_S", 0.0)
    leaderboard = tmp_path / "leaderboard.csv"

    def write(record):
        leaderboard.write_text(f"{len(record.trials)} trials")
        return [leaderboard]

    thread = TrackingThread(journal, Tracking(f"http://127.0.0.1:{free_port()}"), results=write)
    thread.start()
    wait_until(lambda: leaderboard.exists() and leaderboard.read_text() == "5 trials")
    assert thread.last_error.endswith("it does not answer.")
    assert not thread.close(timeout_s=60)


def test_a_tracker_that_accepts_but_never_answers_does_not_hold_up_the_end(journal):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        thread = TrackingThread(journal, Tracking(f"http://127.0.0.1:{mute.getsockname()[1]}"))
        thread.start()
        assert not thread.close(timeout_s=0.5)
        assert thread.is_alive()  # the answer is still awaited, but not by the search
        assert "not done" in thread.last_error


def test_a_damaged_journal_is_an_error_of_the_thread_alone(tracking, journal):
    journal.write_bytes(journal.read_bytes().replace(b"shapes", b"shaped"))
    thread = TrackingThread(journal, tracking)
    thread.start()
    assert not thread.close(timeout_s=20)
    assert "damaged" in thread.last_error


def test_a_retraining_is_a_run_that_goes_on_after_a_kill_and_shows_each_point_once(tracking, tmp_path):
    (tmp_path / "result.json").write_text("{}")
    for steps in (1, 2):
        with RetrainRun(tracking, "retrain", str(tmp_path), {"crop_px": [769, 769]}, CELLS[0]) as run:
            for step in range(1, steps + 1):
                run.log({"miou": 0.1 * step}, step)
            run.artifacts([tmp_path / "result.json"])
    client = MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name(tracking.experiment)
    (shown,) = client.search_runs([experiment.experiment_id], "tags.stage = 'retrain'")
    assert [point.step for point in client.get_metric_history(shown.info.run_id, "miou")] == [1, 2]
    assert shown.data.params["crop_px"] == "[769, 769]"
    assert shown.data.tags["mlflow.user"] == getpass.getuser()
    assert [file.path for file in client.list_artifacts(shown.info.run_id)] == ["result.json"]
    assert shown.info.status == "FINISHED"
    assert child_run_cell(shown.info.run_id, tracking.uri) == (CELLS[0].to_json(), CELLS[0].digest)


def test_a_retrainings_pictures_stand_under_their_steps(tracking):
    with RetrainRun(tracking, "retrain", "pictures", {"of": "pictures"}, CELLS[0]) as run:
        for step in (10, 20):
            run.picture("validation", Image.new("RGB", (4, 2), "red"), step)
    shown = next(found for found in retrained(tracking) if found.data.params.get("of") == "pictures")
    files = [file.path for file in MlflowClient(tracking.uri).list_artifacts(shown.info.run_id, "images")]
    steps = {int(found[1]) for path in files if (found := re.search(r"validation\+step\+(\d+)\+.*\.png$", path))}
    assert steps == {10, 20}, files
    assert run.refused == []


def retrained(tracking: Tracking) -> list[Run]:
    client = MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        return []
    return client.search_runs([experiment.experiment_id], "tags.stage = 'retrain'", order_by=["start_time ASC"])


def test_another_training_in_a_folder_of_the_same_name_is_another_run(tracking):
    before = len(retrained(tracking))
    for folder_id, rate in (("one", 0.01), ("one", 0.1), ("another", 0.01), ("one", 0.01)):
        with RetrainRun(tracking, "retrain", folder_id, {"learning_rate": rate}, CELLS[1], tags={"origin": "rank 1"}):
            pass
    runs = retrained(tracking)[before:]
    assert [run.data.params["learning_rate"] for run in runs] == ["0.01", "0.1", "0.01"]
    assert {run.data.tags["origin"] for run in runs} == {"rank 1"}


def test_what_the_tracker_will_never_take_is_said_and_left_out_and_the_run_ends(tracking):
    warnings: list[str] = []
    with RetrainRun(tracking, "retrain", "refused", {"a": 1}, CELLS[2], warn=warnings.append) as run:
        run.log({"not/a good: name!\n": 0.1}, 1)
        run.log({"miou": 0.2}, 2)
    assert len(run.refused) == len(warnings) == 1
    assert warnings[0].endswith("It is left out.")
    shown = next(found for found in retrained(tracking) if found.data.params.get("a") == "1")
    assert (shown.info.status, shown.data.metrics["miou"]) == ("FINISHED", 0.2)


@pytest.mark.parametrize("name", ["my model/v1", "model:1", "  ", ""])
def test_a_name_that_no_registry_takes_is_refused_before_the_training(name):
    with pytest.raises(ValueError, match="register: a model's name must not be blank, or contain / or :"):
        check_model_name(name)


def test_a_deleted_experiment_is_named_with_what_brings_it_back(tmp_path, journal):
    tracking = Tracking(experiment="gone").resolved(tmp_path)
    client = MlflowClient(tracking.uri)
    experiment = client.create_experiment("gone")
    client.delete_experiment(experiment)
    with pytest.raises(
        TrackingError, match=f"experiment 'gone' was deleted; tracking.experiment=.*--experiment-id {experiment}`"
    ):
        track(journal, tracking)
    client.restore_experiment(experiment)
    track(journal, tracking)


@pytest.mark.parametrize(
    ("message", "cure"),
    [
        (
            "Detected out-of-date database schema (found version a, but expected b). Take a backup",
            "mlflow db upgrade sqlite:///",
        ),
        ("Can't locate revision identified by 'f'", "made by a newer MLflow"),
    ],
)
def test_tables_of_another_mlflow_are_told_with_the_cure(message, cure, tmp_path):
    tracking = Tracking().resolved(tmp_path)
    with pytest.raises(TrackingError, match=cure), one_line_errors(tracking):
        raise RuntimeError(message)


def test_a_retraining_goes_on_without_its_tracker_warns_once_and_says_in_the_end_what_is_lacking():
    warnings: list[str] = []
    with RetrainRun(Tracking(f"http://127.0.0.1:{free_port()}"), "retrain", "x", {}, warn=warnings.append) as run:
        run.log({"miou": 0.1}, 1)
        run.log({"miou": 0.2}, 2)
    assert len(warnings) == 2
    assert "does not answer" in warnings[0]
    assert "lacks 4 entries of this training; run the same command again" in warnings[1]
    assert run.refused == warnings[1:]


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [("file:///tmp/mlruns", "sqlite:////"), ("mlruns", "sqlite:////"), ("sqlite://", "needs a file")],
)
def test_a_uri_that_is_no_tracker_is_refused(uri, complaint):
    with pytest.raises(ValueError, match=complaint):
        Tracking(uri)


def test_a_password_is_not_shown():
    assert str(Tracking("postgresql://me:secret@host/db")) == "MLflow at postgresql://host/db"


def test_the_terminal_stays_clean(journal, tmp_path):
    code = (
        "import sys; from pathlib import Path; from search.tracking.follower import track\n"
        "from search.tracking.settings import Tracking\n"
        "assert 'mlflow' not in sys.modules\n"
        f"track(Path({str(journal)!r}), Tracking().resolved(Path({str(tmp_path / 'new')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_server_shows_the_same_after_an_outage(tracking, request, tmp_path, mlflow_server):
    folder = tmp_path / "server"
    folder.mkdir()
    name = request.node.name + " served"
    journal, served = (
        write(tmp_path / f"{file}.jsonl", [opened(of, many=MANY), *every_status()])
        for file, of in (("journal", request.node.name), ("served", name))
    )
    track(journal, tracking, has_stopped=True)
    expected = everything(tracking, request.node.name)
    shutil.copy(tracking.sqlite_file, folder / "mlflow.db")
    port = free_port()
    at_server = Tracking(f"http://127.0.0.1:{port}", "served")
    thread = TrackingThread(served, at_server)
    thread.start()
    with unavailable_server(port) as requests_refused:
        wait_until(lambda: len(requests_refused) >= 2)  # it tries again
        assert "does not answer" in thread.last_error
    with mlflow_server(folder, port):
        assert thread.close(timeout_s=20, files=[served])
        shown = everything(at_server, name)
        search, trials = runs_of(at_server, name)
        assert child_run_cell(trials["4"].info.run_id, at_server.uri) == (CELLS[4].to_json(), CELLS[4].digest)
        assert MlflowClient(at_server.uri).list_artifacts(search.info.run_id)[0].path == "served.jsonl"
    shown["search"][2]["mlflow.runName"] = request.node.name
    assert shown == expected


@contextmanager
def unavailable_server(port: int) -> Iterator[list[str]]:
    """A server that answers 503 to everything, as a proxy does before a tracker that restarts; gives the paths asked for."""
    asked: list[str] = []

    class Unavailable(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", port), Unavailable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield asked
        finally:
            server.shutdown()
