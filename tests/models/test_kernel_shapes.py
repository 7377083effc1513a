"""Which shape of its programs a kernel gets on a GPU; the clock is the test's own."""

import json

import pytest

pytest.importorskip("triton")

from models.kernels.shapes import Choice, Shape, choose

SHAPES = (Shape(16, 4), Shape(32, 4), Shape(64, 4))


def chosen(kept, times, shapes=SHAPES):
    """What is chosen, and how often something was timed."""
    choice, asked = Choice(shapes), []

    def time_of():
        asked.append(choice.chosen)
        return times[choice.chosen]

    said = choose({"kernel": (choice, time_of)}, kept)
    assert (said is None) == (not asked)
    return choice.chosen, len(asked)


def test_the_fastest_shape_is_chosen_once_and_read_again_by_the_next_process(tmp_path):
    kept, times = tmp_path / "of" / "shapes.json", dict(zip(SHAPES, (3.0, 2.0, 2.5), strict=True))
    assert chosen(kept, times) == (SHAPES[1], 3)
    assert json.loads(kept.read_text()) == {"kernel": str(SHAPES[1])}
    assert chosen(kept, {}) == (SHAPES[1], 0)


def test_a_shape_that_is_hardly_faster_is_not_worth_other_bits(tmp_path):
    times = dict(zip(SHAPES, (1.0, 0.97, 0.96), strict=True))
    assert chosen(tmp_path / "shapes.json", times) == (SHAPES[0], 3)


@pytest.mark.parametrize("content", ["", "[]", '{"kernel": "of another version"}', '{"another": 1}', '{"kernel": ["?"]}'])
def test_a_file_of_other_shapes_or_half_of_one_is_found_anew(tmp_path, content):
    kept = tmp_path / "shapes.json"
    kept.write_text(content)
    assert chosen(kept, dict(zip(SHAPES, (3.0, 2.0, 1.0), strict=True))) == (SHAPES[2], 3)
    assert json.loads(kept.read_text()) == {"kernel": str(SHAPES[2])}
