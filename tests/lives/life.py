"""One life of a search: its drivers come and go on one machine or two, until a last one, whom nothing befalls, ends it."""

import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from data.system.errors import UserError
from data.system.files import write_text
from search.findings.failures import no_score_code
from search.journal.events import Event, SearchOpened
from search.journal.folder import JOURNAL
from search.journal.record import SearchRecord
from search.running.resources import Resources
from search.session.beginning import Beginning
from search.session.session import Session
from search.tracking.follower import track
from search.tracking.settings import Tracking
from tests.lives.cluster import SimRay
from tests.lives.disk import Disks, SimPath
from tests.lives.draw import RUNGS, Drawn, draw
from tests.lives.promises import Promises
from tests.lives.store import Bucket, SimStore
from tests.lives.surroundings import surrounded
from tests.lives.tracker import MlflowServer
from tests.lives.training import Training
from tests.lives.undisturbed import Kept, undisturbed
from tests.lives.world import Fault, Process, World

OUTPUTS = SimPath("/outputs")
FOLDER = OUTPUTS / "life"
TRACKING = Tracking("http://tracker")
PARENT = OUTPUTS / "parent"
FINGERPRINT = {"rungs": list(RUNGS)}
MOST_DRIVERS = 8
"""That follow each other on a machine before the last one."""
SLOW_S = 20_000.0
"""A driver that takes longer waits for ever."""


@dataclass
class Lived:
    """How a life went."""

    seed: int
    drawn: Drawn
    broken: Sequence[str]
    met: Sequence[Fault]
    steps: int
    said: Sequence[str]


def live(seed: int, faults: Sequence[Fault] | None = None) -> Lived:
    """The life of that number, with its own faults or with these instead."""
    drawn = draw(seed)
    life = Life(seed, drawn, drawn.faults if faults is None else faults)
    life.run()
    return Lived(seed, drawn, life.world.broken, life.world.met, life.world.steps, life.said)


@dataclass
class Console:
    """As rich's; what is said is kept."""

    life: "Life"
    lines: list[str] = field(default_factory=list)
    is_terminal: bool = False

    def print(self, *texts: object, **_: Any) -> None:
        self.lines.append(" ".join(map(str, texts)))
        self.life.say(self.lines[-1])


class Life:
    """A search from its first driver to its last."""

    def __init__(self, seed: int, drawn: Drawn, faults: Sequence[Fault]) -> None:
        self.drawn, self.said = drawn, list[str]()
        self.world = World(seed, faults)
        self.disks = Disks(self.world)
        size = {"CPU": 2.0, "GPU": 2.0} if drawn.has_gpus else {"CPU": 2.0}
        self.ray = SimRay(self.world, self.disks, size, has_own_disks=drawn.has_store)
        self.bucket, self.mlflow = Bucket(self.world), MlflowServer(self.world)
        self.promises = Promises(self.world, self.disks, self.bucket, self.mlflow, drawn)

    def run(self) -> None:
        """Live."""
        world, rng = self.world, self.world.rng
        with surrounded(world, self.disks, self.ray, self.mlflow, self._display):
            for machine in ("alpha", "beta") if self.drawn.is_fork else ():
                self.disks.put(f"{machine}:{PARENT / JOURNAL}", _parent(self.drawn).lines)
            machines = ["alpha", *(["beta" if self.drawn.has_store else "alpha"] if self.drawn.has_rival else [])]
            user = Process("a user", "nowhere", "nowhere")
            users = [
                world.start(user, partial(self._use, machine), rng.uniform(0, 200 * n)) for n, machine in enumerate(machines)
            ]
            for task in users:
                world.run(task, MOST_DRIVERS * SLOW_S)
            if not world.broken:
                world.calm()
                last = world.start(user, self._end)
                world.run(last, 3 * SLOW_S)
            world.end()
            if not world.broken and not self.promises.is_checked:
                world.fail("nobody looked at its end")
            self.ray.bury()

    def say(self, line: str) -> None:
        self.said.append(f"{self.world.now_s:9.2f} {self.world.process.name}: {line}")

    def _use(self, machine: str) -> None:
        """Start the search, and start it again where it stopped."""
        for _ in range(MOST_DRIVERS):
            if self._drive(machine) == 0:
                return
            self.world.pause(self.world.rng.uniform(0, 100))

    def _end(self) -> None:
        """Nothing goes wrong any more."""
        self.world.pause(500)
        for _ in range(3):
            if self._drive(self.promises.last_machine, is_last=True) is not None and self.promises.is_complete:
                break
        process = self.ray.process("a look at it all", self.promises.last_machine, self.promises.last_machine)
        look = self.world.start(process, self._look)
        self.world.wait_for(look.waiting, None)

    def _look(self) -> None:
        track(FOLDER / JOURNAL, TRACKING)
        self.promises.check_end(FOLDER)

    def _drive(self, machine: str, is_last: bool = False) -> int | None:
        """One driver's life, until it ends or dies: its exit code, and None of a dead one."""
        process = self.ray.process("driver", machine, machine)
        task = self.world.start(process, partial(self._command, is_last))
        if not task.is_over:
            self.world.wait_for(task.waiting, None)
        self.world.kill(process)
        return task.answer

    def _command(self, is_last: bool) -> int:
        """As ``dpc search``, and the end of the shell."""
        console = Console(self)
        session = self._session(console)
        try:
            study, _ = session.run()
            code = session.conclude(study) or no_score_code([study.record])
            self.promises.check_ended(study, code, console.lines)
        except (UserError, OSError) as error:
            code = 2
            console.print(f"{type(error).__name__}: {error}")
            self.promises.check_refused(error, is_last)
        except Exception as error:
            self.world.fail(f"a fault of dpc: {''.join(traceback.format_exception(error))}")
            raise
        console.print(f"exit code {code}")
        return code

    def _session(self, console: Console) -> Session:
        drawn = self.drawn
        settings = {"trials": drawn.plan.trials} | ({"from": PARENT.name} if drawn.is_fork else {})
        store = SimStore(self.bucket) if drawn.has_store else None
        workplace: Any = SimpleNamespace(
            bucket=store,
            output_dir=OUTPUTS,
            resources=Resources(cpu=1.0, gpu=1.0 if drawn.has_gpus else 0.0),
            faults=drawn.tolerance,
            ray=SimpleNamespace(max_pending=4, max_concurrent=None),
            is_cluster=True,
        )
        opened = SearchOpened("life", FINGERPRINT, settings, 0.0)
        return Session(
            folder=FOLDER,
            beginning=Beginning(plan=drawn.plan, opened=opened, cure="another name", parent=PARENT if drawn.is_fork else None),
            task=Training(self.world, partial(self.promises.begun, self.world.process)),
            workplace=workplace,
            tracking=TRACKING,
            console=console,  # type: ignore[arg-type]
            title="A life",
            retry_failed=drawn.retries_failed,
            write_results=self._write_results,
        )

    def _write_results(self, record: SearchRecord) -> None:
        self.promises.check_leaderboard(record)
        write_text(FOLDER / "leaderboard.csv", "\n".join(trial.cell.digest for trial in record.ranked()))

    @contextmanager
    def _display(self, record: SearchRecord, *_: object) -> Iterator[Any]:
        """In the place of the live table: it is told what a person is told."""
        self.promises.begin(record, FOLDER / JOURNAL)
        yield Told(self.promises)


@dataclass
class Told:
    """A live table that nobody looks at."""

    promises: Promises
    phase: str = ""

    def __call__(self, event: Event) -> None:
        self.promises.told(event)

    def run(self, trials: Collection[int]) -> None:
        """It shows which trials run."""

    def finish(self, phase: str) -> None:
        """It shows that none does."""


def _parent(drawn: Drawn) -> Kept:
    """What the search that this one may be a fork of has found."""
    plan = replace(drawn.plan, trials=3, seed=drawn.plan.seed + 1, window=None)
    return undisturbed(plan, SearchOpened(PARENT.name, FINGERPRINT, {}, 0.0))
