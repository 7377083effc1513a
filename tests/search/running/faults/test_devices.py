"""Which GPUs are broken, without Ray; tests/search/running/test_attempts.py has them on a cluster."""

from search.running.faults.devices import DeviceFaults
from search.running.faults.diagnosis import Device

GPU, OTHER, THIRD = (Device("node", "10.0.0.3", (gpu,)) for gpu in "012")


def test_a_device_is_left_out_for_two_errors_of_trials_that_went_well_elsewhere():
    faults = DeviceFaults(3)
    for trial in (1, 2, 3):
        assert not faults.failed(trial, GPU)
    assert faults.went_well(1, GPU) == []  # it recovered there
    assert faults.went_well(2, OTHER) == []
    assert faults.went_well(3, OTHER) == [GPU]
    assert faults.left_out == {GPU}
    assert faults.went_well(4, OTHER) == []  # told once


def test_a_trial_that_fails_on_every_device_blames_none():
    faults = DeviceFaults(3)
    assert [faults.failed(1, device) for device in (GPU, GPU, OTHER, THIRD)] == [False, False, False, True]
    faults.ended(1)
    assert faults.went_well(1, OTHER) == []
    assert faults.left_out == set()
