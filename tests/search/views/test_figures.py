"""Diagrams of cells and pictures of searches: laid out without overlaps, right, written whole."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from models.dpc import DensePredictionCell
from models.settings import CellSettings
from models.spec import BACKBONE, AtrousConv, Branch, CellSpec, Conv1x1, PyramidPooling
from search.deciding.outcomes import Status
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings
from search.findings.contributions import Contributions, branch_contributions
from search.findings.cost_front import Landmark, cost_front
from search.findings.estimates import Estimate
from search.findings.operator_usage import operator_usage
from search.findings.what_mattered import Level, Mattered, WhatMattered
from search.journal.events import CellProposed, RungReached, TrialEnded
from search.journal.record import SearchRecord
from search.views.figures.cell_diagram import draw_cell
from search.views.figures.cell_layout import Box, CellLayout, Wire, layout_cell
from search.views.figures.contributions import draw_contributions
from search.views.figures.cost_front import draw_cost_front
from search.views.figures.operator_usage import draw_operator_usage
from search.views.figures.progress import draw_progress
from search.views.figures.scores import draw_scores
from search.views.figures.two_rankings import Rescored, draw_two_rankings
from search.views.figures.what_mattered import draw_what_mattered

FAMILIES = {"one": PointwiseConvs(), "atrous": AtrousConvs([1, 6, 21]), "pooling": PyramidPoolings([1, 8])}
WINNER = CellSpec(
    (
        Branch(-1, AtrousConv((1, 6))),
        Branch(0, AtrousConv((18, 15))),
        Branch(1, AtrousConv((6, 3))),
        Branch(0, AtrousConv((1, 1))),
        Branch(0, AtrousConv((6, 21))),
    )
)
CHAIN = CellSpec(tuple(Branch(index - 1, Conv1x1()) for index in range(64)))
STAR = CellSpec((Branch(BACKBONE, PyramidPooling((2, 4))),) * 64)


def random_cells() -> list[CellSpec]:
    return [CellSpace(1 + seed % 12, FAMILIES).sample(Random(seed)) for seed in range(200)]


CELLS = [WINNER, CHAIN, STAR, *random_cells()]


def all_boxes(layout: CellLayout) -> list[Box]:
    return [*layout.boxes.values(), layout.concat]


def segments(wire: Wire) -> Iterator[Box]:
    """The straight parts of a wire, as boxes without width or without height."""
    for (x1, y1), (x2, y2) in pairwise(wire):
        assert x1 == x2 or y1 == y2
        yield Box(min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1))


def overlap(one: Box, other: Box, tolerance: float = 1e-9) -> bool:
    """Whether two boxes share more than an edge."""
    return (
        one.left < other.right - tolerance
        and other.left < one.right - tolerance
        and one.top < other.bottom - tolerance
        and other.top < one.bottom - tolerance
    )


def test_no_two_boxes_overlap():
    for cell in CELLS:
        assert not [pair for pair in combinations(all_boxes(layout_cell(cell)), 2) if overlap(*pair)], cell


def test_no_wire_runs_through_a_box():
    for cell in CELLS:
        layout = layout_cell(cell)
        parts = [part for wire in (*layout.reads.values(), *layout.outputs.values()) for part in segments(wire)]
        assert not [(part, box) for part in parts for box in all_boxes(layout) if overlap(part, box)], cell


def test_no_wires_cross_but_those_that_leave_one_box_together():
    for cell in CELLS[3:]:
        layout = layout_cell(cell)
        outputs = list(layout.outputs.values())
        reads = [(cell.branches[index].input, wire) for index, wire in layout.reads.items()]
        others = [(a, b) for (one, a), (two, b) in combinations(reads, 2) if one != two]
        others += [(a, b) for _, a in reads for b in outputs] + list(combinations(outputs, 2))
        assert not [pair for pair in others if cross(*pair)], cell


def cross(one: Wire, other: Wire) -> bool:
    grow = 1e-6
    wide = [Box(s.left - grow, s.top - grow, s.width + 2 * grow, s.height + 2 * grow) for s in segments(one)]
    return any(overlap(a, b, tolerance=0) for a in wide for b in segments(other))


def test_each_branch_hangs_from_what_it_reads_and_ends_in_the_concat():
    for cell in CELLS:
        layout = layout_cell(cell)
        for index, branch in enumerate(cell.branches):
            source, box = layout.boxes[branch.input], layout.boxes[index]
            assert layout.reads[index][0] == (source.centre, source.bottom)
            assert layout.reads[index][-1] == (box.centre, box.top)
            x, y = layout.outputs[index][-1]
            assert y == layout.concat.top
            assert layout.concat.left < x < layout.concat.right
        ends = [wire[-1] for wire in layout.outputs.values()]
        assert len(set(ends)) == len(cell)


def test_all_lies_between_the_ends_of_the_concat():
    for cell in CELLS:
        layout = layout_cell(cell)
        assert min(box.left for box in all_boxes(layout)) == layout.concat.left
        assert max(box.right for box in all_boxes(layout)) == layout.concat.right


@dataclass(frozen=True)
class Strange:
    """An operator that nobody taught the figures; its text has what formulas begin with."""

    def to_json(self):
        return {"op": "strange"}

    @classmethod
    def from_json(cls, entry):
        return None

    def __str__(self):
        return "strange_and_very_long_word [4 points] for $5_ \\frac and $6"


@pytest.mark.parametrize(
    "cell",
    [
        WINNER,
        CellSpec((Branch(-1, Conv1x1()),)),
        CellSpec((Branch(-1, Strange()), Branch(0, PyramidPooling((1000, 1000))), Branch(1, AtrousConv((99, 1))))),
        CHAIN,
        STAR,
    ],
    ids=["winner", "one branch", "strange operators", "chain", "star"],
)
def test_a_cell_becomes_a_valid_picture(cell, tmp_path):
    width, height = picture_size(draw_it(cell, tmp_path))
    assert 300 <= width <= 20_000
    assert 400 <= height <= 20_000


def draw_it(cell: CellSpec, folder: Path) -> Path:
    path = folder / "new" / "cell.png"
    draw_cell(cell, path, title="A title with $x_ that is longer than the picture is wide, so it must be wrapped")
    return path


def picture_size(path: Path) -> tuple[int, int]:
    """The size in pixels of a whole PNG that is not blank."""
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        assert len(image.convert("L").getcolors()) > 2
        return image.size


@pytest.mark.parametrize("name", ["cell.svg", "cell.pdf", "cell"])
def test_the_suffix_chooses_the_format(name, tmp_path):
    draw_cell(WINNER, tmp_path / name)
    start = (tmp_path / name).read_bytes()[:8]
    assert start.startswith({"cell.svg": b"<?xml", "cell.pdf": b"%PDF", "cell": b"\x89PNG"}[name])


def search_of(trials: int, rungs: int = 3, unscored: float = 0.1) -> SearchRecord:
    """A search of so many finished trials, and one that runs."""
    rng, record = Random(0), SearchRecord()
    for number in range(trials + 1):
        record.apply(CellProposed(number, WINNER, seed=0, params=1, madds=1, time_s=number))
        reached = rng.randint(1, rungs)
        for rung in range(1, reached + 1):
            record.apply(RungReached(number, rung, rung, rng.random(), 1.0, 1.0, rung < reached, "", time_s=number))
        status = Status.COMPLETED if reached == rungs else Status.STOPPED
        if rng.random() < unscored:
            status = rng.choice([Status.DIVERGED, Status.FAILED])
        if number < trials:
            record.apply(TrialEnded(number, status, reason="", elapsed_s=1.0, time_s=number + 9 * rng.random()))
    return record


LANDMARKS = [Landmark("ASPP $1", 2, 3), Landmark("DPC", 1, 1, miou=0.5)]
SEARCHES = {
    "none finished": search_of(0),
    "one": search_of(1),
    "many": search_of(50),
    "many rungs": search_of(200, rungs=20),
    "no score": search_of(9, unscored=1),
    "as many as the paper's": search_of(30_000),
}
NONE_COMPLETED = ("none finished", "one", "no score")
PICTURES = {
    "progress": lambda record, path: draw_progress(record, path, "search $1"),
    "scores": draw_scores,
    "costs": lambda record, path: draw_cost_front(cost_front(record, "params"), LANDMARKS, path),
    "operators": lambda record, path: draw_operator_usage(operator_usage(record), path),
}


@pytest.mark.parametrize(
    ("name", "search"),
    [(name, search) for name in PICTURES for search in SEARCHES if name == "progress" or search not in NONE_COMPLETED],
)
def test_a_search_becomes_a_valid_picture(name, search, tmp_path):
    draw, record = PICTURES[name], SEARCHES[search]
    path = tmp_path / "picture.png"
    draw(record, path)
    width, height = picture_size(path)
    assert width == 1440
    assert 600 <= height <= 1700


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_a_picture_of_the_papers_search_is_small_enough_to_be_sent_and_the_same_again(draw, tmp_path):
    record = SEARCHES["as many as the paper's"]
    draw(record, tmp_path / "one.svg")
    draw(record, tmp_path / "two.svg")
    written = (tmp_path / "one.svg").read_bytes()
    assert len(written) < 1_000_000
    assert written == (tmp_path / "two.svg").read_bytes()


def texts_of(draw, folder: Path) -> list[str]:
    """What a picture says in words."""
    draw(folder / "words.svg")
    return re.findall(r"<text[^>]*>(.*?)</text>", (folder / "words.svg").read_text(), flags=re.DOTALL)


def text_of(draw, folder: Path) -> str:
    return " ".join(texts_of(draw, folder))


def test_stopped_trials_are_counted_at_their_own_rung_and_never_as_completed(tmp_path):
    record = search_of(200, unscored=0)
    rungs = [len(trial.rungs) for trial in record.finished]
    text = text_of(lambda path: draw_scores(record, path), tmp_path)
    for rung in (1, 2):
        assert f"reached: {sum(reached >= rung for reached in rungs)} (outline)" in text
        assert f"ended here: {rungs.count(rung)} (filled)" in text
    assert f"completed: {rungs.count(3)}" in text


def test_trials_that_all_stopped_early_are_not_called_completed(tmp_path):
    record = SearchRecord()
    for number in range(3):
        record.apply(CellProposed(number, WINNER, seed=0, params=1, madds=1, time_s=0.0))
        record.apply(RungReached(number, 1, 10, 0.5, 1.0, 1.0, False, "", time_s=0.0))
        record.apply(TrialEnded(number, Status.STOPPED, "", 1.0, 0.0))
    text = text_of(lambda path: draw_scores(record, path), tmp_path)
    assert "ended here: 3 (filled)" in text
    assert "completed" not in text


def test_a_landmark_has_a_score_only_where_it_was_measured(tmp_path):
    record = search_of(20)
    text = text_of(lambda path: draw_cost_front(cost_front(record, "madds"), LANDMARKS, path), tmp_path)
    assert "ASPP $1, not scored here" in text
    assert "DPC" in text
    assert "DPC, not scored here" not in text


@pytest.mark.parametrize("miou", [0.05, 0.95])
def test_a_landmark_that_was_measured_is_in_the_picture_however_far_it_is_from_the_cells(tmp_path, monkeypatch, miou):
    drawn = []
    monkeypatch.setattr("search.views.figures.cost_front.save_figure", lambda figure, path: drawn.append(figure))
    record = search_of(60)
    draw_cost_front(cost_front(record, "madds"), [Landmark("ASPP", 2, 3, miou)], tmp_path / "front.png")
    low, high = drawn[0].axes[0].get_ylim()
    assert low < 100 * miou < high


def what_mattered_of(count: int) -> WhatMattered:
    levels = [Level("0", Estimate(0.40, 0.38, 0.42, 30), True), Level("1", Estimate(0.5, None, None, 1), False)]
    effect = Estimate(0.02, 0.01, 0.03, 31)
    choices = [Mattered(f"choice $_{number}", "one more", 0.5, number > 0, effect, effect, levels) for number in range(count)]
    return WhatMattered(choices, 31, 1, 31, 0.3)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_what_mattered_is_drawn_choice_by_choice_with_effects_and_with_what_they_take_for_granted(count, tmp_path):
    draw_what_mattered(what_mattered_of(count), tmp_path / "picture.png")
    assert picture_size(tmp_path / "picture.png")[0] == 1440
    text = text_of(lambda path: draw_what_mattered(what_mattered_of(count), path), tmp_path)
    assert [f"choice $_{number}  50 %" in text for number in range(count)] == [True] * count
    assert text.count("2.00 (1.00 to 3.00)") == count
    assert "as if cells were independent; mutants repeat what their parents have" in text


@pytest.mark.parametrize("count", [1, 4, 50])
def test_reranked_cells_become_a_valid_picture(count, tmp_path):
    rng = Random(0)
    cells = [Rescored(rng.random(), [rng.random(), rng.random()], f"cell $_{number}") for number in range(count)]
    draw_two_rankings(cells, tmp_path / "rerank.png", title="re-ranked $1")
    assert picture_size(tmp_path / "rerank.png") == (1440, 748)


def test_the_best_reranked_cells_are_named_with_their_rank_by_proxy(tmp_path):
    scores = [(0.70, 0.80, "a"), (0.69, 0.82, "b"), (0.68, 0.79, "c"), (0.60, 0.83, "d"), (0.5, 0.5, "e"), (0.4, 0.4, "f")]
    cells = [Rescored(first, [final], name) for first, final, name in scores]
    texts = texts_of(lambda path: draw_two_rankings(cells, path), tmp_path)
    ranks = texts[texts.index("rank by proxy, and now") - 12 : texts.index("rank by proxy, and now")]
    assert ranks == ["4", "1  d", "2", "2  b", "1", "3  a", "3", "4  c", "5", "5  e", "6", "6  f"]
    assert "6 cells" in " ".join(texts)


def test_cells_that_the_proxy_stopped_are_triangles_and_rho_is_that_of_the_others(tmp_path, monkeypatch):
    markers = []
    scatter = Axes.scatter

    def spied(axes, x, y, **style):
        markers.append((style.get("marker"), len(x)))
        return scatter(axes, x, y, **style)

    monkeypatch.setattr(Axes, "scatter", spied)
    cells = [Rescored(0.1 * place, [0.1 * place], "a", is_completed=place < 5) for place in range(7)]
    text = text_of(lambda path: draw_two_rankings(cells, path), tmp_path)
    assert markers[:2] == [("o", 5), ("v", 2)]
    assert "rho 1.00 of 5 cells" in text
    assert "2 stopped early (triangles) not counted" in text


def test_bars_of_re_ranked_cells_are_the_interval_of_all_cells_noise(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.errorbar", lambda _, x, y, ends, **__: drawn.append(ends))
    cells = [Rescored(0.5, [0.50, 0.52], "a"), Rescored(0.6, [0.60, 0.62], "b"), Rescored(0.7, [0.70, 0.72], "c")]
    draw_two_rankings(cells, tmp_path / "bars.png")
    (ends,) = drawn
    assert ends == pytest.approx(
        [3.182 * 100 * 0.01 * 2**0.5 / 2**0.5] * 3, rel=1e-3
    )  # t of 3 degrees, sd of a pair, root of 2


def test_contributions_are_those_of_the_branches_of_the_module():
    cell = DensePredictionCell(WINNER, 8, CellSettings(filters=4))
    with torch.no_grad():
        for index in range(len(WINNER)):
            cell.project[1].weight[:, 4 * index : 4 * (index + 1)] = (-1) ** index * (index + 1.0)
    found = branch_contributions(cell.project[1].weight.detach().numpy(), len(WINNER))
    assert found == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("shape", [(4, 21), (4, 20, 3, 3), (20,)])
def test_weights_that_are_no_projection_of_the_branches_are_refused(shape):
    with pytest.raises(ValueError, match=re.escape(f"got {shape}")):
        branch_contributions(np.ones(shape), 5)


@pytest.mark.parametrize("cell", [WINNER, CHAIN], ids=["winner", "chain"])
def test_contributions_become_a_valid_picture(cell, tmp_path):
    draw_contributions(Contributions(cell, [0.0, *range(1, len(cell))]), tmp_path / "bars.png")
    assert picture_size(tmp_path / "bars.png")[0] == 1440


def test_a_picture_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = draw_it(WINNER, tmp_path)
    before = path.read_bytes()

    def fail(_: object, target: Path, **__: object) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="No space"):
        draw_cell(CHAIN, path)
    assert path.read_bytes() == before
