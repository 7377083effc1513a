"""What a command asks of a cluster's nodes before it gives them work."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from data.cache.local_copy import check_local_room
from data.system.errors import UserError
from data.system.termination import handle_sigterm
from search.running.nodes.cluster import connect
from search.running.nodes.every_node import on_every_node
from search.running.nodes.shared_folders import SharedPath, check_shared
from search.running.task import CellTask, PreparedTask
from search.settings.groups import Workplace


def join_cluster(workplace: Workplace, written: Mapping[str, Path], read: Mapping[str, str]) -> bool:
    """Join the cluster where there is one, and see that its nodes share some folders and files, each by its setting.

    Returns whether nodes share folders: on a single machine nothing is to be shared, and with a store each node has its own.

    Raises:
        ConnectionError: no cluster answers there.
        SharedFolderError: a node does not see, or cannot use, what it must.
    """
    if not workplace.is_cluster or workplace.bucket:
        return False
    join(workplace)
    folders = [SharedPath(setting, path) for setting, path in written.items()]
    check_shared(folders, shared_data(workplace, read), workplace.resources)
    return True


def join(workplace: Workplace) -> None:
    """Connect to Ray, which takes SIGTERM for itself."""
    connect(workplace.ray.address)
    handle_sigterm()


def shared_data(workplace: Workplace, read: Mapping[str, str]) -> list[SharedPath]:
    """What the nodes of a cluster must see of some files and folders, each by its setting.

    Raises:
        ValueError: a path that means something else in a node's working folder.
    """
    if not workplace.is_cluster:
        return []
    for setting, path in read.items():
        if not Path(path).is_absolute():
            raise UserError(f"{setting}: must be an absolute path on a cluster, got {path}.")
    return [SharedPath.seen(setting, Path(path)) for setting, path in read.items()]


def on_shared(workplace: Workplace, task: CellTask, seen: Sequence[SharedPath]) -> CellTask:
    """``task``, refusing nodes of a cluster that joined late and do not share ``output_dir`` and what is ``seen`` here.

    Raises:
        SharedFolderError: a store takes the place of ``output_dir``, and a node does not see the rest.
    """
    if not workplace.is_cluster:
        return task
    if workplace.bucket:
        join(workplace)
        check_shared((), seen, workplace.resources)
    else:
        seen = [SharedPath("output_dir", workplace.output_dir), *seen]
    return PreparedTask(task, [path.check for path in seen])


def check_copies(workplace: Workplace, caches: Sequence[Path], local: Path) -> None:
    """Refuse disks of nodes, or of this machine, that cannot take the copies of some caches.

    Raises:
        OSError: names the node that is too full or where it is not writable, and by how much.
    """
    if not workplace.is_cluster:
        check_local_room(caches, local)
        return
    for node, trouble in on_every_node(partial(_trouble, caches, local), workplace.resources):
        if trouble:
            raise OSError(f"cache.local: {node}: {trouble}")


def _trouble(caches: Sequence[Path], local: Path) -> str:
    try:
        check_local_room(caches, local)
    except OSError as error:
        return str(error)
    return ""
