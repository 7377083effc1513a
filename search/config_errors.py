"""What Hydra, OmegaConf, YAML and constructors raise, as one line that says what is wrong, where, and what is accepted."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import yaml
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data.system.errors import UserError


class ConfigError(UserError):
    """A setting that is unknown, of the wrong type, or out of range."""


@contextmanager
def one_line(of_unknown: Callable[[str], str] | None = None) -> Iterator[None]:
    """Turns what Hydra, OmegaConf and constructors raise into a ConfigError of one line.

    Args:
        of_unknown: the line for an override of a setting that is not there, given its key; None for Hydra's own words.
    """
    try:
        yield
    except ConfigError:
        raise
    except yaml.YAMLError as error:
        raise ConfigError(of_yaml(error)) from error
    except OverrideParseException as error:
        cure = "; close its brackets, and quote texts in them: \"key=['a(b)']\"" if "=" in error.override else ""
        raise ConfigError(f"{error.override}: not of the form key=value{cure}.") from error
    except (HydraException, OmegaConfBaseException, TypeError, ValueError) as error:
        cause: BaseException = error
        while isinstance(cause, HydraException | OmegaConfBaseException) and cause.__cause__ is not None:
            cause = cause.__cause__
        is_ours = isinstance(cause, ValueError) and not isinstance(cause, HydraException | OmegaConfBaseException)
        raise ConfigError(str(cause) if is_ours else _explain(str(error), of_unknown)) from error


@contextmanager
def whole_key(key: str, node: DictConfig, given_as: Callable[[str], str]) -> Iterator[None]:
    """Completes a key in the ValueError of a constructor.

    A class that settings of several places are of, such as those of a cell, knows only the end of its keys: ``cell.filters``.

    Args:
        key: of ``node``, whose objects are built.
        given_as: the setting that a person gives, for one that may repeat another.
    """
    try:
        yield
    except (HydraException, ValueError) as error:
        cause = error.__cause__ if isinstance(error, HydraException) and error.__cause__ else error
        name, rest = re.fullmatch(r"([\w.]*)(.*)", str(cause), re.S).groups()  # type: ignore[union-attr]
        whole = [path for path in keys_below(OmegaConf.to_container(node), f"{key}.") if path.endswith(f".{name}")]
        if len(whole) != 1 or not isinstance(cause, ValueError):
            raise
        raise ConfigError(f"{given_as(whole[0])}{rest}") from error


def of_yaml(error: yaml.YAMLError) -> str:
    """The line for a file that cannot be parsed."""
    return f"{' '.join(str(error).split())}; a YAML file is indented with spaces."


def no_such_setting(key: str, known: Iterable[str], otherwise: str) -> str:
    """The line for a setting that is not there: which known ones are like it, or ``otherwise`` where none is."""
    close = get_close_matches(key, list(known), 3)
    hint = f"did you mean {' or '.join(close)}?" if close else otherwise
    return f"{key}: no such setting; {hint}"


def keys_below(node: object, prefix: str = "") -> Iterator[str]:
    """The keys of plain settings and of all settings below them, each after ``prefix``."""
    if isinstance(node, dict):
        for key, value in node.items():
            if not str(key).startswith("_"):
                yield f"{prefix}{key}"
            yield from keys_below(value, f"{prefix}{key}.")


def _explain(text: str, of_unknown: Callable[[str], str] | None) -> str:
    """Hydra's message for a wrong override in our words, or on one line where there is nothing to add."""
    if of_unknown and (found := re.search(r"Could not override '([^']+)'", text)):
        return of_unknown(found[1])
    if found := re.search(r"Missing mandatory value: (\S+)|Key '(\S+)' is not in struct", text):
        key = found[found.lastindex or 1]
        return f"{key}: a value is needed; add {key}=... to the command."
    if found := re.search(r"Could not find '([^']+)'\s+Available options in '([^']+)':(.*?)\s+Config search path", text, re.S):
        return f"{found[2]}: no choice {found[1].split('/')[-1]!r}; accepted are {', '.join(found[3].split())}."
    if found := re.search(r"Multiple values for ([\w/]+)\.|^([\w/]+) appears more than once", text):
        key = found[found.lastindex or 1]
        in_file = f"in the defaults of a file, `override /{key}: <choice>`"
        return f"{key}: is chosen already; write {key}=<choice>, without a +, and {in_file}."
    if found := re.search(r"'\+\+([\w/.]+)=", text):
        return f"{found[1]}: is there already; write {found[1]}=..., without the +."
    if found := re.search(r"Environment variable '(.*)' not found\"?\s+full_key: (\S+)", text):
        return f"{found[2]}: {found[1]} is not set in this shell."
    if found := re.search(r"Interpolation key '(.*)' not found\s+full_key: (\S+)", text):
        return f"{found[2]}: there is no setting {found[1]} to repeat."
    if found := re.search(r"Error merging override ([\w./@+~]+)=(.*)", text):
        return f"{found[1].lstrip('+~')}: takes no value of this form, got {found[2]}."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("set env var", "object_type", "See https", "full_key"))]
    where = re.search(r"full_key: (\S+)", text)
    return " ".join([*([f"{where[1]}:"] if where else []), *lines])
