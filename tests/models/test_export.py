import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import models.export
from models.export import ExportError, GridMeans, export_model
from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling

CELL = CellSpec((Branch(-1, AtrousConv((1, 6))), Branch(0, Conv1x1()), Branch(-1, PyramidPooling((3, 2)))))
FORMATS = ("onnx", "torch")
COLOURED = BackboneSettings("local", mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 0.5))
NAMES = ["sky", "road", "car"]

pytestmark = pytest.mark.usefixtures("one_thread")


def small(**settings):
    torch.manual_seed(0)
    given = {"backbone": COLOURED, "cell_settings": CellSettings(filters=8), **settings}
    model = Segmenter(CELL, 3, class_names=NAMES, **given)
    model(torch.randn(2, 3, 65, 65))  # moves the running statistics off their start
    return model.eval()


def needs(file_format):
    if file_format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")


def opened(path, file_format):
    """What another program would run."""
    if file_format == "torch":
        return torch.export.load(path).module()
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images_BCHW: torch.from_numpy(session.run(None, {"images": images_BCHW.numpy()})[0])


def photos(*shape):
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, shape)).float()


def expected_logits(model, images_BCHW):
    mean_C11, std_C11 = (torch.tensor(values).view(3, 1, 1) for values in (COLOURED.mean, COLOURED.std))
    with torch.inference_mode():
        return model((images_BCHW / 255 - mean_C11) / std_C11)


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, tmp_path_factory):
    needs(request.param)
    model, path = small(decoder=True), tmp_path_factory.mktemp("export") / f"model.{request.param}.pt2"
    return model, path, request.param, export_model(model, path, request.param)


@pytest.fixture(scope="module")
def run(exported):
    _, path, file_format, _ = exported
    return opened(path, file_format)


# What is exported


@pytest.mark.parametrize(
    "shape",
    [(1, 3, 97, 113), (3, 3, 77, 201), (7, 3, 48, 17), (1, 3, 2, 2), (2, 3, 16, 300)],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_a_file_gives_the_models_logits_for_photos_of_any_number_and_size(exported, run, shape):
    model = exported[0]
    expected_BKHW = expected_logits(model, photos(*shape))
    logits_BKHW = run(photos(*shape))
    assert expected_BKHW.std() > 0.01
    torch.testing.assert_close(logits_BKHW, expected_BKHW, atol=1e-4 * expected_BKHW.abs().max().item(), rtol=0)


def test_the_comparison_was_made_on_several_batches_and_sizes_and_nothing_else_is_left(exported):
    _, path, _, comparison = exported
    assert comparison.is_equal
    assert 0 < comparison.difference < 1e-4 < comparison.largest_logit
    assert {shape[0] for shape in comparison.shapes} == {1, 2, 5}
    assert len({shape[2:] for shape in comparison.shapes}) == 4
    assert list(path.parent.iterdir()) == [path]


def test_the_dimensions_of_an_onnx_file_that_are_not_fixed_have_names(exported):
    _, path, file_format, _ = exported
    if file_format != "onnx":
        pytest.skip("torch.export names no dimensions")
    import onnx

    graph = onnx.load(path).graph
    dims = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in (*graph.input, *graph.output)
    ]
    assert dims == [["batch", 3, "height", "width"], ["batch", 3, "height", "width"]]


def test_a_file_holds_its_configuration_and_no_path_of_this_machine(exported):
    model, path, file_format, _ = exported
    content = path.read_bytes()
    assert str(Path(models.export.__file__).parent).encode() not in content
    if file_format == "torch":
        extra = {"config.json": ""}
        torch.export.load(path, extra_files=extra)
        held = extra["config.json"]
    else:
        import onnx

        held = next(entry.value for entry in onnx.load(path).metadata_props if entry.key == "config")
    assert json.loads(held) == model.config


def test_the_model_itself_is_unchanged_by_exporting(exported):
    model = exported[0]
    assert any(isinstance(module, nn.AdaptiveAvgPool2d) for module in model.modules())


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_fixed_size_is_for_encoders_that_cannot_take_any(file_format, tmp_path):
    needs(file_format)
    model, path = small(), tmp_path / "fixed.pt2"
    comparison = export_model(model, path, file_format, size_px=(33, 50))
    assert {shape[2:] for shape in comparison.shapes} == {(33, 50)}
    run = opened(path, file_format)
    torch.testing.assert_close(run(photos(3, 3, 33, 50)), expected_logits(model, photos(3, 3, 33, 50)), atol=1e-5, rtol=0)
    with pytest.raises(Exception, match="33|50"):
        run(photos(1, 3, 65, 65))


@pytest.mark.parametrize(
    ("encoder", "output_stride"),
    [
        ("tu-test_efficientnet", 16),
        pytest.param("tu-mobilenetv2_100", 16, marks=pytest.mark.slow),
        pytest.param("tu-mobilenetv2_100", 8, marks=pytest.mark.slow),
    ],
)
def test_a_timm_encoder_with_tensorflows_padding_is_exported_to_onnx(encoder, output_stride, tmp_path):
    needs("onnx")
    model = small(
        backbone=BackboneSettings(encoder, output_stride, pad_type="same"),
        cell_settings=CellSettings(8, output_stride),
    )
    assert export_model(model, tmp_path / "model.onnx", "onnx").is_equal


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 23, 30, 65])
@pytest.mark.parametrize("grid", [(1, 1), (2, 4), (3, 2), (8, 8), (5, 1)])
def test_means_of_a_grid_are_those_of_adaptive_pooling(grid, length):
    maps_BCHW = torch.randn(2, 3, length, 2 * length + 1)
    pooling = nn.AdaptiveAvgPool2d(grid)
    torch.testing.assert_close(GridMeans(pooling)(maps_BCHW), pooling(maps_BCHW))


# What is refused


def test_a_file_that_gives_other_logits_is_refused_and_the_one_before_stays(tmp_path, monkeypatch):
    path = tmp_path / "model.pt2"
    path.write_text("before")
    write = models.export._as_torch

    def of_another_model(graph, size_px):
        with torch.no_grad():
            graph.model.classifier.bias += 0.01
        return write(graph, size_px)

    monkeypatch.setattr(models.export, "_as_torch", of_another_model)
    with pytest.raises(ExportError, match=r"model.pt2: not written, its logits differ by up to 1.0e-02, accepted is"):
        export_model(small(), path, "torch")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_packages_are_named_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(models.export, "find_spec", lambda name: None if name != "onnx" else name)
    with pytest.raises(ExportError, match=r"needs onnxscript, onnxruntime, not installed; pip install '.\[export\]'"):
        export_model(small(), tmp_path / "model.onnx", "onnx")


class Untraceable(nn.Module):
    def forward(self, images_BCHW):
        return images_BCHW * float(images_BCHW.sum().item() > 0)


def test_an_encoder_that_cannot_be_traced_is_told_in_one_line(tmp_path):
    model = small()
    model.encoder = nn.Sequential(model.encoder, Untraceable())
    with pytest.raises(ExportError, match="the model cannot be traced") as caught:
        export_model(model, tmp_path / "model.pt2", "torch")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file_format", "size_px", "complaint"),
    [
        ("tflite", None, "format: accepted are onnx, torch, got 'tflite'"),
        ("torch", (65, 1), "must be at least 2, got 65 and 1"),
    ],
)
def test_a_wrong_setting_is_named(file_format, size_px, complaint, tmp_path):
    with pytest.raises(ExportError, match=complaint):
        export_model(small(), tmp_path / "model", file_format, size_px)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        export_model(small(), tmp_path / "taken", "torch")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
