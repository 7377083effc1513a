"""A live table in a notebook. Rich's own needs ipywidgets there; IPython can replace what a cell shows by itself."""

import io
from typing import Any

from rich.console import Console, RenderableType

WIDTH, HEIGHT = 100, 40
EVERY_S = 1.0
PAGE = "<pre style=\"line-height:normal;font-family:Menlo,'DejaVu Sans Mono',monospace\">{code}</pre>"


class NotebookTable:
    """Shows one thing, as it stands, below a notebook's cell."""

    def __init__(self, shown: RenderableType) -> None:
        self._shown, self._shown_s = shown, 0.0
        self._handle: Any = None

    def show(self, now_s: float, at_once: bool = False) -> None:
        """Draw it anew, if it was not drawn in this second."""
        if self._handle is None:
            from IPython.display import display  # noqa: PLC0415  # where there is a notebook, there is IPython

            self._handle = display(_both(self._shown), raw=True, display_id=True)
        elif at_once or now_s - self._shown_s >= EVERY_S:
            self._handle.update(_both(self._shown), raw=True)
        else:
            return
        self._shown_s = now_s


def _both(shown: RenderableType) -> dict[str, str]:
    """As HTML, and as text for what shows no HTML."""
    console = Console(width=WIDTH, height=HEIGHT, file=io.StringIO(), record=True, force_jupyter=False, markup=False)
    console.print(shown)
    text = console.export_text(clear=False, styles=False)
    return {"text/html": console.export_html(code_format=PAGE, inline_styles=True), "text/plain": text}
