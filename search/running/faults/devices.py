"""GPUs and nodes that fail trials: which of them are broken, and how trials are kept from those."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from search.running.faults.diagnosis import Device, DeviceError
from search.running.nodes.cluster import nodes
from search.running.resources import Resources

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


@dataclass(frozen=True, slots=True)
class _Held:
    """The place of a trial's failed attempt, and the actor that occupies it."""

    trial: int
    error: DeviceError
    actor: Any


class HeldDevices:
    """Holds the place of a device error until its trial has shown whether the device or the cell is to blame.

    Tune cannot be told to avoid a GPU or a node. A place that is occupied is avoided by itself, and the trial starts again
    elsewhere.

    Args:
        faults: tell which devices are broken; those stay held. Of a shared one, each place learns it by an error of its own.
        on_left_out: told each broken device and why.
    """

    def __init__(self, faults: DeviceFaults, resources: Resources, on_left_out: Callable[[Device, str], None]) -> None:
        self._faults, self._resources, self._on_left_out = faults, resources, on_left_out
        self._held: list[_Held] = []
        self._is_possible = True

    @property
    def places(self) -> Counter[str]:
        """How many are held on each node, by Ray's id of it."""
        return Counter(held.error.device.node for held in self._held)

    def hold(self, trial: int, error: DeviceError, actor: Any) -> bool:
        """Occupy the place of a failed attempt; False, and the place is free again, if trials had none left elsewhere."""
        if not self._is_possible or not self._is_left_room(error.device):
            ray.kill(actor)
            return False
        self._held.append(_Held(trial, error, actor))
        return True

    def went_well(self, trial: int, device: Device) -> None:
        """A trial was scored on ``device``: what it held elsewhere is broken, or free again."""
        for broken in self._faults.went_well(trial, device):
            self._on_left_out(broken, next(held.error.reason for held in reversed(self._held) if held.error.device == broken))
        self._release(trial)

    def ended(self, trial: int) -> None:
        """A trial ended without a score, and with it what it held."""
        self._faults.ended(trial)
        self._release(trial)

    def give_up(self) -> None:
        """Free all places, and hold none from now on: trials need them all."""
        self._is_possible = False
        self.release_all()

    def release_all(self) -> None:
        """Free all places, and leave no device out."""
        self._faults.use_again()
        for held in self._held:
            ray.kill(held.actor)
        self._held = []

    def _is_left_room(self, device: Device) -> bool:
        """Whether there is a place beside those held and one more on ``device``: on another node, if it is a node."""
        free = {node.id: self._resources.slots_on(node) - self.places[node.id] for node in nodes()}
        if not device.gpus:
            free.pop(device.node, None)
            return sum(free.values()) > 0
        return sum(free.values()) > 1

    def _release(self, trial: int) -> None:
        free = [held for held in self._held if held.trial == trial and held.error.device not in self._faults.left_out]
        for held in free:
            ray.kill(held.actor)
            self._held.remove(held)
