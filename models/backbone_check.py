"""What can be said against a backbone before it is built, and torch or timm loaded."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from data.system.errors import UserError
from models.settings import HUB, LOCAL, BackboneChoice, BackboneSettings

LOCAL_STRIDE = 16
"""The output stride of ``local``, the only one that it has."""


class BackboneError(UserError):
    """A backbone that cannot be built or whose weights do not fit."""


def check_backbone(settings: BackboneChoice | BackboneSettings) -> None:
    """Raise a BackboneError for settings that do not go together, and for weights that are missing or no such file."""
    if settings.pad_type and not settings.name.startswith("tu-"):
        raise BackboneError(f"backbone.pad_type: only tu- encoders take one, got {settings.name!r}.")
    if settings.name == LOCAL and settings.output_stride != LOCAL_STRIDE:
        raise BackboneError(f"backbone.output_stride: local has {LOCAL_STRIDE}, got {settings.output_stride}.")
    if settings.weights in (None, HUB):
        return
    path = Path(settings.weights)
    if not path.is_file():
        raise BackboneError(f"backbone.weights: no file {path}; accepted are a safetensors file, 'hub' and null.")
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"backbone.weights: {path} is not a safetensors file ({error}).") from error
