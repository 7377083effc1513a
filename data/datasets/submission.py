"""Labels of test images as the data sets' servers want them, which alone know how good they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from data.datasets.cityscapes import LABEL_IDS, Cityscapes
from data.datasets.contract import DatasetInfo, UInt8Array, palette_of
from data.datasets.file_split import FileSplit
from data.datasets.palette import palette_image
from data.datasets.pascal import Voc2012

Server = Literal["cityscapes", "voc2012"]


@dataclass(frozen=True)
class Submission:
    """What one server takes: a picture of each test image, of its size, with one channel.

    Attributes:
        server: whose it is.
        split: the test images.
        folder: that the pictures lie in, below that of all results.
        upload: how to pack them, from the folder of all results.
    """

    server: Server
    split: FileSplit
    folder: Path
    upload: str

    @property
    def info(self) -> DatasetInfo:
        return self.split.info

    @property
    def images(self) -> list[Path]:
        return [self.split.root / image for image, _ in self.split.pairs]

    def file_of(self, image: Path) -> Path:
        """Where the picture of an image lies, below the folder of all results."""
        return self.folder / f"{image.stem}.png"

    def picture_of(self, labels_HW: UInt8Array) -> Image.Image:
        """Of class ids: Cityscapes' numbers are its own, VOC's the class ids under its colours."""
        if self.server == "cityscapes":
            return Image.fromarray(np.array(LABEL_IDS, np.uint8)[labels_HW])
        return palette_image(labels_HW, palette_of(256))


def submission_to(server: Server, root: Path) -> Submission:
    """Of a data set as downloaded to ``root``.

    Cityscapes' server finds files by ``<city>_<sequence>_<frame>*.png`` anywhere and reads label ids, not train ids
    (cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py). VOC's takes the tree of its development kit (section 5.3
    of its documentation); comp6 are models that have seen other images, too, as any pre-trained backbone has.

    Raises:
        DatasetError: the test images are not there.
    """
    if server == "cityscapes":
        return Submission(server, Cityscapes(str(root)).split("test"), Path("cityscapes"), "zip -r cityscapes.zip cityscapes")
    folder = Path("results", "VOC2012", "Segmentation", "comp6_test_cls")
    return Submission(server, Voc2012(str(root)).split("test"), folder, "tar czf results.tgz results")
