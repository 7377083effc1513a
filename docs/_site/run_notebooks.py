"""Runs notebooks in this process and stores what their cells print and draw: python docs/_site/run_notebooks.py [notebook ...]

No kernel is started, so that a test can do the same in seconds. Notebooks print rather than end cells with a value.
"""

import base64
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    for path in map(Path, sys.argv[1:] or sorted(NOTEBOOKS.glob("*.ipynb"))):
        notebook = json.loads(path.read_text())
        with TemporaryDirectory() as folder:
            before = Path.cwd()
            os.chdir(folder)
            for number, (cell, outputs) in enumerate(executed(notebook), start=1):
                cell |= {"outputs": outputs, "execution_count": number}
            os.chdir(before)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        print(path)


def executed(notebook: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each cell of code, and its outputs as a notebook holds them."""
    import matplotlib.pyplot as plt

    names: dict[str, Any] = {"__name__": "notebook"}
    for cell in (cell for cell in notebook["cells"] if cell["cell_type"] == "code"):
        with redirect_stdout(io.StringIO()) as printed:
            exec("".join(cell["source"]), names)
        outputs: list[dict[str, Any]] = []
        if text := printed.getvalue():
            outputs.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
        for number in plt.get_fignums():
            png = io.BytesIO()
            plt.figure(number).savefig(png, format="png", dpi=90, bbox_inches="tight")
            data = {"image/png": base64.b64encode(png.getvalue()).decode()}
            outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
        plt.close("all")
        yield cell, outputs


if __name__ == "__main__":
    main()
