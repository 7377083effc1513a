"""Whether every node of the cluster can use a store, asked before the first trial."""

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

from data.store import Store, StoreError
from search.running.nodes.every_node import on_every_node
from search.running.resources import Resources
from search.running.trial_files import forget_checkpoints


def check_nodes(store: Store, checkpoints: Path, resources: Resources, search: str) -> None:
    """Let each node read what this process writes, write, and make its own folder for checkpoints.

    Args:
        resources: of a trial: only nodes that can hold one are asked.
        search: its digest; the checkpoints that others have left on a node are deleted.

    Raises:
        StoreError: names the node that cannot, and why.
        TimeoutError: names a node that does not answer.
    """
    name = f"probe-{uuid4().hex}"
    store.write(name, name.encode())
    try:
        for node, trouble in on_every_node(partial(_trouble, store, name, checkpoints, search), resources):
            if trouble:
                raise StoreError(f"store: {node} cannot use it: {trouble}")
    finally:
        store.delete(name)


def clean_nodes(checkpoints: Path) -> None:
    """Delete the checkpoints on all nodes' own disks, after the search; one that does not answer keeps its own."""
    with suppress(TimeoutError, OSError):
        on_every_node(partial(forget_checkpoints, checkpoints))


def _trouble(store: Store, name: str, checkpoints: Path, search: str) -> str:
    """What this node cannot do; empty where it can do all."""
    try:
        if store.read(name) != name.encode():
            return f"{store} is another place there, without what the driver has written."
        store.check()
        checkpoints.mkdir(parents=True, exist_ok=True)
        if not os.access(checkpoints, os.W_OK):
            return f"output_dir: {checkpoints} is not writable there."
        forget_checkpoints(checkpoints, search)
    except OSError as error:
        return str(error)
    return ""
