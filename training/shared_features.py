"""One copy of a cache's features on a GPU for all trials that share it.

The first trial starts a process that keeps them, ``python -m training.shared_features``. Each trial opens its memory (CUDA
IPC) and stays connected; when the last one has gone, the keeper ends. A trial whose keeper died is tried again.
"""

import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import torch
from torch import Tensor
from torch.multiprocessing import set_sharing_strategy

from data.cache.feature_cache import FeatureCache, Window
from data.system.locks import Lock
from training.features import Features, ResidentFeatures, features_on
from training.score import FeaturesGoneError
from training.step import Batch

_LOG = logging.getLogger(__name__)

GRACE_S = 30.0
"""That a keeper waits for another trial: longer than a worker takes to start."""


class SharedFeatures(ResidentFeatures):
    """Features that a keeper holds for as long as this process is connected to it."""

    def __init__(self, features_NHWC: Tensor, labels_NHW: Tensor, label_step: int, keeper: Connection) -> None:
        self._features_NHWC, self._labels_NHW, self._label_step = features_NHWC, labels_NHW, label_step
        self._keeper = keeper

    def batch(self, indices: Sequence[int], windows: Sequence[Window] | None = None) -> Batch:
        """As ``Features.batch``; raises as ``check`` does."""
        self.check()
        return super().batch(indices, windows)

    def check(self) -> None:
        """To be asked before a result is told: what a device reads by itself (``whole``, ``cut``) asks nobody.

        Raises:
            FeaturesGoneError: the keeper has ended, and what lies in its memory is no longer ours.
        """
        if self._keeper.poll():
            raise FeaturesGoneError("the process that keeps the features for this GPU's trials has ended")


def shared_features_on(cache: FeatureCache, device: torch.device) -> Features:
    """The features that all trials on ``device`` read; where they do not fit, or nobody can keep them, ``features_on``."""
    try:
        place = _place(cache.folder, device)
        with Lock(place.with_suffix(".lock"), wait=True):  # one of the trials starts the keeper, the others wait for it
            found = _opened(place) or _kept(cache.folder, device, place)
    except OSError as error:
        _LOG.warning("features are not shared between the trials of a GPU: %s", error)
        found = None
    return found or features_on(cache, device)


def _opened(place: Path) -> SharedFeatures | None:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(place))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        keeper = Connection(client.detach())
    try:
        features_NHWC, labels_NHW, label_step = ForkingPickler.loads(keeper.recv_bytes())
    except (EOFError, ConnectionResetError):  # it was about to end
        return None
    return SharedFeatures(features_NHWC, labels_NHW, label_step, keeper)


def _kept(folder: Path, device: torch.device, place: Path) -> SharedFeatures | None:
    """Start a keeper; None where the features do not fit."""
    command = [sys.executable, "-m", __name__, str(folder.resolve()), str(device), str(place)]
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}) as started:
        assert started.stdout is not None
        said = started.stdout.readline().strip()
    if said == _TOO_LARGE:
        return None
    if said != _READY:
        raise OSError(f"their keeper ended: {said or 'it said nothing'}")
    return _opened(place)


def _place(folder: Path, device: torch.device) -> Path:
    """The socket of the keeper of these features on this device, in a folder that only this user can enter."""
    user = Path(tempfile.gettempdir()) / f"dpc-features-{os.getuid()}"
    user.mkdir(mode=0o700, exist_ok=True)
    status = user.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{user}: must belong to this user alone")
    gpu = torch.cuda.get_device_properties(device).uuid if device.type == "cuda" else device
    return user / sha256(f"{folder.resolve()} {gpu}".encode()).hexdigest()[:16]


_READY, _TOO_LARGE = "ready", "too large"


def keep(folder: Path, device: torch.device, place: Path) -> None:
    """Hold the features of a cache, and hand them to whoever connects, until nobody has been there for a while.

    Says in one line that it is ready, or why it is not.
    """
    if os.fork():  # a keeper is nobody's child, so that the end of the trial that started it is not its own
        os._exit(0)
    os.setsid()
    try:
        cache = FeatureCache(folder)
        features = features_on(cache, device) if device.type == "cuda" else ResidentFeatures(cache, device)
        if not isinstance(features, ResidentFeatures):
            _say(_TOO_LARGE)
            return
        place.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
            server.listen(64)
            _say(_READY)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # who started it waits for the end of the pipe
            _serve(server, features)
    except Exception as error:
        _say(f"{type(error).__name__}: {' '.join(str(error).split())}")
        raise


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _serve(server: socket.socket, features: ResidentFeatures) -> None:
    if features.device.type == "cpu":
        set_sharing_strategy("file_system")
    trials: list[Connection] = []
    while ready := wait([server, *trials], GRACE_S if not trials else None):
        for end in ready:
            if end is server:
                trials.append(Connection(server.accept()[0].detach()))
                trials[-1].send_bytes(ForkingPickler.dumps(features.parts))
            else:  # trials say nothing: it has gone
                assert isinstance(end, Connection)
                trials.remove(end)
                end.close()


if __name__ == "__main__":
    keep(Path(sys.argv[1]), torch.device(sys.argv[2]), Path(sys.argv[3]))
