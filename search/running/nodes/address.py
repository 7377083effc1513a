"""Where Ray is."""

import os
import re

from data.system.errors import UserError

LAST_PORT = 65_535


def names_cluster(address: str | None) -> bool:
    """Whether trials run on a cluster, at ``address`` or of the surrounding job, and not on this machine alone."""
    return (address or os.environ.get("RAY_ADDRESS") or "local") != "local"


def check_address(address: str) -> str:
    """``address`` itself.

    Raises:
        UserError: it has not the form of one.
    """
    if _ADDRESS.fullmatch(address) and int(address.rpartition(":")[2] if ":" in address else 0) <= LAST_PORT:
        return address
    raise UserError(f"{address!r} is no address of Ray; accepted are null, auto and <host>:<port> of a head.")


_ADDRESS = re.compile(r"auto|local|(ray://)?[^\s/]+:\d{1,5}")
