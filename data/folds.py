"""Cross-validation of a search: every part of ``train`` is held out in turn."""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.system.errors import UserError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Numbers of samples, ascending: those that a cell is trained on, and those that are held out to score it."""

    train: IntArray
    val: IntArray

    def views(self, count: int) -> IntArray:
        """``train`` in a cache that holds so many views of all samples: all first ones, then all second ones, and so on."""
        num_samples = len(self.train) + len(self.val)
        return np.concatenate([view * num_samples + self.train for view in range(count)])


def folds_of(num_samples: int, groups: Sequence[str], count: int) -> list[Fold]:
    """``count`` folds of as even sizes as whole groups allow; each sample is held out once.

    Args:
        groups: of each sample, the sequence, city or scene that it is from, which no fold parts: its images are alike. Empty
            where nothing is known; then each fold holds out samples in a row, since neighbours are often of one scene.

    Raises:
        ValueError: there are fewer groups, or samples, than folds, or fewer than two folds.
    """
    check_folds(count)
    if not groups:
        if num_samples < count:
            raise UserError(f"dataset.folds: {num_samples} samples of train cannot be split into {count} folds.")
        return [_fold(held_out, num_samples) for held_out in np.array_split(np.arange(num_samples), count)]
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    if len(members) < count:
        raise UserError(
            f"dataset.folds: train has {len(members)} groups of images that belong together ({_named(members)}), "
            f"and a fold holds out whole ones, so at most {len(members)} folds; got {count}."
        )
    parts: list[list[int]] = [[] for _ in range(count)]
    for group in sorted(members, key=lambda name: (-len(members[name]), name)):
        min(parts, key=len).extend(members[group])
    return [_fold(np.array(sorted(part)), num_samples) for part in parts]


def check_folds(count: int | None) -> None:
    """Refuse what is no number of folds; None is none.

    Raises:
        ValueError: there are fewer than two.
    """
    if count is not None and count < 2:
        raise UserError(f"dataset.folds must be at least 2, or null for the data set's own two splits, got {count}.")


def check_group(pattern: str) -> None:
    """Refuse a pattern of names, ``dataset.group``, that names no group.

    Raises:
        ValueError: it is no regular expression, or has no part in brackets.
    """
    try:
        names_part = re.compile(pattern).groups > 0
    except re.error as error:
        raise UserError(f"dataset.group: {pattern!r} is not a regular expression ({error}).") from error
    if not names_part:
        raise UserError(f"dataset.group: {pattern!r} has no group in brackets, such as '(.+)_[0-9]+'.")


def groups_by_name(pattern: str, names: Sequence[str]) -> list[str]:
    """What the first part in brackets of ``pattern`` is in each name.

    Raises:
        ValueError: a name does not match.
    """
    groups = []
    for name in names:
        found = re.match(pattern, name)
        if not found:
            raise UserError(f"dataset.group: {pattern!r} does not match the image {name!r}.")
        groups.append(found[1] or "")
    return groups


def folds_digest(folds: Sequence[Fold]) -> str:
    """16 hexadecimal digits of which samples each fold holds out."""
    whole = hashlib.blake2b(digest_size=8)
    for fold in folds:
        whole.update(str(fold.val.tolist()).encode())
    return whole.hexdigest()


def _fold(held_out: IntArray, num_samples: int) -> Fold:
    return Fold(np.setdiff1d(np.arange(num_samples), held_out), held_out)


def _named(names: Collection[str], most: int = 4) -> str:
    return ", ".join([*sorted(names)[:most], *(["..."] if len(names) > most else [])])
