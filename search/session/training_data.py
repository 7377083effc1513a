"""What a training end to end reads: looked through before it begins, and known by digests."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from rich.console import Console

from data.datasets.contract import DatasetError
from data.datasets.label_questions import why_unscorable
from data.system.json_file import remembered
from search.session.hints import naming_check_data
from search.settings.groups import Images
from search.views.progress_bar import progress_bar
from training.class_weights import label_pixels
from training.extraction import digests_for, refuse_leaks
from training.settings import RetrainSettings
from training.source_code import source_digest


def refuse_unfit(images: Images, settings: RetrainSettings, console: Console, further: Sequence[str] = ()) -> None:
    """Refuse what would be found at the first validation, hours later, or never; first what is quick to see.

    Args:
        further: splits that are scored after the training, and must share nothing with it either.

    Raises:
        DatasetError: splits share images, or no score on the one to validate on would say anything.
    """
    dataset, splits = images.dataset, (settings.train_split, settings.val_split, *further)
    with naming_check_data(images.overrides, splits):
        refuse_leaks(dataset, splits, images.cache)
    apart = list(combinations(splits, 2))
    if apart[0] == ("trainval", "val"):
        console.print("Warning: val is part of trainval: its score chooses among memorised images.", soft_wrap=True)
        del apart[0]
    refuse_leaks(dataset, splits, images.cache, apart)  # a part and its whole, too, which check-data finds sound
    with naming_check_data(images.overrides, splits):
        if unscorable := why_not_scored(images, settings.val_split, console):
            raise DatasetError(f"{dataset.info.name}, {settings.val_split}: {unscorable}")


def why_not_scored(images: Images, split_name: str, console: Console) -> str:
    """Why a score on a split would say nothing; empty where it does. All its samples are read, once for what they hold.

    Raises:
        DatasetError: the split is missing, or a sample cannot be read.
    """
    dataset, info = images.dataset, images.dataset.info
    split = dataset.split(split_name)

    def count() -> Sequence[int]:
        with progress_bar(console, f"labels of {split_name}") as progress:
            return label_pixels(split, info, progress).own_K

    read = {
        "content": content_of(images, [split_name])[split_name],
        "classes": [info.num_classes, info.ignore_label],
        "code": source_digest(type(dataset).__module__, type(split).__module__),
    }
    pixels = remembered(Path(images.cache.folder) / "labels.json", read, count)
    return why_unscorable(dict(zip(info.class_names, pixels, strict=True)), 0, info)


def content_of(images: Images, splits: Sequence[str]) -> dict[str, str]:
    """A digest of what each split holds, wherever it lies. Its files are read where they have changed since the last time.

    Raises:
        DatasetError: a file cannot be read.
    """
    memory = digests_for(images.cache)
    return {split: images.dataset.split(split).fingerprint(memory) for split in splits}


def read_by_training(images: Images, splits: Sequence[str]) -> dict[str, str]:
    """``content_of``, and a digest of the file of weights that a training begins with, where there is one."""
    content = content_of(images, splits)
    if path := images.paths.get("backbone.weights"):
        (content["weights"],) = digests_for(images.cache).of([Path(path)])
    return content
