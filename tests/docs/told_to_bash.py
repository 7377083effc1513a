"""Code blocks of pages, run by a real bash whose `dpc`, `python` and `make` are functions that ask this process.

So quotes, variables, loops and continued lines are bash's, and a command costs no start of Python.
"""

import os
import re
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import search.cli

ROOT = Path(__file__).parents[2]
FUNCTIONS = """
set -eu
asked() { printf '%s\\0' "$@" >&3; printf '\\n\\0' >&3; local code; read -r code <&4; return "$code"; }
for name in dpc python make ray; do eval "$name() { asked $name \\"\\$@\\"; }"; done
source() { :; }
"""
SMALL = {
    "search": (
        "cache.workers=1",
        "proxy.rungs=[1,2]",
        "proxy.batch_size=2",
        "proxy.cell.filters=4",
        "resources.cpu=2",
    ),
    "rerank": ("training.cell.filters=4", "training.iterations=1", "training.eval_every=1", "training.batch_size=2"),
}
SMALL["retrain"] = SMALL["rerank"]
SMALL["fidelity"] = SMALL["search"]
IMAGES = ("dataset.num_train=4", "dataset.num_val=2")
"""Of the embedded data set, for every command that reads it."""
FEW = {
    "rerank": ("top=2", "confirm=1"),
    "fidelity": ("cells.count=3",),
}
"""Instead of what a page gives: the same command, and less of it."""
NEITHER = {"backbone.weights=hub": "backbone.weights=null", "output_dir=/shared/outputs": "output_dir=outputs"}
"""What a test has not: the network, and a folder that machines share."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str

    @property
    def first(self) -> str:
        return self.text.split(maxsplit=1)[0]


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(language, text) for language, text in found]


def run(script: str) -> list[list[str]]:
    """The commands that bash gave, each of which ended well."""
    given = []
    with ExitStack() as opened:
        (read, asks), (answers, write) = os.pipe(), os.pipe()
        bash = opened.enter_context(
            subprocess.Popen(
                ["bash", "-c", f"exec 3>&{asks} 4<&{answers}\n{FUNCTIONS}{script}"],
                pass_fds=(asks, answers),
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        os.close(asks)
        os.close(answers)
        questions = opened.enter_context(os.fdopen(read, "rb"))
        replies = opened.enter_context(os.fdopen(write, "w", buffering=1))
        words: list[str] = []
        for word in _words(questions):
            if word != "\n":
                words.append(word)
                continue
            given.append(words)
            replies.write(f"{_answer(*words)}\n")
            words = []
        assert bash.wait() == 0, (given, bash.stderr.read())
    return given


def _words(stream):
    rest = b""
    while piece := os.read(stream.fileno(), 65536):
        *whole, rest = (rest + piece).split(b"\0")
        yield from (word.decode() for word in whole)


def _answer(program: str, *arguments: str) -> int:
    if program == "dpc":
        return main(arguments)
    if program == "python":
        assert arguments[0] == "-c", arguments
        exec(arguments[1], {"__name__": "__main__"})
    if program == "make":
        targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert arguments[0] in targets
    return 0


def main(arguments) -> int:
    """``dpc``, with small settings before those that are given, and fewer of what is counted."""
    command, *given = arguments
    if command.startswith("-") or command == "submit":
        return search.cli.main(arguments)
    given = [NEITHER.get(text, text) for text in given]
    keys = {text.partition("=")[0] for text in given}
    images = IMAGES if command in (*SMALL, "evaluate", "report") and "dataset" not in keys else ()
    few = FEW.get(command, ())
    if command == "search":  # one that goes on has more to do
        few = ("trials=3",) if "trials" in keys else ("trials=2",)
    return search.cli.main([command, *images, *SMALL.get(command, ()), *given, *few])
