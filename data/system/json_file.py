"""JSON files, read without trust in what they hold."""

import json
from pathlib import Path
from typing import Any


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
