"""CamVid in SegNet's preparation: 480x360 road scenes, 11 classes, void 11."""

from dataclasses import dataclass

from data.datasets import DatasetError, DatasetInfo, FileSplit, require_folder, unknown_split

INFO = DatasetInfo(
    name="camvid",
    class_names=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    ignore_label=11,
)


@dataclass(frozen=True)
class CamVid:
    """CamVid as SegNet ships it: ``train.txt`` and ``val.txt`` list pairs of image and label map.

    The official val is one continuous stretch of a sequence that train also holds, so a search must not be steered by it:
    ``search_val`` is one whole sequence of train, ``search_train`` the others, and ``val`` stays for the final check.

    Attributes:
        root: folder of the lists; paths in them are relative to it.
        holdout_sequence: the sequence of train that a search is validated on.
    """

    root: str
    holdout_sequence: str = "0006R0"

    info = INFO

    def split(self, name: str) -> FileSplit:
        """One of ``train``, ``val``, ``search_train``, ``search_val``."""
        match name:
            case "train" | "val":
                return self._files(self._pairs(name))
            case "search_train":
                return self._files(tuple(pair for pair in self._pairs("train") if not self._is_held_out(pair)))
            case "search_val":
                return self._files(tuple(pair for pair in self._pairs("train") if self._is_held_out(pair)))
        raise unknown_split("camvid", name)

    def _pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        path = require_folder(self.root, "camvid", "train.txt and val.txt") / f"{name}.txt"
        try:
            lines = path.read_text().splitlines()
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror}); camvid lists its pairs there.") from error
        pairs = tuple((fields[0], fields[1]) for line in lines if len(fields := line.split()) == 2)
        if not pairs:
            raise DatasetError(f"{path}: holds no line 'image labels'.")
        return pairs

    def _files(self, pairs: tuple[tuple[str, str], ...]) -> FileSplit:
        if not pairs:
            raise DatasetError(f"camvid: sequence {self.holdout_sequence!r} (dataset.holdout_sequence) leaves a split empty.")
        return FileSplit(self.info, require_folder(self.root, "camvid", "train.txt and val.txt"), pairs)

    def _is_held_out(self, pair: tuple[str, str]) -> bool:
        return pair[0].rsplit("/", 1)[-1].startswith(f"{self.holdout_sequence}_")
