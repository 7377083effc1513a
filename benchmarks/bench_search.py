"""The whole job side by side: the same cells under the demo's protocol by ``dpc search`` and by an afternoon's script.

    python benchmarks/bench_search.py [--trials 12] [--rounds 2] [OVERRIDES ...]

``afternoon_search.py`` is that script. Both begin with the same feature cache, in processes of their own and in turns; the
cells are those that the first ``dpc search`` draws. What is stopped early depends on timing, hence the column of iterations.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from processes import parent_and_cpu_s, pids
from result_file import save
from rich.console import Console

from search.config import Config, load
from search.deciding.space import CellSpace
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.session.scoring import by_proxy
from search.settings.groups import Images, Workplace
from training.settings import ProxySettings

AFTERNOON = Path(__file__).with_name("afternoon_search.py")
MARK = "BENCH_SEARCH_RUN"
"""The variable that all processes of a run inherit."""

Scores = dict[str, list[float]]
"""By cell, mIoU at each rung that it reached."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a search cost."""

    elapsed_s: float
    cpu_s: float
    driver_mb: float
    scores: Scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        overrides = ["experiment=demo", "algorithm=uniform", f"trials={options.trials}", f"cache.folder={place / 'cache'}"]
        overrides += options.overrides
        config = load("search", overrides)
        job = job_of(config)
        for number in range(options.rounds):
            ours.append(by_dpc([*overrides, f"output_dir={place / f'dpc{number}'}"], place / f"dpc{number}" / "demo", job))
            theirs.append(by_afternoon(job, place / f"afternoon{number}"))
    rungs = job["rungs"]
    print(f"python {' '.join(sys.argv)}: {options.trials} trials, {options.rounds} rounds, rungs {rungs}")
    print(f"{'':<18}{'trials/hour':>13}{'CPU s a trial':>15}{'driver MB':>11}{'iterations a trial':>20}")
    own, other = figures(ours, rungs), figures(theirs, rungs)
    for name, (rate, cpu_s, memory_mb, iterations) in {"afternoon's script": other, "dpc search": own}.items():
        print(f"{name:<18}{rate:>13.0f}{cpu_s:>15.1f}{memory_mb:>11.0f}{iterations:>20.0f}")
    faster, cheaper, smaller, shorter = (mine / plain for mine, plain in zip(own, other, strict=True))
    print(f"{'ratio':<18}{faster:>13.2f}{cheaper:>15.2f}{smaller:>11.2f}{shorter:>20.2f}")
    apart = [abs(mine - other) for mine, other in pairs(ours, theirs)]
    print(f"mIoU of the same cell at the same rung, {len(apart)} pairs: {100 * max(apart):.2f} points apart at most")
    save(__file__, {"trials an hour to the script's, x": faster, "CPU a trial to the script's, x": cheaper})


def job_of(config: Config) -> dict[str, object]:
    """What the script is given; ``by_dpc`` adds the cells."""
    settings, space = config.build("proxy", ProxySettings), config.build("space", CellSpace)
    task = by_proxy(settings, space, config.read(Images), config.read(Workplace), Console()).task
    optimizer = {name: getattr(settings.optimizer, name) for name in ("learning_rate", "weight_decay", "power")}
    trained = {"rungs": list(settings.rungs), "batch_size": settings.batch_size, "cell": asdict(settings.cell)}
    return {**trained, **optimizer, "train": str(task.train_folder), "val": str(task.val_folder)}


def by_dpc(overrides: list[str], folder: Path, job: dict[str, object]) -> Run:
    cost = measured([str(Path(sys.executable).with_name("dpc")), "search", *overrides])
    trials = SearchRecord(read_events(folder / "journal.jsonl")[0]).trials.values()
    job["trials"] = {trial.cell.digest: {"cell": trial.cell.to_json(), "seed": trial.proposed.seed} for trial in trials}
    return Run(*cost, {trial.cell.digest: [rung.miou for rung in trial.rungs] for trial in trials})


def by_afternoon(job: dict[str, object], folder: Path) -> Run:
    folder.mkdir()
    path = folder / "job.json"
    path.write_text(json.dumps({**job, "folder": str(folder)}))
    cost = measured([sys.executable, str(AFTERNOON), str(path)])
    return Run(*cost, json.loads((folder / "scores.json").read_text()))


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds of it and all that it starts, and the most memory of the command itself, in MB."""
    mark = f"{MARK}={time.monotonic_ns()}"
    name, value = mark.split("=")
    started_s, cpu_s, peak_kb, checked = time.monotonic(), {}, 0, {}
    process = subprocess.Popen(command, env={**os.environ, name: value}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None:
        for pid in pids():
            with suppress(OSError):
                if pid not in checked:
                    checked[pid] = mark.encode() in (Path(f"/proc/{pid}") / "environ").read_bytes().split(b"\0")
                if checked[pid]:
                    _, cpu_s[pid] = parent_and_cpu_s(pid)
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak_kb = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
        time.sleep(0.25)
    assert process.returncode == 0, process.stderr.read().decode()
    return time.monotonic() - started_s, sum(cpu_s.values()), peak_kb / 1e3


def figures(runs: list[Run], rungs: list[int]) -> tuple[float, ...]:
    """Trials an hour, CPU seconds a trial, the driver's memory in MB and iterations a trial: means over the runs."""
    trials = sum(len(run.scores) for run in runs)
    iterations = [rungs[len(mious) - 1] for run in runs for mious in run.scores.values()]
    rate = 3600 * trials / sum(run.elapsed_s for run in runs)
    return rate, sum(run.cpu_s for run in runs) / trials, fmean(run.driver_mb for run in runs), fmean(iterations)


def pairs(ours: list[Run], theirs: list[Run]) -> list[tuple[float, float]]:
    return [
        pair
        for mine, other in zip(ours, theirs, strict=True)
        for digest in mine.scores
        for pair in zip(mine.scores[digest], other.scores[digest], strict=False)  # either may have been stopped earlier
    ]


if __name__ == "__main__":
    main()
