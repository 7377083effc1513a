"""What is said of how trials that train end to end load their images."""

import pytest

from search.running.resources import Resources
from search.session.scoring import _with_loaders
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
