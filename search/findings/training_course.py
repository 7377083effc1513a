"""The course of a training of a whole model, kept beside it: loss, mIoU and IoU of each class at each validation."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.system.errors import UserError
from data.system.files import write_csv

COURSE = "course.csv"
COLUMNS = ("iteration", "loss", "miou")


@dataclass(frozen=True, slots=True)
class CoursePoint:
    """One validation.

    Attributes:
        loss: mean training loss since the one before.
        iou: of each class; None of one in neither labels nor predictions.
    """

    iteration: int
    loss: float
    miou: float
    iou: Mapping[str, float | None]


def write_course(folder: Path, steps: Sequence[CoursePoint]) -> None:
    """Write all of it: a resumed training tells its earlier validations again."""
    rows = ([step.iteration, step.loss, step.miou, *step.iou.values()] for step in steps)
    write_csv(folder / COURSE, [*COLUMNS, *steps[0].iou], rows)


def read_course(folder: Path) -> Sequence[CoursePoint]:
    """Of a retrained model's folder; empty where there is none.

    Raises:
        UserError: the file is none of ours.
    """
    path = folder / COURSE
    if not path.is_file():
        return []
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        names = header[len(COLUMNS) :]
        return [
            CoursePoint(int(row[0]), float(row[1]), float(row[2]), dict(zip(names, map(_number, row[3:]), strict=True)))
            for row in rows
        ]
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: not the course of a training: {error}.") from error


def _number(text: str) -> float | None:
    return float(text) if text else None
