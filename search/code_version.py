"""Which code a search ran: digests of the source that decides scores, and of the source that decides proposals."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def scoring_code() -> str:
    """Of what a cell becomes, the data that it sees, and how it is trained and scored."""
    return _digest("models", "data", "training")


def search_code() -> str:
    """Of what is tried next and who goes on."""
    return _digest("search/space.py", "search/algorithms", "search/schedulers.py", "search/policy.py", "search/budget.py")


def _digest(*places: str) -> str:
    digest = hashlib.sha256()
    for place in places:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
