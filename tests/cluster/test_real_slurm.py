"""cluster/slurm.sbatch under a real Slurm (Debian's slurmctld, slurmd, slurm-client, munge): warned, queued again, through."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.journal.events import RungReached
from search.journal.lines import read_events
from tests.cluster.conftest import free_ports

ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.getuid() != 0 or not all(map(shutil.which, PROGRAMS)), reason="needs root and Slurm"),
]


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A Slurm of one node; runs one of its commands and returns what it prints."""
    host, munge = socket.gethostname().split(".")[0], tmp_path / "munge"
    controller, node = free_ports(2)
    munge.mkdir(mode=0o700)
    (munge / "key").touch(mode=0o600)
    (munge / "key").write_bytes(os.urandom(128))
    (tmp_path / "slurm.conf").write_text(f"""\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={munge}/socket
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={tmp_path}/state
SlurmdSpoolDir={tmp_path}/spool
SlurmctldPidFile={tmp_path}/slurmctld.pid
SlurmdPidFile={tmp_path}/slurmd.pid
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
""")
    (tmp_path / "state").mkdir()
    environment = {**os.environ, "SLURM_CONF": str(tmp_path / "slurm.conf")}
    files = {name: munge / name for name in ("socket", "pid-file", "log-file", "seed-file")}
    options = [f"--{name}={path}" for name, path in files.items()]
    # Apart, or the node would have whatever Ray runs on this machine.
    apart = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    daemons = {
        "munged": ["munged", "--foreground", "--force", f"--key-file={munge}/key", *options],
        "slurmctld": ["slurmctld", "-D"],
        "slurmd": [*apart, "slurmd", "-D"],
    }
    running = []
    for name, daemon in daemons.items():
        with (tmp_path / f"{name}.log").open("w") as log:
            running.append(subprocess.Popen(daemon, env=environment, stdout=log, stderr=log))
        time.sleep(1)  # munged takes no connection before its socket is there

    def call(*command: str) -> str:
        return subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    yield call
    for process in reversed(running):
        process.kill()  # unshare ignores SIGTERM
        process.wait()


def wait_until(is_true: Callable[[], bool], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(1)


def test_a_warned_job_stops_in_order_queues_itself_again_and_goes_on_from_the_journal(slurm, tmp_path):
    journal = tmp_path / "outputs/s/journal.jsonl"
    search = ["search", "experiment=demo", "name=s", "trials=6", f"output_dir={tmp_path}/outputs", "tracking.uri=null"]
    resources = ["--nodes=1", "--gpus-per-node=0", "--time=30", f"--output={tmp_path}/job.log"]
    job = slurm("sbatch", "--parsable", *resources, "cluster/slurm.sbatch", *search)

    def scored() -> int:
        return sum(isinstance(event, RungReached) for event in read_events(journal)[0])

    wait_until(lambda: scored() > 0)
    slurm("scancel", "--batch", "--signal=USR1", job)
    wait_until(lambda: "PENDING" in slurm("squeue", "--noheader", "--format=%T", f"--jobs={job}"))
    log = (tmp_path / "job.log").read_text()
    assert "nothing is lost" in log.lower()
    # Slurm starts it again after two minutes; at once it would refuse the credential that it has just revoked.
    wait_until(lambda: "COMPLETED" in slurm("scontrol", "show", "job", job), timeout_s=600)
    log = (tmp_path / "job.log").read_text()
    assert log.count("Search s: 6 of") == 2, "the second one goes on with what the first has begun"
    assert "dpc retrain" in log
