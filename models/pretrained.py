"""What belongs to pre-trained weights: how their images were normalised and padded, as they say themselves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors import safe_open

from models.backbone_check import BackboneError, check_backbone
from models.settings import HUB, BackboneChoice, BackboneSettings

UNTRAINED = (0.5, 0.5, 0.5)
"""Mean and standard deviation for random weights: they bring images to -1 to 1."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A backbone with all that belongs to its weights.

    Attributes:
        source: who says so, for people.
        contradictions: settings that were given and differ from what the weights say, a line each.
    """

    settings: BackboneSettings
    source: str
    contradictions: Sequence[str]

    @property
    def record(self) -> dict[str, Any]:
        """For people and comparisons: plain values."""
        return asdict(self.settings)

    def __str__(self) -> str:
        settings = self.settings
        mean, std = (" ".join(f"{channel:g}" for channel in values) for values in (settings.mean, settings.std))
        padding = f", padding {settings.pad_type}" if settings.pad_type else ""
        return (
            f"Backbone {settings.name}, weights {settings.weights or 'random'}: mean {mean}, std {std}{padding} ({self.source})"
        )


def settle(choice: BackboneChoice) -> Settled:
    """``choice`` with what its weights say, wherever it does not say otherwise.

    Raises:
        BackboneError: neither the weights nor the settings say how images are normalised, or ``check_backbone``.
    """
    check_backbone(choice)
    said, source = _description(choice)
    given = {name: getattr(choice, name) for name in ("mean", "std", "pad_type") if getattr(choice, name) is not None}
    missing = [name for name in ("mean", "std") if name not in {**said, **given}]
    if missing:
        raise BackboneError(
            f"backbone.{missing[0]}: {choice.weights} does not say what its images were normalised by; give backbone.mean and "
            "backbone.std, such as [0.5,0.5,0.5] each for TensorFlow's weights and [0.485,0.456,0.406] with "
            "[0.229,0.224,0.225] for torchvision's."
        )
    contradictions = [
        f"backbone.{name}: {_shown(value)} is used, but {source} says {_shown(said[name])}"
        for name, value in given.items()
        if name in said and _shown(said[name]) != _shown(value)
    ]
    used: Mapping[str, Any] = {"pad_type": None, **said, **given}
    settings = BackboneSettings(
        choice.name,
        choice.output_stride,
        choice.weights,
        used["pad_type"],
        tuple(used["mean"]),
        tuple(used["std"]),
        choice.seed,
    )
    return Settled(settings, "as given" if given.keys() >= {"mean", "std"} else source, contradictions)


def require_known(name: str) -> None:
    """Refuse an encoder that neither timm nor segmentation-models-pytorch has.

    Raises:
        BackboneError: names close ones.
    """
    import segmentation_models_pytorch as smp
    import timm

    model = name.removeprefix("tu-")
    if model != name and not timm.is_model(model):
        close = [f"tu-{found}" for found in get_close_matches(model, timm.list_models(), 3)]
    elif model == name and name not in smp.encoders.encoders:
        close = get_close_matches(name, smp.encoders.encoders, 3)
    else:
        return
    hint = f"did you mean {', '.join(close)}?" if close else "accepted are tu-<timm model>, smp's encoders, and local."
    raise BackboneError(f"backbone.name: no encoder {name!r}; {hint}")


def _description(choice: BackboneChoice) -> tuple[dict[str, Any], str]:
    """What is known of the weights, and from where."""
    if choice.weights is None:
        return {"mean": UNTRAINED, "std": UNTRAINED}, "random weights"
    if choice.weights != HUB:
        return _of_file(Path(choice.weights)), "the file's metadata"
    require_known(choice.name)
    if choice.name.startswith("tu-"):
        import timm

        found = timm.get_pretrained_cfg(choice.name.removeprefix("tu-"))
        return ({"mean": found.mean, "std": found.std} if found else {}), "timm's description of these weights"
    import segmentation_models_pytorch as smp

    try:
        known = smp.encoders.get_preprocessing_params(choice.name, "imagenet")  # beside the weights, on the hub
    except Exception as error:  # smp raises whatever its hub client raises
        raise BackboneError(f"backbone.weights: no description of smp's weights of {choice.name} ({error}).") from error
    if known["input_space"] != "RGB" or list(known["input_range"]) != [0, 1]:
        raise BackboneError(
            f"backbone.weights: smp's weights of {choice.name} want {known['input_space']} of {known['input_range']}; "
            "this project gives RGB of 0 to 1."
        )
    return {"mean": known["mean"], "std": known["std"]}, "smp's description of these weights"


def _of_file(path: Path) -> dict[str, Any]:
    """What a safetensors file's metadata says: ``mean`` and ``std`` as three numbers, or the whole of a retrained model."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
    if "config" in metadata:
        return _of_model(metadata["config"])
    said: dict[str, Any] = {}
    for name in ("mean", "std"):
        if name in metadata:
            said[name] = _numbers(metadata[name], f"backbone.weights: {path} says {name} {metadata[name]!r} in its metadata")
    return said | ({"pad_type": metadata["pad_type"]} if metadata.get("pad_type") else {})


def _of_model(text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
        backbone = config.get("backbone", config)
        return {name: backbone[name] for name in ("mean", "std", "pad_type") if backbone.get(name)}
    except (ValueError, AttributeError):  # another program's
        return {}


def _numbers(text: str, where: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in json.loads(f"[{text.strip().strip('[]()')}]"))
    except (ValueError, TypeError):
        numbers = ()
    if len(numbers) != 3:
        raise BackboneError(f"{where}, which is not three numbers.")
    return numbers


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else "[" + ",".join(f"{channel:g}" for channel in value) + "]"
