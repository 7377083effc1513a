"""How a `dpc` command reaches a running Ray cluster: its jobs API. The one file that knows Ray's job client."""

import asyncio
import logging
import os
import shlex
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from urllib.parse import urlsplit
from zipfile import ZIP_DEFLATED, ZipFile

import aiohttp
import requests
from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
UPLOADED_FOLDERS = ("search", "models", "data", "training", "cluster", "conf")
UPLOAD_LIMIT_MIB = 100  # the jobs API answers HTTP 413 above this (DASHBOARD_CLIENT_MAX_SIZE)
PROBE_TIMEOUT_S = 5.0
RECONNECT_INTERVAL_S = 2.0
RECONNECT_TRIES = 15
DETACHED = 130  # what a shell reports of a command that Ctrl-C ended

# `ray job stop` then does to a job what Ctrl-C does to `dpc`, with more than Ray's 3 s to finish what it writes.
GENTLE_STOP = MappingProxyType({"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "15"})


class SubmitError(ValueError):
    """A job that could not be sent or followed, in one line."""


def _print_at_once(text: str) -> None:
    print(text, end="", flush=True)


def submit(
    command: Sequence[str],
    address: str | None = None,
    *,
    working_dir: Path,
    env_vars: Mapping[str, str] = MappingProxyType({}),
    wait: bool = True,
    write: Callable[[str], None] = _print_at_once,
) -> int:
    """Run `dpc <command>` as a job of a Ray cluster, follow its log and return its exit code.

    The job's driver runs on the head, in an unpacked copy of ``UPLOADED_FOLDERS``: a path in ``command`` must be absolute and
    exist there, and `python` must be on the PATH of the head. `ray.init()` inside the job finds the cluster by itself.
    Ctrl-C detaches and leaves the job running; a dropped connection is taken up where the log broke off.

    Args:
        command: what follows `dpc`, one argument each; the job receives every argument unchanged.
        address: URL of the cluster's dashboard; by default ``RAY_API_SERVER_ADDRESS``, else ``DEFAULT_ADDRESS``.
        working_dir: the checkout to send.
        env_vars: environment of the job and its workers. Ray expands ``$NAME`` in their values on the head.
        wait: follow the job until it ends; else return 0 as soon as it is accepted.
        write: receives messages and log, with their line ends.

    Returns:
        The command's exit code; 1 for a job that was stopped or never started; ``DETACHED`` after Ctrl-C.

    Raises:
        SubmitError: no cluster answers at the address, it refuses the job, or the checkout is too large to send.
    """
    address = (address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS).rstrip("/")
    files = _files_to_upload(working_dir)
    client = _connect(address)
    write(f"Sending {len(files)} files, {_mib(sum(files.values()))}, to {address}\n")
    with TemporaryDirectory() as folder, _in_one_line(f"{address} refused the job"):
        job_id = client.submit_job(
            entrypoint=shlex.join(["python", "-m", "search.cli", *command]),
            runtime_env={
                "working_dir": str(_pack(files, working_dir, Path(folder))),
                "env_vars": {**GENTLE_STOP, **env_vars},
            },
        )
    write(f"Job {job_id} is accepted\n")
    next_steps = (
        f"Follow it: ray job logs --follow --address {address} {job_id}\nStop it:   ray job stop --address {address} {job_id}\n"
    )
    if not wait:
        write(next_steps)
        return 0
    try:
        asyncio.run(_follow(client, job_id, write))
    except KeyboardInterrupt:
        write(f"\nDetached: job {job_id} goes on.\n{next_steps}")
        return DETACHED
    with _in_one_line(f"{address} no longer answers, job {job_id} may still run there"):
        return _outcome(client.get_job_info(job_id), write)


def _files_to_upload(working_dir: Path) -> dict[Path, int]:
    """The files of a checkout that a job needs, each with its bytes."""
    if not (working_dir / "search").is_dir():
        raise SubmitError(f"working_dir: must be a checkout of dpc-search, but {working_dir} has no folder search/.")
    files = {
        path: path.stat().st_size
        for folder in UPLOADED_FOLDERS
        for path in sorted((working_dir / folder).rglob("*"))
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.relative_to(working_dir).parts)
    }
    if sum(files.values()) > UPLOAD_LIMIT_MIB * 2**20:
        items: Counter[str] = Counter()
        for path, size in files.items():
            items["/".join(path.relative_to(working_dir).parts[:2])] += size
        largest = ", ".join(f"{item} ({_mib(size)})" for item, size in items.most_common(3))
        raise SubmitError(
            f"working_dir: a job takes at most {UPLOAD_LIMIT_MIB} MiB of files, {working_dir} has "
            f"{_mib(items.total())}; move data out of the packages. Largest: {largest}."
        )
    return files


def _connect(address: str) -> JobSubmissionClient:
    accepted = f"the URL of a Ray dashboard such as {DEFAULT_ADDRESS}"
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SubmitError(f"address: must be {accepted}, got {address!r}.")
    try:
        requests.get(f"{address}/api/version", timeout=PROBE_TIMEOUT_S)  # Ray's client would wait without end
    except (requests.RequestException, ValueError) as error:
        reason = "timed out" if isinstance(error, requests.Timeout) else "no connection"
        raise SubmitError(f"address: no Ray cluster answers at {address} ({reason}); pass {accepted}.") from None
    for talkative in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    with _in_one_line(f"address: {address} does not serve jobs, pass {accepted}"), _only_address(address):
        return JobSubmissionClient(address)


def _pack(files: Mapping[Path, int], working_dir: Path, folder: Path) -> Path:
    """An archive of exactly these files: Ray's own packing takes all but its excludes and what ignore files name."""
    package = folder / "dpc-search.zip"
    with ZipFile(package, "w", ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in files:
            archive.write(path, path.relative_to(working_dir))
    return package


async def _follow(client: JobSubmissionClient, job_id: str, write: Callable[[str], None]) -> None:
    async for text in _log(client, job_id):
        write(text)


async def _log(client: JobSubmissionClient, job_id: str) -> AsyncIterator[str]:
    """The job's log as it grows, until the job has ended or the cluster stays silent."""
    yielded_chars = failures = 0
    while failures < RECONNECT_TRIES:
        replayed_chars = 0  # a connection replays the log from its first character
        try:
            async for chunk in client.tail_job_logs(job_id):
                fresh = chunk[max(0, yielded_chars - replayed_chars) :]
                replayed_chars += len(chunk)
                if fresh:
                    yielded_chars = replayed_chars
                    yield fresh
            if client.get_job_status(job_id).is_terminal():
                return
        except (aiohttp.ClientError, OSError, RuntimeError):
            failures = 0 if _is_running(client, job_id) else failures + 1
        await asyncio.sleep(RECONNECT_INTERVAL_S)


def _is_running(client: JobSubmissionClient, job_id: str) -> bool:
    try:
        return not client.get_job_status(job_id).is_terminal()
    except (OSError, RuntimeError):
        return False


def _outcome(job: JobDetails, write: Callable[[str], None]) -> int:
    if job.status == JobStatus.SUCCEEDED:
        return 0
    reason = (job.message or "").partition(", last available logs")[0]  # the log has been shown
    write(f"Job {job.submission_id} {job.status.lower()}: {reason}\n")
    return job.driver_exit_code or 1


@contextmanager
def _only_address(address: str) -> Iterator[None]:
    """Let Ray's client take the address it is given: it would prefer these variables to its argument."""
    saved = os.environ.get("RAY_API_SERVER_ADDRESS")
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    try:
        yield
    finally:
        del os.environ["RAY_API_SERVER_ADDRESS"]
        if saved is not None:
            os.environ["RAY_API_SERVER_ADDRESS"] = saved


@contextmanager
def _in_one_line(what: str) -> Iterator[None]:
    try:
        yield
    except AuthenticationError:
        raise SubmitError(
            f"{what}: a token is asked for or refused; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH "
            "unless ~/.ray/auth_token holds the cluster's."
        ) from None
    except (RayError, RuntimeError, OSError, LookupError, ValueError) as error:
        raise SubmitError(f"{what}: {textwrap.shorten(str(error), 300)}") from None


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"
