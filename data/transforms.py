"""Image and label augmentation: the only file that knows albumentations, which it imports when it is used."""

import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from data.datasets.contract import Sample, UInt8Array
from data.system.errors import UserError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for its newest version

RESIZING = ("CropAndPad", "LongestMaxSize", "RandomResizedCrop", "RandomScale", "RandomSizedCrop", "Resize", "SmallestMaxSize")
"""Albumentations' transforms that resize by OpenCV, whose plain nearest neighbour shifts labels by up to half a pixel."""

TRIES = 8
"""Of a transform that draws what it does, such as by how many right angles it turns."""


@dataclass(frozen=True)
class Augmentation:
    """The paper's training protocol: random scale, crop padded with the mean colour and the ignore label, random flip.

    Labels are never interpolated: each is that of the pixel with the nearest centre, so that their edges stay on the image's.
    The outcome is a function of the sample and the seed alone.

    Attributes:
        height_px, width_px: of the crop.
        mean: the backbone's, of images scaled to 0 to 1: the colour of padding.
        scales: factors drawn from with equal chance.
        flip: chance of mirroring, left to right.
        color_jitter: most by which brightness, contrast and saturation change, as a factor; the hue by a tenth of it.
        further: albumentations that follow, each by its name and arguments: ``{"name": "GaussNoise", "p": 0.2}``.
    """

    height_px: int
    width_px: int
    mean: Sequence[float]
    ignore_label: int
    scales: Sequence[float]
    flip: float = 0.5
    color_jitter: float = 0.0
    further: Sequence[Mapping[str, Any]] = ()

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """``sample`` as the seed changes it, of the crop's size.

        Raises:
            UserError: a further transform has changed sizes or types.
        """
        thread = threading.get_ident()
        if thread not in self._pipelines:
            self._pipelines[thread] = self._built()
        pipeline = self._pipelines[thread]
        # One generator for all transforms: by ``set_random_seed`` each would draw the same numbers as all others.
        pipeline.set_random_state(np.random.default_rng(seed), Random(seed))
        augmented = pipeline(image=sample.image_HWC, mask=sample.labels_HW)
        image_HWC, labels_HW = augmented["image"], augmented["mask"]
        size = self.height_px, self.width_px
        sizes, types = (image_HWC.shape, labels_HW.shape), (image_HWC.dtype, labels_HW.dtype)
        if sizes != ((*size, 3), size) or types != (np.uint8, np.uint8):
            raise UserError(
                f"training.augment: transforms must leave images of 8 bits and {size[0]} x {size[1]} pixels, and their labels, "
                f"got {sizes[0]} of {types[0]} and {sizes[1]} of {types[1]}."
            )
        return Sample(sample.name, image_HWC, labels_HW)

    def try_once(self) -> None:
        """Augment a blank sample a few times, by each further transform however seldom it is to be applied.

        Raises:
            UserError: albumentations does not have a further transform so, it fails, or it has changed sizes or types.
        """
        size = self.height_px, self.width_px
        blank = Sample("", np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8))
        certain = replace(self, further=[{**given, "p": 1.0} for given in self.further])
        for seed in range(TRIES if self.further else 1):
            try:
                certain(blank, seed)
            except UserError:
                raise
            except Exception as error:  # a transform raises what it likes
                names = ", ".join(str(given.get("name")) for given in self.further)
                raise UserError(f"training.augment: {names}: {' '.join(str(error).split())}") from error

    @cached_property
    def _pipelines(self) -> dict[int, Any]:
        """One a thread, because a seed is of the pipeline; to build it takes ten times as long as to seed it."""
        return {}

    def _built(self) -> Any:
        import albumentations as A

        jitter = self.color_jitter
        return A.Compose(
            [
                A.OneOf([_scaled_by(scale) for scale in self.scales], p=1),
                A.PadIfNeeded(
                    self.height_px,
                    self.width_px,
                    fill=_colour(self.mean),
                    fill_mask=self.ignore_label,
                    position="random",
                ),
                A.RandomCrop(self.height_px, self.width_px),
                A.HorizontalFlip(p=self.flip),
                *([A.ColorJitter(jitter, jitter, jitter, jitter / 10, p=1)] if jitter else []),
                *(named_transform(transform, self.mean, self.ignore_label) for transform in self.further),
            ]
        )


def named_transform(given: Mapping[str, Any], mean: Sequence[float], ignore_label: int) -> Any:
    """A transform of albumentations by its name and arguments; it must keep the size of image and labels.

    Where it shows what lies beyond the image, that has the ``mean`` colour and ``ignore_label``, and where it resizes labels
    it does so as random scales do, unless ``given`` says otherwise.

    Raises:
        UserError: albumentations has none of the name, it takes other arguments, or gives pixels without a label class 0.
    """
    import albumentations as A

    arguments = dict(given)
    name = arguments.pop("name", None)
    kind = getattr(A, str(name), None)
    if not (isinstance(kind, type) and issubclass(kind, A.BasicTransform)):
        raise UserError(
            f"training.augment: albumentations has no transform {name!r}; accepted are such as {{name: GaussNoise, p: 0.2}}."
        )
    if kind is A.GridElasticDeform:
        raise UserError(
            "training.augment: GridElasticDeform makes what it leaves empty black and class 0, and has no setting for that; "
            "accepted are ElasticTransform and GridDistortion."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # it only warns of arguments that it does not know
            return kind(**{**_defaults(kind, mean, ignore_label), **arguments})
    except (TypeError, ValueError, UserWarning) as error:
        raise UserError(f"training.augment: {name}: {' '.join(str(error).split())}") from error


def _defaults(kind: type, mean: Sequence[float], ignore_label: int) -> dict[str, Any]:
    """Arguments in place of albumentations' own: its border is black and of class 0."""
    import albumentations as A
    import cv2

    accepted = signature(kind).parameters
    found: dict[str, Any] = {}
    if "fill_mask" in accepted and accepted["fill_mask"].default == 0:
        found["fill_mask"] = ignore_label
        if "fill" in accepted and not issubclass(kind, A.MaskDropout):  # which takes a number alone, and has no border
            found["fill"] = _colour(mean)
    if kind.__name__ in RESIZING:
        found["mask_interpolation"] = cv2.INTER_NEAREST_EXACT
    return found


def _scaled_by(factor: float) -> Any:
    import albumentations as A
    import cv2

    return A.RandomScale((factor - 1, factor - 1), mask_interpolation=cv2.INTER_NEAREST_EXACT, p=1)


def _colour(mean: Sequence[float]) -> list[int]:
    return [round(255 * channel) for channel in mean]


def mirrored(sample: Sample) -> Sample:
    """``sample``, left and right exchanged."""
    return Sample(sample.name, sample.image_HWC[:, ::-1], sample.labels_HW[:, ::-1])


def pad_sample(sample: Sample, height_px: int, width_px: int, mean: Sequence[float], ignore_label: int) -> Sample:
    """``sample`` padded at the bottom and right: the backbone's ``mean`` colour in the image, ``ignore_label`` in the labels.

    Raises:
        ValueError: it is larger than that.
    """
    height, width = sample.labels_HW.shape
    if height > height_px or width > width_px:
        raise UserError(f"{sample.name}: {width}x{height} pixels do not fit the padded size {width_px}x{height_px}.")
    if (height, width) == (height_px, width_px):
        return sample
    below, right = (0, height_px - height), (0, width_px - width)
    image_HWC = np.empty((height_px, width_px, 3), np.uint8)
    image_HWC[:] = np.rint(255 * np.asarray(mean))
    image_HWC[:height, :width] = sample.image_HWC
    return Sample(sample.name, image_HWC, np.pad(sample.labels_HW, (below, right), constant_values=ignore_label))


def normalize(image_HWC: UInt8Array, mean: Sequence[float], std: Sequence[float]) -> npt.NDArray[np.float32]:
    """An RGB image as the backbone's weights want it, (3, H, W) float32."""
    import albumentations as A

    return A.Normalize(mean, std)(image=image_HWC)["image"].transpose(2, 0, 1)  # type: ignore[no-any-return]
