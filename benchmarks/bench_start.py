"""How long until something happens: CPU seconds that commands and processes of a search need before they do any work.

    python benchmarks/bench_start.py [--rounds 3]

Each figure stands beside a bare one of the same run: ``import torch``, or a Ray actor that takes one step of plain PyTorch.
CPU seconds, as other work on the machine changes them little. Times are the best of all rounds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from resource import RUSAGE_CHILDREN, getrusage

import ray
from processes import parent_and_cpu_s, pids
from ray import cloudpickle, tune
from result_file import save

from models.spec import PUBLISHED_OPERATORS
from search.config import load
from search.journal.folder import JOURNAL
from search.running.nodes.cluster import connect
from search.running.trial import CellTrial
from search.settings.groups import Deciding, Images, Workplace

POLL_S = 0.02
SETTLED_S = 8.0
TINY = ("dataset.num_train=8", "dataset.num_val=2", "proxy.rungs=[2,4]", "proxy.cell.filters=8", "cache.workers=1")
"""A search whose training takes no time."""
COMMANDS = {
    "dpc --help": ("--help",),
    "dpc search --help": ("search", "--help"),
    "a refusal": ("search", "experiment=demo", "trials=-1"),
    "dpc cell": ("cell", "cell=dpc_top1"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = range(parser.parse_args().rounds)
    figures: dict[str, float] = {}

    def tell(name: str, cpu_s: float, bare_s: float | None = None) -> None:
        figures[f"{name}, s"] = cpu_s
        ratio = "" if bare_s is None else f"{cpu_s / bare_s:>8.2f}"
        print(f"{name:<44}{cpu_s:>8.2f}{ratio}", flush=True)

    print(f"{'CPU seconds':<44}{'':>8}{'ratio':>8}")
    import_s = min(cpu_of("-c", "import torch") for _ in rounds)
    tell("bare: import torch", import_s)
    for name, arguments in COMMANDS.items():
        tell(name, min(cpu_of("-m", "search.cli", *arguments) for _ in rounds), import_s)
    with tempfile.TemporaryDirectory() as folder:
        cpu_of("-m", "search.cli", "cache", *TINY, f"output_dir={folder}")
        until_s = min(driver_until_first_trial(Path(folder), f"start-{number}") for number in rounds)
        tell("driver until the first trial is under way", until_s, import_s)
        bare_s = min(processes_of_ray(lambda: ray.init("local", include_dashboard=False)) for _ in rounds)
        tell("bare: the processes of ray.init()", bare_s)
        tell("those of the Ray of a search", min(processes_of_ray(lambda: connect(None)) for _ in rounds), bare_s)
        connect(None)
        bare_s = min(bare_step() for _ in rounds)
        tell("bare: a Ray actor's first step of PyTorch", bare_s)
        steps = [worker_steps(Path(folder)) for _ in rounds]
        tell("a worker's first step", min(first for first, _ in steps), bare_s)
        tell("the next cell on it", min(after for _, after in steps), bare_s)
        ray.shutdown()
    save(__file__, figures)


def cpu_of(*arguments: str) -> float:
    """CPU seconds of a Python process and of those that it started and waited for."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def driver_until_first_trial(folder: Path, name: str) -> float:
    """CPU seconds of the driver of a search on cached features, until its journal holds the first cell."""
    command = [sys.executable, "-m", "search.cli", "search", *TINY, f"output_dir={folder}", f"name={name}", "trials=1"]
    journal = folder / name / JOURNAL
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (journal.is_file() and '"cell"' in journal.read_text()):
        if driver.poll() is not None:
            raise RuntimeError(f"the search ended with {driver.returncode} before it had a trial")
        time.sleep(POLL_S)
    _, cpu_s = parent_and_cpu_s(driver.pid)
    driver.terminate()
    driver.wait()
    return cpu_s


def processes_of_ray(start: Callable[[], object]) -> float:
    """CPU seconds of the processes that Ray starts here for itself, until they have settled."""
    start()
    time.sleep(SETTLED_S)
    family, cpu_s = {os.getpid()}, 0.0
    for pid in sorted(pids()):  # children after their parents
        with suppress(OSError):
            parent, own_s = parent_and_cpu_s(pid)
            if parent in family:
                family.add(pid)
                cpu_s += own_s
    ray.shutdown()
    return cpu_s


@ray.remote(num_cpus=1)
class Bare:
    """What any training on Ray starts with."""

    def step(self) -> float:
        """CPU seconds of this process, after one step of a convolution."""
        import torch  # noqa: PLC0415 - as a worker does

        model = torch.nn.Conv2d(8, 8, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        model(torch.zeros(1, 8, 9, 9)).sum().backward()
        optimizer.step()
        return time.process_time()


def bare_step() -> float:
    actor = Bare.remote()
    cpu_s = float(ray.get(actor.step.remote()))
    ray.kill(actor)
    return cpu_s


def worker_steps(folder: Path) -> tuple[float, float]:
    """CPU seconds of a trial's process up to its first score, and of the next cell's first score."""
    from search.session.caches import build_caches  # noqa: PLC0415 - after the commands were measured
    from training.proxy import ProxyTask  # noqa: PLC0415

    config = load("search", [*TINY, f"output_dir={folder}"])
    deciding = config.read(Deciding)
    splits = ("search_train", "search_val")
    caches = build_caches(config.read(Images), splits, config.read(Workplace), quiet(), written={})
    task = ProxyTask(caches["search_train"].folder, caches["search_val"].folder, deciding.proxy)
    configs = [
        {
            "cell": json.dumps(deciding.space.sample(Random(seed)).to_json()),
            "seed": seed,
            "trial": seed,
            "checkpoint": f"{seed}.safetensors",
            "kernels": True,
            "room": {"CPU": 1.0},
        }
        for seed in (0, 1)
    ]
    trainable = tune.with_parameters(
        CellTrial,
        pickled_task=cloudpickle.dumps(task),
        checkpoints=Path(tempfile.mkdtemp(dir=folder)),  # no state of an earlier round
        operators=PUBLISHED_OPERATORS,
        timeout_s=None,
        threads=1,
    )
    actor = ray.remote(num_cpus=1)(trainable).remote(config=configs[0])
    first_s = stepped(actor)
    ray.get(actor.reset.remote(configs[1]))
    next_s = stepped(actor) - first_s
    ray.kill(actor)
    return first_s, next_s


def stepped(actor) -> float:
    """CPU seconds of the actor's process after its next step."""
    result = ray.get(actor.train.remote())
    if not any(key.startswith("score") for key in result):
        raise RuntimeError(f"no score: {result}")
    return float(ray.get(actor.__ray_call__.remote(lambda self: time.process_time())))


def quiet():
    from rich.console import Console  # noqa: PLC0415

    return Console(quiet=True)


if __name__ == "__main__":
    main()
