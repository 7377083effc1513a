"""What a person sees of a training under way."""

import time
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.progress import Progress, TaskID

from search.views.progress_bar import bar_columns

LOG_EVERY_S = 60.0
"""In a log, where no bar can move."""


class TrainingDisplay:
    """Iteration, loss and time left, and how far a validation is: as bars in a terminal, as a line a minute in a log.

    Args:
        iterations: of the whole training.
    """

    def __init__(self, console: Console, iterations: int) -> None:
        self._console, self._iterations = console, iterations
        self._bars = Progress(*bar_columns(), console=console, transient=True)
        self._training = self._bars.add_task("training", total=iterations)
        self._validation: TaskID | None = None
        self._began: tuple[float, int] | None = None
        self._logged_s = time.monotonic()

    def trained(self, iteration: int, loss: float) -> None:
        """So many iterations are done; ``loss`` is the mean since the last validation."""
        self._bars.update(self._training, completed=iteration, description=f"training  loss {loss:.4f}")
        now_s = time.monotonic()
        began_s, first = self._began = self._began or (now_s, iteration)
        if not self._console.is_interactive and now_s - self._logged_s >= LOG_EVERY_S and iteration > first:
            self._logged_s = now_s
            left_s = (now_s - began_s) / (iteration - first) * (self._iterations - iteration)
            left = timedelta(seconds=round(left_s))
            self._console.print(f"iteration {iteration:>6}/{self._iterations}  loss {loss:.4f}  left about {left}")

    def validated(self, done: int, total: int) -> None:
        """So many images of a validation are done."""
        if self._validation is None:
            self._validation = self._bars.add_task("validation", total=total)
        self._bars.update(self._validation, completed=done, visible=done < total)

    def __enter__(self) -> Self:
        if self._console.is_interactive:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_interactive:
            self._bars.stop()
