"""Wrong inputs of every command, in one process: exit code 2, one line, and the line names the setting."""

import sys
from types import SimpleNamespace

import pytest

from search.cli import main
from search.journal.folder import JOURNAL
from tests.search.journal.studies import journalled, plan

WRONG = {
    "search": """
        name=../../evil
        name=a/b
        name=
        name=.
        name={long}
        name=null
        trials=0
        trials=true
        trials=1.5
        store=banana
        fork=2
        from=a/b
        fork_rescore=-1
        deterministic=often
        budget.madds=0
        budget.params=nan
        seed=true
        seed=1,2
        output_dir={file}
        output_dir={file}/below
        experiment=nobody
        dataset=nobody
        dataset.num_train=0
        dataset.num_val=0
        dataset.size_px=320
        dataset.seed=-1
        backbone.weights={file}
        backbone.pad_type=valid
        backbone.mean=[0,0,2]
        backbone.std=[0,1,1]
        space.num_branches=0
        proxy.optimizer.learning_rate=nan
        proxy.cell.filters=0
        resources.gpu=nan
        resources.custom={fast_disk:true}
        ray.address=banana
        tracking.uri=sqlite:///{folder}/not_there/m.db
        +trails=3
        +tracking.extra=1
        hydra.run.dir=x
    """,
    "cell": """
        cell={folder}
        picture=x.foo
        picture={folder}
    """,
    "retrain": """
        name=a/b
    """,
    "rerank": """
        from=a/b
    """,
    "report": """
        name=..
    """,
    "track": """
        name=..
    """,
    "replay": """
        name=..
    """,
    "fidelity": """
        label=a/b
    """,
}
"""By command, what is added to the rest that it needs; the last setting of a line is wrong."""
REST = {
    "search": "output_dir={out}",
    "report": "output_dir={out} name=kept",
    "rerank": "output_dir={out} from=kept",
    "fidelity": "output_dir={out}",
    "retrain": "output_dir={out} cell=aspp",
    "track": "output_dir={out}",
    "replay": "output_dir={out}",
}
CASES = [(command, line.strip()) for command, lines in WRONG.items() for line in lines.strip().splitlines()]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What settings can name: a search, a file that is no other, a folder."""
    there = tmp_path_factory.mktemp("places")
    for folder in ("out/kept", "folder"):
        (there / folder).mkdir(parents=True)
    journalled(there / "out" / "kept" / JOURNAL, plan(2))
    (there / "file").write_text("not what is expected\n")
    return {"{long}": "x" * 201} | {f"{{{name}}}": str(there / name) for name in ("out", "file", "folder")}


def filled(text, places):
    for name, path in places.items():
        text = text.replace(name, path)
    return text.split()


@pytest.mark.parametrize(("command", "line"), CASES, ids=lambda value: value)
def test_a_wrong_setting_is_refused_in_one_line_that_names_it(capsys, monkeypatch, places, command, line):
    monkeypatch.setitem(sys.modules, f"search.commands.{command.replace('-', '_')}", SimpleNamespace(run=lambda settings: 0))
    code = main([command, *filled(f"{REST.get(command, '')} {line}", places)])
    said = capsys.readouterr().err
    setting = line.split()[-1].partition("=")[0].lstrip("+")
    assert code == 2, said
    assert said.startswith("dpc: ")
    assert said.count("\n") == 1
    assert setting in said


@pytest.mark.parametrize("option", ["-m", "--multirun", "-cn", "-cd", "--config-name", "--info", "--cfg=job"])
def test_an_option_of_hydras_own_program_says_what_to_use_instead(capsys, option):
    assert main(["search", option]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dpc: {option.partition('=')[0]}: ")
    assert said.count("\n") == 1
