"""Colours of classes that come without any."""

import numpy as np
import pytest

from data.datasets.contract import palette_of
from data.datasets.folder import Folder
from data.datasets.palette import distinct_palette, least_difference


def test_black_and_white_differ_by_one_and_a_colour_not_from_itself():
    assert least_difference([(0, 0, 0), (255, 255, 255)]) == pytest.approx(1.0, abs=0.01)
    assert least_difference([(9, 99, 200), (9, 99, 200)]) == 0


def test_red_and_green_are_nearer_to_colour_blind_readers_than_blue_and_yellow():
    assert least_difference([(200, 60, 0), (110, 120, 0)]) < 0.06 < least_difference([(0, 90, 180), (220, 200, 60)])


@pytest.mark.parametrize(("count", "least"), [(2, 0.35), (6, 0.15), (12, 0.11), (21, 0.07), (150, 0.02)])
def test_any_two_classes_are_told_apart_by_every_reader(count, least):
    colours = distinct_palette(count)
    assert len(set(colours)) == count
    assert least_difference(colours) > least > least_difference(palette_of(count))


def test_a_class_keeps_its_colour_whatever_follows():
    assert distinct_palette(5) == distinct_palette(150)[:5]
    assert len(distinct_palette(255)) == 255


def test_only_a_background_is_black(tmp_path):
    palette = Folder(str(tmp_path), classes=["Background", "road", "car"]).info.palette
    assert palette[0] == (0, 0, 0)
    assert all(np.array(colour).any() for colour in palette[1:])
    assert all(np.array(colour).any() for colour in Folder(str(tmp_path), classes=["road", "car"]).info.palette)
