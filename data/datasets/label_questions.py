"""The commonest mistakes in labels, told by what they look like: the question that a person should be asked."""

from collections.abc import Iterable, Mapping
from math import gcd
from typing import Any

from data.datasets.contract import DatasetInfo, palette_of

ASKED = 0.01
"""Of the pixels: where as many are ignored and a class has none, that is asked about."""
_MAP = "dataset=folder reads any values by dataset.label_map, such as {0:ignore,1:cat}."


def what_values_are(counts: Iterable[Any], info: DatasetInfo) -> str:
    """What is known to make label maps hold such values."""
    values = set(counts)
    if not all(isinstance(value, int) for value in values):
        return " Each colour needs a class, or stands for ignore, in dataset.colors or classes.txt."
    known = (*info.palette, *palette_of(info.num_classes))  # of masks from elsewhere, the field's colours are PASCAL's
    greys = {round(0.299 * red + 0.587 * green + 0.114 * blue) for red, green, blue in known}
    if len(values) > 1 and values <= greys:
        return " They are the grey levels of the classes' colours: colour masks were converted to grey instead of to ids."
    if values == {info.num_classes}:
        return f" Do ids start from 1, or is {info.num_classes} the label to ignore? {_MAP}"
    if values == {255} and info.ignore_label != 255:
        return f" Is 255 the label to ignore? {_MAP}"
    step = gcd(*values)
    if step > 1 and max(values) // step < info.num_classes:
        return f" They are multiples of {step}: were ids spread out to be seen? {_MAP}"
    return ""


def why_unscorable(class_pixels: Mapping[str, int], ignored: int, info: DatasetInfo) -> str:
    """Why scores on such labels would say nothing; empty where they do.

    Args:
        class_pixels: labelled pixels of each class, by name.
        ignored: pixels that do not count.
    """
    shown = [name for name, pixels in class_pixels.items() if pixels]
    if not shown:
        return "no pixel has a class; such a split can be predicted, not scored."
    if len(shown) > 1:
        return ""
    question = _about_ignored(class_pixels, ignored, info)
    return f"{shown[0]} is the only class that is labelled, so every score would be 100 %.{question}"


def what_is_absent(class_pixels: Mapping[str, int], ignored: int, info: DatasetInfo) -> str:
    """The classes that no pixel shows; empty where there are none."""
    absent = [name for name, pixels in class_pixels.items() if not pixels]
    return f"no pixel is labelled {', '.join(absent)}.{_about_ignored(class_pixels, ignored, info)}" if absent else ""


def _about_ignored(class_pixels: Mapping[str, int], ignored: int, info: DatasetInfo) -> str:
    """Objects that are drawn as the value to ignore are the commonest reason for a class without pixels."""
    share = ignored / max(1, ignored + sum(class_pixels.values()))
    if share < ASKED:
        return ""
    shown, absent = (next((name for name, pixels in class_pixels.items() if bool(pixels) is has), "") for has in (True, False))
    return (
        f" {100 * share:.0f} % of the pixels carry the ignore label {info.ignore_label}: is {info.ignore_label} your object? "
        f"Then dataset=folder reads it with dataset.label_map={{0:{shown},{info.ignore_label}:{absent}}}."
    )
