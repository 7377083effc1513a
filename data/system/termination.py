"""SIGTERM, which Kubernetes, Slurm and spot machines send before they kill, and SIGHUP of a lost terminal.

Both end a command as Ctrl-C does, but in time.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it."""
TRY_AGAIN = 75
"""Exit code after SIGTERM, and where a machine was too busy: EX_TEMPFAIL, start me again."""
GRACE_S = 8.0
"""After this the process ends whatever it is doing: what counts is on the disk at any moment."""

_received = threading.Event()


def handle_sigterm() -> None:
    """From now on SIGTERM and SIGHUP end this process in order, unless it ignores SIGHUP, as under nohup.

    Ray puts a handler of its own in place: call this again after it.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, _on_sigterm)


@contextmanager
def own_signals() -> Iterator[None]:
    """Afterwards this process's signals do what they did before: of a program that only calls us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # else something outside of Python had put it there
                signal.signal(number, handler)


def interrupted_code() -> int:
    """The exit code of a command that was interrupted."""
    return TRY_AGAIN if _received.is_set() else INTERRUPTED


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    if _received.is_set():
        return
    _received.set()
    last_resort = threading.Timer(GRACE_S, _exit_now)
    last_resort.daemon = True
    last_resort.start()
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    if not callable(on_ctrl_c):
        raise KeyboardInterrupt
    on_ctrl_c(signal.SIGINT, frame)


def _exit_now() -> None:
    sys.stderr.write("dpc: terminated; nothing is lost. Run the same command again to resume.\n")
    sys.stderr.flush()
    os._exit(TRY_AGAIN)
