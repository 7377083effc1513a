"""What one trial reserves of a machine."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from data.system.cpus import available_cpus
from data.system.errors import UserError


class ResourcesError(UserError):
    """A trial asks for more than any machine has."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of a cluster: what it has, under Ray's names, its labels, and Ray's id of it."""

    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    id: str = ""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """As ``ray.nodes()`` tells of it."""
        return cls(told["Resources"], told["Labels"], told["NodeID"])


@dataclass(frozen=True, slots=True)
class Resources:
    """What a trial needs of a node; the names are Ray's.

    Attributes:
        cpu: CPUs, and threads that compute.
        gpu: GPUs; a fraction packs several trials on one.
        custom: other resources that nodes were started with, such as ``{"accelerator_type:H100": 0.001}``.
        label_selector: labels that a node must have: a value, ``!value``, ``in(a, b)`` or ``!in(a, b)``.
    """

    cpu: float = 1.0
    gpu: float = 0.0
    custom: Mapping[str, float] | None = None
    label_selector: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.cpu <= 0:
            raise ValueError(f"resources.cpu must be above 0, got {self.cpu}.")
        if self.gpu < 0:
            raise ValueError(f"resources.gpu must be at least 0, got {self.gpu}.")
        if self.gpu > 1 and self.gpu % 1:
            raise ValueError(f"resources.gpu must be a fraction of one GPU or a whole number of GPUs, got {self.gpu}.")
        for name, amount in (self.custom or {}).items():
            if name.lower() in ("cpu", "gpu"):
                raise ValueError(f"resources.custom.{name} is set by resources.{name.lower()}.")
            if isinstance(amount, bool) or not isinstance(amount, int | float) or amount <= 0:
                raise ValueError(f"resources.custom.{name} must be a number above 0, got {amount!r}.")
        for name, wanted in (self.label_selector or {}).items():
            if not isinstance(wanted, str) or not _SELECTOR.fullmatch(wanted):
                raise ValueError(
                    f"resources.label_selector.{name}: accepted are a value, !value, in(a, b) and !in(a, b), got {wanted!r}."
                )

    @property
    def bundle(self) -> dict[str, float]:
        """All that is reserved, under Ray's names."""
        amounts = {"CPU": self.cpu, "GPU": self.gpu, **(self.custom or {})}
        return {name: amount for name, amount in amounts.items() if amount}

    @property
    def of_task(self) -> dict[str, Any]:
        """The same, as options of a Ray task."""
        amounts = {"num_cpus": self.cpu, "num_gpus": self.gpu, "resources": dict(self.custom or {})}
        return amounts | ({"label_selector": dict(self.label_selector)} if self.label_selector else {})

    def bundle_labels(self, avoided: Sequence[str] = ()) -> list[dict[str, str]] | None:
        """The labels of the one node that all is reserved on, as placement groups take them.

        Args:
            avoided: Ray's ids of nodes that it must not be.
        """
        labels = {NODE_ID_LABEL: f"!in({', '.join(avoided)})"} if avoided else {}
        return [labels | dict(self.label_selector or {})] if labels or self.label_selector else None

    def __str__(self) -> str:
        wishes = {name: f"{amount:g}" for name, amount in self.bundle.items()} | dict(self.label_selector or {})
        return ", ".join(f"{name} {wanted}" for name, wanted in wishes.items())

    @property
    def threads(self) -> int:
        """Threads that a trial computes with, so that trials of a node do not fight for its CPUs."""
        return max(1, int(self.cpu))

    def slots_on(self, node: Node) -> int:
        """How many trials the node holds at once when nothing else runs there."""
        if not all(_selects(wanted, node.labels.get(name)) for name, wanted in (self.label_selector or {}).items()):
            return 0
        return min(_times(node.resources.get(name, 0), amount, name) for name, amount in self.bundle.items())

    def check_machine(self, gpus: float) -> None:
        """As ``check_fits``, of this machine with so many GPUs; it has no labels, and no resources but its own."""
        machine = Node({"CPU": available_cpus(), "GPU": gpus})
        replace(self, custom=None, label_selector=None).check_fits([machine], "this machine")

    def check_fits(self, nodes: Sequence[Node], where: str) -> None:
        """Raise a ResourcesError that says what is short if none of ``nodes`` can hold one trial."""
        if any(self.slots_on(node) for node in nodes):
            return
        for name in self.custom or ():
            if not any(name in node.resources for node in nodes):
                raise ResourcesError(f"resources.custom.{name}: no node has it; nodes have {_kinds(nodes)}.")
        for name, wanted in (self.label_selector or {}).items():
            if not any(_selects(wanted, node.labels.get(name)) for node in nodes):
                raise ResourcesError(f"resources.label_selector.{name}: no node is {wanted}; {_labels(name, nodes)}.")
        for name, wanted_amount in self.bundle.items():
            most = max(node.resources.get(name, 0) for node in nodes)
            if wanted_amount > most:
                setting = name.lower() if name in ("CPU", "GPU") else f"custom.{name}"
                raise ResourcesError(f"resources.{setting}: a trial asks for {wanted_amount:g}, {where} has {most:g}.")
        raise ResourcesError(f"resources: no single node has all of {self}.")


NODE_ID_LABEL = "ray.io/node-id"
"""Ray gives it to every node."""
_ROUNDING = 1e-6
"""Ten tenths of a GPU are one."""
_SELECTOR = re.compile(r"!?(in\((?P<several>[\w.\-, ]+)\)|[\w.\-]+)")
"""Ray's syntax of a label's wanted value."""


def _times(there: float, amount: float, name: str) -> int:
    """How often ``amount`` is there. A part of a GPU is of one GPU: what two have left does not add up."""
    if name == "GPU" and amount < 1:
        return int(there) * int(1 / amount + _ROUNDING)
    return int(there / amount + _ROUNDING)


def _selects(wanted: str, label: str | None) -> bool:
    """Ray's reading of a selector; a node without the label passes the negative ones."""
    match = _SELECTOR.fullmatch(wanted)
    assert match is not None
    several = match["several"]
    values = [value.strip() for value in several.split(",")] if several else [wanted.removeprefix("!")]
    return (label in values) != wanted.startswith("!")


def _kinds(nodes: Sequence[Node]) -> str:
    """The resources of nodes that a person would ask for; those that name one node are left out."""
    names = {name for node in nodes for name in node.resources if not name.startswith("node:")}
    return ", ".join(sorted(names))


def _labels(name: str, nodes: Sequence[Node]) -> str:
    values = {node.labels[name] for node in nodes if name in node.labels}
    if values:
        return f"nodes are {', '.join(sorted(values))}"
    names = {label for node in nodes for label in node.labels}
    return f"nodes have the labels {', '.join(sorted(names)) or 'none'}"
