"""What a setting means, where the YAML file has no comment: by the docstring of the class that its ``_target_`` names."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object


def described(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """By the setting's key, with dots: what the docstrings say of it."""
    target = settings.get("_target_")
    attributes = _attributes(target) if target else {}
    found = {f"{above}{key}": attributes[key] for key in settings if key in attributes}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= described(value, f"{above}{key}.")
    return found


def _attributes(target: str) -> dict[str, str]:
    """The lines below ``Attributes:`` or ``Args:``; not those that tell of several at once."""
    text = inspect.getdoc(get_object(target)) or ""
    section = re.search(r"^(?:Attributes|Args):\n((?:    .*\n?)+)", text, re.MULTILINE)
    entries = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(said.split()).replace("``", "").rstrip(".") for name, said in entries}
