"""A data set's whole health in one report, before a GPU-hour is spent on it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np

from data.datasets.contract import SPLITS, DatasetError, DatasetInfo, LabelRangeError, SegmentationDataset, Split
from data.datasets.copies import copies, thumbnail
from data.datasets.label_questions import what_is_absent, what_values_are, why_unscorable
from data.digests import pixels_digest
from data.pool import process_pool

RARE = 1e-4
"""A class with a smaller share of the labelled pixels is told of."""
IN_PROCESS = 64
"""Fewer samples are read by this process: starting others would take longer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know.

    Attributes:
        level: errors make scores wrong or end a search; warnings may be as they should.
        split: where, or two splits.
        kind: what is wrong, in a few words.
        text: what it is, and what to do about it where that is known.
        examples: files or samples, a line each; all that there are.
    """

    level: Literal["error", "warning"]
    split: str
    kind: str
    text: str
    examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What one split holds.

    Attributes:
        num_samples: as listed.
        num_readable: those without an error.
        sizes: samples of each size, ``WIDTHxHEIGHT`` in pixels.
        class_pixels: labelled pixels of each class, by name.
        class_samples: samples that show a class, by name.
        ignored_pixels: pixels that do not count.
    """

    num_samples: int
    num_readable: int
    sizes: Mapping[str, int]
    class_pixels: Mapping[str, int]
    class_samples: Mapping[str, int]
    ignored_pixels: int

    @property
    def num_labelled(self) -> int:
        """Pixels that count."""
        return sum(self.class_pixels.values())


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """The health of a data set."""

    dataset: str
    splits: Mapping[str, SplitReport]
    findings: Sequence[Finding]

    @property
    def errors(self) -> Sequence[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for machines."""
        return asdict(self)


def check_dataset(
    dataset: SegmentationDataset,
    split_names: Sequence[str],
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DatasetReport:
    """Read every sample of some splits once.

    Args:
        workers: processes that read.
        progress: told the samples done and in all.

    Raises:
        DatasetError: a split cannot be listed at all, or a process died while reading.
    """
    info = dataset.info
    splits = {name: dataset.split(name) for name in split_names}
    total, done = sum(map(len, splits.values())), 0
    reports, findings, content = {}, [], {}
    thumbnails: dict[str, Sequence[bytes]] = {}
    for name, split in splits.items():
        seen = []
        for sample in _read(split, info, workers):
            seen.append(sample)
            done += 1
            progress(done, total)
        reports[name] = _summary(seen, info)
        findings += [Finding("warning", name, "listing", line) for line in split.warnings]
        findings += _unreadable(name, seen, info)
        findings += _turned(name, seen)
        findings += _classes(name, reports[name], seen, info)
        content[name] = [(sample.name, sample.digest) for sample in seen if sample.error is None]
        thumbnails[name] = [sample.thumbnail for sample in seen if sample.error is None]
        findings += _doubles(name, seen)
    findings += [*_leaks(content, _apart(content)), *_copies(content, thumbnails), *_equal_names(content)]
    return DatasetReport(info.name, reports, sorted(findings, key=lambda finding: finding.level))


def shared_images(digests: Mapping[str, Sequence[str]], pairs: Iterable[tuple[str, str]] | None = None) -> Sequence[Finding]:
    """Images that two splits, or two folds, share.

    Args:
        digests: of each one's images, by its name.
        pairs: that should share nothing, the one that is scored on last; None for those of a sound data set.
    """
    content = {name: [(f"#{index}", digest) for index, digest in enumerate(own)] for name, own in digests.items()}
    return list(_leaks(content, _apart(content) if pairs is None else pairs))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is kept of a sample that was read."""

    name: str
    error: DatasetError | None = None
    digest: str = ""
    thumbnail: bytes = b""
    size: str = ""
    counts: Sequence[int] = field(default=())
    orientation: int = 1


def _read(split: Split, info: DatasetInfo, workers: int) -> Iterator[_Seen]:
    if workers == 1 or len(split) < IN_PROCESS:
        yield from (_look(split, info, index) for index in range(len(split)))
        return
    try:
        with process_pool(workers, _keep, (split, info)) as pool:
            yield from pool.map(_look_kept, range(len(split)), chunksize=4)
    except BrokenProcessPool as error:
        raise DatasetError(f"{info.name}: a process that read samples died, perhaps for lack of memory.") from error


def _look(split: Split, info: DatasetInfo, index: int) -> _Seen:
    try:
        sample = split[index]
    except DatasetError as error:
        return _Seen(f"#{index}", error)
    height, width = sample.labels_HW.shape
    counts = np.bincount(sample.labels_HW.ravel(), minlength=256)
    return _Seen(
        sample.name,
        digest=pixels_digest(sample.image_HWC),
        thumbnail=thumbnail(sample.image_HWC),
        size=f"{width}x{height}",
        counts=[*counts[: info.num_classes].tolist(), int(counts[info.ignore_label])],
        orientation=sample.orientation,
    )


_kept: tuple[Split, DatasetInfo]


def _keep(split: Split, info: DatasetInfo) -> None:
    global _kept  # noqa: PLW0603 - a process' own, set once when it starts
    _kept = split, info


def _look_kept(index: int) -> _Seen:
    return _look(*_kept, index)


def _summary(seen: Sequence[_Seen], info: DatasetInfo) -> SplitReport:
    readable = [sample for sample in seen if sample.error is None]
    counts = np.array([sample.counts for sample in readable], np.int64).reshape(-1, info.num_classes + 1)
    pixels, samples = counts.sum(axis=0).tolist(), (counts > 0).sum(axis=0).tolist()
    return SplitReport(
        num_samples=len(seen),
        num_readable=len(readable),
        sizes=dict(Counter(sample.size for sample in readable).most_common()),
        class_pixels=dict(zip(info.class_names, pixels, strict=False)),
        class_samples=dict(zip(info.class_names, samples, strict=False)),
        ignored_pixels=pixels[-1],
    )


def _unreadable(name: str, seen: Sequence[_Seen], info: DatasetInfo) -> Iterator[Finding]:
    errors = defaultdict(list)
    for sample in seen:
        if sample.error is not None:
            errors[sample.error.kind].append(sample.error)
    for kind, found in errors.items():
        text = f"{len(found):,} of {len(seen):,} samples."
        counts: Counter[int] = sum((Counter(e.counts) for e in found if isinstance(e, LabelRangeError)), Counter())
        if counts:
            values = ", ".join(f"{value} ({pixels:,} px)" for value, pixels in counts.most_common(8))
            text += f" Values: {values}{', ...' if len(counts) > 8 else ''}.{what_values_are(counts, info)}"
        yield Finding("error", name, kind, text, [str(error) for error in found])


def _turned(name: str, seen: Sequence[_Seen]) -> Iterator[Finding]:
    turned = [sample.name for sample in seen if sample.orientation != 1]
    if turned:
        text = (
            f"images with an EXIF rotation, which is ignored: {len(turned):,}. If they were labelled as viewers show them, set "
            "dataset.upright=true (dataset=folder)."
        )
        yield Finding("warning", name, "turned by EXIF", text, turned)


def _classes(name: str, report: SplitReport, seen: Sequence[_Seen], info: DatasetInfo) -> Iterator[Finding]:
    empty = [sample.name for sample in seen if sample.error is None and not any(sample.counts[:-1])]
    if unscorable := why_unscorable(report.class_pixels, report.ignored_pixels, info):
        level: Literal["error", "warning"] = "error" if name in SPLITS and report.num_readable else "warning"
        yield Finding(level, name, "no labels" if report.num_labelled == 0 else "one class", unscorable)
        return
    if empty:
        yield Finding("warning", name, "nothing to learn", f"samples without a labelled pixel: {len(empty):,}.", empty)
    if absent := what_is_absent(report.class_pixels, report.ignored_pixels, info):
        yield Finding("warning", name, "empty class", absent)
    rare = [
        f"{class_name} ({100 * pixels / report.num_labelled:.4f} %)"
        for class_name, pixels in report.class_pixels.items()
        if 0 < pixels < RARE * report.num_labelled
    ]
    if rare:
        yield Finding("warning", name, "rare class", f"hardly any pixel is labelled {', '.join(rare)}.")


def _doubles(name: str, seen: Sequence[_Seen]) -> Iterator[Finding]:
    names = defaultdict(list)
    for sample in seen:
        if sample.error is None:
            names[sample.digest].append(sample.name)
    doubles = [" = ".join(group) for group in names.values() if len(group) > 1]
    if doubles:
        yield Finding("warning", name, "duplicates", f"images that occur more than once: {len(doubles):,}.", doubles)
    named = Counter(sample.name for sample in seen if sample.error is None)
    repeated = [f"{sample}, {count} times" for sample, count in named.items() if count > 1]
    if repeated:
        yield Finding("warning", name, "equal names", f"names that occur more than once: {len(repeated):,}.", repeated)


Content = Mapping[str, Sequence[tuple[str, str]]]
"""The name and the digest of each of a split's samples: several may have one name."""


def _leaks(content: Content, pairs: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Images that two splits share."""
    for one, other in pairs:
        names = {digest: name for name, digest in content[other]}
        both = [(name, names[digest]) for name, digest in content[one] if digest in names]
        if both:
            text = f"images in both: {len(both):,}. Scores on {other} would measure what was memorised."
            yield Finding("error", f"{one}, {other}", "leak", text, [f"{a} of {one} = {b} of {other}" for a, b in both])


def _copies(content: Content, thumbnails: Mapping[str, Sequence[bytes]]) -> Iterator[Finding]:
    """Images of two splits that differ in their pixels, and hardly so."""
    for one, other in _apart(content):
        pairs = [(content[one][i], content[other][j]) for i, j in copies(thumbnails[one], thumbnails[other])]
        alike = [f"{a} of {one} ~ {b} of {other}" for (a, digest), (b, other_digest) in pairs if digest != other_digest]
        if alike:
            text = f"images that look the same, like re-encoded or resized copies: {len(alike):,}."
            yield Finding("warning", f"{one}, {other}", "copies", text, alike)


def _equal_names(content: Content) -> Iterator[Finding]:
    for one, other in _apart(content):
        there = defaultdict(set)
        for name, digest in content[other]:
            there[name].add(digest)
        equal = [name for name, digest in content[one] if name in there and digest not in there[name]]
        if equal:
            text = f"names in both, of different images: {len(equal):,}."
            yield Finding("warning", f"{one}, {other}", "equal names", text, equal)


def _apart(content: Content) -> Iterator[tuple[str, str]]:
    """Pairs of splits that should share nothing, the one that is scored on last: official ones, and a search's own.

    A search's own may be parts of train, or val itself, as the data set has it; whatever else they are, they are not what a
    final check is made of. trainval is two of the official ones.
    """
    for one, other in combinations(content, 2):
        is_part = "trainval" in (one, other) and {one, other} <= {"trainval", "train", "val"}
        if one.startswith("search_") == other.startswith("search_") and not is_part:
            yield one, other
    known = [set(content[name]) for name in ("train", "val") if name in content]
    for own in ("search_train", "search_val"):
        if own in content and not any(set(content[own]) <= samples for samples in known):
            yield from ((own, final) for final in ("val", "test") if final in content)
