"""Which code decides scores and proposals: one changed line in each such file shows, and in no other."""

import json
import linecache
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import search.session.code_version
from search.deciding.algorithms.prior import NearPrior, Prior
from search.deciding.space import CellSpace
from search.session.code_version import search_code
from tests.search.journal.studies import SPACE, plan

ROOT = Path(search.session.code_version.__file__).parents[2]
CHANGED = """
import json, sys
from pathlib import Path
from search.deciding.algorithms.uniform import Uniform
from search.deciding.policy import Plan
from search.deciding.schedulers import NoStopping
from search.deciding.space import CellSpace, PointwiseConvs
from search.session.code_version import search_code
from training.source_code import source_digest

plan = Plan(CellSpace(1, {"conv": PointwiseConvs()}), Uniform(), NoStopping(), (1,), 1, 0, cost_of=None)

def digests():
    return source_digest("training.proxy"), search_code(plan)

here = Path.cwd()
files = [file for folder in ("models", "data", "training", "search") for file in sorted(Path(folder).rglob("*.py"))]
before, changed = digests(), {}
for file in files:
    text = file.read_text()
    file.write_text(f"{text}\\nADDED = 1\\n")
    changed[str(file)] = [new != old for new, old in zip(digests(), before)]
    file.write_text(text)

for file in Path("search/deciding").rglob("*.py"):
    __import__(".".join(file.with_suffix("").parts))
paths = [Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
imported = [str(path.relative_to(here)) for path in paths if path.is_relative_to(here)]
print(json.dumps([changed, imported]))
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Of a copy of this project: each file, with whether one line more changes the digests of scoring and of proposing; and the
    files that are loaded once all that proposes is."""
    folder = tmp_path_factory.mktemp("copy").resolve()
    for package in ("models", "data", "training", "search"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    printed = subprocess.run([sys.executable, "-c", CHANGED], cwd=folder, capture_output=True, text=True, check=True).stdout
    return json.loads(printed)


def test_one_line_more_in_any_file_that_proposals_import_changes_their_digest(changed):
    digests, imported = changed
    session = {f"search/session/{name}.py" for name in ("__init__", "code_version", "script_code")}
    digesting = session | {"training/__init__.py", "training/source_code.py", "data/system/project.py"}
    proposing = {file for file, (_, is_proposing) in digests.items() if is_proposing}
    assert {file for file in imported if file.startswith("search/deciding/")} == {
        file for file in digests if file.startswith("search/deciding/")
    }
    assert set(imported) - proposing == digesting
    assert len(proposing) > 20


@pytest.mark.parametrize(
    ("file", "is_scoring", "is_proposing"),
    [
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
    ],
)
def test_one_line_more_changes_the_digest_of_what_imports_it_and_no_other(changed, file, is_scoring, is_proposing):
    digests, _ = changed
    assert digests[file] == [is_scoring, is_proposing]


@pytest.mark.parametrize("package", ["optuna", "scikit-learn"])
def test_another_version_of_a_package_that_proposes_is_another_code(package, monkeypatch):
    before, version = search_code(plan(1)), search.session.code_version.version
    monkeypatch.setattr(search.session.code_version, "version", lambda name: "0.1" if name == package else version(name))
    assert search_code(plan(1)) != before


OWN = """
from search.deciding.algorithms.uniform import Uniform
from search.deciding.schedulers import NoStopping
from search.deciding.space import PointwiseConvs
class Algorithm(Uniform): share = 1
class Scheduler(NoStopping): share = 1
class Family(PointwiseConvs): share = 1
"""


@pytest.mark.parametrize("what", ["algorithm", "algorithm near a prior cell", "scheduler", "operators"])
@pytest.mark.parametrize("module", ["own_module", "__main__", "__main__ of a notebook"])
def test_other_code_of_ones_own_that_decides_is_another_code(what, module, tmp_path, monkeypatch):
    def digest(text):
        (tmp_path / "own.py").write_text(text)
        linecache.checkcache()
        own = ModuleType(module.split()[0])
        if "notebook" not in module:
            own.__file__ = str(tmp_path / "own.py")
        monkeypatch.setitem(sys.modules, own.__name__, own)
        exec(compile(text, tmp_path / "own.py", "exec"), vars(own))
        changes = {
            "algorithm": {"algorithm": own.Algorithm()},
            "algorithm near a prior cell": {"algorithm": NearPrior(own.Algorithm(), Prior(SPACE.members[0]))},
            "scheduler": {"scheduler": own.Scheduler()},
            "operators": {"space": CellSpace(1, {"own": own.Family()})},
        }
        return search_code(replace(plan(1), **changes[what]))

    assert digest(OWN) == digest(OWN) != digest(OWN.replace("share = 1", "share = 20"))
