"""The campaign's journals, compressed beside this file.

python benchmarks/campaign/journals.py keep OUTPUTS       # after a run: take its journals in
python benchmarks/campaign/journals.py restore OUTPUTS    # before one: give it those that it lacks
"""

import gzip
import sys
from pathlib import Path

JOURNALS = Path(__file__).parent / "journals"
WHOLE = ("whole", "small")
"""Studies of whole models: `dpc rerank` keeps those below the search that the cells are from."""


def main() -> None:
    """Copy in one direction."""
    command, folder = sys.argv[1:]
    outputs = Path(folder)
    if command == "keep":
        _keep(outputs)
    elif command == "restore":
        _restore(outputs)
    else:
        raise SystemExit(f"journals.py: keep or restore, got {command}")


def place(outputs: Path, name: str) -> Path:
    """Where a study's journal lies below ``outputs``."""
    folder = outputs / "today-s0" / name / "seed-0" if name.startswith(WHOLE) else outputs / name
    return folder / "journal.jsonl"


def _keep(outputs: Path) -> None:
    JOURNALS.mkdir(exist_ok=True)
    studies = [*outputs.glob("*-s[0-9]/journal.jsonl"), *outputs.glob("today-s0/*/seed-0/journal.jsonl")]
    for journal in studies:
        name = journal.parent.name if journal.parent.name != "seed-0" else journal.parents[1].name
        (JOURNALS / f"{name}.jsonl.gz").write_bytes(gzip.compress(journal.read_bytes(), mtime=0))


def _restore(outputs: Path) -> None:
    for kept in JOURNALS.glob("*.jsonl.gz"):
        journal = place(outputs, kept.name.removesuffix(".jsonl.gz"))
        if not journal.exists():
            journal.parent.mkdir(parents=True, exist_ok=True)
            journal.write_bytes(gzip.decompress(kept.read_bytes()))


if __name__ == "__main__":
    main()
