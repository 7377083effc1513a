"""The command line: ``dpc <command> [key=value ...]``."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from search.config import ConfigError, groups, load, settings_text

USAGE_ERROR = 2
INTERRUPTED = 130


@dataclass(frozen=True)
class Command:
    """One command; its module in search/commands/ is imported when it runs, so that help is instant."""

    summary: str
    example: str


COMMANDS = {
    "search": Command("search for the best cell", "dpc search experiment=demo trials=40"),
    "cell": Command("show a cell: diagram, parameters, multiply-adds", "dpc cell cell=dpc_top1 format=json"),
    "cache": Command("build the feature cache that a search trains on", "dpc cache experiment=demo"),
    "retrain": Command("train backbone and cell end to end", "dpc retrain experiment=demo from=demo rank=1"),
    "evaluate": Command("score a retrained model", "dpc evaluate experiment=demo checkpoint=outputs/demo/retrain-1a2b3c"),
    "track": Command("bring MLflow up to date with a search", "dpc track name=demo"),
    "submit": Command(
        "send a command to a Ray cluster and follow it",
        "dpc submit address=http://127.0.0.1:8265 -- search experiment=demo",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 a wrong input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    own, has_separator, passed_on = _split_at(given, "--")
    options = _parser().parse_intermixed_args(own)
    try:
        if options.command is None:
            print(_overview())
            return 0 if options.help else USAGE_ERROR
        if options.command not in COMMANDS:
            raise ConfigError(f"{options.command}: no such command; accepted are {', '.join(COMMANDS)}.")
        if options.help:
            print(_help(options.command))
            return 0
        if has_separator and options.command != "submit":
            raise ConfigError(f"--: only `dpc submit` passes a command on, got {' '.join(passed_on)!r}.")
        config = load(options.command, options.overrides, options.config_dir, passed_on)
        if options.cfg:
            print(config.yaml(), end="")
            return 0
        return int(import_module(f"search.commands.{options.command}").run(config))
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        if options.debug:
            raise
        print(f"dpc: {' '.join(str(error).split())}", file=sys.stderr)
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dpc", add_help=False, allow_abbrev=False)
    parser.add_argument("command", nargs="?")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--cfg", action="store_true")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--config-dir")
    return parser


def _split_at(arguments: list[str], separator: str) -> tuple[list[str], bool, list[str]]:
    if separator not in arguments:
        return arguments, False, []
    at = arguments.index(separator)
    return arguments[:at], True, arguments[at + 1 :]


def _overview() -> str:
    lines = [f"  {name:<10}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "dpc: search for Dense Prediction Cells on a Ray cluster",
            "",
            "usage: dpc <command> [key=value ...] [options]",
            "",
            *lines,
            "",
            *_OPTIONS,
            "",
            "Every setting of conf/ is a key: `dpc <command> --help` lists them.",
        ]
    )


def _help(command: str) -> str:
    choices = [f"  {group}={'|'.join(names)}" for group, names in groups(command).items()]
    return "\n".join(
        [
            f"dpc {command}: {COMMANDS[command].summary}",
            "",
            f"example: {COMMANDS[command].example}",
            "",
            *(["choices:", *choices, ""] if choices else []),
            "settings:",
            *(f"  {line}" for line in settings_text(command).splitlines()),
            "",
            f"`dpc {command} --cfg` prints every setting with its value, those of the choices included.",
            "",
            *_OPTIONS,
        ]
    )


_OPTIONS = (
    "options:",
    "  -h, --help         this text",
    "  --cfg              print the settings that a command would use, and stop",
    "  --config-dir DIR   look for choices in a conf folder of your own, too",
    "  --debug            show the traceback of an error",
)


if __name__ == "__main__":
    sys.exit(main())
