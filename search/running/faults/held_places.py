"""How trials are kept from GPUs and nodes that fail them: places there are held, nodes where processes die are avoided."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import ray

from search.running.faults.diagnosis import LocalFault, Location
from search.running.faults.suspicions import MOST_FAULTS, Suspicions
from search.running.nodes.autoscaler import is_growing
from search.running.nodes.cluster import nodes
from search.running.resources import Resources


class Verdict(Enum):
    """What a fault means for its trial.

    Attributes:
        ELSEWHERE: it is tried again; the place where it failed is held, so that it gets another.
        CELL: its cell is to blame.
        MAY_PASS: it has no other place, and it may go well in this one.
        NEEDED: it has no other place, and this one is broken: all that are held are needed.
    """

    ELSEWHERE = auto()
    CELL = auto()
    MAY_PASS = auto()
    NEEDED = auto()


@dataclass(frozen=True, slots=True)
class _Held:
    """The place of a trial's failed attempt, and the actor that occupies it; None if it died."""

    trial: int
    fault: LocalFault
    actor: Any

    def free(self) -> None:
        """Let the place be used."""
        if self.actor is not None:
            ray.kill(self.actor)


class HeldPlaces:
    """Holds the place of a fault until its trial has shown whether the location or the cell is to blame.

    Tune cannot be told to avoid a GPU. A place that is occupied is avoided by itself, and the trial starts again
    elsewhere. A location that trials share has several places, and each learns that it is broken by a fault of its own.

    Where a process died, what would hold its place would die as well: Ray is told of nodes to avoid.

    Args:
        most_locations: at so many a trial fails before its cell is to blame.
        on_broken: told each location whose places stay held, and why.
    """

    def __init__(self, most_locations: int, resources: Resources, on_broken: Callable[[Location, str], None]) -> None:
        self._suspicions, self._resources, self._on_broken = Suspicions(most_locations), resources, on_broken
        self._held: list[_Held] = []
        self._is_possible = True

    @property
    def on_nodes(self) -> Counter[str]:
        """How many are held on each node, by Ray's id of it."""
        return Counter(held.fault.location.node for held in self._held if held.actor is not None)

    @property
    def num_faults(self) -> int:
        """Of all trials so far."""
        return self._suspicions.num_faults

    def hold(self, trial: int, fault: LocalFault, actor: Any, began: int) -> Verdict:
        """Occupy the place of a failed attempt, or free it if trials had none left elsewhere.

        Args:
            began: ``num_faults`` when the attempt began.
        """
        is_broken = fault.location in self._suspicions.broken
        if not self._is_possible or not self._is_room_beside(fault.location):
            ray.kill(actor)
            return Verdict.NEEDED if is_broken else Verdict.MAY_PASS
        self._held.append(_Held(trial, fault, actor))
        if is_broken:
            return Verdict.ELSEWHERE
        self._suspicions.add(trial, fault.location, began)
        return Verdict.CELL if self._suspicions.blames_cell(trial) else Verdict.ELSEWHERE

    def suspect(self, trial: int, death: LocalFault, began: int) -> None:
        """Suspect the node on which the process of an attempt died."""
        if self._is_possible and self._is_room_beside(death.location):
            self._held.append(_Held(trial, death, None))
            self._suspicions.add(trial, death.location, began)

    def avoided(self, trial: int) -> tuple[str, ...]:
        """Nodes on which the trial's next attempt shall not be, by Ray's ids; none if there is no other that could hold it.

        Those where one of its own died; where as many have died as the node holds, and no trial has yet gone well elsewhere
        to tell whose fault it was; and those found broken.
        """
        died = [held for held in self._held if held.actor is None]
        if not died:
            return ()
        slots = {node.id: self._resources.slots_on(node) for node in nodes()}
        deaths = Counter(held.fault.location.node for held in died)
        avoided = {node for node in deaths if deaths[node] >= max(MOST_FAULTS, slots.get(node, 0))}
        avoided |= {
            held.fault.location.node for held in died if held.trial == trial or held.fault.location in self._suspicions.broken
        }
        others = sum(slots[node] - self.on_nodes[node] for node in slots.keys() - avoided)
        return tuple(sorted(avoided & slots.keys())) if others > 0 else ()

    def settle(self, trial: int, location: Location) -> None:
        """A trial was scored at ``location``: what it held elsewhere is broken, or free again."""
        for broken in self._suspicions.resolve(trial, location):
            self._on_broken(broken, next(held.fault.reason for held in reversed(self._held) if held.fault.location == broken))
        self._free(trial)

    def drop(self, trial: int) -> None:
        """A trial ended without a score, and with it what it held."""
        self._suspicions.drop(trial)
        self._free(trial)

    def give_up(self) -> None:
        """Free all places, and hold none from now on: trials need them all."""
        self._is_possible = False
        self.free_all()

    def free_all(self) -> None:
        """Free all places, and take no location for broken."""
        self._suspicions.clear()
        for held in self._held:
            held.free()
        self._held = []

    def _is_room_beside(self, location: Location) -> bool:
        """Whether there is a place beside those held and one more at ``location``: on another node, if it is a node.

        A node that the autoscaler is about to start has room.
        """
        held = self.on_nodes
        free = {node.id: self._resources.slots_on(node) - held[node.id] for node in nodes()}
        if location.is_node:
            free.pop(location.node, None)
        return sum(free.values()) > (0 if location.is_node else 1) or is_growing()

    def _free(self, trial: int) -> None:
        free = [held for held in self._held if held.trial == trial and held.fault.location not in self._suspicions.broken]
        for held in free:
            held.free()
            self._held.remove(held)
