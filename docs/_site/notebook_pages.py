"""A notebook as a page, with the outputs that are stored in it."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown, and the pictures that it shows, by name."""
    pictures: dict[str, bytes] = {}
    title, *rest = (part for cell in json.loads(path.read_text())["cells"] for part in _cell(cell, path.stem, pictures))
    about = f"[{path.name}]({path.name}) is the notebook. Below are its cells and what they printed."
    return "\n\n".join([title, about, *rest]) + "\n", pictures


def _cell(cell: Mapping[str, Any], stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", source)
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            name = f"{stem}-{len(pictures)}.png"
            pictures[name] = base64.b64decode("".join(data["image/png"]))
            yield f"![output]({name})"
        elif text := "".join(output.get("text", data.get("text/plain", ""))):
            yield f"```text\n{text.rstrip()}\n```"
