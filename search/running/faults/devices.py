"""Which GPUs are broken: those on which trials failed twice that went well elsewhere."""

from collections import Counter, defaultdict

from search.running.faults.diagnosis import Device

MOST_FAULTS = 2
"""Device errors on one device of trials that went well on another."""


class DeviceFaults:
    """Counts device errors. An error alone tells nothing: a trial that then goes well elsewhere blames the device, one that
    fails on several devices blames its cell.

    Args:
        most_devices: on so many a trial fails before its cell is to blame.

    Attributes:
        left_out: devices that are broken.
    """

    def __init__(self, most_devices: int) -> None:
        self.left_out: set[Device] = set()
        self._most_devices = most_devices
        self._suspected: defaultdict[int, list[Device]] = defaultdict(list)
        self._confirmed: Counter[Device] = Counter()

    def failed(self, trial: int, device: Device) -> bool:
        """A trial had an error on ``device``; returns whether its cell is to blame."""
        self._suspected[trial].append(device)
        return len(set(self._suspected[trial])) >= self._most_devices

    def went_well(self, trial: int, device: Device) -> list[Device]:
        """A trial was scored on ``device``; returns the devices that are left out from now on."""
        for suspected in self._suspected.pop(trial, ()):
            if suspected != device:
                self._confirmed[suspected] += 1
        broken = [device for device, faults in self._confirmed.items() if faults >= MOST_FAULTS]
        found = [device for device in broken if device not in self.left_out]
        self.left_out.update(found)
        return found

    def ended(self, trial: int) -> None:
        """A trial ended without a score, so its errors blame no device."""
        self._suspected.pop(trial, None)

    def use_again(self) -> None:
        """Give all devices another chance."""
        self.left_out.clear()
        self._suspected.clear()
        self._confirmed.clear()
