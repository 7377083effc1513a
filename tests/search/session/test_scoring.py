"""What trials that train end to end are told: how they load their images, and which weights they begin with."""

from unittest.mock import MagicMock

import pytest

from models.settings import BackboneSettings
from search.running.resources import Resources
from search.session import scoring
from search.session.scoring import _with_loaders, by_training
from search.views.console import plain_console
from training.settings import RetrainSettings


@pytest.mark.parametrize(
    ("workers", "resources", "then", "said"),
    [
        (
            None,
            Resources(cpu=1, gpu=1),
            None,
            "one process loads images beside a trial's GPU, which may wait for it",
        ),
        (None, Resources(cpu=8, gpu=1), None, None),
        (None, Resources(cpu=1), None, None),
        (4, Resources(cpu=2), 2, "a trial loads images in 2, not 4"),
        (2, Resources(cpu=2), 2, None),
    ],
)
def test_a_trial_loads_images_in_its_own_cpus_and_says_where_these_are_few(workers, resources, then, said, capsys):
    settings = RetrainSettings(1, 1, 33, 33, workers=workers)
    assert _with_loaders(settings, resources, plain_console()).workers == then
    assert capsys.readouterr().out == (f"training.workers: {said}: resources.cpu={resources.cpu}.\n" if said else "")


def test_the_states_of_trials_know_the_weights_that_they_began_with_by_their_digest(monkeypatch):
    for door in ("join_cluster", "refuse_unfit", "shared_data", "content_of", "scoring_code"):
        monkeypatch.setattr(scoring, door, MagicMock())
    monkeypatch.setattr(scoring, "backbone_of", lambda *_: BackboneSettings("local"))
    monkeypatch.setattr(scoring, "on_shared", lambda workplace, task, folders: task)
    settings, workplace = RetrainSettings(1, 1, 33, 33), MagicMock(resources=Resources(cpu=1))
    found = by_training(settings, MagicMock(operator_kinds=()), MagicMock(), workplace, plain_console())
    assert found.task.data == {"weights": found.fingerprint["weights"]}
