"""What a process has loaded when it answers, and when it works: a heavy package waits until it is used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli import main
from search.help import COMMANDS
from search.journal.folder import JOURNAL
from tests.search.journal.studies import journalled, plan

ROOT = Path(__file__).parents[1]
HEAVY = {
    "torch",
    "ray",
    "mlflow",
    "matplotlib",
    "timm",
    "segmentation_models_pytorch",
    "albumentations",
    "pandas",
    "sklearn",
    "cv2",
}
TINY = [
    "dataset.num_train=2",
    "dataset.num_val=1",
    "backbone.name=tu-test_efficientnet",
    "proxy.rungs=[1,2]",
    "proxy.cell.filters=8",
    "space.num_branches=2",
    "trials=1",
    "cache.workers=1",
]
"""A search on features of a backbone that timm builds."""
REFUSED = {
    "search": ["trials=-1"],
    "cell": ["cell=nobody"],
    "latency": ["rounds=0"],
    "check-data": ["samples=0"],
    "cache": ["resources.cpu=0"],
    "report": ["name=nobody"],
    "rerank": ["from=nobody"],
    "fidelity": ["first.protocol=both"],
    "retrain": ["cell=nobody"],
    "evaluate": ["checkpoint=/nowhere"],
    "predict": ["checkpoint=/nowhere", "images=conf", "output=/nowhere"],
    "export": ["checkpoint=/nowhere", "output=model.onnx"],
    "import-weights": ["checkpoint=/nowhere", "output=made"],
    "replay": ["name=nobody"],
    "simulate": ["algorithms=[predictor]", "seeds=0"],
    "submit": ["address=nowhere"],
    "compare": ["names=[a]"],
    "list": ["format=pdf"],
    "show": ["name=nobody"],
    "track": ["name=nobody"],
}


def run(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)


EACH = """
import json, os, sys
from pathlib import Path
from search.cli import main

for folder, arguments in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY), stream)
        code = main(arguments)
        Path(folder, "code").write_text(str(code))
        Path(folder, "modules").write_text(" ".join(sys.modules))
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Folders with what commands said, each in a process that had loaded what no command does without, and no more."""
    folder = tmp_path_factory.mktemp("answers")
    given = {"shown": ["show", "name=kept", f"output_dir={folder}"]}
    journalled(folder / "kept" / JOURNAL, plan(3))
    for command in COMMANDS:
        has_outputs = command not in ("cell", "predict", "export", "import-weights", "submit")
        given[command] = [command, *REFUSED[command], *([f"output_dir={folder / command / 'outputs'}"] if has_outputs else [])]
    for name in given:
        (folder / name).mkdir()
    done = run(EACH, json.dumps({str(folder / name): arguments for name, arguments in given.items()}))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_refusal_comes_before_anything_heavy_is_loaded(command, answers):
    said = (answers / command / "stderr").read_text()
    assert said.startswith("dpc: ")
    assert said.count("\n") == 1
    assert (answers / command / "code").read_text() == "2"
    assert set((answers / command / "modules").read_text().split()) & HEAVY == set()


def test_a_search_is_shown_without_anything_heavy(answers):
    shown = answers / "shown"
    assert (shown / "code").read_text() == "0", (shown / "stderr").read_text()
    assert "Leaderboard" in (shown / "stdout").read_text()
    assert set((shown / "modules").read_text().split()) & HEAVY == set()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A folder with the caches of the tiny search."""
    folder = tmp_path_factory.mktemp("outputs")
    given = [setting for setting in TINY if setting.partition(".")[0] in ("dataset", "backbone", "cache")]
    assert main(["cache", *given, f"output_dir={folder}"]) == 0
    return folder


def test_the_driver_of_a_cached_search_loads_neither_backbones_nor_figures(outputs):
    code = """
import os, sys
import search.session.session as session
from search.cli import main

def loaded(*_, **__):
    print(*sys.modules, flush=True)
    os._exit(0)

session.join, session.slots, session.run_study = lambda workplace: None, lambda resources: 1, loaded
main(sys.argv[1:])
"""
    driver = run(code, "search", *TINY, f"output_dir={outputs}")
    modules = set(driver.stdout.split())
    assert "ray.tune" in modules, driver.stderr
    assert modules & {"timm", "segmentation_models_pytorch", "torchvision", "matplotlib", "albumentations", "sklearn"} == set()


def test_a_worker_loads_only_what_trains(outputs):
    code = """
import sys
from pathlib import Path
import search.running.trial
from models.spec import BACKBONE, Branch, CellSpec, Conv1x1
from training.proxy import ProxyTask
from training.settings import ProxySettings

train, val = map(Path, sys.argv[1:])
(score,) = ProxyTask(train, val, ProxySettings((1,), batch_size=2))(CellSpec((Branch(BACKBONE, Conv1x1()),)), 0)
print(*sys.modules)
"""
    worker = run(code, *(path.parent for path in outputs.glob("cache/*/manifest.json")))
    modules = set(worker.stdout.split())
    assert "torch" in modules, worker.stderr
    assert modules & {*HEAVY - {"torch", "ray", "pandas"}, "torchvision", "hydra"} == set()
