"""The backbone that a command works with, with all that belongs to its weights."""

from rich.console import Console

from models.pretrained import settle
from models.settings import LOCAL, BackboneSettings
from search.settings.groups import Images


def backbone_of(images: Images, console: Console) -> BackboneSettings:
    """What the settings choose, settled; whose weights they are is said, random ones as well where others could be meant.

    Raises:
        BackboneError: the weights do not say what belongs to them, and neither do the settings.
    """
    settled = settle(images.backbone)
    if settled.settings.weights is not None or settled.settings.name != LOCAL:
        console.print(str(settled), soft_wrap=True, markup=False)
    for line in settled.contradictions:
        console.print(f"Warning: {line}.", soft_wrap=True, markup=False)
    return settled.settings
