"""A model as a file for other programs: ONNX, or torch.export's. Nothing else of this project is needed to run it."""

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from textwrap import shorten
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from data.system.errors import UserError
from data.system.files import whole_file
from models.backbones import pad_symmetrically
from models.segmenter import Segmenter

FORMATS = ("onnx", "torch")
TOLERANCE = 1e-4
"""Of the largest logit: no logit of an exported model may be further from the model's own."""
CHECKED_BATCHES = (1, 2, 5)
CHECKED_SIZES_PX = ((64, 96), (65, 97), (50, 33), (40, 121))
"""Beside the features' grid, on it, and on it with one side alone."""

Run = Callable[[Tensor], Tensor]


class ExportError(UserError):
    """A model that cannot be exported, or whose file gives other logits."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """An exported file against its model, on random images.

    Attributes:
        difference: the largest of a logit.
        largest_logit: the largest absolute value of the model's.
        shapes: of the batches (B, 3, H, W) that were compared.
    """

    difference: float
    largest_logit: float
    shapes: Sequence[Sequence[int]]

    @property
    def is_equal(self) -> bool:
        return self.difference <= TOLERANCE * self.largest_logit


def export_model(model: Segmenter, path: Path, file_format: str, size_px: tuple[int, int] | None = None) -> Comparison:
    """Write ``model`` to ``path`` once the file has been read back and agrees with it.

    The input ``images`` is RGB, float32, 0 to 255, (B, 3, H, W); the output ``logits`` is (B, classes, H, W). Normalisation
    and padding are inside. The batch has any size, and so have images, from 2 pixels on, unless ``size_px`` is given.

    Args:
        model: on the CPU, in eval mode.
        file_format: one of ``FORMATS``.
        size_px: height and width of every image.

    Raises:
        ExportError: a package is missing, the model has a part that cannot be exported, or the file gives other logits.
        OSError: the file cannot be written.
    """
    if file_format not in FORMATS:
        raise ExportError(f"format: accepted are {', '.join(FORMATS)}, got {file_format!r}.")
    if size_px and min(size_px) < 2:
        raise ExportError(f"height_px and width_px must be at least 2, got {size_px[0]} and {size_px[1]}.")
    if file_format == "onnx":
        _require("onnx", "onnxscript", "onnxruntime")
    graph = ImagesToLogits(model).eval()
    with whole_file(path) as partial:
        content = _as_onnx(graph, size_px) if file_format == "onnx" else _as_torch(graph, size_px)
        partial.write_bytes(content)
        comparison = _compare(_open_onnx(partial) if file_format == "onnx" else _open_torch(partial), model, size_px)
        if not comparison.is_equal:
            raise ExportError(
                f"{path}: not written, its logits differ by up to {comparison.difference:.1e}, accepted is "
                f"{TOLERANCE * comparison.largest_logit:.1e}."
            )
    return comparison


class ImagesToLogits(nn.Module):
    """RGB images of 0 to 255 to logits of their size: a copy of ``model`` in operations that exporters know at any size."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = deepcopy(model)
        pad_symmetrically(self.model.encoder)
        for module in list(self.model.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.AdaptiveAvgPool2d):
                    setattr(module, name, GridMeans(child))
        settings = model.backbone_settings
        self.mean_C11: Tensor
        self.std_C11: Tensor
        self.register_buffer("mean_C11", 255 * torch.tensor(settings.mean).view(3, 1, 1))
        self.register_buffer("std_C11", 255 * torch.tensor(settings.std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The argument's name is that of the file's input."""
        logits_BKHW = self.model.padded_logits((images - self.mean_C11) / self.std_C11)
        for dim in (2, 3):  # a slice would be traced as a view, whose strides make sizes of 16k + 1 a case of their own
            logits_BKHW = logits_BKHW.index_select(dim, torch.arange(images.shape[dim], device=images.device))
        return logits_BKHW


class GridMeans(nn.Module):
    """``AdaptiveAvgPool2d`` as two matrix products: ONNX has no such pooling of maps whose size is not known."""

    def __init__(self, pooling: nn.AdaptiveAvgPool2d) -> None:
        super().__init__()
        size = pooling.output_size
        self.grid = cast(tuple[int, int], size if isinstance(size, tuple) else (size, size))

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        rows_GH, columns_GW = (
            _averaging(parts, length, maps_BCHW) for parts, length in zip(self.grid, maps_BCHW.shape[-2:], strict=True)
        )
        return rows_GH @ maps_BCHW @ columns_GW.T


def _averaging(parts: int, length: int, like: Tensor) -> Tensor:
    """(parts, length) weights; part i is the mean from i x length / parts, rounded down, to the next, rounded up."""
    part_G1 = torch.arange(parts, device=like.device)[:, None]
    place_L = torch.arange(length, device=like.device)
    first_G1, end_G1 = part_G1 * length // parts, ((part_G1 + 1) * length + parts - 1) // parts
    inside_GL = ((place_L >= first_G1) & (place_L < end_G1)).to(like.dtype)
    return inside_GL / inside_GL.sum(dim=1, keepdim=True)


def _traced(graph: ImagesToLogits, size_px: tuple[int, int] | None) -> ExportedProgram:
    height_px, width_px = size_px or CHECKED_SIZES_PX[0]
    dynamic = {0: Dim("batch")} if size_px else {0: Dim("batch"), 2: Dim("height", min=2), 3: Dim("width", min=2)}
    try:
        program = torch.export.export(
            graph,
            (torch.zeros(2, 3, height_px, width_px),),
            dynamic_shapes={"images": dynamic},
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    except Exception as error:  # tracing raises many kinds for an encoder that it cannot follow
        cure = "" if size_px else " Where it is because sizes are not known, height_px=... width_px=... fix them."
        raise ExportError(f"the model cannot be traced ({shorten(str(error), 200)}).{cure}") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # quotes source files of this machine
    return program


def _as_torch(graph: ImagesToLogits, size_px: tuple[int, int] | None) -> bytes:
    file = io.BytesIO()
    torch.export.save(_traced(graph, size_px), file, extra_files={"config.json": json.dumps(graph.model.config)})
    return file.getvalue()


def _as_onnx(graph: ImagesToLogits, size_px: tuple[int, int] | None) -> bytes:
    program = torch.onnx.export(
        _traced(graph, size_px), input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
    )
    assert program is not None
    program.model.metadata_props["config"] = json.dumps(graph.model.config)
    proto = program.model_proto
    _name_dimensions(proto.graph)
    return proto.SerializeToString()


def _name_dimensions(graph: Any) -> None:
    """Call what is not fixed batch, height and width; the exporter numbers it."""
    names: dict[str, str] = {}
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        for place, name in ((0, "batch"), (2, "height"), (3, "width")):
            if dims[place].dim_param:
                names[dims[place].dim_param] = name
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), dim.dim_param)


def _open_torch(path: Path) -> Run:
    with path.open("rb") as file:
        return torch.export.load(io.BytesIO(file.read())).module()


def _open_onnx(path: Path) -> Run:
    session = import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images_BCHW: torch.from_numpy(session.run(["logits"], {"images": images_BCHW.numpy()})[0])


@torch.inference_mode()
def _compare(exported: Run, model: Segmenter, size_px: tuple[int, int] | None) -> Comparison:
    settings = model.backbone_settings
    mean_C11, std_C11 = (torch.tensor(values).view(3, 1, 1) for values in (settings.mean, settings.std))
    difference = largest = 0.0
    shapes = list(_checked_shapes(size_px))
    for seed, shape in enumerate(shapes):
        images_BCHW = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).float()
        expected_BKHW = model((images_BCHW / 255 - mean_C11) / std_C11)
        logits_BKHW = exported(images_BCHW)
        if logits_BKHW.shape != expected_BKHW.shape:
            raise ExportError(
                f"logits of {shape} images have shape {tuple(logits_BKHW.shape)}, not {tuple(expected_BKHW.shape)}."
            )
        difference = max(difference, (logits_BKHW - expected_BKHW).abs().max().item())
        largest = max(largest, expected_BKHW.abs().max().item())
    return Comparison(difference, largest, shapes)


def _checked_shapes(size_px: tuple[int, int] | None) -> Iterator[tuple[int, int, int, int]]:
    for batch_size, (height_px, width_px) in product(CHECKED_BATCHES, [size_px] if size_px else CHECKED_SIZES_PX):
        yield batch_size, 3, height_px, width_px


def _require(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"format=onnx: needs {', '.join(missing)}, not installed; pip install '.[export]' in the checkout, or format=torch."
        )
