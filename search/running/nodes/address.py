"""Where Ray is."""

import os


def names_cluster(address: str | None) -> bool:
    """Whether trials run on a cluster, at ``address`` or of the surrounding job, and not on this machine alone."""
    return (address or os.environ.get("RAY_ADDRESS") or "local") != "local"
