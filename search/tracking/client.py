"""MLflow's client in our words: the only file that knows MLflow.

It takes two seconds to import, which is left to the first connection: in a search, to the tracking thread.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from getpass import getuser
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from data.system.uris import without_secrets
from search.journal.lines import JournalError
from search.tracking.dashboard_table import VIEW_TAG, view_link
from search.tracking.database import deleted, make_sqlite, one_maker, other_schema
from search.tracking.settings import Tracking, TrackingError

if TYPE_CHECKING:  # for the names of types alone
    import numpy.typing as npt
    from mlflow.entities import Run

_T = TypeVar("_T")

_PERMANENT = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED", "RESOURCE_ALREADY_EXISTS", "NOT_IMPLEMENTED")
"""Error codes of MLflow that a second try would meet again."""
PAGE = 250
"""Runs in an answer: with 1,000, a busy server with 28,000 runs takes longer than a request may."""


@dataclass(frozen=True, slots=True)
class Point:
    """Values of several metrics at one step."""

    time_s: float
    step: int
    values: Mapping[str, float]


class Tracker:
    """MLflow's client for one experiment, in our words."""

    def __init__(self, tracking: Tracking) -> None:
        _be_quiet_and_brief()
        from mlflow import MlflowClient  # noqa: PLC0415 - two seconds; telemetry is decided at import

        self._tracking = tracking
        self._experiment: str | None = None
        if tracking.sqlite_file:
            make_sqlite(tracking.sqlite_file.absolute(), lambda uri: MlflowClient(uri).search_experiments(max_results=1))
        with one_maker(str(tracking.uri)):
            self.client = MlflowClient(tracking.uri)

    @property
    def experiment(self) -> str:
        """MLflow's id of the experiment, which is made when missing."""
        if self._experiment is None:
            found = self.client.get_experiment_by_name(self._tracking.experiment)
            if found is not None and found.lifecycle_stage == "deleted":
                raise TrackingError(deleted(self._tracking, found.experiment_id))
            self._experiment = found.experiment_id if found else self._create_experiment()
        return self._experiment

    def keep_view(self, key: str, view: str) -> str:
        """Keep a view of the experiment's runs, and say where a dashboard shows it."""
        self.client.set_experiment_tag(self.experiment, f"{VIEW_TAG}{key}", view)
        return view_link(self._tracking.dashboard, self.experiment, key)

    def run(self, run_id: str) -> "Run":
        return self.client.get_run(run_id)

    def run_of_model(self, uri: str) -> str:
        """The id of the run that ``models:/<name>/<version>`` comes from."""
        name, _, version = uri.removeprefix("models:/").rpartition("/")
        return str(self.client.get_model_version(name, version).run_id)

    def find(self, condition: str) -> "list[Run]":
        """The runs that ``condition`` (MLflow's filter string) holds for, oldest first."""
        found: list[Run] = []
        page: str | None = None
        while page is None or page:
            runs = self.client.search_runs(
                [self.experiment], condition, max_results=PAGE, order_by=["start_time ASC"], page_token=page
            )
            found += runs
            page = runs.token or ""
        return found

    def create(self, name: str, start_s: float, tags: Mapping[str, str]) -> str:
        """Create a run and return its id. Its tags are there from the first moment: it can be found again."""
        clipped = {key: _clipped(value) for key, value in tags.items()}
        return str(self.client.create_run(self.experiment, _ms(start_s), _user() | clipped, name).info.run_id)

    def log(
        self,
        run_id: str,
        params: Mapping[str, str] | None = None,
        points: Sequence[Point] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add all to a run, in as few requests as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

        metrics = [
            Metric(key, float(value), _ms(point.time_s), point.step) for point in points for key, value in point.values.items()
        ]
        texts = [Param(key, _clipped(value)) for key, value in (params or {}).items()]
        marks = [RunTag(key, _clipped(value)) for key, value in (tags or {}).items()]
        for few_metrics, few_texts, all_marks in zip_longest(
            _batches(metrics, 800), _batches(texts, 80), [marks], fillvalue=()
        ):
            self.client.log_batch(run_id, few_metrics, few_texts, all_marks)

    def register_onnx(self, run_id: str, file: Path, name: str, example_BCHW: "npt.NDArray[Any]", num_classes: int) -> None:
        """Keep an ONNX file as the run's model, with its signature, and as the next version of ``name`` in the registry.

        The signature leaves batch, height and width free: MLflow refuses what does not fit it.
        """
        import mlflow.onnx  # noqa: PLC0415
        import onnx  # noqa: PLC0415 - an optional dependency
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
        from mlflow.models import ModelSignature  # noqa: PLC0415
        from mlflow.types import Schema, TensorSpec  # noqa: PLC0415

        images, logits = (
            Schema([TensorSpec(example_BCHW.dtype, (-1, channels, -1, -1))])
            for channels in (example_BCHW.shape[1], num_classes)
        )
        with TemporaryDirectory() as folder:
            mlflow.onnx.save_model(
                onnx.load(file),
                f"{folder}/model",
                signature=ModelSignature(images, logits),
                input_example=example_BCHW,
                pip_requirements=["onnxruntime"],
            )
            self.client.log_artifacts(run_id, f"{folder}/model", "model")
        with suppress(MlflowException):  # it is registered already
            self.client.create_registered_model(name)
        if any(version.name == name for version in self.client.search_model_versions(f"run_id = '{run_id}'")):
            return  # an answer to an earlier try was lost
        source = f"{self.client.get_run(run_id).info.artifact_uri}/model"
        self.client.create_model_version(name, source, run_id)

    def points_of(self, run_id: str) -> set[tuple[str, int, float]]:
        """Metric, step and value of all that the run shows."""
        shown = [point for key in self.run(run_id).data.metrics for point in self.client.get_metric_history(run_id, key)]
        return {(point.key, point.step, point.value) for point in shown}

    def end(self, run_id: str, status: str, end_s: float) -> None:
        self.client.set_terminated(run_id, status, _ms(end_s))

    def _create_experiment(self) -> str:
        place = self._tracking.artifacts
        if place is None and self._tracking.sqlite_file:
            place = str(self._tracking.sqlite_file.absolute().parent / "mlartifacts")
        return str(self.client.create_experiment(self._tracking.experiment, place))


@contextmanager
def one_line_errors(tracking: Tracking) -> Iterator[None]:
    """Whatever MLflow, its database or its network raise becomes a TrackingError of one line."""
    try:
        yield
    except (JournalError, TrackingError):
        raise
    except Exception as error:
        text = without_secrets(str(error), str(tracking.uri))
        is_down = "Max retries exceeded" in text or "Connection refused" in text
        line = "it does not answer" if is_down else (text.splitlines() or [""])[0][:300] or type(error).__name__
        if "database schema" in text or "Can't locate revision" in text:
            line = other_schema(tracking, is_newer="Can't locate revision" in text)
        is_permanent = getattr(error, "error_code", "") in _PERMANENT
        raise TrackingError(f"{tracking}: {line.rstrip('.')}.", is_permanent=is_permanent) from error


def _be_quiet_and_brief() -> None:
    """Settings of MLflow that the user may set otherwise.

    Retries are ours: MLflow's own send a creation again without a look at whether it arrived. So is what is said of errors:
    MLflow's would be pages of traceback.
    """
    for name, value in (
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
        ("MLFLOW_LOGGING_LEVEL", "CRITICAL"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ):
        os.environ.setdefault(name, value)


def _batches(values: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


@cache
def _user() -> dict[str, str]:
    """The tag of a dashboard's column "User"; in a container there may be none."""
    try:
        return {"mlflow.user": getuser()}
    except (KeyError, OSError):
        return {}


def _clipped(text: str) -> str:
    """At most as long as MLflow takes."""
    return text if len(text) <= 6000 else f"{text[:5990]} ..."


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
