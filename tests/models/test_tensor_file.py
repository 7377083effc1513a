import os

import pytest
import torch
from safetensors import SafetensorError

from data.system.disk import is_full
from models.tensor_file import read_tensors, write_tensors


def test_tensors_and_metadata_come_back_as_they_were(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(True)}
    write_tensors(tmp_path / "file", tensors, {"note": "mIoU ≥ 0"})
    read, metadata = read_tensors(tmp_path / "file")
    assert metadata == {"note": "mIoU ≥ 0"}
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_a_file_may_be_read_by_whom_the_umask_lets(tmp_path):
    before = os.umask(0o022)
    try:
        write_tensors(tmp_path / "file", {"a": torch.zeros(1)}, {})
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_disk_that_is_full_is_an_error_of_the_disk(tmp_path, monkeypatch):
    def fail(tensors, partial, metadata):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("models.tensor_file.save_file", fail)
    with pytest.raises(OSError, match="No space left on device: '.*/file'") as caught:
        write_tensors(tmp_path / "file", {"a": torch.zeros(1)}, {})
    assert is_full(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_flipped_bit_in_a_tensor_or_in_the_words_is_damage(tmp_path):
    write_tensors(tmp_path / "file", {"a": torch.ones(3), "b": torch.zeros(2, dtype=torch.bfloat16)}, {"note": "mIoU"})
    content = (tmp_path / "file").read_bytes()
    for place in (content.index(b"mIoU"), len(content) - 1, len(content) - 5):
        (tmp_path / "file").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(SafetensorError, match="digest does not fit"):
            read_tensors(tmp_path / "file")
