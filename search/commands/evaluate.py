"""``dpc evaluate``: score a retrained model."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from data.datasets import SegmentationDataset
from models.segmenter import Segmenter
from search.commands.cache import progress_bar
from search.config import Config
from search.leaderboard import percent
from training.evaluation import evaluate


def run(config: Config) -> int:
    """Print the table of class scores, and write it as JSON where wanted."""
    console = Console(highlight=False)
    dataset: SegmentationDataset = config.build("dataset", SegmentationDataset)
    model = Segmenter.from_pretrained(config.value("checkpoint", str))
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    split = config.value("split", str)
    with progress_bar(console, f"scoring {split}") as progress:
        scores = evaluate(model, dataset.split(split), dataset.info, progress)
    for name, value in scores.iou.items():
        console.print(f"  {name:<24}{percent(value):>6}")
    console.print(f"{'mIoU':<26}{percent(scores.miou):>6}")
    console.print(f"{'pixel accuracy':<26}{percent(scores.pixel_accuracy):>6}")
    target = config.optional("json", Path)
    if target:
        target.write_text(json.dumps(asdict(scores), indent=2) + "\n")
        console.print(f"{'scores':<26}{target}")
    return 0
