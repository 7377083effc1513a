"""The whole way as a user walks it: real commands, a real Ray, a real MLflow data base."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from mlflow import MlflowClient
from PIL import Image

from search.journal import read_events
from search.leaderboard import COLUMNS
from search.record import SearchRecord

TINY = (
    "name=tiny",
    "dataset.num_train=12",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[2,4]",
    "proxy.cell.filters=8",
    "training.cell.filters=8",
    "training.iterations=4",
    "training.eval_every=2",
    "training.batch_size=2",
    "training.workers=0",
)


def dpc(folder, command, *overrides, **options):
    given = [command, *overrides, f"output_dir={folder}"]
    return subprocess.run(
        [sys.executable, "-m", "search.cli", *given], capture_output=True, text=True, timeout=200, check=False, **options
    )


def record_of(folder):
    return SearchRecord(read_events(folder / "tiny" / "journal.jsonl")[0])


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    done = dpc(folder, "search", *TINY, "trials=4")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_search_ends_with_a_leaderboard_a_picture_the_dashboard_and_the_next_command(searched):
    folder, output = searched
    assert "Leaderboard" in output
    assert f"mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db" in output
    assert "dpc retrain" in output
    with Image.open(folder / "tiny" / "best_cell.png") as picture:
        assert min(picture.size) > 300
    assert "Traceback" not in output


def test_the_leaderboard_and_the_best_cell_are_files(searched):
    folder, _ = searched
    rows = list(csv.DictReader((folder / "tiny" / "leaderboard.csv").open()))
    best = json.loads((folder / "tiny" / "best.json").read_text())
    assert tuple(rows[0]) == COLUMNS
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert json.loads(rows[0]["cell"]) == best["cell"]
    assert float(rows[0]["miou"]) == pytest.approx(best["miou"], abs=1e-6)


def test_mlflow_holds_one_run_for_the_search_and_one_for_each_cell(searched):
    folder, _ = searched
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("dpc-search")
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    (parent,) = [run for run in runs if run not in children]
    assert len(children) == 4
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    for run in children:
        trial = record_of(folder).trials[int(run.data.params["trial"])]
        assert run.data.params["branch_1"] == str(trial.cell.branches[0])
        history = client.get_metric_history(run.info.run_id, "miou")
        assert [(point.step, point.value) for point in history] == [(rung.iteration, rung.miou) for rung in trial.rungs]
        assert run.data.metrics["madds"] == trial.proposed.madds


def test_the_same_command_with_more_trials_goes_on_and_changes_are_refused(searched):
    folder, _ = searched
    before = record_of(folder)
    more = dpc(folder, "search", *TINY, "trials=5")
    after = record_of(folder)
    assert more.returncode == 0, more.stderr
    assert "4 are done already" in more.stdout
    assert len(after.finished) == 5
    assert [after.trials[n].rungs for n in range(4)] == [before.trials[n].rungs for n in range(4)]
    changed = dpc(folder, "search", *TINY, "trials=5", "proxy.cell.filters=16")
    assert changed.returncode == 2
    assert "proxy.cell.filters was 8 and is 16" in changed.stderr
    assert changed.stderr.count("\n") == 1


def test_a_killed_search_goes_on_and_evaluates_no_cell_twice(tmp_path):
    command = [sys.executable, "-m", "search.cli", "search", *TINY, "trials=6", f"output_dir={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as search:
        deadline_s = time.monotonic() + 120
        journal = tmp_path / "tiny" / "journal.jsonl"
        while not (journal.exists() and b"trial_ended" in journal.read_bytes()) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        search.send_signal(signal.SIGKILL)
    killed = record_of(tmp_path)
    assert 1 <= len(killed.finished) < 6
    resumed = dpc(tmp_path, "search", *TINY, "trials=6")
    assert resumed.returncode == 0, resumed.stderr
    events, _ = read_events(journal)
    ends = Counter(event.trial for event in events if type(event).__name__ == "TrialEnded")
    proposals = Counter(event.trial for event in events if type(event).__name__ == "CellProposed")
    assert ends == proposals == Counter(range(6))
    assert not list((tmp_path / "tiny" / "checkpoints").glob("*.safetensors"))


def test_the_best_cell_is_retrained_and_evaluated(searched):
    folder, _ = searched
    retrained = dpc(folder, "retrain", *TINY[1:], "from=tiny", "rank=1")
    assert retrained.returncode == 0, retrained.stderr
    best = json.loads((folder / "tiny" / "best.json").read_text())
    model = folder / "tiny" / f"retrain-{best['digest']}"
    config = json.loads((model / "config.json").read_text())
    assert config["cell"] == best["cell"]
    scored = dpc(folder, "evaluate", *TINY[1:], f"checkpoint={model}", f"json={folder}/scores.json")
    assert scored.returncode == 0, scored.stderr
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["miou"] == pytest.approx(json.loads((model / "scores.json").read_text())["miou"])


def test_a_cell_is_retrained_by_its_mlflow_run(searched):
    folder, _ = searched
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("dpc-search")
    child = next(run for run in client.search_runs([experiment.experiment_id]) if "trial" in run.data.params)
    retrained = dpc(folder, "retrain", *TINY[1:], f"run={child.info.run_id}", "training.iterations=2")
    assert retrained.returncode == 0, retrained.stderr
    assert (folder / "shapes" / f"retrain-{child.data.params['digest']}" / "model.safetensors").exists()


def test_a_full_disk_ends_in_one_line_and_the_search_goes_on_once_there_is_room(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False).returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        failed = dpc(small, "search", *TINY, "trials=2")
        assert failed.returncode == 2
        assert "No space left on device" in failed.stderr
        assert failed.stderr.count("\n") == 1
        subprocess.run(["mount", "-o", "remount,size=200m", str(small)], check=True)
        resumed = dpc(small, "search", *TINY, "trials=2")
        assert resumed.returncode == 0, resumed.stderr
        assert len(record_of(small).finished) == 2
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
