"""Which code decides scores and proposals: one changed line in each such file shows, and in no other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import search.session.code_version

ROOT = Path(search.session.code_version.__file__).parents[2]
DIGESTS = """
from search.session.code_version import scoring_code, search_code
from training.source_code import source_digest
print(source_digest("training.proxy"), search_code())
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    for package in ("models", "data", "training", "search"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def digests(folder):
    return subprocess.run(
        [sys.executable, "-c", DIGESTS], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.split()


def test_one_line_more_changes_the_digest_of_what_imports_it_and_no_other(copy):
    before = digests(copy)
    for file, is_scoring, is_proposing in (
        ("training/proxy.py", True, False),
        ("training/losses.py", True, False),
        ("models/kernels/atrous.py", True, False),
        ("models/spec.py", True, True),
        ("search/deciding/outcomes.py", False, True),
        ("search/deciding/algorithms/tpe.py", False, True),
        ("models/export.py", False, False),
        ("models/backbones.py", False, False),
        ("training/end_to_end.py", False, False),
        ("search/views/live.py", False, False),
    ):
        text = (copy / file).read_text()
        (copy / file).write_text(f"{text}\nADDED = 1\n")
        changed = [new != old for new, old in zip(digests(copy), before, strict=True)]
        (copy / file).write_text(text)
        assert changed == [is_scoring, is_proposing], file
