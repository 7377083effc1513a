"""The command line: ``dpc <command> [key=value ...]``."""

import argparse
import gc
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

from data.system.disk import is_full
from data.system.errors import LaterError, UserError
from data.system.termination import TRY_AGAIN, handle_sigterm, interrupted_code
from search.completion import candidates, script_for
from search.config import load
from search.config_errors import ConfigError
from search.help import COMMANDS, command_help, overview
from search.overrides import ONE_EACH
from search.versions import versions
from training.score import DivergedError

FAILED = 1
USAGE_ERROR = 2
_NEW_OBJECTS = 100_000
"""Between looks for garbage: at Python's 700 they are a twentieth of a small search's CPU, and what is imported stays."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 a wrong input, 130 interrupted, 75 try again."""
    handle_sigterm()
    gc.set_threshold(_NEW_OBJECTS)
    _escape_what_the_locale_lacks()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--complete"]:
        print("\n".join(candidates(given[1:])))
        return 0
    own, has_separator, passed_on = _split_at(given, "--")
    is_debug = "--debug" in own
    try:
        _refuse_hydras(own)
        options = _parser().parse_intermixed_args(own)
        if (about := _about(options)) is not None:
            print(about)
            return 0
        if options.command is None:
            print(overview())
            return USAGE_ERROR
        if has_separator and options.command != "submit":
            raise ConfigError(f"--: only `dpc submit` passes a command on, got {' '.join(passed_on)!r}.")
        config = load(options.command, options.overrides, options.config_dir, passed_on)
        if options.cfg:
            print(config.yaml(), end="")
            return 0
        module = options.command.replace("-", "_")
        settings = import_module(f"search.settings.{module}").read(config)
        return int(import_module(f"search.commands.{module}").run(settings))
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (UserError, OSError) as error:
        if is_debug:
            raise
        return _refused(error)
    except DivergedError as error:
        return _complain(str(error), FAILED)
    except Exception as error:
        if interrupted_code() == TRY_AGAIN:  # SIGTERM, of which a process of ours may have died first
            return _interrupted()
        traceback.print_exc()
        return _complain(f"internal error ({type(error).__name__}): a bug in dpc, not in your input; please report it.", FAILED)


def _escape_what_the_locale_lacks() -> None:
    """Letters of a name, or ±, on the standard output as on the standard error."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _interrupted() -> int:
    print("Interrupted.", file=sys.stderr)
    return interrupted_code()


def _refused(error: UserError | OSError) -> int:
    if isinstance(error, LaterError):
        return _complain(str(error), TRY_AGAIN)
    if isinstance(error, OSError) and is_full(error):
        place = error.filename or "output"
        return _complain(f"{place}: {error.strerror}. Free some space, then run the same command again.", FAILED)
    return _complain(str(error), USAGE_ERROR)


def _complain(text: str, code: int) -> int:
    print(f"dpc: {' '.join(text.split())}", file=sys.stderr)
    return code


_HYDRAS_OPTIONS = {
    ("-m", "--multirun"): ONE_EACH,
    ("-cn", "--config-name"): "name the command: dpc <command>",
    ("-cd", "-cp", "--config-path"): "use --config-dir DIR",
    ("-c",): "use --cfg",
    ("-i", "--info", "--resolve", "-p", "--package"): "`dpc <command> --cfg` prints the settings that it would use",
    ("-r", "--run", "--experimental-rerun"): "leave it out: a command runs",
    ("--hydra-help",): "use --help",
    ("-sc", "--shell-completion"): "`source <(dpc --completion bash)`, or zsh",
}


def _refuse_hydras(arguments: Sequence[str]) -> None:
    """Options of Hydra's own program, which people who know it try."""
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=True):
        option, equals, value = argument.partition("=")
        for names, instead in _HYDRAS_OPTIONS.items():
            if option in names:
                raise ConfigError(f"{option}: no such option; {instead}.")
        if option == "--cfg" and (equals or after in ("job", "hydra", "all")):
            raise ConfigError(f"--cfg: takes no value, got {value or after}; it prints the settings, and stops.")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; `dpc --help` lists commands and options.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="dpc", add_help=False, allow_abbrev=False)
    parser.add_argument("command", nargs="?")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--cfg", action="store_true")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--config-dir")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--completion")
    return parser


def _about(options: argparse.Namespace) -> str | None:
    """What is asked about the program, or about a command that it has; None where a command is to run."""
    if options.version:
        return versions()
    if options.completion:
        return script_for(options.completion)
    if options.command is not None and options.command not in COMMANDS:
        raise ConfigError(f"{options.command}: no such command; accepted are {', '.join(COMMANDS)}.")
    if options.help:
        return command_help(options.command) if options.command else overview()
    return None


def _split_at(arguments: list[str], separator: str) -> tuple[list[str], bool, list[str]]:
    if separator not in arguments:
        return arguments, False, []
    at = arguments.index(separator)
    return arguments[:at], True, arguments[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
