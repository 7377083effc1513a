import re
from pathlib import Path

import pytest
import torch
from torch import nn

from models.backbones import BackboneError, build_backbone
from models.geometry import misplaced
from models.settings import BackboneSettings

TABLE = Path(__file__).parents[2] / "docs" / "backbones.md"
ROWS = re.findall(r"^\| `([\w-]+)` \| (yes|no) \| (\d*)", TABLE.read_text(), re.M)
QUICK = ("tu-mobilenetv3_small_100", "tu-regnetx_002", "efficientnet-b0", "tu-convnext_atto", "tu-hrnet_w18", "tu-resnet50d")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("name", "fits", "channels"),
    [pytest.param(*row, id=row[0], marks=[] if row[0] in QUICK else pytest.mark.slow) for row in ROWS],
)
def test_the_table_of_encoders_is_right(name, fits, channels):
    if fits == "yes":
        assert build_backbone(BackboneSettings(name)).out_channels[-1] == int(channels)
        return
    with pytest.raises(BackboneError, match=f"^backbone.* {name} ") as caught:
        build_backbone(BackboneSettings(name))
    assert re.search(r"docs/backbones.md lists encoders that do\.$|at output stride 16: \w", str(caught.value))


def test_there_are_twenty_encoders_that_fit():
    assert len([name for name, fits, _ in ROWS if fits == "yes"]) >= 20


class Conv(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, images_BCHW):
        return [self.layers(images_BCHW)]


def halving(padding):
    return [nn.ZeroPad2d(padding), nn.Conv2d(3, 3, 3, stride=2)]


@pytest.mark.parametrize(
    ("padding", "reason"),
    [
        ((1, 1, 1, 1), ""),
        ((2, 0, 1, 1), "its features are not centred on every 16th pixel"),
        ((1, 1, 0, 2), "its features are not centred on every 16th pixel"),
        ((0, 0, 0, 0), "an image of 65x97 pixels gives 3x5 features, not 5x7"),
    ],
)
def test_features_must_be_as_many_as_expected_and_centred(padding, reason):
    torch.manual_seed(0)
    assert misplaced(Conv(*(layer for _ in range(4) for layer in halving(padding))), 16) == reason


def test_weights_without_values_are_compared_by_size_alone():
    with torch.device("meta"):
        encoder = Conv(*(layer for _ in range(4) for layer in halving((2, 0, 1, 1))))
    assert misplaced(encoder, 16) == ""
