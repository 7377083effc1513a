"""A job's log, followed to its end through lost connections."""

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from cluster.jobs_api import in_one_line

RECONNECT_INTERVAL_S = 2.0
RECONNECT_TRIES = 15


def follow(client: JobSubmissionClient, job: str, write: Callable[[str], None]) -> int:
    """Write the job's log from its first line until the job ends, and return its exit code.

    A connection that breaks is taken up where the log broke off.

    Returns:
        The command's exit code; 1 for a job that was stopped or never started.

    Raises:
        SubmitError: the cluster has not answered for ``RECONNECT_TRIES`` times ``RECONNECT_INTERVAL_S``.
    """
    asyncio.run(_write_log(client, job, write))
    with in_one_line(f"the cluster no longer answers; job {job} may still be running there"):
        return _outcome(client.get_job_info(job), write)


async def _write_log(client: JobSubmissionClient, job: str, write: Callable[[str], None]) -> None:
    async for text in _log(client, job):
        write(text)


async def _log(client: JobSubmissionClient, job: str) -> AsyncIterator[str]:
    """The job's log as it grows, until the job has ended or the cluster stays silent."""
    yielded_chars = failures = 0
    while failures < RECONNECT_TRIES:
        replayed_chars = 0  # a connection replays the log from its first character
        try:
            async for chunk in client.tail_job_logs(job):
                fresh = chunk[max(0, yielded_chars - replayed_chars) :]
                replayed_chars += len(chunk)
                if fresh:
                    yielded_chars = replayed_chars
                    yield fresh
            if client.get_job_status(job).is_terminal():
                return
        except (aiohttp.ClientError, OSError, RuntimeError):
            failures = 0 if _is_running(client, job) else failures + 1
        await asyncio.sleep(RECONNECT_INTERVAL_S)


def _is_running(client: JobSubmissionClient, job: str) -> bool:
    try:
        return not client.get_job_status(job).is_terminal()
    except (OSError, RuntimeError):
        return False


def _outcome(details: JobDetails, write: Callable[[str], None]) -> int:
    if details.status == JobStatus.SUCCEEDED:
        return 0
    reason = (details.message or "").partition(", last available logs")[0]  # the log has been shown
    write(f"Job {details.submission_id} {details.status.lower()}: {reason}\n")
    return details.driver_exit_code or 1
