"""How a `dpc` command becomes a job of a Ray cluster, exactly once; and that job's status, log and end."""

import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from ray.job_submission import JobDetails, JobSubmissionClient

from cluster.environment import WORKER_HOOK
from cluster.errors import SubmitError
from cluster.follow import RECONNECT_INTERVAL_S, RECONNECT_TRIES, follow
from cluster.jobs_api import LOST, connect, find_job, full_address, in_one_line
from cluster.package import files_to_upload, mib, pack, size_of

DETACHED = 130  # what a shell reports of a command that Ctrl-C ended
STOP_WAIT_S = 15

# A stop then does to a job what Ctrl-C does to `dpc`, with more than Ray's 3 s to finish what it writes.
GENTLE_STOP = MappingProxyType({"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)})
RUN_COMMAND = ("python", "-m", "search.cli")

Write = Callable[[str], None]


def _print_at_once(text: str) -> None:
    print(text, end="", flush=True)


def submit(
    command: Sequence[str],
    address: str | None = None,
    *,
    working_dir: Path,
    code: Sequence[Path] = (),
    job: str | None = None,
    env_vars: Mapping[str, str] = MappingProxyType({}),
    wait: bool = True,
    write: Write = _print_at_once,
) -> int:
    """Run `dpc <command>` as a job of a Ray cluster, follow its log and return its exit code.

    The job's driver runs on the head, in an unpacked copy of the checkout's packages: a path in ``command`` must be absolute
    and exist there, and `python` must be on the PATH of the head. `ray.init()` inside the job finds the cluster by itself.
    Ctrl-C detaches and leaves the job running; a lost connection is taken up again, and never starts the job twice.

    Args:
        command: what follows `dpc`, one argument each; the job receives every argument unchanged.
        address: URL of the cluster's dashboard; by default ``RAY_API_SERVER_ADDRESS``, else this machine's.
        working_dir: the checkout to send.
        code: modules and packages of one's own to send along, which the job can import.
        job: the job's id; where the cluster has a job of that id, it is followed instead. By default a new one.
        env_vars: environment of the job and its workers. They travel in the package: no list of jobs shows them.
        wait: follow the job until it ends; else return 0 as soon as it is accepted.
        write: receives messages and log, with their line ends.

    Returns:
        The command's exit code; 1 for a job that was stopped or never started; ``DETACHED`` after Ctrl-C.

    Raises:
        SubmitError: no cluster answers at the address, it refuses the job or runs another command under its id, or the
            checkout is too large to send.
    """
    address = full_address(address)
    files = files_to_upload(working_dir, code)
    client = connect(address)
    job = job or f"dpc-{secrets.token_hex(4)}"
    wrapper = ("python", "-m", "cluster.environment") if env_vars else ()
    entrypoint = shlex.join([*wrapper, *RUN_COMMAND, *command])
    if there := find_job(client, job):
        _check_same(there, entrypoint)
        write(f"Job {job} already exists ({there.status.lower()}); nothing is sent\n")
    else:
        write(f"Sending {len(files)} files, {mib(size_of(files))}, to {address} as job {job}\n")
        with TemporaryDirectory() as folder, in_one_line(f"{address} refused the job"):
            runtime_env: dict[str, Any] = {
                "working_dir": str(pack(files, env_vars, Path(folder))),
                "env_vars": dict(GENTLE_STOP),
            }
            if env_vars:
                runtime_env["worker_process_setup_hook"] = WORKER_HOOK
            _send(client, job, entrypoint, runtime_env, write)
        write(f"Job {job} is accepted\n")
    if not wait:
        write(_next_steps(job, address))
        return 0
    return _follow_or_detach(client, job, address, write)


def status(job: str, address: str | None = None, write: Write = _print_at_once) -> int:
    """Write one line: the job, how it is, for how long it has run, and its command."""
    details = _existing(connect(full_address(address)), job)
    end_ms = details.end_time or time.time() * 1000
    elapsed_ms = max(0, end_ms - (details.start_time or end_ms))  # this machine's clock may be behind the cluster's
    elapsed = timedelta(seconds=round(elapsed_ms / 1000))
    command = details.entrypoint.rpartition(shlex.join(RUN_COMMAND))[2]
    write(f"{job}  {details.status.lower()}  {elapsed}  dpc{command}\n")
    return 0


def logs(job: str, address: str | None = None, *, wait: bool = True, write: Write = _print_at_once) -> int:
    """Write the job's log: until it ends, then with its exit code; or, not to wait, what there is so far."""
    address = full_address(address)
    client = connect(address)
    _existing(client, job)
    if wait:
        return _follow_or_detach(client, job, address, write)
    with in_one_line(f"logs: {address} does not show them"):
        write(client.get_job_logs(job))
    return 0


def stop(job: str, address: str | None = None, *, wait: bool = True, write: Write = _print_at_once) -> int:
    """End the job as Ctrl-C would, and wait until it has ended."""
    client = connect(full_address(address))
    details = _existing(client, job)
    with in_one_line(f"stop: {job} may still be running"):
        if not details.status.is_terminal():
            client.stop_job(job)
        deadline_s = time.monotonic() + 2 * STOP_WAIT_S
        while wait and not (details := client.get_job_info(job)).status.is_terminal() and time.monotonic() < deadline_s:
            time.sleep(0.5)
    write(f"Job {job}: {details.status.lower() if details.status.is_terminal() else 'stopping'}\n")
    return 0


def _send(client: JobSubmissionClient, job: str, entrypoint: str, runtime_env: dict[str, Any], write: Write) -> None:
    """Send the job until the cluster has it. One that was heard before its connection broke is refused by its id."""
    for attempt in range(RECONNECT_TRIES):
        try:
            client.submit_job(submission_id=job, entrypoint=entrypoint, runtime_env=runtime_env)
            return
        except LOST:
            if attempt == 0:
                write(
                    f"The connection was lost; trying again. You can also try later with job={job}: it is not started twice\n"
                )
            time.sleep(RECONNECT_INTERVAL_S)
        except RuntimeError:
            there = find_job(client, job)
            if there is None:
                raise
            _check_same(there, entrypoint)
            return
    raise SubmitError(f"job: the connection was lost and {job} may be running; run the same command with job={job} to find it.")


def _follow_or_detach(client: JobSubmissionClient, job: str, address: str, write: Write) -> int:
    try:
        return follow(client, job, write)
    except KeyboardInterrupt:
        write(f"\nDetached: job {job} keeps running.\n{_next_steps(job, address)}")
        return DETACHED


def _existing(client: JobSubmissionClient, job: str) -> JobDetails:
    details = find_job(client, job)
    if details is None:
        raise SubmitError(f"job: the cluster has no job {job!r}; `ray job list --address {client.get_address()}` shows all.")
    return details


def _check_same(there: JobDetails, entrypoint: str) -> None:
    if there.entrypoint != entrypoint:
        raise SubmitError(f"job: {there.submission_id} runs another command there; choose another job=...")


def _next_steps(job: str, address: str) -> str:
    return f"Follow it: dpc submit logs={job} address={address}\nStop it:   dpc submit stop={job} address={address}\n"
