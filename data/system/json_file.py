"""JSON files, read without trust in what they hold."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from data.system.files import remember

Found = TypeVar("Found")


def read_json(path: Path) -> Any:
    """What a file holds. Editors on Windows put a byte order mark before it, which does not count.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else, or is nested more deeply than anything that is meant.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def remembered(memory: Path, made_of: Mapping[str, Any], find: Callable[[], Found]) -> Found:
    """What ``find`` gives, found once for the same ``made_of``: a file keeps it, whose damage only costs finding it again."""
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    try:
        known = dict(read_json(memory))
    except (OSError, ValueError, TypeError):
        known = {}
    if key not in known:
        known[key] = find()
        remember(memory, json.dumps(known))
    found: Found = known[key]
    return found
