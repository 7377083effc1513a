"""From YAML and overrides to frozen values: what ``Config.read`` fills the fields of a dataclass with."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Le

from search.annotations import HERE, At
from search.conf_files import CONF
from search.config import load
from search.config_errors import ConfigError
from search.deciding.algorithms.base import Algorithm
from search.deciding.algorithms.tpe import Tpe
from search.overrides import Overrides
from search.running.resources import Resources
from tests import parsed_once
from training.settings import RetrainSettings


@pytest.fixture(autouse=True)
def hydra_as_it_is():
    with parsed_once.as_hydra_does():
        yield


@dataclass(frozen=True, kw_only=True)
class Address:
    address: str | None
    max_pending: Annotated[int, Ge(1)]
    max_concurrent: int | None = None


@dataclass(frozen=True, kw_only=True)
class Seeded:
    seed: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    trials: Annotated[int, Gt(0), Le(100)]
    source: Annotated[str | None, At("from")]
    output_dir: Path
    algorithm: Algorithm
    resources: Resources
    ray: Address
    same_level: Annotated[Seeded, HERE]
    overrides: Overrides
    found: str
    not_a_setting: int = 7

    def __post_init__(self) -> None:
        if self.source == "nobody":
            raise ValueError("from: nobody is no search.")


def read(*overrides):
    return load("search", overrides).read(Asked, found="elsewhere")


def test_each_field_is_the_setting_of_its_name_or_of_the_name_in_its_annotation():
    asked = read("trials=3", "from=other", "algorithm=tpe", "resources.cpu=2", "ray.max_pending=5", "seed=9", "output_dir=/out")
    assert (asked.trials, asked.source, asked.output_dir) == (3, "other", Path("/out"))
    assert isinstance(asked.algorithm, Tpe)
    assert asked.resources.cpu == 2
    assert (asked.ray, asked.same_level) == (Address(address=None, max_pending=5), Seeded(seed=9))


def test_a_field_that_is_given_or_has_a_default_needs_no_setting():
    asked = read()
    assert (asked.found, asked.not_a_setting) == ("elsewhere", 7)


def test_overrides_are_kept_for_the_next_command():
    assert read("trials=3", "dataset.num_train=8", "space.num_branches=2").overrides.of("dataset") == ["dataset.num_train=8"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials=0", "trials: must be above 0, got 0."),
        ("trials=101", "trials: must be at most 100, got 101."),
        ("ray.max_pending=0", "ray.max_pending: must be at least 1, got 0."),
        ("seed=first", "seed: input should be a valid integer, unable to parse string as an integer, got 'first'."),
        ("resources.cpu=0", "resources.cpu must be above 0, got 0.0."),
        ("from=nobody", "from: nobody is no search."),
    ],
)
def test_what_breaks_a_rule_is_told_with_the_rule(override, message):
    with pytest.raises(ConfigError) as error:
        read(override)
    assert str(error.value) == message


MUST_BE_GIVEN = [
    (path.relative_to(CONF).with_suffix(""), key)
    for path in sorted(CONF.rglob("*.yaml"))
    for key in re.findall(r"^(\w+): \?\?\?", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("file", "key"), MUST_BE_GIVEN, ids=str)
def test_what_must_be_given_is_asked_for(file, key):
    group = str(file.parent)
    command, overrides = (file.name, []) if group == "." else ("search", [f"{group}={file.name}"])
    place = key if group == "." else f"{group}.{key}"
    with pytest.raises(ConfigError, match=f"^{place}: a value is needed; add {place}=... to the command.$"):
        load(command, overrides).value(place, str)


def test_a_choice_names_what_is_accepted():
    with pytest.raises(ConfigError, match="trials: accepted are few and many, got 50"):
        load("search", []).value("trials", Literal["few", "many"])


@pytest.mark.parametrize(("choice", "decayed"), [("paper", "convolutions"), ("camvid", "all"), ("demo", "all")])
@pytest.mark.parametrize("group", ["proxy", "training"])
def test_the_papers_trainings_decay_as_deeplab_does_and_those_of_recorded_results_as_they_did(group, choice, decayed):
    command = "search" if group == "proxy" else "retrain"
    composed = load(command, [f"{group}={choice}"])
    assert composed.value(f"{group}.optimizer.decayed", str) == decayed
    assert composed.value(f"{group}.optimizer.bias_rate", float) == (2.0 if choice == "paper" else 1.0)


@pytest.mark.parametrize(
    ("backbone", "recipe", "momentum", "has_decoder"),
    [
        ("mobilenetv2", "paper", 0.003, False),
        ("xception65", "paper", 0.0003, True),
        ("xception71", "paper", 0.0003, True),
        ("xception71", "modern", 0.1, True),
    ],
)
def test_the_papers_recipe_follows_its_backbone(backbone, recipe, momentum, has_decoder):
    composed = load("retrain", [f"backbone={backbone}", f"training={recipe}"])
    training, name = composed.build("training", RetrainSettings), composed.value("backbone.name", str)
    assert (training.backbone_momentum(name), training.has_decoder(name)) == (momentum, has_decoder)


@pytest.mark.parametrize(
    ("command", "overrides", "has_folder"),
    [
        ("search", [], False),
        ("search", ["experiment=demo", "trials=3", "proxy.rungs=[2,4]", "~space.operators.pooling", "+faults.x=1"], False),
        ("search", ["proxy=camvid", "algorithm=tpe"], True),
        ("retrain", ["cell=aspp", "training.iterations=4"], False),
        ("fidelity", ["first.protocol=end_to_end", "cells=side_by_side"], False),
    ],
)
def test_what_tests_read_once_gives_the_settings_that_hydra_gives(tmp_path, command, overrides, has_folder):
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy" / "camvid.yaml").write_text("rungs: [7]\n")
    given = command, overrides, str(tmp_path) if has_folder else None
    expected = load(*given).yaml()
    parsed_once.use()
    load("search", ["trials=7", "proxy.rungs=[9]"])
    assert [load(*given).yaml() for _ in range(2)] == [expected] * 2
