"""What ``dpc search`` is told."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt
from pydantic import BeforeValidator

from search.annotations import HERE, At
from search.config import Config
from search.config_errors import ConfigError
from search.overrides import Overrides
from search.settings import report
from search.settings.groups import AcceptedCode, Deciding, Images, Workplace
from search.settings.places import FolderName
from search.tracking.database import check_tables
from search.tracking.settings import Tracking
from training.score import Objective

LONG = 100
"""A search of as many trials scores ``REPEATS`` cells again by default: there it is a small price."""
MOST_TRIALS = 10**9
REPEATS = 8
"""So many pairs of scores tell the standard deviation of their differences to about a third."""


def _trial_name(value: object) -> str:
    """``value`` as a trial's number or a cell's digest. A digest whose sixteen digits are all decimal was read as a number."""
    name = f"{value:016d}" if isinstance(value, int) and value >= MOST_TRIALS else str(value)
    if not re.fullmatch(r"\d{1,9}|[0-9a-f]{16}", name):
        raise ValueError(f"must name trials by number, or cells by digest (quote one that looks like a number), got {value!r}.")
    return name


TimeLimit = Annotated[float, Gt(0)]
TrialNames = Annotated[
    list[Annotated[str, BeforeValidator(_trial_name)]],
    BeforeValidator(lambda names: names if isinstance(names, list | tuple) else [names]),
]


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """A search.

    Attributes:
        source: the search whose cells a fork begins with.
        noise: cells that are scored twice at the end; None for ``REPEATS`` of a search that is long enough.
        fork_rescore: how many of its best cells this search scores first, where its scores do not compare with this search's.
        retry_failed: whether trials that failed before are tried again.
        resume: trials that continue to the full budget, by number or by their cell's digest.
        timeout_s: after so long no more trials are begun; None for no limit.
        task: scores cells instead of the proxy task.
        fingerprint: the settings that a resume must find as they were.
        recorded: the others that its journal tells people.
    """

    name: FolderName
    fork: bool
    source: Annotated[FolderName | None, At("from")]
    fork_rescore: Annotated[int, Ge(0)]
    noise: Annotated[int, Ge(0)] | None
    retry_failed: bool
    resume: TrialNames
    timeout_s: TimeLimit | None
    task: Objective | None
    deciding: Annotated[Deciding, HERE]
    images: Annotated[Images, HERE]
    workplace: Annotated[Workplace, HERE]
    accept: AcceptedCode
    tracking: Tracking
    overrides: Overrides
    fingerprint: Mapping[str, Any]
    recorded: Mapping[str, Any]
    report: report.ReportSettings

    def __post_init__(self) -> None:
        check_tables(self.tracking.resolved(self.workplace.output_dir))
        self.workplace.check_copies(self.images.cache)
        self.deciding.proxy.check(self.images.backbone.output_stride)
        if not self.fork and self.source is not None:
            raise ValueError(
                f"from: only a fork begins with another search's cells; add fork=true, or drop from={self.source}."
            )
        if self.fork and self.source in (None, self.name):
            raise ValueError(f"from: a fork needs the name of another search; from={self.source} name={self.name} was given.")

    @property
    def repeats(self) -> int:
        """Cells that are scored twice."""
        return (REPEATS if self.deciding.trials >= LONG else 0) if self.noise is None else self.noise

    @property
    def folder(self) -> Path:
        return self.workplace.output_dir / self.name

    @property
    def parent(self) -> Path | None:
        """The folder of the search to fork from, if any."""
        return self.folder.with_name(self.source) if self.source else None


def read(config: Config) -> SearchSettings:
    """The settings of ``dpc search``. Raises a ConfigError for what is wrong."""
    deciding = config.read(Deciding)
    task = _task(config)
    own = {} if task is None else config.plain("task")
    images = ("dataset", "cache") if task is None else ()
    return config.read(
        SearchSettings,
        deciding=deciding,
        task=task,
        fingerprint={**deciding.fingerprint(config), **own},
        recorded={**config.plain("trials", *images, "fork", "from"), "arguments": config.overrides.given},
        report=report.of_search(config, config.value("name", FolderName)),
    )


def _task(config: Config) -> Objective | None:
    """The user's own way to score cells, if there is one."""
    given = config.plain("task")["task"]
    if given in (None, {"kind": None}):
        return None
    if not isinstance(given, dict) or given.get("kind") is None:
        raise ConfigError(f"task: must have a _target_, such as task._target_=my_module.MyTask, got {given}.")
    task: object = config.build("task", object)
    if not isinstance(task, Objective):
        raise ConfigError(f"task: must be callable as task(cell, seed), got a {type(task).__name__}.")
    return task
