"""An MLflow server that is down, slow, loses answers, and loses runs. As much of its client as the search uses."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from tests.lives.world import World


class Metric(NamedTuple):
    key: str
    value: float
    timestamp: int
    step: int


class Text(NamedTuple):
    """A parameter or a tag."""

    key: str
    value: str


class MlflowError(Exception):
    def __init__(self, error_code: str, text: str) -> None:
        super().__init__(text)
        self.error_code = error_code


@dataclass
class Run:
    """``metrics``: every point once, however often it was told."""

    run_id: str
    name: str
    start_ms: int
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    metrics: set[Metric] = field(default_factory=set)
    status: str = "RUNNING"
    end_time: int | None = None
    is_deleted: bool = False

    @property
    def info(self) -> SimpleNamespace:
        return SimpleNamespace(run_id=self.run_id, status=self.status, end_time=self.end_time)

    @property
    def data(self) -> SimpleNamespace:
        latest = {}
        for metric in sorted(self.metrics, key=lambda one: (one.step, one.timestamp, one.value)):
            latest[metric.key] = metric.value
        return SimpleNamespace(tags=dict(self.tags), params=dict(self.params), metrics=latest)


class Page(list[Run]):
    token = ""


@dataclass
class MlflowServer:
    """What the tracker holds."""

    world: World
    runs: dict[str, Run] = field(default_factory=dict)
    num_created: int = 0
    has_experiment: bool = False
    down_until_s: float = -1.0

    @property
    def shown(self) -> list[Run]:
        """The runs that a dashboard shows."""
        return [run for run in self.runs.values() if not run.is_deleted]

    @contextmanager
    def as_module(self) -> Iterator[None]:
        """Within, ``import mlflow`` finds this server's client."""
        names = ("mlflow", "mlflow.entities")
        known = {name: sys.modules.get(name) for name in names}
        mlflow, entities = (ModuleType(name) for name in names)
        mlflow.MlflowClient = lambda uri: Client(self)  # type: ignore[attr-defined]
        mlflow.entities = entities  # type: ignore[attr-defined]
        entities.Metric, entities.Param, entities.RunTag = Metric, Text, Text  # type: ignore[attr-defined]
        sys.modules |= {"mlflow": mlflow, "mlflow.entities": entities}
        try:
            yield
        finally:
            for name, module in known.items():
                if module is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module


class Client:
    """As ``mlflow.MlflowClient``. Each request may fail before it is carried out, or after."""

    def __init__(self, server: MlflowServer) -> None:
        self._server = server

    def get_experiment_by_name(self, name: str) -> Any:
        with self._request() as server:
            return SimpleNamespace(experiment_id="1", lifecycle_stage="active") if server.has_experiment else None

    def create_experiment(self, name: str, place: str | None) -> str:
        with self._request() as server:
            if server.has_experiment:
                raise MlflowError("RESOURCE_ALREADY_EXISTS", "the experiment exists")
            server.has_experiment = True
            return "1"

    def set_experiment_tag(self, experiment: str, key: str, value: str) -> None:
        with self._request():
            """Nobody looks at it."""

    def search_runs(
        self, experiments: list[str], condition: str, max_results: int, order_by: list[str], page_token: str | None
    ) -> Page:
        with self._request() as server:
            key, value = condition.split("`")[1], condition.split("'")[1]
            found = [run for run in server.shown if run.tags.get(key) == value]
            return Page(sorted(found, key=lambda run: run.start_ms))

    def create_run(self, experiment: str, start_ms: int, tags: dict[str, str], name: str) -> Run:
        with self._request() as server:
            server.num_created += 1
            run = Run(f"run-{server.num_created}", name, start_ms, dict(tags))
            server.runs[run.run_id] = run
            return run

    def log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Text], tags: Sequence[Text]) -> None:
        with self._request() as server:
            run = self._run(server, run_id)
            for param in params:
                if run.params.setdefault(param.key, param.value) != param.value:
                    raise MlflowError("INVALID_PARAMETER_VALUE", f"{param.key} of {run_id} was {run.params[param.key]} before")
            run.metrics.update(metrics)
            run.tags |= dict(tags)

    def set_terminated(self, run_id: str, status: str, end_ms: int) -> None:
        with self._request() as server:
            run = self._run(server, run_id)
            run.status, run.end_time = status, end_ms

    def update_run(self, run_id: str, status: str) -> None:
        with self._request() as server:
            self._run(server, run_id).status = status

    def delete_run(self, run_id: str) -> None:
        with self._request() as server:
            self._run(server, run_id).is_deleted = True

    def log_artifact(self, run_id: str, file: str) -> None:
        with self._request() as server:
            self._run(server, run_id)

    @contextmanager
    def _request(self) -> Iterator[MlflowServer]:
        server, world = self._server, self._server.world
        world.step()
        if fault := world.meets("the tracker is slow"):
            world.pause(40 * fault.extent)
        if fault := world.meets("the tracker is down"):
            server.down_until_s = world.now_s + 300 * fault.extent
        if world.now_s < server.down_until_s:
            raise ConnectionError("Max retries exceeded")
        if server.runs and (fault := world.meets("the tracker loses a run")):
            server.runs.pop(sorted(server.runs)[int(fault.extent * len(server.runs))])
        yield server
        world.step()
        if world.meets("the tracker's answer is lost"):
            raise ConnectionError("the connection was lost")

    def _run(self, server: MlflowServer, run_id: str) -> Run:
        if run_id not in server.runs or server.runs[run_id].is_deleted:
            raise MlflowError("RESOURCE_DOES_NOT_EXIST", f"there is no run {run_id}")
        return server.runs[run_id]
