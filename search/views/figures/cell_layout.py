"""Where everything of a cell's diagram lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from models.spec import BACKBONE, CellSpec


@dataclass(frozen=True, slots=True)
class Measures:
    """How large the parts of a diagram are, in inches; ``text`` in points."""

    card_width: float
    card_height: float
    bar_height: float
    column_gap: float
    row_gap: float
    lane_gap: float
    inset: float
    inset_top: float
    text: float

    @property
    def is_small(self) -> bool:
        """Whether a card has room for no more than what its operator sees and its sizes."""
        return self.card_width < 0.8


FULL = Measures(1.0, 1.14, 0.3, 0.22, 0.32, 0.13, inset=0.78, inset_top=0.11, text=8.5)
SMALL_CARDS = Measures(0.5, 0.6, 0.16, 0.1, 0.15, 0.07, inset=0.4, inset_top=0.05, text=6.5)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in inches from the diagram's top left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def centre(self) -> float:
        return self.left + self.width / 2

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


Wire = Sequence[tuple[float, float]]
"""The corners (x, y) of a line that runs only down and sideways."""


@dataclass(frozen=True, slots=True)
class CellLayout:
    """Where everything of a cell's diagram lies.

    Attributes:
        boxes: of the backbone's features (``BACKBONE``) and of each branch, one row for each depth in the tree.
        concat: the bar at the bottom, as wide as all that flows into it.
        reads: for each branch, the wire from what it reads.
        outputs: for each branch, the wire to the concat.
    """

    measures: Measures
    boxes: dict[int, Box]
    concat: Box
    reads: dict[int, Wire]
    outputs: dict[int, Wire]


def layout_cell(cell: CellSpec, measures: Measures = FULL) -> CellLayout:
    """Lay out a cell's tree, backbone on top, so that no boxes overlap and no wires cross.

    A branch stands above the middle one of those that read it. Its output goes down a lane of its own, right of all
    that is below it; that of a branch that none reads goes straight down.
    """
    boxes: dict[int, Box] = {}
    lanes: dict[int, float] = {}

    def place(index: int, left: float, top: float) -> float:
        """Place the tree below ``index`` from ``left`` on; return where it ends."""
        height = measures.bar_height if index == BACKBONE else measures.card_height
        readers, right = cell.children[index], left - measures.column_gap
        for reader in readers:
            right = place(reader, right + measures.column_gap, top + height + measures.row_gap)
        middle = median(boxes[reader].left for reader in readers) if readers else left
        boxes[index] = Box(middle, top, measures.card_width, height)
        lanes[index] = right + measures.lane_gap if readers else boxes[index].centre
        return max(lanes[index], boxes[index].right)

    place(BACKBONE, 0.0, 0.0)
    del lanes[BACKBONE]
    right = max(*(lane + measures.lane_gap for lane in lanes.values()), *(box.right for box in boxes.values()))
    concat = Box(0.0, max(box.bottom for box in boxes.values()) + measures.row_gap, right, measures.bar_height)
    return CellLayout(
        measures,
        boxes,
        concat,
        reads={
            index: _read(boxes[branch.input], boxes[index], 0.4 * measures.row_gap)
            for index, branch in enumerate(cell.branches)
        },
        outputs={index: _output(boxes[index], lane, concat) for index, lane in lanes.items()},
    )


def _read(source: Box, reader: Box, gap: float) -> Wire:
    if source.centre == reader.centre:
        return [(source.centre, source.bottom), (reader.centre, reader.top)]
    turn = source.bottom + gap
    return [(source.centre, source.bottom), (source.centre, turn), (reader.centre, turn), (reader.centre, reader.top)]


def _output(box: Box, lane: float, concat: Box) -> Wire:
    if lane == box.centre:
        return [(lane, box.bottom), (lane, concat.top)]
    return [(box.right, box.middle), (lane, box.middle), (lane, concat.top)]
