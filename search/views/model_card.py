"""The card beside a model, README.md: what it is, how it was trained, how good it is, and how it is loaded."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from models.cost import CellCost
from models.spec import CellSpec
from search.wording import percent, quantity

PICTURE = "cell.png"
"""Beside the card."""
_PACKAGES = ("dpc-search", "torch", "timm", "segmentation-models-pytorch", "albumentations")


def model_card(
    cell: CellSpec,
    origin: str,
    cost: CellCost,
    iou: Mapping[str, float | None],
    miou: float,
    selected: str,
    settings: Mapping[str, Any],
) -> str:
    """Markdown.

    Args:
        origin: of the cell, for people.
        iou: of each class, by name; None where a class does not occur.
        selected: what the scores were found on, and what that split has chosen.
        settings: seed, training, data and backbone, nested.
    """
    backbone = settings["backbone"]
    weights = backbone["weights"]
    start = f"the weights `{weights}`, whose licence is their publisher's" if weights else f"weights of seed {backbone['seed']}"
    return f"""# Cell {cell.digest}: {percent(miou)} % mIoU

A segmentation model: backbone {backbone["name"]} at output stride {backbone["output_stride"]}, and a Dense Prediction Cell
({origin}).

```python
import numpy as np
from dpc import Inference, Segmenter, predict_labels
from PIL import Image

model = Segmenter.from_pretrained("the folder of this file").eval()
labels_HW = predict_labels(model, np.asarray(Image.open("photo.jpg").convert("RGB")), Inference())
```

## Scores

{selected}

{_table(("class", "IoU, %"), [(name, percent(value)) for name, value in iou.items()])}

## Cell

![cell]({PICTURE})

{quantity(cost.params)} parameters, {quantity(cost.madds)} multiply-adds at the training crop's features.

```json
{json.dumps(cell.to_json())}
```

## Training

The backbone began with {start}. These settings, on the same machine and build, give the same model:

```json
{json.dumps(settings, indent=1, default=str)}
```

{_table(("package", "version"), [("python", platform.python_version()), *((name, version(name)) for name in _PACKAGES)])}
"""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
