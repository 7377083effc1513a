"""The colours of all figures: seen on white paper, and told apart by every reader."""

import re
from importlib.resources import files
from itertools import combinations

import pytest
from matplotlib.colors import to_rgb

from data.datasets.palette import least_difference
from models.spec import CellSpec
from search.conf_files import CONF
from search.views.figures.cell_diagram import draw_cell
from search.views.figures.style import BLUE, BROWN, GREEN, GREY, INK, PURPLE, VERMILLION

WINNER = CellSpec.read(CONF / "cell" / "dpc_top1.json")
COLOURS = {"blue": BLUE, "brown": BROWN, "green": GREEN, "purple": PURPLE, "vermillion": VERMILLION, "ink": INK, "grey": GREY}
OKABE_AND_ITO = ("#E69F00", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#222222")


def luminance(colour: str) -> float:
    """Relative, as WCAG 2.2 defines it."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def as_bytes(colour: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue


@pytest.mark.parametrize("colour", COLOURS.values(), ids=COLOURS)
def test_a_colour_stands_out_from_white_paper(colour):
    assert 1.05 / (luminance(colour) + 0.05) >= 3


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_page_is_readable_in_the_light_and_in_the_dark(mode):
    style = files("search.views.report").joinpath("page.css").read_text()
    light, dark = (
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)[:2]
    )
    colours = light | (dark if mode == "dark" else {})
    assert light.keys() == dark.keys()
    for name, least in {"ink": 7, "soft": 4.5, "accent": 4.5, "k": 3, "a": 3, "p": 3}.items():
        for ground in ("paper", "tile", "mark"):
            bright, dim = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= least, (name, ground)


@pytest.mark.parametrize("pair", combinations(COLOURS, 2), ids="-".join)
def test_two_colours_are_told_apart_by_colour_blind_readers_as_well_as_okabe_and_itos(pair):
    published = least_difference([as_bytes(colour) for colour in OKABE_AND_ITO])
    assert least_difference([as_bytes(COLOURS[name]) for name in pair]) > published


def test_no_figure_has_a_colour_of_its_own(tmp_path):
    draw_cell(WINNER, tmp_path / "cell.svg")
    used = set(re.findall(r"#[0-9a-f]{6}", (tmp_path / "cell.svg").read_text()))
    vivid = {colour for colour in used if max(to_rgb(colour)) - min(to_rgb(colour)) > 0.4}
    assert vivid == {BLUE.lower()}
