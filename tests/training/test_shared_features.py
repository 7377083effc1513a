"""One copy of the features for all trials of a GPU; here its keeper is a thread, and in test_proxy.py a process."""

import logging
import socket
from threading import Thread

import pytest
import torch

from training import shared_features
from training.features import ResidentFeatures
from training.shared_features import SharedFeatures, shared_features_on


def resident():
    features = ResidentFeatures.__new__(ResidentFeatures)
    features._features_NHWC = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    features._labels_NHW = torch.arange(2 * 5 * 7, dtype=torch.uint8).view(2, 5, 7)
    features._label_step = 2
    return features


@pytest.fixture
def keeper(tmp_path, monkeypatch):
    """Keeps features at a place."""
    monkeypatch.setattr(shared_features, "GRACE_S", 0.2)
    place = tmp_path / "place"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        thread = Thread(target=shared_features._serve, args=(server, resident()))
        thread.start()
        yield place, thread
        thread.join(20)


def test_trials_read_one_copy_and_its_keeper_ends_after_the_last_of_them(keeper):
    place, thread = keeper
    first, second = shared_features._opened(place), shared_features._opened(place)
    first._features_NHWC[1, 2, 3, 4] = -1
    assert second._features_NHWC[1, 2, 3, 4] == -1
    windows = [(0, 1, 2), (1, 2, 2)]
    for shared, kept in zip(second.batch([0, 1], windows), resident().batch([0, 1], windows), strict=True):
        assert torch.equal(shared[0], kept[0])
    first._keeper.close()
    thread.join(1)
    assert thread.is_alive()
    second._keeper.close()
    thread.join(20)
    assert not thread.is_alive()


def test_a_trial_whose_keeper_has_ended_is_told_before_it_is_scored():
    ours, theirs = shared_features.Connection, socket.socketpair()
    trial, keeper = (ours(end.detach()) for end in theirs)
    shared = SharedFeatures(*resident().parts, trial)
    assert len(shared.batch([0])) == 2
    keeper.close()
    with pytest.raises(OSError, match="has ended"):
        shared.batch([0])


def test_where_nobody_can_keep_them_each_trial_has_a_copy_of_its_own_and_that_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(shared_features.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(shared_features, "features_on", lambda cache, device: "own")
    (tmp_path / f"dpc-features-{shared_features.os.getuid()}").mkdir(mode=0o755)

    class Cache:
        folder = tmp_path

    with caplog.at_level(logging.WARNING):
        assert shared_features_on(Cache, torch.device("cpu")) == "own"
    assert "must belong to this user alone" in caplog.text
