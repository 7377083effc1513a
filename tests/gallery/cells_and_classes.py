"""Figures that are not a search's: cells of every shape, classes of every number and name, courses of trainings."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling
from search.conf_files import CONF
from search.findings.training_course import CoursePoint
from search.views.figures.cell_diagram import draw_cell
from search.views.figures.confusion import draw_confusion
from search.views.figures.kinship import draw_pair
from search.views.figures.training_course import draw_training
from training.metrics import ConfusionMatrix

NAMED = {name: CellSpec.read(CONF / "cell" / f"{name}.json") for name in ("aspp", "dpc_top1")}
CELLS = {
    **NAMED,
    "one": CellSpec((Branch(BACKBONE, Conv1x1()),)),
    "chain": CellSpec(tuple(Branch(index - 1, AtrousConv((1 + index, 6))) for index in range(16))),
    "star": CellSpec((Branch(BACKBONE, PyramidPooling((2, 4))),) * 64),
}
FOREIGN = ("道路", "сад", "דרך", "ถนน", "طريق", "δρόμος")
CLASSES = {
    "two": ("background", "road"),
    "long": ("a class whose name says all that a person who labels it has to know about it, in one long line", "road", "car"),
    "foreign": (*FOREIGN, *(f"class {number}" for number in range(5))),
    "forty": tuple(f"class {number}" for number in range(40)),
    "many": tuple(f"{'a long name of a thing' if number % 9 == 0 else 'thing'} {number}" for number in range(150)),
}


def draw_cells(folder: Path) -> None:
    """Each alone, for a slide and for a column, and two beside each other."""
    for name, cell in CELLS.items():
        draw_cell(cell, folder / f"{name}.png", name)
        draw_cell(cell, folder / f"{name}_column.png", width=3.3)
    cut = CellSpec((*NAMED["dpc_top1"].branches[:3], Branch(BACKBONE, Conv1x1()), Branch(0, AtrousConv((6, 21)))))
    draw_pair({"dpc_top1": NAMED["dpc_top1"], "a mutant": cut}, folder / "two.png")


def draw_classes(folder: Path) -> None:
    """Confusion matrices, whose first class does not occur."""
    for name, classes in CLASSES.items():
        draw_confusion(_confusion(len(classes)), classes, folder / f"{name}.png", "val: 64.20 % mIoU, 90.10 % of pixels")


def draw_courses(folder: Path) -> None:
    """Trainings of models with few and many classes."""
    for name, classes in CLASSES.items():
        steps = [_step(number, classes) for number in range(1, 13)]
        draw_training(steps, folder / f"{name}.png", f"Training with classes that are {name}")
        draw_training(steps, folder / f"{name}_column.png", width=3.3)


def _step(number: int, classes: Sequence[str]) -> CoursePoint:
    iou = {one: _iou(place, number) for place, one in enumerate(classes)}
    return CoursePoint(100 * number, 2.0 / number, fmean(iou.values()), dict(iou))


def _iou(place: int, number: int) -> float:
    return max(0.0, 0.9 - 0.8 * (place * 37 % 11) / 11 - 0.5 / number)


def _confusion(num_classes: int) -> ConfusionMatrix:
    matrix, generator = ConfusionMatrix(num_classes, ignore_label=255), torch.Generator().manual_seed(0)
    wrong_KK = (torch.rand(num_classes, num_classes, generator=generator) ** 6 * 1000).long()
    matrix.counts_KK = wrong_KK + torch.diag((torch.rand(num_classes, generator=generator) * 20_000).long())
    matrix.counts_KK[0] = 0
    matrix.counts_KK[:, 0] = 0
    return matrix
