"""What Ray does not promise to keep: every use of its private names and of what its public objects hold inside.

pyproject.toml and constraints.txt bound Ray's version; at a new one ``tests/search/running/test_ray_internals.py`` tells
what has gone. What its jobs API says in words is in ``cluster/jobs_api.py``.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from typing import Any

from ray._private import services
from ray._private.node import Node
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS, PROCESS_TYPE_DASHBOARD_AGENT
from ray._private.state import state
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated import autoscaler_pb2
from ray.exceptions import RayActorError
from ray.experimental.internal_kv import internal_kv_get_gcs_client
from ray.tune.execution import class_cache

from search.running import silent_agent

LONGEST_TEMPORARY = 30
"""Characters of a folder for temporary files in which Ray's sockets have room."""
_SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}
"""Tune would copy them from the driver to the description of every trial's actor, which the dashboard shows."""


def options_of_local_ray() -> dict[str, Any]:
    """Options of ``ray.init`` for a Ray of this machine alone, which has no public ones for them."""
    return {
        # Processes that Ray starts ahead lack the workers' environment: two seconds of CPU for nothing.
        "_system_config": {"prestart_worker_first_driver": False},
        "_temp_dir": _short_folder(),
    }


@contextmanager
def without_servers() -> Iterator[None]:
    """A Ray of this machine alone that starts inside has no autoscaler, reader of logs or dashboard: most of what it costs.

    ``include_dashboard=False`` would only keep the pages from the dashboard's server.
    """

    def program(component: str, *arguments: Any, **options: Any) -> list[str]:
        if component == PROCESS_TYPE_DASHBOARD_AGENT:
            return [sys.executable, "-S", "-E", silent_agent.__file__]
        return programs(component, *arguments, **options)

    programs = services._build_python_executable_command_memory_profileable
    with ExitStack() as undone:
        for name in _SERVERS:
            undone.enter_context(_replaced(Node, name, lambda *_, **__: None))
        undone.enter_context(_replaced(services, programs.__name__, program))
        yield


@contextmanager
def _replaced(holder: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


_SERVERS = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node that start what nobody asks on one machine."""


def _short_folder() -> str | None:
    """Where Ray of this machine keeps its sockets, whose paths have 107 characters at most; None for its own choice."""
    if len(tempfile.gettempdir()) <= LONGEST_TEMPORARY:
        return None
    return f"/tmp/dpc-{os.getuid()}"


def draining_nodes() -> Sequence[str]:
    """Ray's ids of the nodes that are about to go."""
    return list(state.get_draining_nodes())


def preempted(why: str) -> RayActorError:
    """What Tune takes for a trial whose node goes: it starts the trial again elsewhere, and counts no failure."""
    return RayActorError(error_msg=why, preempted=True)


def keep_secrets() -> None:
    """Let Tune copy no keys of the driver into what it tells of trials."""
    class_cache.ENV_VARS_TO_PROPAGATE -= _SECRETS


def actor_of(trial: Any) -> Any:
    """The actor that runs one of Tune's trials."""
    return trial.temporary_state.ray_actor


def live_trials(tune_controller: Any) -> Sequence[Any]:
    """Tune's trials that have not ended."""
    return list(tune_controller.get_live_trials())


def stop_waiting(tune_controller: Any, trial: Any) -> None:
    """End one of Tune's trials that waits for a place. Tune prints a line of it, however silent it was told to be."""
    with redirect_stdout(StringIO()):
        tune_controller.stop_trial(trial)


def has_autoscaler_v2(ask: bool = False) -> bool:
    """Whether the autoscaler is of the kind that says what it cannot start: as is known here, or as the cluster says."""
    return bool(is_autoscaler_v2(fetch_from_server=ask))


def autoscaler_v2_status() -> Any:
    """What autoscaler v2 says: of nodes in ``cluster_resource_state``, of what is asked for in ``autoscaling_state``."""
    reply = autoscaler_pb2.GetClusterStatusReply()  # type: ignore[attr-defined]  # made when it is imported
    reply.ParseFromString(internal_kv_get_gcs_client().get_cluster_status())
    return reply


def autoscaler_v1_node_types() -> Sequence[str]:
    """The types of the nodes that the older autoscaler's monitor reports."""
    return list((_autoscaler_v1_report().get("node_type_mapping") or {}).values())


def autoscaler_v1_is_starting_nodes() -> bool:
    """Whether the older autoscaler has asked for nodes, or waits for some to join."""
    report = _autoscaler_v1_report()
    return bool(report.get("pending_launches") or report.get("pending_nodes"))


def _autoscaler_v1_report() -> dict[str, Any]:
    status = json.loads(internal_kv_get_gcs_client().internal_kv_get(DEBUG_AUTOSCALING_STATUS.encode(), None) or b"{}")
    return status.get("autoscaler_report") or {}


def place_of_actor(error: str) -> tuple[str, str] | None:
    """Ray's id and the address of the node on which the actor was whose death an error tells of."""
    told = re.search(r"actor_id: ([0-9a-f]+)", error)
    address = state.actor_table(told[1], None, None).get("Address", {}) if told else {}
    return (address["NodeID"], address["IPAddress"]) if address.get("NodeID") else None
