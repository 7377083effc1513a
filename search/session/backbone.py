"""The backbone that a command works with, with all that belongs to its weights."""

from rich.console import Console

from models.pretrained import settle
from models.settings import BackboneSettings
from search.settings.groups import Images


def backbone_of(images: Images, console: Console) -> BackboneSettings:
    """What the settings choose, settled; what was found out about pre-trained weights is said.

    Raises:
        BackboneError: the weights do not say what belongs to them, and neither do the settings.
    """
    settled = settle(images.backbone)
    if settled.settings.weights is not None:
        console.print(str(settled), soft_wrap=True, markup=False)
    for line in settled.contradictions:
        console.print(f"Warning: {line}.", soft_wrap=True, markup=False)
    return settled.settings
