"""cluster/slurm.sbatch, run by bash as Slurm would, with stand-ins for what a machine without Slurm lacks."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cluster/slurm.sbatch"
STAND_INS = {
    "srun": 'while [[ $1 == -* ]]; do shift; done; exec "$@"',
    "scontrol": 'if [[ $1 == show ]]; then printf "node1\\nnode2\\n"; else echo "$@" >>"$CALLS"; fi',
    "ray": """
        if [[ $1 == get-auth-token ]]; then mkdir -p ~/.ray; echo secret >~/.ray/auth_token; exit; fi
        echo "$@" "$RAY_AUTH_MODE" >>"$CALLS"
        if [[ $ENDS_WITH == never-started ]]; then trap 'kill $!; exit 143' TERM; echo starting; sleep 60 & wait; fi
        while [[ $1 != -- ]]; do shift; done
        shift
        "$@"
    """,
    "dpc": """
        echo "$RAY_ADDRESS" dpc "$@" >>"$CALLS"
        if [[ $ENDS_WITH != by-sigterm ]]; then exit "$ENDS_WITH"; fi
        trap 'exit 75' TERM
        echo ready
        for _ in {1..600}; do sleep 0.1; done
    """,
}


@pytest.fixture
def job(tmp_path):
    """Starts the script; what the stand-ins were called with is in ``calls``."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in STAND_INS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (programs / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    own = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "CALLS": str(tmp_path / "calls")}
    path = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def start(ends_with: str, *arguments: str) -> subprocess.Popen[str]:
        variables = {**os.environ, **slurm, **own, **path, "ENDS_WITH": ends_with}
        command = ["bash", str(SCRIPT), *arguments]
        return subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True)

    return start


@pytest.mark.parametrize(("ends_with", "is_requeued"), [("0", False), ("75", True), ("1", False), ("2", False)])
def test_a_job_queues_itself_again_when_its_command_was_terminated_and_only_then(job, tmp_path, ends_with, is_requeued):
    process = job(ends_with, "search", "name=a b")
    process.communicate(timeout=60)
    assert process.returncode == int(ends_with)
    ray, dpc, *requeues = (tmp_path / "calls").read_text().splitlines()
    assert ray.startswith("symmetric-run --address=node1:24711 --min-nodes=2 -- ")
    assert ray.endswith(" token")
    assert dpc == "node1:24711 dpc search name=a b", "else it would start a Ray of its own"
    assert requeues == (["requeue 4711"] if is_requeued else [])
    assert (tmp_path / ".ray/auth_token").stat().st_mode & 0o077 == 0


def test_the_warning_before_the_time_limit_terminates_the_driver_in_order_and_the_job_is_queued_again(job, tmp_path):
    process = job("by-sigterm", "search")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert (tmp_path / "calls").read_text().splitlines()[-1] == "requeue 4711"
    assert list(tmp_path.glob("tmp.*")) == []


def test_a_warning_that_comes_while_ray_still_starts_queues_the_job_again(job, tmp_path):
    process = job("never-started", "search")
    assert process.stdout.readline() == "starting\n"
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=60)
    assert process.returncode == 75
    ray, *requeues = (tmp_path / "calls").read_text().splitlines()
    assert ray.startswith("symmetric-run ")
    assert requeues == ["requeue 4711"]
    assert list(tmp_path.glob("tmp.*")) == []


def test_slurm_warns_the_script_alone_and_gives_it_whole_machines():
    options = {line.split()[1] for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")}
    assert {"--signal=B:USR1@300", "--exclusive", "--mem=0", "--requeue", "--ntasks-per-node=1"} <= options
