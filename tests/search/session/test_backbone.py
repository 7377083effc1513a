"""What is said of the weights that a command works with."""

from types import SimpleNamespace

import pytest

from models.settings import BackboneChoice
from search.session.backbone import backbone_of
from search.views.console import plain_console


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "tu-mobilenetv2_100",
            "Backbone tu-mobilenetv2_100, weights random: mean 0.5 0.5 0.5, std 0.5 0.5 0.5 (random weights)\n",
        ),
        ("local", ""),
    ],
)
def test_random_weights_are_said_where_there_could_be_others(name, said, capsys):
    backbone_of(SimpleNamespace(backbone=BackboneChoice(name)), plain_console())
    assert capsys.readouterr().out == said
