"""``dpc import-weights``: DeepLab's released TensorFlow weights as a model of this project."""

from data.system.outputs import note_begun, note_made
from models.deeplab.convert import BACKBONE_FILE, convert
from search.settings.import_weights import ImportWeightsSettings
from search.views.console import plain_console


def run(settings: ImportWeightsSettings) -> int:
    """Convert, and say what can be done with it."""
    console = plain_console()
    settings.output.mkdir(parents=True, exist_ok=True)
    note_begun(settings.output, "import-weights")
    file = convert(settings.checkpoint, settings.output, settings.dpc, settings.aspp)
    note_made(settings.output, "import-weights")
    console.print(f"weights     {file}, {file.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    console.print(f"train on    dpc search backbone.weights={file}", soft_wrap=True)
    if file.name != BACKBONE_FILE:
        console.print(f"score       dpc evaluate checkpoint={settings.output}", soft_wrap=True)
    return 0
