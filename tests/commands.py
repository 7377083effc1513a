"""Commands in processes of their own, beside the test: forked from one that has imported what they need."""

import atexit
import multiprocessing
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from multiprocessing.connection import Connection

from tests import ray_workers

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(
    [
        "tests.undrawn_ray",
        "search.cli",
        "search.commands.search",
        "search.commands.submit",
        "search.session.results",
        "search.running.run",
        "training.extraction",
        "training.proxy",
        "tests.made_tables",
        "mlflow.store.tracking.sqlalchemy_store",
    ]
)


def started(*arguments: str, variables: Mapping[str, str] | None = None) -> "Command":
    """``dpc`` with these arguments, and an environment if not the test's."""
    streams = [FORKING.Pipe(duplex=False) for _ in range(2)]
    of_child = [write for _, write in streams]
    process = FORKING.Process(target=_run, args=(arguments, dict(os.environ if variables is None else variables), *of_child))
    process.start()
    for write in of_child:
        write.close()
    return Command(process, *(os.fdopen(os.dup(read.fileno())) for read, _ in streams))


@dataclass(frozen=True)
class Command:
    """A command that runs; used as a context, it has ended by its end."""

    process: multiprocessing.process.BaseProcess
    stdout: TextIOWrapper
    stderr: TextIOWrapper

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def communicate(self, timeout: float = 500) -> tuple[str, str]:
        """What it prints until it ends, and its errors."""
        said = self.stdout.read(), self.stderr.read()
        self.process.join(timeout)
        assert self.process.exitcode is not None
        return said

    def kill(self) -> None:
        self.process.kill()

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.join(60)
        self.process.kill()
        self.stdout.close()
        self.stderr.close()


def _run(arguments: tuple[str, ...], variables: dict[str, str], output: Connection, errors: Connection) -> None:
    from ray._raylet import Config

    from search.cli import main
    from tests import made_tables

    os.setsid()
    os.environ.clear()
    os.environ.update(variables)
    ray_workers.use()
    made_tables.use()
    Config.initialize("")  # Ray has read the environment of the process that this one is forked from
    for number, connection in ((1, output), (2, errors)):
        os.dup2(connection.fileno(), number)
        connection.close()
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    try:
        sys.exit(main(arguments))
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out, and Ray of this machine ends with them
