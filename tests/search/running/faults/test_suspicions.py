"""Whether a fault is its GPU's or its cell's, without Ray; tests/search/running/test_attempts.py has it on a cluster."""

from search.running.faults.diagnosis import Location
from search.running.faults.suspicions import Suspicions

GPU, OTHER, THIRD = (Location("node", "10.0.0.3", (gpu,)) for gpu in "012")
ELSEWHERE = Location("another", "10.0.0.4", ("0",))


def test_a_gpu_is_broken_after_two_faults_of_trials_that_went_well_elsewhere():
    suspicions = Suspicions(3)
    for trial in (1, 2, 3):
        suspicions.add(trial, GPU)
        assert not suspicions.blames_cell(trial)
    assert suspicions.resolve(1, GPU) == []  # it recovered there
    assert suspicions.resolve(2, OTHER) == []
    assert suspicions.resolve(3, OTHER) == [GPU]
    assert suspicions.broken == {GPU}
    assert suspicions.resolve(4, OTHER) == []  # told once


def test_a_trial_that_fails_everywhere_blames_no_gpu():
    suspicions, blamed = Suspicions(3), []
    for location in (GPU, GPU, OTHER, THIRD):
        suspicions.add(1, location)
        blamed.append(suspicions.blames_cell(1))
    assert blamed == [False, False, False, True]
    suspicions.drop(1)
    assert suspicions.resolve(1, OTHER) == []
    assert suspicions.broken == set()


def test_a_node_is_not_to_blame_for_trials_that_went_well_on_another_of_its_gpus():
    suspicions = Suspicions(3)
    for trial in (1, 2):
        suspicions.add(trial, GPU.whole_node)
        assert suspicions.resolve(trial, OTHER) == []
    for trial in (3, 4):
        suspicions.add(trial, GPU.whole_node)
        broken = suspicions.resolve(trial, ELSEWHERE)
    assert broken == [GPU.whole_node]
