"""Numbers as people read them: the same way in tables, sentences, figures and pages."""

from datetime import UTC, datetime


def percent(share: float | None) -> str:
    """mIoU, or a difference of two, in hundredths, as papers print it; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.2f}"


def quantity(number: float) -> str:
    """A count to three digits with its unit: 356160 is 356K, 2997134400 is 3.00B."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= 0.9995 * size:  # else 999,600 were 1.00e+03K
            return f"{number / size:#.3g}".rstrip(".") + unit
    return f"{number:g}"


def counted(number: int, what: str) -> str:
    """How many: 1 trial, 2 trials."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def ordinal(number: int) -> str:
    """A place in a ranking: 1st, 22nd, 113th."""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{suffix}"


def in_time(seconds: float) -> str:
    """A duration in the largest unit of which it has two."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} s"


def clock(seconds: float) -> str:
    """A duration as a clock shows it: 1:02:03, or 2:03 below an hour."""
    minutes, seconds_left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds_left:02d}" if hours else f"{minutes}:{seconds_left:02d}"


def moment(time_s: float) -> str:
    """A journal's time, as UTC."""
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M} UTC"
