"""Where Ray is."""

import os
import re

from data.system.errors import UserError

LAST_PORT = 65_535
LOCAL = "local"
"""This machine alone."""


def given_address(address: str | None) -> str:
    """``address``, or else that of the surrounding job, or else ``LOCAL``.

    Raises:
        UserError: ``RAY_ADDRESS``, which Ray sets for a job, has not the form of one; `ray job submit` reads a URL from it.
    """
    if address is not None:
        return address
    try:
        return check_address(os.environ.get("RAY_ADDRESS") or LOCAL)
    except UserError as error:
        raise UserError(f"RAY_ADDRESS: {error} ray.address=local stays on this machine, whatever it says.") from error


def names_cluster(address: str | None) -> bool:
    """Whether trials run on a cluster, at ``address`` or of the surrounding job, and not on this machine alone."""
    return given_address(address) != LOCAL


def check_address(address: str) -> str:
    """``address`` itself.

    Raises:
        UserError: it has not the form of one, or is that of Ray's client: Tune would run far from the journal.
    """
    if address.startswith("ray://"):
        raise UserError(f"{address!r} is for Ray's client, which cannot run a search; `dpc submit` sends one to a cluster.")
    if _ADDRESS.fullmatch(address) and int(address.rpartition(":")[2] if ":" in address else 0) <= LAST_PORT:
        return address
    raise UserError(f"{address!r} is not a Ray address; accepted are null, auto, local and <host>:<port> of a head.")


_ADDRESS = re.compile(r"auto|local|[^\s/]+:\d{1,5}")
