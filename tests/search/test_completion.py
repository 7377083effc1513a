"""Completion: what a shell offers at each place of a command line, and that bash shows it."""

import shutil
import subprocess

import pytest

from search.cli import main
from search.completion import SHELLS, candidates
from search.help import COMMANDS, OPTIONS


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ([""], ["search", "check-data", "submit"]),
        (["re"], ["replay", "report", "rerank", "retrain"]),
        (["search", "--c"], ["--cfg", "--config-dir"]),
        (["search", "experiment="], ["experiment=demo", "experiment=camvid"]),
        (["search", "algorithm=un"], ["algorithm=uniform"]),
        (["search", "tri"], ["trials="]),
        (["search", "dataset"], ["dataset=", "dataset."]),
        (["search", "dataset.h"], []),
        (["search", "dataset=folder", "dataset.label"], ["dataset.label_map="]),
        (["search", "experiment=camvid", "dataset.h"], ["dataset.holdout_sequence="]),
        (["search", "proxy.cell.f"], ["proxy.cell.filters="]),
        (["search", "fork="], ["fork=true", "fork=false"]),
        (["search", "~space.operators.po"], ["~space.operators.pooling", "~space.operators.pointwise"]),
        (["search", "trails=3", "tri"], ["trials="]),
        (["cell", "cell=d"], ["cell=dpc_top1"]),
        (["submit", "address=http://there", "--", "sea"], ["search"]),
        (["submit", "job=a", "--", "search", "algorithm=pa"], ["algorithm=pareto"]),
    ],
    ids=" ".join,
)
def test_what_is_offered_fits_the_place(words, some):
    offered = candidates(words)
    assert set(some) <= set(offered)
    assert bool(some) == bool(offered)
    assert all(text.startswith(words[-1]) for text in offered)


def test_searches_and_models_of_the_folder_are_offered_by_name(tmp_path):
    for folder in ("demo/retrain-1a", "other"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("journal.jsonl", "retrain-1a.lock"):
        (tmp_path / "demo" / file).touch()
    assert candidates(["report", f"output_dir={tmp_path}", "name="]) == ["name=demo"]
    assert candidates(["evaluate", f"output_dir={tmp_path}", "checkpoint="]) == [f"checkpoint={tmp_path}/demo/retrain-1a"]


def test_every_command_and_its_options_are_offered_first():
    assert set(candidates([""])) == set(COMMANDS)
    assert set(candidates(["list", "--"])) == {option for option, _ in OPTIONS}


def test_bash_is_given_what_follows_the_sign_that_it_breaks_words_at(tmp_path):
    program = tmp_path / "dpc"
    program.write_text('#!/bin/sh\n[ "$*" = "--complete search algorithm=u" ] && echo algorithm=uniform\n')
    program.chmod(0o755)
    line = f"{program} search algorithm=u"
    script = f"{SHELLS['bash']}\nCOMP_LINE='{line}' COMP_POINT={len(line)}\n_dpc\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "uniform\n", done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_is_to_run_is_a_script_of_its_language(capsys, shell):
    assert main(["--completion", shell]) == 0
    script = capsys.readouterr().out
    assert "--complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_another_shell_is_refused_in_one_line(capsys):
    assert main(["--completion", "fish"]) == 2
    assert capsys.readouterr().err == "dpc: --completion: accepted are bash and zsh, got 'fish'.\n"
