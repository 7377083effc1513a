"""What a trial needs of a node."""

import pytest

from search.running.faults.tolerance import FaultTolerance
from search.running.resources import Node, Resources
from search.settings.groups import RayCluster, Workplace


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        (Resources(), 8),
        (Resources(gpu=1), 2),
        (Resources(gpu=0.1, cpu=0.1), 20),
        (Resources(gpu=0.6), 2),
        (Resources(custom={"fast_disk": 0.5}), 2),
        (Resources(label_selector={"zone": "eu"}), 8),
        (Resources(label_selector={"zone": "in(us, eu)", "spot": "!yes"}), 8),
        (Resources(label_selector={"zone": "!in(us, eu)"}), 0),
        (Resources(label_selector={"spot": "no"}), 0),
    ],
    ids=str,
)
def test_a_node_holds_as_many_trials_as_it_has_room_and_the_labels_for(resources, slots):
    assert resources.slots_on(Node({"CPU": 8, "GPU": 2, "fast_disk": 1}, {"zone": "eu"})) == slots


@pytest.mark.parametrize("gpu", [0, 0.25, 0.6, 1, 2])
def test_settings_leave_it_to_torch_how_many_gpus_this_machine_has(gpu, tmp_path):
    here = RayCluster(address="local", max_pending=1, max_concurrent=None)
    Workplace(output_dir=tmp_path, resources=Resources(gpu=gpu), faults=FaultTolerance(), ray=here)
