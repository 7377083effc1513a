"""``dpc import-weights``: a checkpoint becomes what other commands take."""

import pytest

from models.backbones import build_backbone
from models.pretrained import settle
from models.segmenter import Segmenter
from models.settings import BackboneChoice
from search.cli import main
from tests.models.deeplab.checkpoints import Made, write_bundle


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a model, and of its backbone alone, with the classifier that ImageNet's have."""
    tmp_path = tmp_path_factory.mktemp("deeplab")
    model, backbone = Made().mobilenet().pooled_head().classifier(21), Made().mobilenet()
    backbone.conv("MobilenetV2/Conv_1", 320, 1280)
    for name, made in (("model.ckpt", model), ("backbone.ckpt", backbone)):
        write_bundle(tmp_path / name, {name: made.tensor(name) for name in made.tensors})
    return tmp_path


def test_a_checkpoint_becomes_a_model_and_one_without_a_head_weights_with_their_normalisation(checkpoint, capsys):
    assert main(["import-weights", f"checkpoint={checkpoint}/model.ckpt", f"output={checkpoint}/model"]) == 0
    assert f"score       dpc evaluate checkpoint={checkpoint}/model" in capsys.readouterr().out
    model = Segmenter.from_pretrained(checkpoint / "model")
    assert (len(model.class_names), str(model.cell.spec), model.decoder) == (21, "conv 1x1 <- F, pool 1x1 <- F", None)
    assert main(["import-weights", f"checkpoint={checkpoint}/backbone.ckpt.index", f"output={checkpoint}/backbone"]) == 0
    file = checkpoint / "backbone" / "backbone.safetensors"
    assert f"train on    dpc search backbone.weights={file}" in capsys.readouterr().out
    for weights in (file, checkpoint / "model" / "model.safetensors"):
        settled = settle(BackboneChoice("tu-mobilenetv2_100", weights=str(weights)))
        assert (settled.settings.mean, settled.settings.std, settled.settings.pad_type) == ((0.5,) * 3, (0.5,) * 3, "same")
        build_backbone(settled.settings)


def test_what_another_has_put_there_stays(checkpoint, capsys):
    (checkpoint / "taken").mkdir()
    (checkpoint / "taken" / "mine.txt").touch()
    assert main(["import-weights", f"checkpoint={checkpoint}/model.ckpt", f"output={checkpoint}/taken"]) == 2
    assert "was not made by dpc import-weights" in capsys.readouterr().err
