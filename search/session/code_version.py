"""Which code a search ran: digests of the source that decides scores, and of the source that decides proposals."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def scoring_code() -> str:
    """Of what a cell becomes, the data that it sees, and how it is trained and scored."""
    return _digest("models", "data", "training")


def search_code() -> str:
    """Of what is tried next and who goes on: exactly the floor ``search/deciding``."""
    return _digest("search/deciding")


def _digest(*folders: str) -> str:
    digest = hashlib.sha256()
    for file in (file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))):
        digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
