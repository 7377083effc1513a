"""What a person sees of a training under way."""

from io import StringIO

import pytest
from rich.console import Console

from search.views import training
from search.views.training import TrainingDisplay


@pytest.fixture
def clock(monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now_s[0])
    return now_s


@pytest.mark.parametrize("is_dumb_terminal", [False, True])
def test_a_log_has_a_line_a_minute_with_iteration_loss_and_time_left(clock, monkeypatch, is_dumb_terminal):
    monkeypatch.setenv("TERM", "dumb")
    log = StringIO()
    with TrainingDisplay(Console(file=log, width=80, force_terminal=is_dumb_terminal), 1000) as display:
        for iteration in range(50, 501, 50):
            clock[0] += 20.0
            display.trained(iteration, 1 / iteration)
            display.validated(iteration, 500)
    assert log.getvalue().splitlines() == [
        "iteration    150/1000  loss 0.0067  left about 0:05:40",
        "iteration    300/1000  loss 0.0033  left about 0:04:40",
        "iteration    450/1000  loss 0.0022  left about 0:03:40",
    ]


def test_a_terminal_has_bars_that_go_when_the_training_has_ended(clock):
    screen = StringIO()
    with TrainingDisplay(Console(file=screen, width=100, force_terminal=True), 1000) as display:
        display.trained(500, 0.25)
        display.validated(3, 10)
        display._bars.refresh()
    assert "training  loss 0.2500" in screen.getvalue()
    assert "500/1000" in screen.getvalue()
    assert "3/10" in screen.getvalue()
