"""Attempts at a study's trials: who tries again, where, and when it is enough."""

import json
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from search.evaluation import Status
from search.faults import FaultTolerance
from search.journal import CellProposed
from search.resources import Resources
from search.study import Study
from search.tuning.device_faults import DeviceFaults
from search.tuning.faults import Device, DeviceError, OutOfMemory, Short
from search.tuning.held_devices import HeldDevices
from search.tuning.placement import placement
from search.tuning.trial import checkpoint_path
from training.score import RungScore


class Attempts:
    """Each attempt is a trial of Tune. Those that fail for no fault of their cell are followed by another.

    What is short, and thus reserved for the next attempt alone, is a GPU or a node. Such a trial waits until others leave
    one free: where trials are packed, that is when the search runs out of new ones.

    Args:
        say: told in one line what a person should know.
    """

    def __init__(
        self, study: Study, faults: FaultTolerance, resources: Resources, checkpoints: Path, say: Callable[[str], None]
    ) -> None:
        self._study, self._retries, self._resources, self._checkpoints = study, faults.retries, resources, checkpoints
        self._say = say
        self._again: deque[CellProposed] = deque()
        self._last: deque[CellProposed] = deque()
        self._current: dict[int, str] = {}
        self._retried: Counter[int] = Counter()
        self._alone: dict[int, Short] = {}
        self._faults = DeviceFaults(max(2, faults.retries + 1))
        self._held = HeldDevices(self._faults, resources, checkpoints, self._leave_out)

    @property
    def are_over(self) -> bool:
        """Whether every trial that will ever be proposed has ended."""
        record = self._study.record
        return not self._study.has_more and record.num_ended == record.num_proposed

    def next(self, attempt: str) -> dict[str, Any] | None:
        """What the next attempt, to be known by that name, shall do; None while it must wait."""
        proposed = self._again.popleft() if self._again else self._study.propose()
        if proposed is None and self._last:
            proposed = self._last.popleft()
        if proposed is None:
            return None
        number = proposed.trial
        self._current[number] = attempt
        return {
            "trial": number,
            "cell": json.dumps(proposed.cell.to_json()),
            "seed": proposed.seed,
            "alone": self._alone.get(number),
        }

    def is_current(self, number: int, attempt: str) -> bool:
        """Whether no later attempt has been made at the trial, and it has not ended."""
        return self._current.get(number) == attempt

    def scored(self, number: int, score: RungScore, device: Device | None) -> bool:
        """An attempt reached a rung; returns whether it goes on."""
        is_new = score.rung > len(self._study.record.trials[number].rungs)
        goes_on = self._study.reached(number, score)
        if is_new and device is not None:
            self._held.went_well(number, device)
        if not goes_on:
            self._forget(number)
        return goes_on

    def failed(self, number: int, status: Status, reason: str) -> None:
        """The trial has no score, and no attempt would bring one."""
        self._study.failed(number, status, reason)
        self._held.ended(number)
        self._forget(number)

    def met(self, number: int, fault: OutOfMemory | DeviceError, actor: Any) -> None:
        """An attempt met what its cell may not be to blame for; its ``actor`` still holds its place."""
        if isinstance(fault, OutOfMemory):
            ray.kill(actor)
            self.ran_out(number, fault)
        elif not self._held.hold(number, fault, actor):
            self.died(number, fault.reason)
        elif fault.device in self._faults.left_out or not self._faults.failed(number, fault.device):
            self._try_again(number)
        else:
            self.failed(number, Status.FAILED, f"device errors wherever it was tried: {fault.reason}")

    def ran_out(self, number: int, fault: OutOfMemory) -> None:
        """An attempt ran out of memory: the next one is alone, and the last."""
        alone = self._alone.get(number)
        if alone in (fault.short, Short.NODE):
            self.failed(number, Status.FAILED, f"out of memory even alone {fault.place}: {fault.reason}")
            return
        self._alone[number] = fault.short
        self._try_again(number)

    def died(self, number: int, reason: str) -> None:
        """An attempt's process ended, or what it met may pass."""
        if self._retried[number] >= self._retries:
            self.failed(number, Status.FAILED, f"after {self._retries} retries: {reason}")
            return
        self._retried[number] += 1
        self._try_again(number)

    def make_room(self) -> None:
        """See that held GPUs never leave trials without any place."""
        if self._held.leave_no_room:
            self._say("Trials have no other place: GPUs that were left out are used again.")
            self._held.release_all()

    def release(self) -> None:
        """Free all GPUs that are held."""
        self._held.release_all()

    def _try_again(self, number: int) -> None:
        del self._current[number]
        alone = self._alone.get(number)
        is_larger = placement(self._resources, alone) != placement(self._resources, None)
        (self._last if is_larger else self._again).append(self._study.record.trials[number].proposed)

    def _forget(self, number: int) -> None:
        self._current.pop(number, None)
        checkpoint_path(self._checkpoints, self._study.record.trials[number].cell.digest).unlink(missing_ok=True)

    def _leave_out(self, device: Device, reason: str) -> None:
        self._study.left_out(str(device), reason)
        self._say(f"{device} is left out: trials failed there and went well elsewhere. {reason}")
