"""``dpc export``: a retrained model as ONNX or torch.export file."""

from data.system.outputs import note_made
from models.export import TOLERANCE, export_model
from models.segmenter import Segmenter
from search.settings.export import ExportSettings
from search.views.console import plain_console


def run(settings: ExportSettings) -> int:
    """Export, compare with the model, and say what the file takes and gives."""
    console = plain_console()
    output, size_px = settings.output, settings.size_px
    output.parent.mkdir(parents=True, exist_ok=True)
    model = Segmenter.from_pretrained(settings.checkpoint, operators=settings.space.operator_kinds).eval()
    comparison = export_model(model, output, settings.format, size_px)
    note_made(output, "export")
    size = "height, width" if size_px is None else f"{size_px[0]}, {size_px[1]}"
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
