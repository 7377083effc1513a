"""The cluster's autoscaler: whether there is one, and whether it could start a node that holds a trial.

Ray publishes no node types. Its autoscaler v2 says which requests no node type can hold; the older one says nothing.
"""

import time

from ray.util import placement_group, remove_placement_group

from search.running.ray_internals import (
    autoscaler_v1_is_starting_nodes,
    autoscaler_v1_node_types,
    autoscaler_v2_status,
    has_autoscaler_v2,
)
from search.running.resources import Resources, ResourcesError

ANSWER_TIMEOUT_S = 30.0
"""An autoscaler looks at what is asked for every five seconds."""


def autoscales() -> bool:
    """Whether the cluster starts nodes by itself.

    A monitor reports on every head. Where it starts no nodes, those that are there have no type but themselves.
    """
    if has_autoscaler_v2(ask=True):
        return any(node.ray_node_type_name for node in autoscaler_v2_status().cluster_resource_state.node_states)
    return any(not name.startswith("node_") for name in autoscaler_v1_node_types())


def is_growing() -> bool:
    """Whether nodes are about to join the cluster."""
    if not has_autoscaler_v2(ask=True):
        return autoscaler_v1_is_starting_nodes()
    status = autoscaler_v2_status().autoscaling_state
    return bool(status.pending_instance_requests or status.pending_instances)


def check_growth(resources: Resources) -> None:
    """Ask the autoscaler for the room of one trial until it starts a node, or says that none can have it.

    The older autoscaler does not say: there, and where the answer is late, the search's trials wait for nodes.

    Raises:
        ResourcesError: no node type can hold a trial.
    """
    if not has_autoscaler_v2():
        return
    room = placement_group([resources.bundle], bundle_label_selector=resources.bundle_labels())  # gone with this process
    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
    try:
        while not room.wait(0.5) and time.monotonic() < deadline_s:
            answer = autoscaler_v2_status().autoscaling_state
            if any(room.id.hex() in request.details for request in answer.infeasible_gang_resource_requests):
                raise ResourcesError(
                    f"resources: a trial asks for {resources}, and no node type of the autoscaler has that; "
                    "see available_node_types (ray up) or workerGroupSpecs (KubeRay)."
                )
            if is_growing():
                return
    finally:
        remove_placement_group(room)
