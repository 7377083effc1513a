"""What a training's state was made with: which trials continue with it must have the same, in all that changes a result."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.system.errors import UserError
from models.settings import BackboneSettings
from models.spec import CellSpec
from training.settings import WITHOUT_EFFECT, RetrainSettings


def origin_of(
    cell: CellSpec, seed: int, settings: RetrainSettings, backbone: BackboneSettings, data: Mapping[str, str] | None
) -> dict[str, Any]:
    """Plain values, as a state keeps them.

    Args:
        data: digests of all that the training reads, where they are known.
    """
    made_with = {"digest": cell.digest, "seed": seed, "settings": asdict(settings), "backbone": asdict(backbone)}
    return _plain(made_with | ({"data": dict(data)} if data else {}))


def check_origin(checkpoint: Path, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on from a state that was made with something else.

    An older one tells less: then a setting was as its default, which changes nothing. Weights are compared by their digest,
    wherever they lie, where both tell it.

    Raises:
        UserError: names what differs.
    """
    untold = {"settings": asdict(RetrainSettings(1, 1, 17, 17)), "backbone": asdict(BackboneSettings(""))}
    if all("weights" in origin.get("data", {}) for origin in (was, now)):
        was, now = ({**origin, "backbone": {**origin["backbone"], "weights": None}} for origin in (was, now))
    if changed := "; ".join(_differences(was, now, _plain(untold))):
        raise UserError(
            f"{checkpoint}: the state of a training with other settings or data ({changed}). Delete it to start again."
        )


def _differences(was: Mapping[str, Any], now: Mapping[str, Any], untold: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key in sorted({*was, *now}):
        old, new = was.get(key, untold.get(key)), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, untold.get(key, {}), f"{path}{key}.")
        elif (key in was or key in untold) and old != new and key not in WITHOUT_EFFECT:
            yield f"{path}{key} was {old} and is {new}".replace("settings.", "training.", 1)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As they are when they are read back."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain
