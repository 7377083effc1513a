"""Time, processes and faults made of a seed: in a life nothing happens but through its world.

Every process and thread of the search is a greenlet here. Whatever it asks of clock, disk, store or network is a step, at which
another may go on first, and at which its process may die.
"""

import heapq
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

MOST_STEPS = 150_000
"""A life that takes more of them does not end."""
OTHERS_FIRST = 0.15
"""How often a step lets others go on."""
STEP_S = 0.02
"""How long that takes, on average."""


class Killed(BaseException):
    """Unwinds what a dead process was at; whatever it still tries is refused with it, so that it leaves no trace."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong: the ``nth`` time that it could, to an ``extent`` from 0 to 1."""

    kind: str
    nth: int
    extent: float

    def __str__(self) -> str:
        return f"{self.kind} ({self.nth}, {self.extent:.2f})"


@dataclass(eq=False)
class Process:
    """What dies at once: all its tasks, and nothing that it wrote.

    Attributes:
        disk: whose disk it sees.
        kind: "driver", "worker", or what no fault meets.
    """

    name: str
    machine: str
    disk: str
    kind: str = ""
    is_alive: bool = True
    stalls_until_s: float = 0.0
    on_death: Callable[[], None] = lambda: None


@dataclass(eq=False)
class Task:
    """A thread of a process. ``turn`` tells its latest wait from those that something ended early."""

    process: Process
    body: Any = None
    turn: int = 0
    is_over: bool = False
    answer: Any = None
    error: BaseException | None = None
    waiting: list["Task"] = field(default_factory=list)


class World:
    """A life's clock, scheduler and fate.

    Attributes:
        broken: promises that did not hold, in words.
        met: the faults that took place.
    """

    def __init__(self, seed: int, faults: Sequence[Fault]) -> None:
        self.rng = Random(f"schedule {seed}")
        self.now_s, self.jumped_s, self.steps = 0.0, 0.0, 0
        self.broken: list[str] = []
        self.met: list[Fault] = []
        self.on_power_cut: Callable[[str], None] = lambda machine: None
        self._is_over = False
        self._planned = {(fault.kind, fault.nth): fault for fault in faults}
        self._kinds = {fault.kind for fault in faults}
        self._counts: Counter[str] = Counter()
        self._due: list[tuple[float, float, int, Task]] = []
        self._hub = getcurrent()
        self._task: Task | None = None
        self._tasks: list[Task] = []

    @property
    def process(self) -> Process:
        """Whose task goes on now."""
        assert self._task is not None
        return self._task.process

    def meets(self, kind: str) -> Fault | None:
        """Whether this time it goes wrong."""
        if kind not in self._kinds:
            return None
        self._counts[kind] += 1
        fault = self._planned.get((kind, self._counts[kind]))
        if fault:
            self.met.append(fault)
        return fault

    def calm(self) -> None:
        """From now on all goes well."""
        self._kinds = set()

    def start(self, process: Process, run: Callable[[], Any], delay_s: float = 0.0) -> Task:
        """Begin a task."""
        task = Task(process)

        def body() -> None:
            try:
                task.answer = run()
            except BaseException as error:
                task.error = error
            task.is_over = True
            for other in task.waiting:
                self.wake(other)

        task.body = greenlet(body, self._hub)
        self._tasks.append(task)
        self._schedule(task, delay_s)
        return task

    def step(self) -> None:
        """The process that runs now does something that others may see."""
        self.check_alive()
        process = self.process
        self.steps += 1
        if process.kind == "driver":
            self._meet_driver(process)
        elif process.kind == "worker" and self.meets("a worker dies"):
            self.kill(process)
        if self.rng.random() < OTHERS_FIRST:
            self.pause(self.rng.expovariate(1 / STEP_S))

    def check_alive(self) -> None:
        if self._is_over or not self.process.is_alive:
            raise Killed
        if self.steps > MOST_STEPS:
            self.fail("it does not end")

    def fail(self, what: str) -> None:
        """A promise is broken: the life ends here."""
        self.broken.append(what)
        if self._task is not None:
            raise Killed

    def pause(self, seconds: float | None) -> None:
        """Let others go on for so long; with None until something wakes this task."""
        self.check_alive()
        task = self._task
        assert task is not None
        self._schedule(task, seconds)
        self._hub.switch()
        self.check_alive()

    def wait_for(self, others: list[Task], seconds: float | None) -> None:
        """Pause until something wakes those who are among ``others``."""
        assert self._task is not None
        others.append(self._task)
        try:
            self.pause(seconds)
        finally:
            if self._task in others:
                others.remove(self._task)

    def wake(self, task: Task) -> None:
        self._schedule(task, 0.0)

    def kill(self, process: Process) -> None:
        """SIGKILL: nothing of it goes on."""
        if not process.is_alive:
            return
        process.is_alive = False
        process.on_death()
        for task in self._tasks:
            if task.process is process and not task.is_over and task is not self._task:
                self._schedule(task, 0.0)
        if self._task is not None and self._task.process is process:
            raise Killed

    def cut_power(self, machine: str) -> None:
        """All processes of a machine die, and what its disk had not been told to keep may be lost."""
        self.on_power_cut(machine)
        dying = dict.fromkeys(task.process for task in self._tasks if task.process.machine == machine)
        for process in sorted(dying, key=lambda one: one is self.process):
            self.kill(process)

    def run(self, task: Task, most_s: float) -> None:
        """Let all go on until ``task`` is over or a promise is broken."""
        deadline_s = self.now_s + most_s
        while not task.is_over and not self.broken:
            if not self._due:
                self.fail("it waits for ever")
            elif self._due[0][0] > deadline_s:
                self.fail(f"it is not over after {most_s:g} s")
            else:
                self._advance()

    def end(self) -> None:
        """Nothing goes on any more, nor leaves a trace."""
        self._is_over = True
        for task in self._tasks:
            task.process.is_alive = False
        for task in self._tasks:
            if not task.is_over:
                self._unwind(task)

    def _schedule(self, task: Task, seconds: float | None) -> None:
        task.turn += 1
        if seconds is not None:
            heapq.heappush(self._due, (self.now_s + seconds, self.rng.random(), task.turn, task))

    def _advance(self) -> None:
        due_s, _, turn, task = heapq.heappop(self._due)
        if turn != task.turn or task.is_over:
            return
        self.now_s = max(self.now_s, due_s)
        if task.process.is_alive and task.process.stalls_until_s > self.now_s:
            self._schedule(task, task.process.stalls_until_s - self.now_s)
            return
        if task.process.is_alive:
            self._task = task
            task.body.switch()
            self._task = None
        else:
            self._unwind(task)
        if isinstance(task.error, Exception):
            self.fail(f"{task.process.name}: {''.join(traceback.format_exception(task.error))}")

    def _unwind(self, task: Task) -> None:
        """Of a dead process."""
        self._task = task
        if task.body:
            task.body.throw(Killed)
        self._task, task.is_over = None, True
        for other in task.waiting:
            self.wake(other)

    def _meet_driver(self, process: Process) -> None:
        if self.meets("the driver is killed"):
            self.kill(process)
        if self.meets("the power is cut"):
            self.cut_power(process.machine)
        if fault := self.meets("the driver stalls"):
            process.stalls_until_s = self.now_s + 100 * fault.extent
            self.pause(0.0)
        if fault := self.meets("the clock jumps"):
            self.jumped_s += 7200 * (fault.extent - 0.5)
