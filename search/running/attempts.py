"""Attempts at a study's trials: who tries again, where, and when it is enough."""

import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from pathlib import Path
from typing import Any

import ray

from search.deciding.outcomes import Status
from search.journal.events import CellProposed
from search.journal.study import Study
from search.running.faults.diagnosis import LocalFault, Location, OutOfMemory, Short
from search.running.faults.held_places import HeldPlaces, Verdict
from search.running.faults.tolerance import FaultTolerance
from search.running.nodes.autoscaler import autoscales, is_growing
from search.running.nodes.cluster import nodes
from search.running.resources import Resources
from search.running.trial_files import forget_checkpoint
from training.score import RungScore

PATIENCE_S = 60.0
"""How long trials wait for places that are held, or for a node that has gone, while none runs: longer than a process starts."""
GROWTH_PATIENCE_S = 1200.0
"""Likewise while nodes are about to join: longer than a machine starts, and a cloud may have none to give."""


@dataclass(slots=True)
class _Live:
    """A trial that has begun and not ended.

    Attributes:
        kernels: whether it uses this project's kernels where it has a GPU.
        attempt: the latest at it, by its name; None while it waits for another.
        room: what that reserves.
        avoided: nodes on which it must not be, by Ray's ids.
        began: how many faults all trials had met when it began.
        heard_s: when it began, or told its last score; infinite while it waits for a place.
        retries: of attempts whose process ended, or that met what may pass.
        alone: what its attempts have to themselves, as one ran out of it.
    """

    kernels: bool
    attempt: str | None = None
    room: dict[str, float] = field(default_factory=dict)
    avoided: tuple[str, ...] = ()
    began: int = 0
    heard_s: float = inf
    retries: int = 0
    alone: Short | None = None


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
        self._study, self._resources, self._checkpoints, self._say = study, resources, checkpoints, say
        self._retries, self._kernels, self._max_concurrent = tolerance.retries, tolerance.kernels, max_concurrent
        self._live: dict[int, _Live] = {}
        self._again: deque[CellProposed] = deque()
        self._last: deque[CellProposed] = deque()
        self._said = set[str]()
        self._last_run_s = time.monotonic()
        self._held = HeldPlaces(max(2, tolerance.retries + 1), resources, self._leave_out)

    def next(self, attempt: str) -> dict[str, Any] | None:
        """What the next attempt, to be known by that name, shall do; None while it must wait."""
        if self._max_concurrent is not None and self._num_current() >= self._max_concurrent:
            return None
        proposed = self._again.popleft() if self._again else self._study.propose()
        if proposed is None and self._last:
            proposed = self._last.popleft()
        if proposed is None:
            return None
        number = proposed.trial
        live = self._live.setdefault(number, _Live(self._kernels))
        live.attempt, live.heard_s = attempt, inf
        live.avoided = self._held.avoided(number)
        live.room = self._room(live.alone, live.avoided)
        return {
            "trial": number,
            "cell": json.dumps(proposed.cell.to_json()),
            "seed": proposed.seed,
            "checkpoint": self._study.record.checkpoint_name(number),
            "room": live.room,
            "avoided": live.avoided,
            "kernels": live.kernels,
        }

    def begin(self, number: int, attempt: str) -> None:
        """An attempt has got its place."""
        if self.is_current(number, attempt):
            self._live[number].began, self._live[number].heard_s = self._held.num_faults, time.monotonic()

    def silent_s(self, number: int) -> float:
        """For how long an attempt has told no score: what its process measures, too, and ends itself by."""
        return time.monotonic() - self._live[number].heard_s

    def is_current(self, number: int, attempt: str) -> bool:
        """Whether no later attempt has been made at the trial, and it has not ended."""
        return number in self._live and self._live[number].attempt == attempt

    def report(self, number: int, score: RungScore, location: Location) -> bool:
        """Take the score of a rung that an attempt reached; returns whether it continues."""
        is_new = score.rung > len(self._study.record.trials[number].rungs)
        goes_on = self._study.reached(number, score)
        if is_new:
            self._held.settle(number, location)
        if goes_on:
            self._live[number].heard_s = time.monotonic()
        else:
            self._forget(number)
        return goes_on

    def say_once(self, lines: Iterable[tuple[str, str]]) -> None:
        """Say what workers warn of: of each kind the first line."""
        for kind, line in lines:
            if kind not in self._said:
                self._said.add(kind)
                self._say(line)

    def fail(self, number: int, status: Status, reason: str) -> None:
        """End a trial without a score: no attempt would bring one."""
        self._study.failed(number, status, reason)
        self._held.drop(number)
        self._forget(number)

    def handle(self, number: int, fault: OutOfMemory | LocalFault, actor: Any) -> None:
        """See to a fault that the cell may not be to blame for; the attempt's ``actor`` still holds its place."""
        if isinstance(fault, OutOfMemory):
            ray.kill(actor)
            self.try_alone(number, fault)
        elif fault.with_kernels and self._live[number].kernels:
            ray.kill(actor)  # what it can do on its GPU is over
            self._live[number].kernels = False
            self._say(f"Trial {number} is tried again with torch's own operators on its GPU: {fault.reason}")
            self._try_again(number)
        else:
            self._follow(self._held.hold(number, fault, actor, self._live[number].began), number, fault.reason)

    def try_alone(self, number: int, fault: OutOfMemory) -> None:
        """After an attempt that ran out of memory the next one is alone, and the last."""
        live = self._live[number]
        if live.alone in (fault.short, Short.NODE):
            self.fail(number, Status.FAILED, f"out of memory even alone {fault.place}: {fault.reason}")
            return
        live.alone = fault.short
        self._try_again(number)

    def retry(self, number: int, reason: str) -> None:
        """After an attempt whose process ended, or that met what may pass, make another if that is not one too many."""
        live = self._live[number]
        if live.retries >= self._retries:
            self.fail(number, Status.FAILED, f"after {self._retries} retries: {reason}")
            return
        live.retries += 1
        self._try_again(number)

    def lost(self, number: int, reason: str, node: Location | None) -> None:
        """After an attempt whose process ended on ``node``, if that is known, make another one elsewhere."""
        if node is not None:
            self._held.suspect(number, LocalFault(node, reason), self._live[number].began)
        self.retry(number, reason)

    def see_to_room(self, running: Sequence[tuple[int, str]], waiting: Sequence[tuple[int, str]]) -> Collection[str]:
        """See that no trial waits for ever because places are held, or nodes went away.

        Args:
            running: number and attempt of what runs now, in vain or not.
            waiting: the same of what has no place yet.

        Returns:
            Attempts to end, as no node is as large as they ask for, or all nodes that they do not avoid have gone; each is
            followed by one that asks for less, or avoids none.
        """
        now_s = time.monotonic()
        current = [number for number, attempt in waiting if self.is_current(number, attempt)]
        alone = [number for number in current if self._live[number].alone == Short.NODE]
        avoiding = [number for number in current if self._live[number].avoided]
        if not (self._held.on_nodes or avoiding or alone) or any(self.is_current(*attempt) for attempt in running):
            self._last_run_s = now_s
        waited_s = now_s - self._last_run_s
        if waited_s <= PATIENCE_S or (waited_s <= GROWTH_PATIENCE_S and is_growing()):
            return ()
        self._last_run_s = now_s
        if self._held.on_nodes or avoiding:
            self._use_again()
            return [self._make_another(number) for number in avoiding]
        return [self._ask_for_less(number) for number in alone if self._is_too_large(number) and not autoscales()]

    def release(self) -> None:
        """Free all places that are held."""
        self._held.free_all()

    def _num_current(self) -> int:
        return sum(live.attempt is not None for live in self._live.values())

    def _follow(self, verdict: Verdict, number: int, reason: str) -> None:
        """Do with a trial what the verdict on its fault asks for."""
        if verdict == Verdict.CELL:
            self.fail(number, Status.FAILED, f"errors wherever it was tried: {reason}")
        elif verdict == Verdict.MAY_PASS:
            self.retry(number, reason)
        else:
            self._try_again(number)
            if verdict == Verdict.NEEDED:
                self._use_again()

    def _try_again(self, number: int) -> None:
        live = self._live[number]
        live.attempt = None
        needs_more = self._room(live.alone, self._held.avoided(number)) != self._resources.bundle
        (self._last if needs_more else self._again).append(self._study.record.trials[number].proposed)

    def _room(self, alone: Short | None, avoided: Sequence[str]) -> dict[str, float]:
        """What an attempt reserves; one that is alone shares no GPU, or not even the node, with another.

        No other trial of ours has room on a node whose CPUs are all taken, so that those of the largest node are asked for
        that is not ``avoided``.
        """
        bundle = self._resources.bundle
        if alone and self._resources.gpu:
            bundle["GPU"] = ceil(self._resources.gpu)
        if alone == Short.NODE:
            bundle["CPU"] = max(self._free_cpus(avoided), default=self._resources.cpu)
        return bundle

    def _free_cpus(self, avoided: Sequence[str]) -> list[float]:
        """Of each node that can hold a trial and is not ``avoided``, those that no place which is held has."""
        able = [node for node in nodes() if self._resources.slots_on(node) and node.id not in avoided]
        return [node.resources["CPU"] - self._resources.cpu * self._held.on_nodes[node.id] for node in able]

    def _is_too_large(self, number: int) -> bool:
        """Whether its attempt asks for more than any node has, though there are some that could hold a trial."""
        live = self._live[number]
        free = self._free_cpus(live.avoided)
        return bool(free) and max(free) < live.room["CPU"]

    def _ask_for_less(self, number: int) -> str:
        self._say(f"Trial {number} waited for a larger node than any that is left: it gets the largest of those.")
        return self._make_another(number)

    def _make_another(self, number: int) -> str:
        """Make another attempt in the place of the one that waits; returns that one."""
        attempt = self._live[number].attempt
        assert attempt is not None
        self._try_again(number)
        return attempt

    def _forget(self, number: int) -> None:
        self._live.pop(number, None)
        forget_checkpoint(self._checkpoints / self._study.record.checkpoint_name(number))

    def _use_again(self) -> None:
        self._held.give_up()
        self._say("No other GPU or node has room: those left out are used again, and errors there count as retries.")

    def _leave_out(self, location: Location, reason: str) -> None:
        self._study.left_out(str(location), reason)
        self._say(f"{location} is left out: trials failed there and went well elsewhere. {reason}")
