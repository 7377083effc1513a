"""Ray and its Tune, as far as the search sees them: a driver's trials on workers, which die, hang, drain, and tell twice."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from ray.exceptions import RayActorError
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from search.running.faults.diagnosis import Location
from search.running.resources import NODE_ID_LABEL, Node, Resources
from tests.lives.disk import Disks
from tests.lives.world import Killed, Process, Task, World

LOOK_S = 5.0
"""How often Tune looks for work when nothing happens."""


@dataclass(eq=False)
class Attempt:
    """A trial of Tune's, in the search's own words an attempt at one."""

    trial_id: str
    config: dict[str, Any]
    status: str = "PENDING"
    actor: "Actor | None" = None
    error_file: str = ""

    @property
    def temporary_state(self) -> SimpleNamespace:
        return SimpleNamespace(ray_actor=self.actor)


@dataclass(frozen=True)
class Room:
    """As ``tune.PlacementGroupFactory``: of one bundle, on a node that has the labels."""

    bundles: list[dict[str, float]]
    bundle_label_selector: list[dict[str, str]] | None

    def is_possible_on(self, node: str) -> bool:
        (labels,) = self.bundle_label_selector or [{}]
        return Resources(label_selector=labels).slots_on(Node({"CPU": 1}, {NODE_ID_LABEL: node})) > 0


@dataclass(eq=False)
class Actor:
    """A worker's process, and the ``CellTrial`` in it."""

    process: Process
    node: str
    room: "Room"
    trainable: Any = None
    attempt: Attempt | None = None
    goes_on: bool = False
    waiting: list[Task] = field(default_factory=list)


class SimRay:
    """As ``ray``: the machines that trials run on.

    Attributes:
        graveyard: what dead workers held; were it collected, its generators would run to their ends.
    """

    def __init__(self, world: World, disks: Disks, size: dict[str, float], has_own_disks: bool) -> None:
        self.world, self.disks, self.has_own_disks = world, disks, has_own_disks
        self.machines = {f"node-{number}": dict(size) for number in range(2)}
        self.system = Process("ray", "nowhere", "nowhere")
        self.processes: list[Process] = []
        self.graveyard: list[Any] = []
        self.faulthandler = SimFaultHandler(world)
        self._draining_until_s: dict[str, float] = {}

    def process(self, kind: str, machine: str, disk: str) -> Process:
        self.processes.append(Process(f"{kind} {len(self.processes)} on {machine}", machine, disk, kind))
        return self.processes[-1]

    def process_number(self) -> int:
        return self.processes.index(self.world.process)

    def machine(self) -> str:
        return self.world.process.machine

    def began(self, number: int) -> str | None:
        process = self.processes[number]
        return process.name if process.is_alive and process.machine == self.machine() else None

    def nodes(self) -> list[Node]:
        return [Node(resources, {}, name) for name, resources in self.machines.items()]

    def slots(self, resources: Resources) -> int:
        return max(1, sum(resources.slots_on(node) for node in self.nodes()))

    def kill(self, actor: Actor) -> None:
        self.world.kill(actor.process)

    def this_location(self) -> Location:
        gpus = ("0",) if "GPU" in self.machines[self.machine()] else ()
        return Location(self.machine(), self.machine(), gpus)

    def is_node_draining(self) -> bool:
        world, machine = self.world, self.machine()
        if world.meets("a node goes"):
            if self.has_own_disks:
                self.disks.vanish(machine)
            world.cut_power(machine)
        if world.meets("a node drains"):
            self._draining_until_s[machine] = world.now_s + 60
        return machine in self.draining_nodes()

    def bury(self) -> None:
        """The life is over: what dead workers were at is left, and leaves no trace."""
        for trainable in self.graveyard:
            with suppress(Killed):
                if trainable._scores is not None:
                    trainable._scores.close()

    def draining_nodes(self) -> list[str]:
        return [node for node, until_s in self._draining_until_s.items() if until_s > self.world.now_s]

    def place_of_actor(self, error: str) -> tuple[str, str] | None:
        node = next((name for name in self.machines if f"ip: {name}\n" in error), None)
        return (node, node) if node else None

    def is_free(self, node: str, room: Room, actors: list[Actor]) -> bool:
        taken = [actor.room for actor in actors if actor.node == node and actor.process.is_alive]
        amounts = self.machines[node].items()
        bundles = [bundle for one in [*taken, room] for bundle in one.bundles]
        is_possible = room.is_possible_on(node) and node not in self.draining_nodes()
        return is_possible and all(sum(bundle.get(name, 0) for bundle in bundles) <= amount for name, amount in amounts)


class SimFaultHandler:
    """As ``faulthandler``: ends a process that takes too long."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._turns: dict[str, int] = {}

    def dump_traceback_later(self, timeout_s: float, *, file: Any, **_: Any) -> None:
        process = self._world.process
        turn = self._turns[process.name] = self._turns.get(process.name, 0) + 1

        def expire() -> None:
            if self._turns[process.name] == turn:
                with suppress(OSError):
                    file.write("Timeout\n")
                self._world.kill(process)

        self._world.start(process, expire, timeout_s)

    def cancel_dump_traceback_later(self) -> None:
        self._turns[self._world.process.name] += 1


class SimTune:
    """As ``ray.tune``."""

    TuneConfig = RunConfig = FailureConfig = CheckpointConfig = SimpleNamespace
    PlacementGroupFactory = Room

    def __init__(self, ray: SimRay) -> None:
        self._ray = ray

    def with_parameters(self, trainable: type, **parameters: Any) -> Any:
        return trainable, parameters

    def with_resources(self, trainable: Any, resources: Any) -> Any:
        return *trainable, resources

    def Tuner(self, trainable: Any, tune_config: Any, run_config: Any) -> "Tuner":
        return Tuner(self._ray, *trainable, tune_config, run_config)


class Tuner:
    """As Tune's, one event at a time."""

    def __init__(self, ray: SimRay, trainable: type, parameters: Any, rooms: Any, config: Any, run_config: Any) -> None:
        self._ray, self._world = ray, ray.world
        self._trainable, self._parameters, self._rooms = trainable, parameters, rooms
        self._searcher, self._scheduler, (self._failures,) = config.search_alg, config.scheduler, run_config.callbacks
        self._attempts: list[Attempt] = []
        self._actors: list[Actor] = []
        self._events: list[tuple[str, Attempt, Any]] = []
        self._waiting: list[Task] = []
        self._driver = ray.world.process
        self._is_finished = False

    def fit(self) -> None:
        try:
            self._loop()
        except Exception as error:
            raise TuneError(str(error))  # noqa: B904 - as Tune: what it was is its context
        finally:
            for actor in self._actors:  # Ray ends the workers of a driver that is no more
                self._world.start(self._ray.system, partial(self._world.kill, actor.process), self._world.rng.uniform(0, 5))

    def get_live_trials(self) -> list[Attempt]:
        return [attempt for attempt in self._attempts if attempt.status in ("PENDING", "RUNNING")]

    def stop_trial(self, attempt: Attempt) -> None:
        attempt.status = "TERMINATED"

    def _loop(self) -> None:
        while True:
            self._world.step()
            if self._world.meets("the driver is interrupted"):
                return
            self._ask()
            self._place()
            if self._is_finished and not self.get_live_trials():
                return
            if not self._events:
                self._world.wait_for(self._waiting, LOOK_S)
            if self._events:
                self._take_in(*self._events.pop(0))

    def _ask(self) -> None:
        while not self._is_finished and sum(attempt.status == "PENDING" for attempt in self._attempts) < 2:
            trial_id = f"attempt-{len(self._attempts)}"
            config = self._searcher.suggest(trial_id)
            if config is None:
                return
            if config == Searcher.FINISHED:
                self._is_finished = True
                return
            self._attempts.append(Attempt(trial_id, config))

    def _place(self) -> None:
        attempt = self._scheduler.choose_trial_to_run(self)
        if attempt is None:
            return
        room, rng = self._rooms(attempt.config), self._world.rng
        idle = [actor for actor in self._actors if actor.attempt is None and actor.process.is_alive]
        for actor in idle:
            if actor.room == room and rng.random() < 0.7:
                self._begin(actor, attempt)
                return
            self._ray.kill(actor)
        free = [node for node in self._ray.machines if self._ray.is_free(node, room, self._actors)]
        if free:
            node = rng.choice(free)
            process = self._ray.process("worker", node, node if self._ray.has_own_disks else self._driver.disk)
            self._actors.append(Actor(process, node, room))
            self._begin(self._actors[-1], attempt)

    def _begin(self, actor: Actor, attempt: Attempt) -> None:
        attempt.status, attempt.actor, actor.attempt = "RUNNING", actor, attempt
        actor.process.on_death = partial(self._died, actor, attempt)
        self._failures.on_trial_start(0, [], attempt)
        self._world.start(actor.process, partial(self._run, actor, attempt), self._world.rng.uniform(0, 2))

    def _run(self, actor: Actor, attempt: Attempt) -> None:
        """On the worker."""
        world = self._world
        if actor.trainable is None:
            actor.trainable = object.__new__(self._trainable)
            self._ray.graveyard.append(actor.trainable)
            actor.trainable.setup(attempt.config, **self._parameters)
        else:
            actor.trainable.reset_config(attempt.config)
        while True:
            actor.goes_on = False
            try:
                result = actor.trainable.step()
            except RayActorError:
                self._tell("drained", attempt, None)
                return
            except Exception as error:
                self._tell("error", attempt, f"{type(error).__name__}: {error}")
                return
            world.check_alive()
            if fault := world.meets("a worker is taken for dead"):
                self._tell("error", attempt, "RayActorError: the actor is unreachable")
                self._tell("result", attempt, result, 20 * fault.extent)
                return
            self._tell("result", attempt, result)
            if fault := world.meets("a score is told twice"):
                self._tell("result", attempt, result, 20 * fault.extent)
            while not actor.goes_on:
                world.wait_for(actor.waiting, None)
                if actor.attempt is not attempt:
                    return

    def _tell(self, kind: str, attempt: Attempt, what: Any, delay_s: float = 0.0) -> None:
        """A message to the driver."""

        def arrive() -> None:
            self._events.append((kind, attempt, what))
            for task in self._waiting:
                self._world.wake(task)

        self._world.start(self._ray.system, arrive, delay_s + self._world.rng.expovariate(10))

    def _died(self, actor: Actor, attempt: Attempt) -> None:
        fault = self._world.meets("Ray ends a worker for its memory")
        short = "Task was killed due to the node running low on memory." if fault else "The actor died unexpectedly."
        if actor.attempt is attempt:
            self._tell("error", attempt, f"RayActorError\nip: {actor.node}\n{short}")

    def _take_in(self, kind: str, attempt: Attempt, what: Any) -> None:
        actor = attempt.actor
        if kind == "result" and attempt.status in ("RUNNING", "ERROR"):
            self._take_in_result(attempt, what)
        elif kind == "drained" and attempt.status == "RUNNING":
            self._leave(actor)
            attempt.status, attempt.actor = "PENDING", None
        elif kind == "error" and attempt.status == "RUNNING":
            attempt.status, attempt.error_file = "ERROR", f"/scratch/{attempt.trial_id}.txt"
            self._ray.disks.put(f"{self._driver.disk}:{attempt.error_file}", what.encode())
            self._leave(actor)
            self._failures.on_trial_error(0, [], attempt)
            self._searcher.on_trial_complete(attempt.trial_id, error=True)

    def _take_in_result(self, attempt: Attempt, result: dict[str, Any]) -> None:
        flat = {f"score/{key}": value for key, value in result.pop("score", {}).items()} | result
        result |= {"score": {key.removeprefix("score/"): value for key, value in flat.items() if key.startswith("score/")}}
        if not result["score"]:
            del result["score"]
        goes_on = self._scheduler.on_trial_result(self, attempt, flat) == FIFOScheduler.CONTINUE
        actor = attempt.actor
        if attempt.status != "RUNNING" or actor is None:
            return
        if goes_on:
            actor.goes_on = True
            self._wake(actor)
            return
        attempt.status = "TERMINATED"
        actor.attempt = None
        self._wake(actor)
        self._searcher.on_trial_complete(attempt.trial_id, flat)

    def _leave(self, actor: Actor | None) -> None:
        if actor is not None:
            actor.attempt = None
            self._world.kill(actor.process)

    def _wake(self, actor: Actor) -> None:
        for task in actor.waiting:
            self._world.wake(task)
