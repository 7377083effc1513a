"""What the commands are, and what their ``--help`` says: read from the YAML files, whose comments explain the settings."""

import re
from dataclasses import dataclass

from search.conf_files import CONF


@dataclass(frozen=True)
class Command:
    """One command; its module in search/commands/ is imported when it runs, so that help is instant."""

    summary: str
    example: str


COMMANDS = {
    "search": Command("search for the best cell", "dpc search experiment=demo trials=40"),
    "cell": Command("show a cell: diagram, parameters, multiply-adds", "dpc cell cell=dpc_top1 format=json"),
    "latency": Command("how long operators take on this machine", "dpc latency space.num_branches=3 features.channels=96"),
    "check-data": Command("find what is wrong with a data set", "dpc check-data dataset=folder dataset.root=my_data"),
    "cache": Command("build the feature cache that a search trains on", "dpc cache experiment=demo"),
    "list": Command("all searches of a folder: state, best score, cost", "dpc list output_dir=outputs"),
    "show": Command("how a search stands: leaderboard, failures, what comes next", "dpc show name=demo watch=true"),
    "report": Command("a search as one HTML page", "dpc report name=demo"),
    "rerank": Command("rank a search's best cells again, end to end", "dpc rerank experiment=demo from=demo top=5"),
    "fidelity": Command("is one way to score cells as good as another?", "dpc fidelity experiment=demo"),
    "retrain": Command("train backbone and cell end to end", "dpc retrain experiment=demo from=demo rank=1"),
    "evaluate": Command("score a retrained model", "dpc evaluate experiment=demo checkpoint=outputs/demo/retrain-1a2b3c"),
    "predict": Command(
        "label images with a retrained model",
        "dpc predict checkpoint=outputs/demo/retrain-1a2b3c images=photos output=labelled",
    ),
    "export": Command(
        "write a retrained model for ONNX or torch.export",
        "dpc export checkpoint=outputs/demo/retrain-1a2b3c format=onnx output=model.onnx",
    ),
    "import-weights": Command(
        "convert DeepLab's released TensorFlow weights to a model",
        "dpc import-weights checkpoint=deeplab/model.ckpt output=outputs/deeplab",
    ),
    "track": Command("bring MLflow up to date with a search", "dpc track name=demo"),
    "simulate": Command("compare ways to search without training", "dpc simulate algorithms=[uniform,evolution] trials=5000"),
    "compare": Command("several searches as one experiment, at equal cost", "dpc compare names=[a-0,a-1,b-0,b-1]"),
    "replay": Command("check that a journal's proposals and decisions can be reproduced", "dpc replay experiment=demo"),
    "submit": Command(
        "send a command to a Ray cluster and follow it",
        "dpc submit address=http://127.0.0.1:8265 -- search experiment=demo",
    ),
}

OPTIONS = (
    ("--help", "this text; also -h"),
    ("--cfg", "print the settings that a command would use, and stop"),
    ("--config-dir", "DIR: look for choices in a conf folder of your own, too"),
    ("--debug", "show the traceback of an error"),
    ("--version", "versions of this project and of its main dependencies"),
    ("--completion", "bash or zsh: what completes commands and settings there; source <(dpc --completion bash)"),
)
"""Options, and what each does."""


def overview() -> str:
    """What `dpc --help` prints."""
    lines = [f"  {name:<16}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "dpc: search for Dense Prediction Cells on a Ray cluster",
            "",
            "usage: dpc <command> [key=value ...] [options]",
            "",
            *lines,
            "",
            *_options(),
            "",
            "Every setting of conf/ is a key: `dpc <command> --help` lists them.",
        ]
    )


def command_help(command: str) -> str:
    """What `dpc <command> --help` prints."""
    choices = [f"  {group}={'|'.join(names)}" for group, names in groups(command).items()]
    return "\n".join(
        [
            f"dpc {command}: {COMMANDS[command].summary}",
            "",
            f"example: {COMMANDS[command].example}",
            "",
            *(["choices:", *choices, ""] if choices else []),
            "settings:",
            *(f"  {line}" for line in _settings(command).splitlines()),
            "",
            f"`dpc {command} --cfg` prints every setting with its value, those of the choices included.",
            "",
            *_options(),
        ]
    )


def _options() -> list[str]:
    return ["options:", *(f"  {option:<15}{what}" for option, what in OPTIONS)]


def groups(command: str) -> dict[str, list[str]]:
    """The choices that a command composes from: group to the names in conf/<group>/."""
    names = [name for text in sources(command) for name in re.findall(r"^  - (\w+):", text, flags=re.MULTILINE)]
    return {name: sorted(path.stem for path in (CONF / name).glob("*.yaml")) for name in names}


def _settings(command: str) -> str:
    """The settings and their comments, without the defaults list and what only Hydra reads."""
    text = "".join(re.sub(r"^(#.*\n)?defaults:\n(  - .*\n)*\n?", "", text, flags=re.MULTILINE) for text in sources(command))
    return "\n".join(line for line in text.splitlines() if not re.match(r"\s*_\w+_:", line))


def sources(command: str) -> list[str]:
    """The command's root file, and those that it is composed from."""
    text = (CONF / f"{command}.yaml").read_text(encoding="utf-8")
    parents = [name for name in re.findall(r"^  - (\w+)$", text, flags=re.MULTILINE) if name != "_self_"]
    return [text, *(source for parent in parents for source in sources(parent))]
