"""The jobs API of a Ray cluster: its address, its token, its errors in one line. Ray's job client is made here alone."""

import logging
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import requests
from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobDetails, JobSubmissionClient

from cluster.errors import SubmitError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
PROBE_TIMEOUT_S = 5.0
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # it becomes a part of URLs and of the names of log files
LOST = (ConnectionError, requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
"""What a request raises when its connection breaks, whether or not the cluster has heard it."""
HOW_TO_AUTHENTICATE = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH unless ~/.ray/auth_token holds the cluster's"
)


def full_address(address: str | None) -> str:
    """The address given, else ``RAY_API_SERVER_ADDRESS``, else the head on this machine."""
    return (address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS).rstrip("/")


def connect(address: str) -> JobSubmissionClient:
    """A client of the cluster whose dashboard is at ``address``.

    Raises:
        SubmitError: no cluster answers there, it refuses our token, or it is another machine's and asks for none: whoever
            reaches such a cluster runs code on it.
    """
    accepted = f"the URL of a Ray dashboard such as {DEFAULT_ADDRESS}"
    parts = urlsplit(address)
    if "@" in parts.netloc:
        raise SubmitError(f"address: must be {accepted} without a user or password.")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SubmitError(f"address: must be {accepted}, got {address!r}.")
    is_remote = not _is_loopback(parts)
    if is_remote and not _has_token():
        raise SubmitError(
            f"address: {address} is not this machine, so a token is needed: {HOW_TO_AUTHENTICATE}; or submit through "
            "`ssh -L 8265:127.0.0.1:8265 <head>`."
        )
    try:  # Ray's client would wait without end
        answer = requests.get(f"{address}/api/authentication_mode", timeout=PROBE_TIMEOUT_S, allow_redirects=False)
    except (requests.RequestException, ValueError) as error:
        reason = "timed out" if isinstance(error, requests.Timeout) else "no connection"
        raise SubmitError(f"address: no Ray cluster answers at {address} ({reason}); pass {accepted}.") from None
    if is_remote and not (answer.ok and '"token"' in answer.text):
        raise SubmitError(
            f"address: {address} asks for no token, so anyone who can reach it can run code there; start its nodes with "
            "RAY_AUTH_MODE=token."
        )
    for talkative in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    with in_one_line(f"address: {address} does not serve jobs, pass {accepted}"), _only_address(address):
        return JobSubmissionClient(address)


def find_job(client: JobSubmissionClient, job: str) -> JobDetails | None:
    """The job of that id, or None where the cluster has none.

    Raises:
        SubmitError: the id is none, or the cluster does not answer.
    """
    if not JOB_ID.fullmatch(job):
        raise SubmitError(f"job: an id is up to 64 letters, digits, '_', '.' and '-', got {job!r}.")
    with in_one_line(f"job: cannot ask for {job}"):
        try:
            return client.get_job_info(job)
        except RuntimeError as error:
            if f"Job {job} does not exist" in str(error):
                return None
            raise


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Turns what Ray's client raises into a SubmitError of one line that begins with ``what``."""
    try:
        yield
    except SubmitError:
        raise
    except AuthenticationError:
        raise SubmitError(f"{what}: a token is required, or was refused; {HOW_TO_AUTHENTICATE}.") from None
    except (RayError, RuntimeError, OSError, LookupError, ValueError) as error:
        raise SubmitError(f"{what}: {textwrap.shorten(str(error), 300)}") from None


def _is_loopback(parts: SplitResult) -> bool:
    if parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return False
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray/auth_token")
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or path.is_file()


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
