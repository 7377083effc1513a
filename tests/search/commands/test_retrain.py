"""What ``dpc retrain`` knows of a training before it begins; whole trainings are in test_end_to_end.py."""

import json
import shlex
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from data.datasets.contract import UnreadableError
from data.datasets.file_split import FileSplit
from data.system.termination import _on_sigterm, own_signals
from models.segmenter import Segmenter
from search.commands import retrain
from search.deciding.space import AnyCell
from search.findings.training_course import CoursePoint, read_course
from search.session import saved_model
from search.session.folder import alone_in
from search.settings.named_cells import read_cell
from training.end_to_end import Validation
from training.evaluation import Scores

from .conftest import dpc, refusal


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """Retrains on a folder until its MLflow run would begin; gives what that run would be known by."""
    begun = []

    def begin(tracking, title, folder_id, settings, *_, **__):
        begun.append((folder_id, settings))
        raise KeyboardInterrupt

    monkeypatch.setattr(retrain, "RetrainRun", begin)

    def run(*changes):
        given = [f"dataset.root={tmp_path}/data", "cell=aspp", "space=any", *changes]
        done = dpc(tmp_path / "outputs", "retrain", "dataset=folder", *given)
        assert "Interrupted" in done.stderr, done
        return begun[-1]

    return run


def test_a_training_by_several_processes_takes_sigterm_back_from_ray(monkeypatch):
    def ray_takes_it(address):
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))

    monkeypatch.setattr("search.session.joining.connect", ray_takes_it)
    monkeypatch.setattr(retrain, "join_cluster", MagicMock())
    monkeypatch.setattr(retrain, "retrain_on_cluster", MagicMock())
    with own_signals():
        retrain._reached(MagicMock(data_parallel=2), *[MagicMock()] * 5)
        assert signal.getsignal(signal.SIGTERM) is _on_sigterm


@pytest.mark.parametrize("refused", [[], ["the registry takes no such name"]])
def test_a_training_of_which_the_tracker_refuses_something_for_good_ends_with_1(monkeypatch, tmp_path, refused):
    tracked = MagicMock(refused=refused)
    tracked.__enter__.return_value = tracked
    monkeypatch.setattr(retrain, "RetrainRun", lambda *_, **__: tracked)
    scores = Scores(0.5, 0.6, {"background": 0.5})
    monkeypatch.setattr(retrain, "load_model", lambda *_: MagicMock())
    monkeypatch.setattr(retrain, "_write_card", lambda *_: None)
    monkeypatch.setattr(retrain, "_reached", lambda *_: iter([Validation(4, 0.1, scores, 1.0, is_best=True)]))
    done = dpc(tmp_path, "retrain", "cell=aspp", "space=any", "training.batch_size=2", "dataset.num_val=2", "final_split=null")
    assert done.returncode == len(refused), done
    assert "best mIoU  50.00 at iteration 4 on val, the best of 2 steps: selected on" in done.stdout
    assert "no score on a split kept out of selection: final_split=null" in done.stdout


def test_the_last_number_is_of_a_split_that_selected_nothing_and_where_there_is_none_that_is_said(monkeypatch, tmp_path):
    scores = Scores(0.5, 0.6, {"background": 0.5})
    tracked = MagicMock(refused=[])
    tracked.__enter__.return_value = tracked
    monkeypatch.setattr(retrain, "RetrainRun", lambda *_, **__: tracked)
    monkeypatch.setattr(retrain, "_reached", lambda *_: iter([Validation(4, 0.1, scores, 1.0, is_best=True)]))
    monkeypatch.setattr(retrain, "_write_card", lambda *_: None)
    monkeypatch.setattr(retrain, "evaluate", lambda model, split, *_: replace(scores, miou=len(split) / 1000))
    monkeypatch.setattr(retrain, "load_model", lambda *_: MagicMock())
    given = ("retrain", "cell=aspp", "space=any", "training.batch_size=2", "dataset.num_val=4")
    digest = read_cell("aspp", AnyCell()).digest
    kept = tmp_path / "shapes" / f"retrain-{digest}" / "scores.json"
    kept.parent.mkdir(parents=True)
    kept.write_text('{"miou": 0.5}')
    done = dpc(tmp_path, *given)
    assert "mIoU       0.40 on test, which was kept out of selection" in done.stdout
    assert json.loads(kept.read_text())["final"]["split"] == "test"
    assert tracked.log.call_args.args == ({"best_miou_percent": 50.0, "final_miou_percent": 0.4},)
    assert not {path.name for path in tracked.artifacts.call_args.args[0]} & {"id.txt", "state.safetensors"}
    assert read_course(kept.parent) == [CoursePoint(4, 0.1, 0.5, {"background": 0.5})]
    assert kept.with_name("course.png").is_file()
    without = dpc(tmp_path, *given, "final_split=other")
    assert without.stdout.count("no score on a split kept out of selection: shapes: no split 'other'") == 2
    assert without.stdout.index("Warning: no score on a split kept out") < without.stdout.index("iteration      4")
    monkeypatch.setattr(retrain, "evaluate", MagicMock(side_effect=UnreadableError("a.png: gone")))
    damaged = dpc(tmp_path, *given)
    assert damaged.returncode == 0
    assert "no score on a split kept out of selection: a.png: gone" in damaged.stdout
    assert (
        "final_split: must be a split that neither trains nor validates, got val"
        in dpc(tmp_path, *given, "final_split=val").stderr
    )


def test_the_kept_model_is_scored_where_it_was_trained_and_exported_on_the_cpu(monkeypatch, tmp_path):
    scores, used = Scores(0.5, 0.6, {"background": 0.5}), {}
    tracked, model = MagicMock(refused=[]), MagicMock()
    tracked.__enter__.return_value = tracked
    monkeypatch.setattr(Segmenter, "from_pretrained", lambda *_: model)
    monkeypatch.setattr(saved_model, "given_device", lambda: "cuda")
    monkeypatch.setattr(retrain, "RetrainRun", lambda *_, **__: tracked)
    monkeypatch.setattr(retrain, "_reached", lambda *_: iter([Validation(4, 0.1, scores, 1.0, is_best=True)]))
    monkeypatch.setattr(retrain, "_write_card", lambda *_: None)
    monkeypatch.setattr(retrain, "evaluate", lambda model, *_: used.update(scored=model) or scores)
    monkeypatch.setattr(retrain, "_register", lambda _, model, *__: used.update(exported=model))
    monkeypatch.setattr("search.settings.retrain.find_spec", lambda name: name)
    kept = tmp_path / "shapes" / f"retrain-{read_cell('aspp', AnyCell()).digest}" / "scores.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    dpc(tmp_path, "retrain", "cell=aspp", "space=any", "training.batch_size=2", "dataset.num_val=2", "register=lamps")
    model.eval().to.assert_called_once_with("cuda")
    assert used == {"scored": model.eval().to(), "exported": model.eval().to().cpu()}


def test_a_model_that_is_loaded_to_predict_keeps_the_memory_that_it_frees(monkeypatch, tmp_path):
    kept = MagicMock()
    monkeypatch.setattr(Segmenter, "from_pretrained", lambda *_: MagicMock())
    monkeypatch.setattr(saved_model, "keep_freed_memory", kept)
    saved_model.load_model(tmp_path, ())
    kept.assert_called_once_with()


def test_a_training_that_shall_have_a_gpu_is_refused_where_there_is_none_and_one_without_says_where_it_is(
    monkeypatch, tmp_path
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(retrain, "why_no_gpu", lambda: "no driver")
    refused = dpc(tmp_path, "retrain", "cell=aspp", "space=any", "resources.gpu=1")
    assert refused.returncode == 2
    expected = "dpc: resources.gpu: this process trains, and has no GPU (no driver); 0 trains on the CPU.\n"
    assert (refused.stdout, refused.stderr) == ("", expected)
    monkeypatch.setattr(retrain, "backbone_of", MagicMock(side_effect=KeyboardInterrupt))
    assert dpc(tmp_path, "retrain", "cell=aspp", "space=any").stdout.startswith("Retraining cell aspp on the CPU: ")


def put(root, grey, splits=("train", "val")):
    for blue, split in enumerate(splits):
        for part in ("images", "labels"):
            (root / split / part).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (33, 33), (grey, grey, blue)).save(root / split / "images" / "a.png")
        Image.fromarray(np.eye(33, dtype=np.uint8)).save(root / split / "labels" / "a.png")
    (root / "classes.txt").write_text("background\nline\n")


@pytest.mark.parametrize(("one", "other"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_splits_that_share_an_image_are_refused_the_one_that_scores_the_kept_model_too(one, other, tmp_path):
    put(tmp_path / "data", 10, ("train", "val", "test"))
    image = (tmp_path / "data" / one / "images" / "a.png").read_bytes()
    (tmp_path / "data" / other / "images" / "a.png").write_bytes(image)
    said = refused(tmp_path)
    assert f"folder, {one}, {other}: images in both: 1." in said
    named = said.partition("See all that is wrong with: ")[2]
    assert named.endswith(f"dpc check-data dataset=folder dataset.root={tmp_path}/data 'splits=[train,val,test]'\n")
    _, command, *given = shlex.split(named)
    assert dpc(tmp_path / "outputs", command, *given, "workers=1").returncode == 1


@pytest.mark.parametrize(
    ("part", "whole", "given"),
    [
        ("search_val", "train", ["training.val_split=search_val"]),
        ("trainval", "train", ["training.val_split=trainval"]),
        ("search_val", "val", ["final_split=search_val"]),
        ("trainval", "val", ["training.train_split=trainval", "training.val_split=test", "final_split=val"]),
    ],
)
def test_a_training_shares_no_image_with_what_scores_it_though_a_data_set_rightly_does(part, whole, given, tmp_path):
    put(tmp_path / "data", 10, ("train", "val", "test", part))
    image = (tmp_path / "data" / whole / "images" / "a.png").read_bytes()
    (tmp_path / "data" / part / "images" / "a.png").write_bytes(image)
    assert "images in both: 1. Scores on" in refused(tmp_path, *given)


def test_a_training_on_trainval_may_be_watched_on_val_and_is_told_what_that_score_is_worth(monkeypatch, tmp_path):
    put(tmp_path / "data", 10, ("train", "val", "test", "trainval"))
    image = (tmp_path / "data" / "val" / "images" / "a.png").read_bytes()
    (tmp_path / "data" / "trainval" / "images" / "a.png").write_bytes(image)
    monkeypatch.setattr(retrain, "RetrainRun", MagicMock(side_effect=KeyboardInterrupt))
    given = (f"dataset.root={tmp_path}/data", "cell=aspp", "space=any", "training.train_split=trainval")
    done = dpc(tmp_path / "outputs", "retrain", "dataset=folder", *given)
    assert "Warning: val is part of trainval: its score chooses among memorised images.\n" in done.stdout
    assert "Interrupted" in done.stderr


@pytest.mark.parametrize(
    ("split", "label", "complaint"),
    [
        ("val", 7, "a.png: label 7 at row 0, column 0 is out of range"),
        ("val", 0, "folder, val: background is the only class that is labelled"),
        ("test", 7, "a.png: label 7 at row 0, column 0 is out of range"),
    ],
)
def test_what_could_not_be_scored_is_refused_before_the_training_and_not_after(split, label, complaint, tmp_path):
    put(tmp_path / "data", 10, ("train", "val", "test"))
    Image.fromarray(np.full((33, 33), label, np.uint8)).save(tmp_path / "data" / split / "labels" / "a.png")
    assert complaint in refused(tmp_path)


def test_the_labels_that_a_model_is_scored_by_are_looked_through_once_and_again_where_they_have_changed(
    recorded, monkeypatch, tmp_path
):
    put(tmp_path / "data", 10, ("train", "val", "test"))
    read, whole = [], FileSplit.__getitem__
    monkeypatch.setattr(FileSplit, "__getitem__", lambda split, index: read.append(split.pairs[index]) or whole(split, index))
    recorded()
    assert [Path(labels).parent for _, labels in read] == [Path("val/labels"), Path("test/labels")]
    recorded()
    assert len(read) == 2
    Image.fromarray(np.zeros((33, 33), np.uint8)).save(tmp_path / "data" / "val" / "labels" / "a.png")
    assert "folder, val: background is the only class that is labelled" in refused(tmp_path)


def test_what_is_quick_to_see_is_refused_before_a_label_is_read(monkeypatch, tmp_path):
    put(tmp_path / "data", 10, ("train", "val", "test"))
    monkeypatch.setattr(FileSplit, "__getitem__", MagicMock(side_effect=AssertionError("no label need be read")))
    with alone_in(tmp_path / "outputs" / "folder" / f"retrain-{read_cell('aspp', AnyCell()).digest}"):
        assert "another command is at work there" in refused(tmp_path)
    shutil.copy(*(tmp_path / "data" / split / "images" / "a.png" for split in ("train", "test")))
    assert "folder, train, test: images in both: 1." in refused(tmp_path)


def refused(folder, *changes):
    """The line that a training of ``folder``'s data ends with before it begins."""
    given = (f"dataset.root={folder}/data", "cell=aspp", "space=any", *changes)
    return refusal(folder / "outputs", "retrain", "dataset=folder", *given)


def test_a_training_is_known_by_what_its_data_holds_and_not_only_by_where_it_lies(recorded, tmp_path):
    put(tmp_path / "data", 10)
    before, again = recorded(), recorded()
    assert before == again
    put(tmp_path / "data", 11)
    (folder_id, settings), (folder_id_before, settings_before) = recorded(), before
    assert folder_id == folder_id_before
    assert settings["data"].keys() == {"train", "val"}
    assert [settings["data"][split] != settings_before["data"][split] for split in ("train", "val")] == [True, True]
    assert {**settings, "data": settings_before["data"]} == settings_before


def test_a_training_is_known_by_the_weights_that_it_begins_with_and_not_only_by_where_they_lie(recorded, tmp_path):
    put(tmp_path / "data", 10)
    found = []
    for value in (0, 1):
        save_file({"weight": np.full(2, value, np.float32)}, tmp_path / "w.safetensors")
        _, settings = recorded(
            f"backbone.weights={tmp_path}/w.safetensors", "backbone=xception65", "backbone.mean=[0,0,0]", "backbone.std=[1,1,1]"
        )
        found.append(settings["data"])
    assert found[0]["weights"] != found[1]["weights"]
    assert {**found[0], "weights": ""} == {**found[1], "weights": ""}
