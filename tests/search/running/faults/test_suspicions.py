"""Whether a fault is its GPU's or its cell's, without Ray; tests/search/running/test_attempts.py has it on a cluster."""

from search.running.faults.diagnosis import Location
from search.running.faults.suspicions import Suspicions

GPU, OTHER, THIRD = (Location("node", "10.0.0.3", (gpu,)) for gpu in "012")
ELSEWHERE = Location("another", "10.0.0.4", ("0",))


def test_a_gpu_is_broken_after_two_faults_of_trials_that_went_well_elsewhere():
    suspicions = Suspicions(3)
    for trial in (1, 2, 3):
        suspicions.add(trial, GPU, suspicions.num_faults)
        assert not suspicions.blames_cell(trial)
    assert suspicions.resolve(1, GPU) == []  # it recovered there
    assert suspicions.resolve(2, OTHER) == []
    assert suspicions.resolve(3, OTHER) == [GPU]
    assert suspicions.broken == {GPU}
    assert suspicions.resolve(4, OTHER) == []  # told once


def test_a_trial_that_fails_everywhere_blames_no_gpu():
    suspicions, blamed = Suspicions(3), []
    for location in (GPU, GPU, OTHER, THIRD):
        suspicions.add(1, location, suspicions.num_faults)
        blamed.append(suspicions.blames_cell(1))
    assert blamed == [False, False, False, True]
    suspicions.drop(1)
    assert suspicions.resolve(1, OTHER) == []
    assert suspicions.broken == set()


def test_a_node_is_not_to_blame_for_trials_that_went_well_on_another_of_its_gpus():
    suspicions = Suspicions(3)
    for trial in (1, 2):
        suspicions.add(trial, GPU.whole_node, suspicions.num_faults)
        assert suspicions.resolve(trial, OTHER) == []
    for trial in (3, 4):
        suspicions.add(trial, GPU.whole_node, suspicions.num_faults)
        broken = suspicions.resolve(trial, ELSEWHERE)
    assert broken == [GPU.whole_node]


def test_one_event_that_fails_all_trials_of_a_gpu_counts_once():
    suspicions = Suspicions(3)
    for trial in (1, 2, 3, 4):
        suspicions.add(trial, GPU, began=0)
    assert [suspicions.resolve(trial, OTHER) for trial in (1, 2, 3, 4)] == [[]] * 4
    suspicions.add(5, GPU, began=suspicions.num_faults)
    assert suspicions.resolve(5, OTHER) == [GPU]


def test_a_cell_that_fails_its_neighbours_everywhere_is_to_blame_though_theirs_count_first():
    suspicions = Suspicions(3)
    for location, neighbour in ((GPU, 2), (OTHER, 3), (THIRD, 4)):
        began = suspicions.num_faults
        suspicions.add(neighbour, location, began)
        suspicions.add(1, location, began)
        suspicions.resolve(neighbour, ELSEWHERE)
    assert suspicions.blames_cell(1)
    assert suspicions.broken == set()
