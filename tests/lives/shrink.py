"""A life that broke a promise, lived again with fewer faults."""

from tests.lives.life import Lived, live


def shrunk(lived: Lived) -> Lived:
    """The same life with the fewest of its faults that still break a promise: none of them can be left out."""
    faults = list(lived.met)
    for fault in lived.met:
        fewer = [other for other in faults if other is not fault]
        again = live(lived.seed, fewer)
        if again.broken:
            faults, lived = fewer, again
    return lived


def told(lived: Lived) -> str:
    """What broke, of which faults, and how to see it again."""
    faults = [f"  {fault}" for fault in lived.met] or ["  none"]
    lines = [f"life {lived.seed} broke a promise: {lived.broken[0]}", "its faults, of which none can be left out:", *faults]
    return "\n".join([*lines, f"to see it again: .venv/bin/python -m tests.lives --seed {lived.seed}"])
