"""The README and the tutorials do what they say: every block runs, with small settings, in the order of its page."""

import numpy as np
import pytest
from PIL import Image

from tests.docs.told_to_bash import ROOT, blocks

PAGES = [
    "README.md",
    "docs/walkthrough.md",
    *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs" / "tutorials").glob("*.md")),
]
SHELL = ("dpc", "make", "source", "export", "ray", "for", "python", "M=$(echo")
"""What a block of commands begins with."""
SHOWN = {
    "Search": "what a search prints; tests/search/commands/test_end_to_end.py reads it",
    "my_data/classes.txt": "a folder of files",
}
"""What other blocks begin with, and what they are."""
LEAVES = {
    "docs/tutorials/first-search.md": (
        "outputs/demo/journal.jsonl",
        "outputs/demo/leaderboard.csv",
        "outputs/demo/best.json",
        "outputs/best.png",
        "outputs/cache",
    ),
    "docs/walkthrough.md": (
        "outputs/demo/rerank/seed-0/journal.jsonl",
        "outputs/demo/rerank/rerank.csv",
        "outputs/demo/rerank/rerank.png",
        "outputs/demo/rerank/best.json",
        "outputs/fidelity/fidelity.csv",
        "outputs/fidelity/fidelity.png",
        "outputs/lamps/retrain-*/model.safetensors",
        "outputs/lamps/retrain-*/state.safetensors",
        "outputs/lamps/retrain-*/scores.json",
        "outputs/lamps/retrain-*/README.md",
        "outputs/lamps/retrain-*/cell.png",
        "outputs/lamps/model.onnx",
        "outputs/labelled/labels/photo.png",
    ),
    "docs/tutorials/cluster.md": ("outputs/sent/report.html",),
}
"""What is there at the end of a page, as it or docs/reference/files.md says."""


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_does_what_it_says(page, commands, tmp_path, monkeypatch):
    found = blocks(ROOT / page)
    data_of_ones_own(tmp_path)
    script = []
    for block in found:
        if block.language == "python":
            commands("\n".join(script))
            script = []
            exec(block.text, {"__name__": "page", "train_and_validate": lambda cell, seed, epochs: 1 - 1 / (1 + epochs)})
        elif block.language == "bash" or block.first in SHELL:
            script.append(block.text)
        else:
            assert block.first in SHOWN, f"{page}: a block that begins with {block.first!r} is neither run nor known"
    commands("\n".join(script))
    assert [pattern for pattern in LEAVES.get(page, ()) if not list(tmp_path.glob(pattern))] == []


def data_of_ones_own(folder):
    """What a reader has: photographs, and images with labels."""
    rng = np.random.default_rng(0)
    for split in ("photos", "my_data/train", "my_data/val"):
        for number in range(2):
            image_HWC = rng.integers(0, 255, (65, 65, 3), np.uint8)
            labels_HW = np.arange(65 * 65, dtype=np.uint8).reshape(65, 65) % 2
            for kind, pixels in (("images", image_HWC), ("labels", labels_HW)):
                place = folder / split if split == "photos" else folder / split / kind
                place.mkdir(parents=True, exist_ok=True)
                if kind == "images" or split != "photos":
                    Image.fromarray(pixels).save(place / f"{number}.png")
    (folder / "my_data" / "classes.txt").write_text("ground\nthing\n")
