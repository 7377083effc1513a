"""What a trial needs of a node."""

import pytest

from search.running.resources import Node, Resources


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
