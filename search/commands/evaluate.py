"""``dpc evaluate``: score a retrained model."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.table import Table

from data.system.errors import UserError
from data.system.files import write_text
from data.system.outputs import note_made
from search.session.saved_model import load_model
from search.settings.evaluate import EvaluateSettings
from search.views.console import plain_console, print_table, table_of
from search.views.progress_bar import progress_bar
from search.wording import percent
from training.evaluation import Scores, count_confusion, has_labels
from training.metrics import ConfusionMatrix


def run(settings: EvaluateSettings) -> int:
    """Print the table of class scores; write it as JSON and draw it where wanted."""
    console = plain_console()
    dataset, split_name = settings.dataset, settings.split
    files = {"scores": settings.json, "picture": settings.picture}
    for wanted in filter(None, files.values()):
        wanted.parent.mkdir(parents=True, exist_ok=True)
    split = dataset.split(split_name)
    if not has_labels(split, dataset.info):
        raise UserError(
            f"split: {split_name} of {dataset.info.name} comes without labels. `dpc predict submission=...` writes what the "
            "servers of Cityscapes and VOC score."
        )
    model = load_model(settings.checkpoint, settings.space.operator_kinds, settings.inference.output_stride)
    with progress_bar(console, f"scoring {split_name}") as progress:
        matrix = count_confusion(model, split, dataset.info, progress, settings.inference)
    scores = Scores.of(matrix, dataset.info)

    print_table(_class_table(matrix, scores), console)
    console.print(f"{'mIoU':<26}{percent(scores.miou):>6}")
    console.print(f"{'pixel accuracy':<26}{percent(scores.pixel_accuracy):>6}")
    if files["scores"]:
        record = {**asdict(scores), "split": split_name, **settings.recorded}
        record["confusion"] = {"classes": list(dataset.info.class_names), "pixels": matrix.counts_KK.tolist()}
        write_text(files["scores"], json.dumps(record, indent=1) + "\n")
    if files["picture"]:
        from search.views.figures.confusion import draw_confusion

        title = f"{dataset.info.name} {split_name}: {percent(scores.miou)} % mIoU, {percent(scores.pixel_accuracy)} % of pixels"
        draw_confusion(matrix, dataset.info.class_names, files["picture"], title)
    for name, file in files.items():
        if file:
            note_made(file, "evaluate")
            console.print(f"{name:<26}{file}", soft_wrap=True)
    return 0


def _class_table(matrix: ConfusionMatrix, scores: Scores) -> Table:
    """Each class' IoU, the share of its pixels that were found, and what most of the others were taken for."""
    names, rows = list(scores.iou), []
    for index, (name, shares_K) in enumerate(zip(names, matrix.shares_KK().tolist(), strict=True)):
        is_labelled = bool(matrix.counts_KK[index].sum())
        found = percent(shares_K[index]) if is_labelled else "-"
        rows.append((name, percent(scores.iou[name]), found, next(_mistakes(names, shares_K, index), "")))
    return table_of(("class", "IoU", "found", "mostly taken for"), rows, left=("class", "mostly taken for"))


def _mistakes(names: Sequence[str], shares_K: Sequence[float], own: int) -> Iterator[str]:
    """What pixels of class ``own`` were taken for, most often first."""
    for share, other in sorted(((share, other) for other, share in enumerate(shares_K) if other != own), reverse=True):
        if share > 0:
            yield f"{names[other]} ({percent(share)})"
