"""What a command asks of a cluster's nodes before it gives them work."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data.cache.local_copy import check_local_room
from data.system.termination import handle_sigterm
from models.settings import HUB
from search.config import Config, ConfigError
from search.running.nodes.cluster import connect, names_cluster
from search.running.nodes.every_node import on_every_node
from search.running.nodes.shared_folders import SharedPath, check_shared
from search.running.nodes.shared_task import SharedTask
from search.running.trial import CellTask
from search.session.store import store_of

DATA = ("dataset.root", "backbone.weights")
"""Settings of what nodes read that train on images."""


def join_cluster(config: Config, written: Sequence[str] = (), read: Sequence[str] = ()) -> bool:
    """Join the cluster that the settings name, and see that its nodes share the folders and files at some settings.

    Returns whether nodes share folders: on a single machine nothing is to be shared, and with a store each node has its own.

    Raises:
        ConnectionError: no cluster answers there.
        SharedFolderError: a node does not see, or cannot use, what it must.
    """
    if not _has_cluster(config) or store_of(config):
        return False
    _join(config)
    folders = [SharedPath(setting, config.value(setting, Path).resolve()) for setting in written]
    check_shared(folders, shared_data(config, read))
    return True


def shared_data(config: Config, settings: Sequence[str] = DATA) -> list[SharedPath]:
    """What the nodes of a cluster must see; a generated data set and weights of a hub lie nowhere.

    Raises:
        ConfigError: a path that means something else in a node's working folder.
    """
    if not _has_cluster(config):
        return []
    given = ((setting, config.optional(setting, str)) for setting in settings)
    paths = {setting: Path(path) for setting, path in given if path not in (None, HUB)}
    for setting, path in paths.items():
        if not path.is_absolute():
            raise ConfigError(f"{setting}: must be an absolute path on a cluster, got {path}.")
    return [SharedPath.seen(setting, path) for setting, path in paths.items()]


def on_shared(config: Config, task: CellTask, seen: Sequence[SharedPath]) -> CellTask:
    """``task``, refusing nodes of a cluster that joined late and do not share ``output_dir`` and what is ``seen`` here.

    Raises:
        SharedFolderError: a store takes the place of ``output_dir``, and a node does not see the rest.
    """
    if not _has_cluster(config):
        return task
    if store_of(config):
        _join(config)
        check_shared((), seen)
        return SharedTask(task, tuple(seen))
    return SharedTask(task, (SharedPath("output_dir", config.value("output_dir", Path).resolve()), *seen))


def check_copies(config: Config, caches: Sequence[Path], local: Path) -> None:
    """Refuse disks of nodes, or of this machine, that cannot take the copies of some caches.

    Raises:
        OSError: names the node that is too full, and by how much.
    """
    check = partial(check_local_room, caches, local)
    if _has_cluster(config):
        on_every_node(check)
    else:
        check()


def _join(config: Config) -> None:
    connect(config.optional("ray.address", str))
    handle_sigterm()


def _has_cluster(config: Config) -> bool:
    return names_cluster(config.optional("ray.address", str))
