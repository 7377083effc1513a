"""Several views of each image of a split, as samples to be cached."""

from dataclasses import dataclass

from data.datasets.contract import Sample, Split
from data.transforms import Augmentation, mirrored


@dataclass(frozen=True)
class Views:
    """Several views of each sample of a split: all first ones, then all second ones, and so on.

    The first is the sample itself, the second its mirror image; from the third on they are augmented, and mirrored in turn.
    Sample i is a function of i alone.
    """

    split: Split
    count: int
    augmentation: Augmentation

    def __len__(self) -> int:
        return self.count * len(self.split)

    def __getitem__(self, index: int) -> Sample:
        view, number = divmod(index, len(self.split))
        sample = self.split[number]
        if view >= 2:
            sample = self.augmentation(sample, seed=index)
        return mirrored(sample) if view % 2 else sample
