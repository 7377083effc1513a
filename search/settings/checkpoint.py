"""The folder of a retrained model."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from data.system.errors import UserError
from models.settings import WEIGHTS_FILE


def _there(folder: Path) -> Path:
    if not (folder / WEIGHTS_FILE).is_file():
        raise UserError(f"no model in {folder}; expected a folder with {WEIGHTS_FILE}.")
    return folder


SavedModel = Annotated[Path, AfterValidator(_there)]
