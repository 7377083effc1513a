"""Attempts at a study's trials: who tries again, where, and when it is enough."""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import ray

from search.deciding.outcomes import Status
from search.journal.events import CellProposed
from search.journal.study import Study
from search.running.faults.devices import DeviceFaults, HeldDevices
from search.running.faults.diagnosis import Device, DeviceError, OutOfMemory, Short
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes.cluster import nodes
from search.running.resources import Resources
from search.running.trial_files import forget_checkpoint
from training.score import RungScore

PATIENCE_S = 60.0
"""How long trials wait for places that are held while no other trial runs: longer than a process takes to start."""


class Attempts:
    """Each attempt is a trial of Tune. Those that fail for no fault of their cell are followed by another.

    What is short, and thus reserved for the next attempt alone, is a GPU or a node. Such a trial waits until others leave
    one free: where trials are packed, that is when the search runs out of new ones.

    Args:
        say: told in one line what a person should know.
        max_concurrent: attempts at once at most; None for as many as there is room for.
    """

    def __init__(
        self,
        study: Study,
        tolerance: FaultTolerance,
        resources: Resources,
        checkpoints: Path,
        say: Callable[[str], None],
        max_concurrent: int | None = None,
    ) -> None:
        self._max_concurrent = max_concurrent
        self._study, self._retries, self._resources, self._checkpoints = study, tolerance.retries, resources, checkpoints
        self._say = say
        self._again: deque[CellProposed] = deque()
        self._last: deque[CellProposed] = deque()
        self._current: dict[int, str] = {}
        self._said = set[str]()
        self._retried: Counter[int] = Counter()
        self._kernels, self._without_kernels = tolerance.kernels, set[int]()
        self._alone: dict[int, Short] = {}
        self._last_run_s = time.monotonic()
        self._devices = DeviceFaults(max(2, tolerance.retries + 1))
        self._held = HeldDevices(self._devices, resources, self._leave_out)

    def next(self, attempt: str) -> dict[str, Any] | None:
        """What the next attempt, to be known by that name, shall do; None while it must wait."""
        if self._max_concurrent is not None and len(self._current) >= self._max_concurrent:
            return None
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
            "checkpoint": self._study.record.checkpoint_name(number),
            "room": self._room(self._alone.get(number)),
            "kernels": self._kernels and number not in self._without_kernels,
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

    def say_once(self, lines: Iterable[tuple[str, str]]) -> None:
        """Say what workers warn of: of each kind the first line."""
        for kind, line in lines:
            if kind not in self._said:
                self._said.add(kind)
                self._say(line)

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
            return
        if fault.with_kernels and number not in self._without_kernels:
            ray.kill(actor)  # what it can do on its GPU is over
            self._without_kernels.add(number)
            self._say(f"Trial {number} is tried again with torch's own operators on its GPU: {fault.reason}")
            self._try_again(number)
            return
        is_left_out = fault.device in self._devices.left_out
        is_held = self._held.hold(number, fault, actor)
        if is_left_out:
            self._try_again(number)
            if not is_held:
                self._use_again()
        elif not is_held:
            self.died(number, fault.reason)
        elif self._devices.failed(number, fault.device):
            self.failed(number, Status.FAILED, f"device errors wherever it was tried: {fault.reason}")
        else:
            self._try_again(number)

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

    def see_to_room(self, running: Sequence[tuple[int, str]]) -> None:
        """See that places which are held do not keep trials waiting for ever: for a large one, or because nodes went away.

        Args:
            running: number and attempt of what runs now, in vain or not.
        """
        if not self._held.places or any(self.is_current(*attempt) for attempt in running):
            self._last_run_s = time.monotonic()
        elif time.monotonic() - self._last_run_s > PATIENCE_S:
            self._use_again()

    def release(self) -> None:
        """Free all places that are held."""
        self._held.release_all()

    def _try_again(self, number: int) -> None:
        del self._current[number]
        needs_more = self._room(self._alone.get(number)) != self._resources.bundle
        (self._last if needs_more else self._again).append(self._study.record.trials[number].proposed)

    def _room(self, alone: Short | None) -> dict[str, float]:
        """What an attempt reserves; one that is alone shares no GPU, or not even the node, with another.

        No other trial of ours has room on a node whose CPUs are all taken, so that the largest node's are asked for.
        """
        bundle = self._resources.bundle
        if alone and self._resources.gpu:
            bundle["GPU"] = ceil(self._resources.gpu)
        if alone == Short.NODE:
            able = [node for node in nodes() if self._resources.slots_on(node)]
            free = [node.resources["CPU"] - self._resources.cpu * self._held.places[node.id] for node in able]
            bundle["CPU"] = max(free, default=self._resources.cpu)
        return bundle

    def _forget(self, number: int) -> None:
        self._current.pop(number, None)
        forget_checkpoint(self._checkpoints / self._study.record.checkpoint_name(number))

    def _use_again(self) -> None:
        self._held.give_up()
        self._say("Trials find no other place: what was left out is used again, and errors there count as retries.")

    def _leave_out(self, device: Device, reason: str) -> None:
        self._study.left_out(str(device), reason)
        self._say(f"{device} is left out: trials failed there and went well elsewhere. {reason}")
