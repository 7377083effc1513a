"""Paths and names as a person writes them: absolute before anything is sent, texts whatever they look like."""

import json
import re
from pathlib import Path

import pytest

from data.cache.settings import CacheSettings
from data.datasets.contract import SegmentationDataset
from models.settings import BackboneChoice
from search.config import load
from search.config_errors import ConfigError
from search.help import COMMANDS
from search.settings import search, submit
from search.settings.places import FolderName, OutputFolder
from search.settings.submit import _command

ODD = ["a=b", "a#b", "a (1)", "x[1]", "ü ö", "it's", "a,b", "a:b", "a\\b", "a{b}", "50%", "a&b;c", "2026_11_28", "1.10", "true"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def experiment_in(folder, text):
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "mine.yaml").write_text(text)


def test_paths_that_are_sent_to_workers_are_absolute(here):
    (here / "my_data").mkdir()
    given = ["dataset=folder", "dataset.root=my_data", "dataset.classes=[a,b]", "backbone.weights=w.safetensors"]
    config = load("rerank", [*given, "from=x", "cache.local=~/copies"])
    assert config.build("dataset", SegmentationDataset).root == str(here / "my_data")
    assert config.build("backbone", BackboneChoice).weights == str(here / "w.safetensors")
    cache = config.build("cache", CacheSettings)
    assert cache.folder == str(here / "outputs" / "cache")
    assert cache.local.endswith("/copies")
    assert cache.local.startswith("/")
    assert load("rerank", ["from=x", "backbone.weights=hub"]).build("backbone", BackboneChoice).weights == "hub"


def test_a_search_has_one_folder_whether_its_path_begins_with_the_home_or_goes_up(here, monkeypatch):
    (here / "work").mkdir()
    monkeypatch.chdir(here / "work")
    monkeypatch.setenv("HOME", str(here))
    for path in ("~/kept", "../kept"):
        config = load("report", ["name=a", f"output_dir={path}"])
        assert {config.value("output_dir", kind) for kind in (Path, OutputFolder)} == {here / "kept"}
        cache = load("search", [f"output_dir={path}"]).build("cache", CacheSettings)
        assert cache.folder == str(here / "kept" / "cache")


def test_a_link_that_nodes_of_a_cluster_share_is_not_followed(here):
    (here / "local").mkdir()
    (here / "shared").symlink_to(here / "local")
    config = load("search", ["output_dir=shared/outputs"])
    assert config.value("output_dir", OutputFolder) == here / "shared" / "outputs"


def test_the_home_of_nobody_is_refused_with_its_setting():
    with pytest.raises(ConfigError, match="output_dir: must lie in the home of a user of this machine, got '~nobody at all/a'"):
        load("search", ["output_dir=~nobody at all/a"]).value("output_dir", OutputFolder)


@pytest.mark.parametrize(
    ("command", "given", "absolute"),
    [
        ("export", ["checkpoint=m", "output=m.onnx"], ["checkpoint", "output"]),
        ("predict", ["checkpoint=m", "images=photos/*.png", "output=out"], ["checkpoint", "images", "output"]),
        ("evaluate", ["checkpoint=m", "json=s.json", "picture=p.png"], ["checkpoint", "json", "picture"]),
        ("cell", ["cell=dpc_top1", "picture=p.png"], ["picture"]),
        ("simulate", ["journal=j"], ["journal", "output_dir"]),
        ("fidelity", ["dataset=folder", "dataset.root=data"], ["dataset.root", "output_dir", "cache.folder"]),
        ("retrain", ["cell=aspp", "backbone.weights=w"], ["backbone.weights", "output_dir", "cache.folder"]),
        ("track", ["name=a"], ["output_dir"]),
    ],
)
def test_a_command_that_is_submitted_has_absolute_paths(here, command, given, absolute):
    added = _command(command, *given)[1 + len(given) :]
    assert set(absolute) <= {text.partition("=")[0] for text in added}
    assert all(text.partition("=")[2].startswith(f"'{here}/") for text in added)


def test_every_command_can_be_asked_for_its_paths():
    for command in sorted(set(COMMANDS) - {"submit"}):
        assert _command(command)[0] == command


def test_a_cell_of_a_file_is_sent_by_its_path_and_one_of_conf_by_its_name(here):
    (here / "mine.json").write_text("[]")
    assert f"cell='{here}/mine.json'" in _command("retrain", "cell=mine.json")
    assert not [text for text in _command("retrain", "cell=aspp") if text.startswith("cell='")]


def test_a_prior_cell_and_a_table_of_latencies_are_sent_by_their_paths(here):
    (here / "mine.json").write_text("[]")
    sent = _command("search", "prior.cell=mine.json", "latency.table=t.json")
    assert {f"prior.cell='{here}/mine.json'", f"latency.table='{here}/t.json'"} <= set(sent)
    assert not [text for text in _command("search", "prior.cell=aspp") if text.startswith("prior.cell='")]


def test_cells_that_come_first_and_a_list_of_cells_are_sent_by_their_paths(here):
    (here / "mine.json").write_text(json.dumps([{"op": "conv", "kernel": 1, "rate": [1, 1], "input": -1}]))
    assert _command("search", "first=[mine.json,aspp]")[-1] == f"first=['{here}/mine.json','aspp']"
    assert [text for text in _command("search", "first=[aspp]") if text.startswith("first")] == ["first=[aspp]"]
    assert f"algorithm.file='{here}/mine.json'" in _command("search", "algorithm=listed", "algorithm.file=mine.json")


def test_a_path_in_a_list_may_begin_with_the_home_and_need_no_quotes(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    (here / "a b.json").write_text("[]")
    (here / "mine.py").touch()
    for command, given, key in (("search", "first=[~/a b.json,aspp]", "first"), ("cell", "cell=[ ~/a b.json , aspp]", "cell")):
        assert _command(command, given)[-1] == f"{key}=['{here}/a b.json','aspp']"
    assert "cell='" + str(here / "a b.json'") in _command("retrain", "cell=~/a b.json")
    assert submit.read(load("submit", ["code=[~/mine.py]"], passed_on=["cell"])).code == ["~/mine.py"]
    with pytest.raises(ConfigError, match="code: ~/other.py does not exist"):
        submit.read(load("submit", ["code=[~/other.py]"], passed_on=["cell"]))


def test_options_of_a_command_that_is_submitted_go_with_it(here):
    (here / "mine").mkdir()
    sent = _command("search", "--debug", "--config-dir=mine", "trials=3")
    assert sent[:4] == ["search", "--debug", f"--config-dir={here}/mine", "trials=3"]
    with pytest.raises(ConfigError, match="--multirun: a submitted command accepts only --debug and --config-dir="):
        _command("search", "--multirun")


@pytest.mark.parametrize("path", ODD)
def test_characters_of_a_path_that_hydra_takes_for_its_own_are_part_of_it(here, path):
    assert load("export", [f"output={path}"]).value("output", str) == path
    sent = _command("export", f"output={path}")[-1]
    assert load("export", [sent]).value("output", str) == f"{here}/{path}"


@pytest.mark.parametrize("folder", ODD)
def test_a_conf_folder_of_ones_own_may_lie_in_such_a_folder_and_below_the_home(here, monkeypatch, folder):
    experiment_in(here / folder, "# @package _global_\ntrials: 7\n")
    monkeypatch.setenv("HOME", str(here))
    assert load("search", ["experiment=mine"], f"~/{folder}").value("trials", int) == 7


def test_a_folder_of_data_beside_a_file_of_its_name_is_no_choice_of_settings(here):
    (here / "coco").mkdir()
    (here / "coco.yaml").write_text("- no settings of dpc\n")
    given = ["dataset=folder", f"dataset.root={here}/coco", "dataset.classes=[a,b]"]
    assert load("search", given).build("dataset", SegmentationDataset).root == f"{here}/coco"


@pytest.mark.parametrize("name", ["2026_11_28", "1.10", "1e3", "007", "true"])
def test_a_name_that_looks_like_a_number_is_a_text(name):
    assert load("search", [f"name={name}"]).value("name", str) == name
    assert load("retrain", [f"from={name}"]).value("name", str) == name
    assert load("compare", [f"names=[{name}, other]"]).value("names", list[FolderName]) == [name, "other"]


def test_a_name_may_repeat_another_setting():
    assert load("search", ["name=${seed}", "seed=3"]).value("name", str) == "3"


def test_a_number_for_a_name_in_a_file_is_refused_since_how_it_was_written_is_lost(here):
    experiment_in(here, "# @package _global_\nname: 007\n")
    with pytest.raises(ConfigError, match="name: must be a text, got 7; quote it"):
        load("search", ["experiment=mine"], str(here)).value("name", str)
    assert load("search", ["experiment=mine", "name=008"], str(here)).value("name", str) == "008"


@pytest.mark.parametrize(("names", "told"), [("[2024]", "[2024]"), ("[1.10, 2_0, b]", "[1.1, 20, b]"), ("[true]", "[true]")])
def test_so_is_one_in_a_list_of_names(here, names, told):
    experiment_in(here, f"# @package _global_\nnames: {names}\n")
    with pytest.raises(ConfigError, match=re.escape(f"names: must be texts, got {told}; quote them.")):
        load("compare", ["experiment=mine"], str(here)).value("names", list[FolderName])
    given = load("compare", ["experiment=mine", "names=[1.10]"], str(here))
    assert given.value("names", list[FolderName]) == ["1.10"]


def test_names_of_classes_may_be_numbers(here):
    (here / "2026").mkdir()
    dataset = load("search", ["dataset=folder", "dataset.root=2026", "dataset.classes=[0,1,2]"]).build(
        "dataset", SegmentationDataset
    )
    assert (dataset.root, list(dataset.classes)) == (str(here / "2026"), ["0", "1", "2"])


def test_numbers_that_were_checked_are_those_that_are_built():
    from search.deciding.algorithms.base import Algorithm

    built = load("search", ["algorithm=evolution", "algorithm.population_size=1e2"]).build("algorithm", Algorithm)
    assert repr(built.population_size) == "100"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials: 3\n", "experiment: mine.yaml needs the first line `# @package _global_`; without it trials are lost"),
        ("# @package _global_\ntrialz: 3\n", "trialz: no such setting; did you mean trials?"),
        ("# @package _global_\ndefaults:\n  - /algorithm: tpe\n", "in the defaults of a file, `override /algorithm:"),
        ("# @package _global_\nproxy:\n\trungs: [1]\n", r"mine.yaml., line 3, column 1; a YAML file is indented with spaces"),
    ],
    ids=["no package", "unknown", "second choice", "tab"],
)
def test_an_experiment_that_sets_nothing_is_refused(here, text, message):
    experiment_in(here, text)
    with pytest.raises(ConfigError, match=message):
        load("search", ["experiment=mine"], str(here))


def test_an_experiment_may_set_what_another_command_has(here):
    experiment_in(here, "# @package _global_\ntrials: 3\nsamples: 4\n")
    assert load("search", ["experiment=mine"], str(here)).value("trials", int) == 3


@pytest.mark.parametrize(
    "typo", ["ray: {adress: auto}", "tracking: {url: x}", "prior: {cel: aspp}", "proxy: {optimzer: {a: 1}}"]
)
def test_a_typo_below_the_top_of_an_experiment_is_refused(here, typo):
    experiment_in(here, f"# @package _global_\n{typo}\n")
    with pytest.raises(ConfigError, match=r"^\w+\.(adress|url|cel|optimzer): no such setting; accepted are "):
        search.read(load("search", ["experiment=mine"], str(here)))
