"""What holds of figures whatever they show: fonts, letters, sizes, axes that no bad cell sets, and no text on another."""

import re
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from PIL import Image

from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1
from search.conf_files import CONF
from search.deciding.outcomes import Status
from search.findings.operator_usage import operator_usage
from search.findings.training_course import CoursePoint
from search.journal.events import CellProposed, RungReached, TrialEnded
from search.journal.record import SearchRecord
from search.views.figures import fonts
from search.views.figures.class_names import short_names
from search.views.figures.confusion import draw_confusion
from search.views.figures.curves import time_unit
from search.views.figures.kinship import draw_pair
from search.views.figures.many_classes import worst_confusions
from search.views.figures.operator_card import PALE
from search.views.figures.operator_usage import draw_operator_usage
from search.views.figures.overlay import painted
from search.views.figures.progress import draw_progress
from search.views.figures.scores import draw_scores
from search.views.figures.style import far_below
from search.views.figures.training_course import draw_training
from training.metrics import ConfusionMatrix

ROAD = "道路"


def search_of(mious: list[float], cells: list[CellSpec] | None = None) -> SearchRecord:
    record = SearchRecord()
    for number, miou in enumerate(mious):
        cell = cells[number] if cells else CellSpec((Branch(BACKBONE, AtrousConv((1, 1 + number))),))
        record.apply(CellProposed(number, cell, seed=0, params=1, madds=1, time_s=number))
        record.apply(RungReached(number, 1, 10, miou, 1.0, 1.0, False, "", time_s=number))
        record.apply(TrialEnded(number, Status.COMPLETED, "", 1.0, number))
    return record


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, which are not written."""
    figures = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path, **_: (figures.append(figure), path.touch()))
    return figures


def confusion(num_classes: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(num_classes, ignore_label=255)
    matrix.counts_KK = torch.randint(1, 1000, (num_classes, num_classes), generator=torch.Generator().manual_seed(0))
    return matrix


# Files


def test_a_pdf_embeds_true_type_fonts_and_equal_figures_are_equal_files(tmp_path):
    for name in ("one.pdf", "two.pdf"):
        draw_progress(search_of([0.5, 0.6]), tmp_path / name)
    written = (tmp_path / "one.pdf").read_bytes()
    assert b"/Type3" not in written
    assert b"/CIDFontType2" in written
    assert written == (tmp_path / "two.pdf").read_bytes()


def test_text_is_text_in_an_svg(tmp_path):
    draw_progress(search_of([0.5, 0.6]), tmp_path / "one.svg", "a title")
    assert {"a title", "completed", "mIoU on the proxy task (%)"} <= set(
        re.findall(r"<text[^>]*>(.*?)</text>", (tmp_path / "one.svg").read_text(), flags=re.DOTALL)
    )


@pytest.mark.parametrize("num_classes", [2, 40, 41, 150, 255])
def test_a_picture_of_many_classes_is_no_larger_than_a_viewer_shows(num_classes, tmp_path):
    draw_confusion(confusion(num_classes), [f"class {number}" for number in range(num_classes)], tmp_path / "one.png", "title")
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width * picture.height < 20e6
        assert min(picture.size) > 500


# Letters


def test_letters_that_no_font_has_are_spelt_and_warn_of_nothing(tmp_path, monkeypatch):
    fonts._others.cache_clear()
    fonts._file_with_most.cache_clear()
    latin = [font for font in fontManager.ttflist if font.name.startswith("DejaVu")]
    monkeypatch.setattr(fontManager, "ttflist", latin)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(confusion(2), [ROAD, "сад"], tmp_path / "one.svg", ROAD)
    text = (tmp_path / "one.svg").read_text()
    assert text.count("U+9053 U+8DEF") == 3
    assert "сад" in text
    fonts._others.cache_clear()
    fonts._file_with_most.cache_clear()


def test_a_font_of_boxes_is_no_font():
    assert not [name for name in fonts.families("\U0001f9ff ไทย") if "Last Resort" in name]


def test_long_names_are_shortened_and_stay_different():
    names = short_names([100 * "a" + "1" + 50 * "b", 100 * "a" + "2" + 50 * "b", "road"])
    assert len(set(names)) == 3
    assert names[2] == "road"
    assert max(map(len, names)) <= 32


# Axes


def test_a_bar_is_at_the_height_of_its_row_however_long_the_names_are(drawn, tmp_path):
    draw_confusion(confusion(7), ["a" * 100, *(f"class {number}" for number in range(6))], tmp_path / "one.png", "title")
    matrix, bars = drawn[0].axes
    for row in (0, 6):
        heights = [axes.transData.transform((0, row))[1] for axes in (matrix, bars)]
        assert heights[0] == pytest.approx(heights[1], abs=0.5)
    assert matrix.bbox.height == pytest.approx(matrix.bbox.width)


def test_one_bad_cell_does_not_set_the_axis_and_is_told(drawn, tmp_path):
    record = search_of([0.41 + 0.002 * number for number in range(30)] + [0.02])
    draw_progress(record, tmp_path / "one.png")
    (axes,) = drawn[0].axes
    low, high = axes.get_ylim()
    assert 38 < low < 41
    assert high < 50
    assert [text.get_text() for text in axes.texts] == ["▽ 1 below this axis, down to 2.0"]
    draw_scores(record, tmp_path / "two.png")
    assert drawn[1].axes[0].get_xlim()[0] > 38
    assert "down to 2.0" in drawn[1].axes[0].get_xlabel()


@pytest.mark.parametrize(
    "scores",
    [[40.0, 2.0], list(range(100)), [40.0] * 30, [*range(40, 60), *range(20)], [40.0 + number / 9 for number in range(30)]],
    ids=["few", "even", "equal", "a second group", "no outlier"],
)
def test_an_axis_begins_with_its_lowest_score_where_that_squeezes_nothing(scores):
    assert far_below(scores) is None


@pytest.mark.parametrize(("hours", "unit"), [(0.0004, "seconds"), (0.2, "minutes"), (9.0, "hours")])
def test_a_time_is_told_in_a_unit_that_is_read(hours, unit):
    name, an_hour = time_unit([hours / 2, hours])
    assert name == unit
    assert 1 <= hours * an_hour < 100


# Contents


def test_the_worst_confusions_are_those_of_most_pixels_with_their_share():
    matrix = ConfusionMatrix(3, ignore_label=255)
    matrix.counts_KK = torch.tensor([[900, 100, 0], [5, 5, 0], [30, 10, 60]])
    assert worst_confusions(matrix) == [(0, 1, 0.1), (2, 0, 0.3), (2, 1, 0.1), (1, 0, 0.5)]


def test_operators_used_more_and_less_than_by_chance_and_never_tried_ones_look_different(drawn, tmp_path):
    wide, narrow, mixed = AtrousConv((6, 6)), AtrousConv((1, 1)), AtrousConv((1, 6))
    good, bad = (CellSpec((Branch(BACKBONE, one), Branch(BACKBONE, two))) for one, two in ((wide, mixed), (narrow, mixed)))
    record = search_of([0.9 - 0.001 * number for number in range(400)], [good] * 40 + [bad] * 360)
    draw_operator_usage(operator_usage(record), tmp_path / "one.png")
    squares = drawn[0].axes[0].patches
    frames = {tuple(square.get_edgecolor()) for square in squares}
    texts = {text.get_text() for text in drawn[0].axes[0].texts}
    assert len(squares) == 3
    assert len(drawn[0].axes[0].collections) == 1  # the cross of (6, 1)
    assert len(frames) == 3  # more, less, and neither
    assert {"10.0x", "0.0x", "0/36", "40/40"} <= texts


def test_few_cells_tell_nothing_of_operators():
    assert not operator_usage(search_of([0.5 + 0.01 * number for number in range(10)])).is_telling


def test_a_black_background_leaves_the_photo_as_it_is():
    image_HWC = np.full((2, 2, 3), 100, np.uint8)
    over_HWC = painted(image_HWC, np.array([[0, 1], [1, 0]], np.uint8), ((0, 0, 0), (200, 0, 0)), 0.5)
    assert over_HWC[0, 0].tolist() == [100, 100, 100]
    assert over_HWC[0, 1].tolist() == [150, 50, 50]


@pytest.mark.parametrize("width", [3.3, 7.2])
def test_no_text_of_a_figure_lies_on_another_or_outside(width, drawn, tmp_path):
    cells = [CellSpec((Branch(BACKBONE, one),)) for one in (Conv1x1(), AtrousConv((6, 21)), AtrousConv((1, 1)))]
    record = search_of([0.5 + 0.003 * number for number in range(60)], cells * 20)
    draw_progress(record, tmp_path / "a.png", "a title of the search", width=width)
    draw_scores(record, tmp_path / "b.png", width=width)
    draw_operator_usage(operator_usage(record), tmp_path / "c.png", width=width)
    for figure in drawn:
        assert_legible(figure)


def assert_legible(figure: Figure) -> None:
    """No two texts overlap by more than a hair, and none is cut off."""
    figure.draw_without_rendering()
    renderer = figure._get_renderer()
    ticks = [tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks()]
    drawn = {tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()}
    hidden = {label for tick in ticks if tick not in drawn for label in (tick.label1, tick.label2)}
    hidden |= {
        text for axes in figure.axes if not axes.axison for axis in (axes.xaxis, axes.yaxis) for text in axis.findobj(Text)
    }
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in hidden]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    page = figure.bbox.padded(1)
    for name, box in boxes:
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, name
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, name
    for (one, a), (two, b) in combinations(boxes, 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, down) < 3, (one, two)


# Cells and courses


def test_what_two_cells_share_is_pale_in_both(drawn, tmp_path):
    one, other = (CellSpec.read(CONF / "cell" / f"{name}.json") for name in ("aspp", "dpc_top1"))
    third = CellSpec((*one.branches[:4], Branch(0, Conv1x1())))
    draw_pair({"aspp": one, "mine": third}, tmp_path / "one.png")
    draw_pair({"aspp": one, "dpc": other}, tmp_path / "two.png")
    assert "grey: the 4 branches that both have" in [text.get_text() for text in drawn[0].texts]
    assert "no branch from the backbone down is in both" in [text.get_text() for text in drawn[1].texts]
    pale = [sum(to_hex(patch.get_edgecolor()) == PALE.lower() for patch in axes.patches) for axes in drawn[0].axes]
    none = [sum(to_hex(patch.get_edgecolor()) == PALE.lower() for patch in axes.patches) for axes in drawn[1].axes]
    assert [more - fewer for more, fewer in zip(pale, none, strict=True)] == [8, 8]  # card and badge of each


@pytest.mark.parametrize("num_classes", [2, 6, 19, 150])
@pytest.mark.parametrize("width", [3.3, 7.2])
def test_the_course_of_a_training_names_its_classes_apart(num_classes, width, drawn, tmp_path):
    steps = [
        CoursePoint(100 * number, 1 / number, 0.1 * number, {f"class {one}": 0.1 + 0.0001 * one for one in range(num_classes)})
        for number in range(1, 6)
    ]
    draw_training(steps, tmp_path / "one.png", width=width)
    names = [text.get_text() for text in drawn[0].axes[2].texts]
    assert len(names) == min(num_classes, 6)
    assert_legible(drawn[0])
