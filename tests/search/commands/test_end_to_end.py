"""The whole way as a user walks it: real commands, a real Ray, a real MLflow database."""

import csv
import json
import os
import re
import signal
import subprocess
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from safetensors import safe_open

from search.findings.leaderboard import COLUMNS
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.tracking.params import percentage

from .conftest import LONGER, TINY, dpc, record_of, refusal, started, wait_until

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    done = dpc(folder, "search", *TINY, "trials=4")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return folder, done.stdout


def test_a_search_ends_with_a_leaderboard_a_picture_the_dashboard_and_the_next_command(searched):
    folder, output = searched
    assert "Leaderboard" in output
    assert f"mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db" in output
    assert "\ncells      http://127.0.0.1:5000/#/experiments/1/runs?" in output
    assert "dpc retrain" in output
    assert f"report     {folder}/tiny/report.html" in output
    assert "<h1>" in (folder / "tiny" / "report.html").read_text()
    with Image.open(folder / "tiny" / "best_cell.png") as picture:
        assert min(picture.size) > 300


def test_the_ray_of_this_machine_has_no_process_that_nobody_asks():
    children = ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "args="]
    running = subprocess.run(children, text=True, capture_output=True, check=True).stdout
    assert "raylet/raylet" in running
    assert not re.search(r"monitor\.py|dashboard\.py", running), running


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
        history = client.get_metric_history(run.info.run_id, "miou_percent")
        assert [(point.step, point.value) for point in history] == [
            (rung.iteration, percentage(rung.miou)) for rung in trial.rungs
        ]
        assert run.data.metrics["madds"] == trial.madds


def test_the_same_command_with_more_trials_goes_on_and_changes_are_refused(searched, undrawn):
    folder, _ = searched
    before = record_of(folder)
    more = dpc(folder, "search", *TINY, "trials=5")
    after = record_of(folder)
    assert more.returncode == 0, more.stderr
    assert "4 are done already" in more.stdout
    assert len(after.finished) == 5
    assert [after.trials[n].rungs for n in range(4)] == [before.trials[n].rungs for n in range(4)]
    changed = refusal(folder, "search", *TINY, "trials=5", "proxy.cell.filters=16")
    assert "proxy.cell.filters was 8 and is 16" in changed
    assert "fork=true from=tiny" in changed


def test_a_fork_goes_on_with_other_settings_from_the_cells_of_its_parent(searched, undrawn):
    folder, _ = searched
    parent = record_of(folder)
    child = ("name=child", "fork=true", "from=tiny", *TINY[1:], "algorithm=uniform", "trials=1")
    assert "fork=true" in refusal(folder, "search", *TINY[1:], "name=child", "from=tiny")
    for _ in range(2):
        forked = dpc(folder, "search", *child)
        assert forked.returncode == 0, forked.stderr
        assert f"it begins with {parent.num_ended} cells of tiny\n" in forked.stdout.replace("; 1 is done already", "")
    record = SearchRecord(read_events(folder / "child" / "journal.jsonl")[0])
    assert (record.num_inherited, record.num_ended) == (parent.num_ended, 1)
    assert len(record.ranked()) == parent.num_ended + 1


def test_a_replay_makes_the_same_proposals_and_decisions(searched):
    folder, _ = searched
    replayed = dpc(folder, "replay", *TINY)
    assert replayed.returncode == 0, replayed.stderr
    assert f"{len(record_of(folder).trials)} proposals" in replayed.stdout
    assert "all come out the same" in replayed.stdout
    assert "seed" in refusal(folder, "replay", *TINY, "seed=1")


def test_a_search_that_was_terminated_goes_on_and_evaluates_no_cell_twice(tmp_path, undrawn):
    journal = tmp_path / "tiny" / "journal.jsonl"
    with started(tmp_path, "search", *TINY, LONGER, "resources.cpu=1", "trials=6") as search:
        wait_until(lambda: journal.exists() and b"trial_ended" in journal.read_bytes())
        search.send_signal(signal.SIGTERM)
        output, errors = search.communicate(timeout=60)
    assert search.returncode == 75
    assert "Traceback" not in output + errors
    said = output + errors  # in other words where a busy machine did not let it end in order within its 8 seconds
    assert re.search("[Nn]othing is lost[.:] [Rr]un the same command again", said)
    killed = record_of(tmp_path)
    assert 1 <= len(killed.finished) < 6
    resumed = dpc(tmp_path, "search", *TINY, LONGER, "trials=6")
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
    with safe_open(model / "model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["config"])["cell"] == best["cell"]
    scored = dpc(folder, "evaluate", "dataset.num_val=4", f"checkpoint={model}", f"json={folder}/scores.json")
    assert scored.returncode == 0, scored.stderr
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["miou"] == pytest.approx(json.loads((model / "scores.json").read_text())["miou"])
    assert_card_loads(model, folder / "photo.jpg")


def assert_card_loads(model, photo):
    """The card beside a model shows its scores, and its five lines label a photo."""
    card = (model / "README.md").read_text()
    assert f"{100 * json.loads((model / 'scores.json').read_text())['miou']:.2f} % mIoU" in card
    assert (model / "cell.png").is_file()
    Image.new("RGB", (97, 65)).save(photo)
    lines = card.partition("```python\n")[2].partition("```")[0]
    given = {"the folder of this file": str(model), "photo.jpg": str(photo)}
    for name, path in given.items():
        lines = lines.replace(name, path)
    variables = {}
    exec(lines, variables)
    assert variables["labels_HW"].shape == (65, 97)


def test_a_cell_is_retrained_by_its_mlflow_run(searched):
    folder, _ = searched
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("dpc-search")
    child = next(run for run in client.search_runs([experiment.experiment_id]) if "trial" in run.data.params)
    retrained = dpc(folder, "retrain", *TINY[1:], f"run={child.info.run_id}", "training.iterations=2", "register=tiny-model")
    assert retrained.returncode == 0, retrained.stderr
    assert (folder / "shapes" / f"retrain-{child.data.params['digest']}" / "model.safetensors").exists()
    uri = f"sqlite:///{folder}/mlflow.db"
    version = MlflowClient(uri).get_model_version("tiny-model", "1")
    kept = Path(MlflowClient(uri).download_artifacts(version.run_id, "model"))
    files = {path.name for path in kept.iterdir()}
    assert {"MLmodel", "model.onnx", "input_example.json"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pt", ".pth"))]
    of_another_size = np.zeros((2, 3, 33, 49), np.float32)
    (logits_BKHW,) = mlflow.pyfunc.load_model(str(kept)).predict(of_another_size).values()
    assert (len(logits_BKHW), *logits_BKHW.shape[2:]) == (2, 33, 49)
    again = dpc(folder, "retrain", *TINY[1:], "run=models:/tiny-model/1", "training.iterations=2")
    assert again.returncode == 0, again.stderr
    assert child.data.params["digest"] in again.stdout
    assert "tiny-model" in refusal(folder, "retrain", *TINY[1:], "run=models:/tiny-model/7")


@contextmanager
def small_disk(folder, size):
    """A file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False).returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_room_for_the_cache_ends_in_one_line(tmp_path):
    with small_disk(tmp_path / "small", "1m") as small:
        assert "No space left on device" in refusal(small, "search", *TINY, "trials=2", code=1)


def test_a_disk_that_fills_up_is_waited_for_and_costs_no_cell(tmp_path):
    with small_disk(tmp_path / "small", "40m") as small:
        journal, filler = small / "tiny" / "journal.jsonl", small / "filler"
        with started(small, "search", *TINY, LONGER, "trials=8", "scheduler=none") as search:
            wait_until(lambda: journal.exists() and b"trial_ended" in journal.read_bytes())
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            for line in search.stdout:
                if "Waiting for disk space" in line:
                    break
            filler.unlink()
            output, errors = search.communicate(timeout=120)
        assert search.returncode == 0, errors
        assert "Waiting" not in output
        assert [trial.status for trial in record_of(small).finished] == ["completed"] * 8


def test_the_best_cells_are_ranked_again_and_a_second_run_trains_nothing(searched, undrawn):
    folder, _ = searched
    done = dpc(folder, "rerank", *TINY[1:], "from=tiny", "top=2", "seeds=2", "confirm=1")
    assert done.returncode == 0, done.stderr
    assert "Leaderboard, re-ranked" in done.stdout
    rows = list(csv.DictReader((folder / "tiny" / "rerank" / "rerank.csv").open()))
    assert [row["seeds"] for row in rows] == ["2", "2"]
    assert sorted(row["proxy_rank"] for row in rows) == ["1", "2"]
    best = json.loads((folder / "tiny" / "rerank" / "best.json").read_text())
    assert (best["digest"], best["seeds"], best["confirmed"]["seeds"]) == (rows[0]["digest"], 2, 1)
    assert "The first under fresh seeds, kept out of selection: " in done.stdout
    journals = [folder / "tiny" / "rerank" / f"seed-{seed}" / "journal.jsonl" for seed in (0, 1)]
    before = [journal.read_bytes().count(b"rung_reached") for journal in journals]
    again = dpc(folder, "rerank", *TINY[1:], "from=tiny", "top=2", "seeds=2")
    assert "2 are done already" in again.stdout
    assert [journal.read_bytes().count(b"rung_reached") for journal in journals] == before == [4, 4]
    other = refusal(folder, "rerank", *TINY[1:], "from=tiny", "top=2", "training.iterations=3")
    assert "training.iterations was 4 and is 3" in other
    assert "choose another label=..." in other
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("dpc-search").experiment_id
    assert len(client.search_runs([experiment], "tags.stage = 'rerank'")) == 5
    (seed_0,) = client.search_runs([experiment], "attributes.run_name = 'tiny re-ranked, seed 0'")
    assert {"rerank.csv", "rerank.png"} <= {file.path for file in client.list_artifacts(seed_0.info.run_id)}


def test_two_protocols_score_the_same_cells_and_a_second_run_trains_nothing(searched):
    folder, _ = searched
    cells = "cells=side_by_side", "cells.operators.atrous.rates=[6]", "~cells.operators.pooling"
    few = (*TINY[1:], *cells, "second.overrides=['proxy.rungs=[3,6]']")
    first = dpc(folder, "fidelity", *few, "second.protocol=proxy")
    assert first.returncode == 0, first.stderr
    rows = list(csv.DictReader((folder / "fidelity" / "fidelity.csv").open()))
    assert len({row["digest"] for row in rows}) == 3
    assert all(0 < float(row[side]) < 1 for row in rows for side in ("first", "second"))
    assert all(json.loads(row["cell"]) for row in rows)
    assert (folder / "fidelity" / "fidelity.png").is_file()
    journals = [folder / "fidelity" / side / "journal.jsonl" for side in ("first", "second")]
    iterations = [{trial.rungs[-1].iteration for trial in SearchRecord(read_events(path)[0]).finished} for path in journals]
    assert iterations == [{4}, {6}]
    before = [path.read_bytes().count(b"rung_reached") for path in journals]
    again = dpc(folder, "fidelity", *few, "second.protocol=proxy")
    assert again.stdout.count("3 are done already") == 2
    assert [path.read_bytes().count(b"rung_reached") for path in journals] == before == [6, 6]
    assert "choose another label=..." in refusal(folder, "fidelity", *few, "second.protocol=end_to_end")
    wrong = refusal(folder, "fidelity", *few, "second.protocol=guess")
    assert "second.protocol: accepted are proxy and end_to_end, got 'guess'." in wrong
