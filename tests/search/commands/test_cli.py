"""The command line: what a person can get wrong is one line that says what, where, and what is accepted."""

import errno
import json
import os
import platform
import re
import sys
from importlib.metadata import version
from io import BytesIO, TextIOWrapper
from threading import Event

import numpy as np
import pytest

from data.system import termination
from models.spec import CellSpec
from search.cli import main
from search.conf_files import CONF
from search.config import load
from search.config_errors import ConfigError
from search.help import COMMANDS
from search.running.nodes.cluster import connect


@pytest.fixture
def camvid_with_a_wrong_label(tmp_path):
    import numpy as np
    from PIL import Image

    for grey, (split, sequence) in enumerate((("train", "0001TP"), ("train", "0006R0"), ("val", "0016E5"))):
        for folder in (split, f"{split}annot"):
            (tmp_path / folder).mkdir(exist_ok=True)
        labels = np.zeros((33, 33), np.uint8)
        labels[5, 7] = 12 if sequence == "0001TP" else 0
        Image.fromarray(np.full((33, 33, 3), grey, np.uint8)).save(tmp_path / split / f"{sequence}_1.png")
        Image.fromarray(labels).save(tmp_path / f"{split}annot" / f"{sequence}_1.png")
        with (tmp_path / f"{split}.txt").open("a") as lines:
            lines.write(f"{split}/{sequence}_1.png {split}annot/{sequence}_1.png\n")
    return tmp_path


def complaint(capsys, *arguments):
    """What a failing command prints; it must be one line, and nothing may have started."""
    code = main(arguments)
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.startswith("dpc: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["search", "--verbose"], "unrecognized arguments: --verbose"),
        (["serach"], "serach: no such command; accepted are search, cell"),
        (["search", "trails=3"], "trails: no such setting; did you mean trials"),
        (["search", "proxy.cell.filtres=3"], "no such setting; did you mean proxy.cell.filters"),
        (["search", "dataset=imagenet"], "dataset: no choice 'imagenet'; accepted are camvid, cityscapes, folder,"),
        (["search", "trials=abc"], "trials: input should be a valid integer"),
        (["search", "trials=0"], "trials must be at least 1, got 0"),
        (["search", "proxy.batch_size=many"], "proxy.batch_size: input should be a valid integer"),
        (["search", "proxy.rungs=[40,20]"], "proxy.rungs must be ascending"),
        (["search", "+proxy.extra=1"], "proxy.extra: no such setting; accepted are rungs"),
        (["search", "seed=0,1,2"], "seed: one value is accepted, got 0,1,2; run the command once for each value: `for v in"),
        (
            ["search", "algorithm=tpe,uniform"],
            "algorithm: one value is accepted, got tpe,uniform; run the command once for each",
        ),
        (["search", "seed=range(3)"], "seed: one value is accepted, got range(3); run the command once for each value"),
        (["search", "--multirun", "seed=0,1"], "--multirun: no such option; run the command once for each value: `for v in"),
        (["search", "dataset=camvid", "dataset.root=/no,where"], "dataset.root: must be a folder, /no,where is not there"),
        (["search", "proxy=[1"], "proxy=[1: not of the form key=value"),
        (["search", "first=[a(b]"], "first=[a(b]: not of the form key=value; close its brackets, and quote"),
        (["search", "experiment"], "experiment: not of the form key=value"),
        (["search", "name ~mine"], "name ~mine: not of the form key=value."),
        (["search", "space.operators.atrous.rates=[0]"], "at least 1"),
        (["search", "+space.operators.mine._target_=nowhere.Family"], "cannot find 'nowhere.Family'"),
        (["search", "space=any"], "space: must be a CellSpace"),
        (["search", "algorithm.near_best=2"], "algorithm.near_best must be from 0 to 1"),
        (["search", "scheduler.reduction_factor=1"], "scheduler.reduction_factor must be above 1"),
        (["search", "resources.cpu=4096"], "resources.cpu: a trial asks for 4096, this machine has"),
        (["search", "resources.gpu=64"], "resources.gpu: a trial asks for 64, this machine has"),
        (["search", "resources.gpu=1.5"], "resources.gpu must be a fraction of one GPU or a whole number of GPUs, got 1.5."),
        (["search", "resources.custom={fast_disk:0}"], "resources.custom.fast_disk must be a number above 0, got 0."),
        (["search", "resources.custom={GPU:1}"], "resources.custom.GPU is set by resources.gpu."),
        (["search", "resources.label_selector={zone:3}"], "resources.label_selector.zone: accepted are a value, !value, in("),
        (["search", "tracking.uri=somewhere"], "tracking.uri must be"),
        (["search", "experiment=camvid", "backbone.weights=null"], "dataset.root: a value is needed"),
        (["search", "dataset=camvid", "dataset.root=/nowhere"], "dataset.root: must be a folder, /nowhere is not there"),
        (["search", "dataset=cityscapes", "dataset.root={tmp}"], "no *_leftImg8bit.png under"),
        (["search", "dataset=folder", "dataset.root={tmp}"], "classes.txt"),
        (["search", "dataset.folds=1"], "dataset.folds must be at least 2, or null for the data set's own two splits, got 1"),
        (["search", "dataset.folds=241"], "dataset.folds: 240 samples of train cannot be split into 241 folds"),
        (["search", "dataset.folds=2", "cache.label_stride=4"], "cache.label_stride must be 1 with dataset.folds, got 4"),
        (["cache", "dataset.folds=many"], "dataset.folds: input should be a valid integer"),
        (["search", "dataset=folder", "dataset.root={tmp}", "dataset.group=night"], "has no group in brackets, such as"),
        (["search", "dataset=folder", "dataset.root={tmp}", "dataset.group='('"], "is not a regular expression"),
        (["check-data", "dataset=folder", "dataset.root={tmp}", "dataset.classes={a:b}"], "dataset.classes: "),
        (["check-data", "dataset=folder", "dataset.root={tmp}", "dataset.label_map=[1]"], "dataset.label_map: "),
        (["check-data", "dataset=folder", "dataset.root={tmp}", "dataset.label_map={a:1}"], "dataset.label_map.a: "),
        (["check-data", "dataset=folder", "dataset.root={tmp}", "dataset.value_range=[9,1]"], "dataset.value_range must be"),
        (["search", "dataset.size_px=320"], "dataset.size_px must be a multiple of 16 plus 1"),
        (["search", "backbone.name=tu-mobilenetv9"], "no encoder 'tu-mobilenetv9'; did you mean"),
        (["search", "backbone.weights=/nowhere.safetensors"], "no file /nowhere.safetensors"),
        (["search", "backbone=mobilenetv2", "backbone.weights={tmp}/junk"], "junk is not a safetensors file"),
        (["cell", "cell=nobody"], "no file nobody; accepted are a JSON file and the named cells aspp, dpc_top1"),
        (["cell", "cell={tmp}/junk"], "junk: Expecting value"),
        (["cell", "cell={tmp}/forward.json"], "branch 0 must read the backbone (-1), got input 3"),
        (["cell", "cell={tmp}/outside.json"], "cells of 5 branches, got 1. (space=any accepts every cell)"),
        (["cell", "format=xml"], "format: accepted are text and json, got 'xml'"),
        (["cell", "features.height=0"], "features.height must be at least 1"),
        (["cell", "--", "more"], "--: only `dpc submit` passes a command on"),
        (["retrain"], "cell: give one of from=<search>"),
        (["retrain", "from=demo", "cell=aspp"], "got from and cell"),
        (["retrain", "from=nobody"], "no search 'nobody'"),
        (
            ["retrain", "cell=aspp", "training.batch_size=16", "training.accumulate=4", "data_parallel=8"],
            "4 parts of 16 / 8 = 2",
        ),
        (["retrain", "run=123"], "there is no such file"),
        (["evaluate"], "checkpoint: a value is needed; add checkpoint=... to the command"),
        (["evaluate", "checkpoint=/nowhere"], "no model in /nowhere"),
        (["track", "name=nobody"], "no search 'nobody'"),
        (["submit"], "name a command after --"),
        (["submit", "--", "search", "trails=3"], "trails: no such setting"),
        (["submit", "env=[NOT_SET_ANYWHERE]", "--", "cell"], "not set in this shell: NOT_SET_ANYWHERE"),
        (["submit", "address=nowhere", "--", "cell"], "must be the URL of a Ray dashboard"),
        (["search", "--config-dir", "/nowhere"], "--config-dir: no folder '/nowhere'."),
        (["search", "--config-dir=~no one/x"], "--config-dir: must lie in the home of a user of this machine, got '~no one/x'"),
        (["submit", "--", "search", "--config-dir=~no one/x"], "--config-dir: must lie in the home of a user of this machine"),
        (["submit", "--", "search", "cache.folder=~no one/x"], "cache.folder: must lie in the home of a user of this machine"),
        (["submit", "--", "retrain", "cell=~no one/x"], "cell: must lie in the home of a user of this machine"),
        (["search", "--config-dir="], "--config-dir: no folder ''."),
        (["search", "+proxy.optimzer.learning_rate=1"], "proxy.optimzer: no such setting; accepted are rungs, batch_size,"),
        (["search", "++ray.adress=auto"], "ray.adress: no such setting; accepted are address,"),
        (["search", "+experiment=demo"], "experiment: is chosen already; write experiment=<choice>, without a +, and in the"),
        (["search", "++experiment=demo"], "experiment: is there already; write experiment=..., without the +."),
        (["search", "+dataset=shapes"], "dataset: is chosen already; write dataset=<choice>, without a +, and in the"),
        (["search", "+trials=3"], "trials: is there already; write trials=..., without the +."),
        (["search", "+proxy.batch_size=4"], "proxy.batch_size: is there already; write proxy.batch_size=..., without the +."),
        (["search", "seed=${oc.env:NOT_SET}"], "seed: NOT_SET is not set in this shell."),
        (["search", "from=${oc.env:NOT_SET}"], "from: NOT_SET is not set in this shell."),
        (["search", "store=${oc.env:NOT_SET}"], "store: NOT_SET is not set in this shell."),
        (["search", "tracking.uri=https://me:${oc.env:NOT_SET}@host"], "tracking.uri: NOT_SET is not set in this shell."),
        (["search", "dataset.num_train=${oc.env:NOT_SET}"], "dataset.num_train: NOT_SET is not set in this shell."),
        (["submit", "--", "search", "dataset.num_train=${oc.env:NOT_SET}"], "dataset.num_train: NOT_SET is not set in this"),
        (["search", "trials=${nosuch}"], "trials: there is no setting nosuch to repeat."),
        (["search", "trials=${oc.nope:3}"], "trials: Unsupported interpolation type oc.nope"),
        (["search", "first=aspp"], "first: must be a list in brackets, got 'aspp'."),
        (["search", "proxy.rungs=3"], "proxy.rungs: must be a list in brackets, got 3."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_told_in_one_line(capsys, tmp_path, arguments, expected):
    (tmp_path / "junk").write_text("not JSON")
    (tmp_path / "forward.json").write_text('[{"op": "conv", "kernel": 1, "input": 3}]')
    (tmp_path / "outside.json").write_text('[{"op": "conv", "kernel": 1, "input": -1}]')
    given = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    if given[0] in ("search", "retrain", "track"):
        given.append(f"output_dir={tmp_path}/outputs")
    assert expected in complaint(capsys, *given)


def test_a_label_out_of_range_is_named_with_its_file(capsys, camvid_with_a_wrong_label, tmp_path):
    said = complaint(
        capsys, "search", "dataset=camvid", f"dataset.root={camvid_with_a_wrong_label}", f"output_dir={tmp_path}/outputs"
    )
    assert "trainannot/0001TP_1.png: label 12 at row 5, column 7 is out of range; accepted are 0 to 10 and 11" in said


def test_a_letter_that_the_locale_lacks_is_escaped(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdout", TextIOWrapper(BytesIO(), encoding="ascii"))
    (tmp_path / "für").mkdir()
    assert main(["list", f"output_dir={tmp_path}/für"]) == 0
    sys.stdout.flush()
    assert b"f\\xfcr." in sys.stdout.buffer.getvalue()


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="no file nobody"):
        main(["cell", "cell=nobody", "--debug"])


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_takes_a_new_setting_that_nothing_reads(command):
    for added in ("++typo=1", "+typo.below=1"):
        with pytest.raises(ConfigError, match="typo: no such setting"):
            load(command, [added])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys, command):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert COMMANDS[command].summary in text
    assert COMMANDS[command].example in text
    assert "_target_:" not in text


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


def test_the_version_names_all_that_matters(capsys):
    assert main(["--version"]) == 0
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["dpc-search"].startswith(version("dpc-search"))
    assert lines["python"].startswith(platform.python_version())
    for package in ("torch", "ray", "mlflow", "hydra-core", "numpy"):
        assert lines[package] == version(package)
    assert {"nvidia driver", "system"} <= set(lines)


def test_the_published_cell_is_shown_as_json(capsys):
    features = ["features.channels=320", "features.height=65", "features.width=129"]
    assert main(["cell", "cell=dpc_top1", "format=json", *features]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert list(shown) == ["params", "madds", "params_paper", "madds_paper", "digest", "cell"]
    assert (shown["params_paper"], shown["madds_paper"]) == (356_160, 2_997_134_400)
    assert shown["cell"] == CellSpec.read(CONF / "cell" / "dpc_top1.json").to_json()


def test_two_cells_are_shown_beside_each_other_with_what_they_have_in_common(capsys, tmp_path):
    assert main(["cell", "cell=[aspp,dpc_top1]", "space=any", f"picture={tmp_path}/both.svg"]) == 0
    said = capsys.readouterr().out
    assert "aspp\nF  backbone features" in said
    assert "dpc_top1\nF  backbone features" in said
    assert "0 branches, from the backbone down" in said
    assert "dpc_top1" in (tmp_path / "both.svg").read_text()
    assert main(["cell", "cell=[aspp,dpc_top1]", "space=any", "format=json"]) == 0
    assert [shown["digest"] for shown in json.loads(capsys.readouterr().out)] == [
        CellSpec.read(CONF / "cell" / f"{name}.json").digest for name in ("aspp", "dpc_top1")
    ]
    assert main(["cell", "cell=[]"]) == 2
    assert "cell: must be one cell, or two different ones to compare, got 0." in capsys.readouterr().err


def test_the_cache_command_extracts_what_a_search_with_folds_reads(capsys, tmp_path):
    small = ["dataset.num_train=4", "dataset.folds=2", "cache.workers=1", f"output_dir={tmp_path}"]
    assert main(["cache", "experiment=demo", *small]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines() if "verified" in line] == [["train", "4"]]


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
@pytest.mark.parametrize("command", ["search", "cache", "retrain", "evaluate", "track"])
def test_every_recipe_composes_with_every_command(command, experiment):
    assert load(command, [f"experiment={experiment}"]).keys


@pytest.mark.parametrize(
    ("overrides", "operators"),
    [
        ([], 81),
        (["space.operators.atrous.rates=[1,6]"], 1 + 4 + 16),
        (["~space.operators.pooling"], 1 + 64),
        (["+space.operators.mine._target_=search.deciding.space.AtrousConvs", "+space.operators.mine.rates=[2,4]"], 81 + 4),
    ],
    ids=["whole", "changed", "dropped", "added"],
)
def test_operator_families_are_changed_dropped_and_added_from_the_shell(overrides, operators):
    from search.deciding.space import CellSpace

    assert len(load("search", overrides).build("space", CellSpace).choices) == operators


def test_a_choice_of_ones_own_with_a_hyphen_is_listed(tmp_path):
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "asha-2.yaml").write_text("reduction_factor: 2\n")
    with pytest.raises(ConfigError, match=r"no choice 'nobody'; accepted are asha, asha-2, hyperband, median, none\.$"):
        load("search", ["scheduler=nobody"], str(tmp_path))


def test_a_users_own_config_folder_adds_choices(tmp_path):
    (tmp_path / "algorithm").mkdir()
    (tmp_path / "algorithm" / "mine.yaml").write_text("_target_: search.deciding.algorithms.uniform.Uniform\n")
    from search.deciding.algorithms.uniform import Uniform

    assert isinstance(load("search", ["algorithm=mine"], str(tmp_path)).build("algorithm", Uniform), Uniform)


def test_what_is_no_wrong_input_is_told_as_a_fault_of_the_program_and_where_it_was(monkeypatch, capsys):
    """A fault of NumPy's is a ValueError, too: it once looked like a typo."""

    def broken(settings):
        np.zeros(2).reshape(3)

    monkeypatch.setattr("search.commands.cell.run", broken)
    assert main(["cell", "cell=aspp"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "cannot reshape array" in shown
    assert shown.splitlines()[-1] == "dpc: internal error (ValueError): a bug in dpc, not in your input; please report it."


def test_what_a_process_that_sigterm_ended_leaves_behind_is_no_fault_of_the_program(monkeypatch, capsys):
    def ended(settings):
        raise RuntimeError("DataLoader worker (pid 503) is killed by signal: Terminated.")

    monkeypatch.setattr("search.commands.cell.run", ended)
    received = Event()
    received.set()
    monkeypatch.setattr(termination, "_received", received)
    assert main(["cell", "cell=aspp"]) == 75
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_machine_too_busy_to_start_ray_is_told_in_one_line_and_to_try_again(monkeypatch, capsys):
    def busy(**options):
        raise Exception("The current node timed out during startup. This could happen because some of the raylet failed.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.init", busy)
    monkeypatch.setattr("search.commands.cell.run", lambda settings: connect(None))
    assert main(["cell", "cell=aspp"]) == 75
    said = capsys.readouterr().err
    assert said.startswith("dpc: Ray did not start on this machine (The current node timed out during startup.")
    assert said.endswith("run the same command again once the machine is less busy.\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_wrong_input_and_names_the_file_and_the_way_on(monkeypatch, capsys, number):
    def full(settings):
        raise OSError(number, os.strerror(number), "/outputs/state.safetensors")

    monkeypatch.setattr("search.commands.cell.run", full)
    assert main(["cell", "cell=aspp"]) == 1
    shown = capsys.readouterr().err
    said = f"{os.strerror(number)}. Free some space, then run the same command again."
    assert shown == f"dpc: /outputs/state.safetensors: {said}\n"
