"""Where trials may run: what Ray is asked for."""

from math import ceil

from ray import tune

from search.resources import Resources
from search.tuning.cluster import nodes
from search.tuning.faults import Short


def placement(resources: Resources, alone: Short | None) -> tune.PlacementGroupFactory:
    """The room of one trial; one that is ``alone`` shares no GPU, or not even the node, with another.

    No other trial of ours has room on a node whose CPUs are all taken, so that the largest node's are asked for.
    """
    bundle = resources.bundle
    if alone and resources.gpu:
        bundle["GPU"] = ceil(resources.gpu)
    if alone == Short.NODE:
        bundle["CPU"] = max((node.resources["CPU"] for node in nodes() if resources.slots_on(node)), default=resources.cpu)
    labels = [dict(resources.label_selector)] if resources.label_selector else None
    return tune.PlacementGroupFactory([bundle], bundle_label_selector=labels)
