"""``dpc export``: a retrained model as ONNX or torch.export file."""

from pathlib import Path

from rich.console import Console

from models.export import TOLERANCE, export_model
from models.segmenter import Segmenter
from search.config import Config, ConfigError


def run(config: Config) -> int:
    """Export, compare with the model, and say what the file takes and gives."""
    console = Console(highlight=False)
    output = config.value("output", Path)
    height_px, width_px = config.optional("height_px", int), config.optional("width_px", int)
    if (height_px is None) != (width_px is None):
        raise ConfigError("height_px and width_px: give both, or none for images of any size.")
    if output.is_dir():
        raise ConfigError(f"output: must be a file, {output} is a folder.")
    output.parent.mkdir(parents=True, exist_ok=True)
    model = Segmenter.from_pretrained(config.value("checkpoint", str)).eval()
    size_px = (height_px, width_px) if height_px is not None and width_px is not None else None
    comparison = export_model(model, output, config.value("format", str), size_px)
    size = "height, width" if size_px is None else f"{height_px}, {width_px}"
    console.print(f"input       images, float32 RGB of 0 to 255: (batch, 3, {size})")
    console.print(f"output      logits, float32: (batch, {len(model.class_names)}, {size})")
    classes = "; ".join(f"{index} {name}" for index, name in enumerate(model.class_names))
    console.print(f"classes     {classes}", soft_wrap=True, markup=False)
    console.print(
        f"compared    {len(comparison.shapes)} random batches: largest difference {comparison.difference:.1e} of logits up to "
        f"{comparison.largest_logit:.1f}; accepted are {TOLERANCE:.0e} of the largest",
        soft_wrap=True,
    )
    console.print(f"file        {output}, {output.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    return 0
