import numpy as np
import pytest

from models.deeplab.checkpoint import Checkpoint, CheckpointError
from models.deeplab.crc32c import masked_crc32c
from tests.models.deeplab.checkpoints import write_bundle

TENSORS = {
    **{f"scope/{number}/weights": np.full((3, 3, number + 1, 2), number, np.float32) for number in range(20)},
    "scope/long": np.arange(3000, dtype=np.float32),
    "scope/empty": np.zeros((), np.float32),
    "global_step": np.array(7),
}


@pytest.fixture
def written(tmp_path):
    write_bundle(tmp_path / "model.ckpt-30", TENSORS)
    return tmp_path / "model.ckpt-30"


def test_a_checksum_is_that_of_rfc_3720_and_longer_stretches_are_as_if_byte_by_byte():
    crc = (masked_crc32c(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert (crc >> 17 | crc << 15) & 0xFFFFFFFF == 0xE3069283
    crc = (masked_crc32c(bytes(range(32)) * 1000) - 0xA282EAD8) & 0xFFFFFFFF
    assert (crc >> 17 | crc << 15) & 0xFFFFFFFF == by_bytes(bytes(range(32)) * 1000)


def by_bytes(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_every_float32_tensor_is_read_under_its_name(written):
    checkpoint = Checkpoint(written)
    assert checkpoint.entries.keys() == TENSORS.keys() - {"global_step"}
    for name in checkpoint.entries:
        assert np.array_equal(checkpoint.tensor(name), TENSORS[name])


def test_an_index_in_which_a_byte_has_changed_is_damaged(written):
    file = written.with_name("model.ckpt-30.index")
    whole = file.read_bytes()
    for place in (3, len(whole) // 2, len(whole) - 3, len(whole) - 45):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=r"model.ckpt-30.index is damaged, or not an index of TensorFlow's \("):
            Checkpoint(written)


def test_data_that_is_cut_or_changed_or_missing_is_refused(written):
    file, checkpoint = written.with_name("model.ckpt-30.data-00000-of-00001"), Checkpoint(written)
    whole = file.read_bytes()
    last = max(checkpoint.entries, key=lambda name: checkpoint.entries[name].offset)
    for changed in (whole[:-1], whole[:-1] + b"\1"):
        file.write_bytes(changed)
        with pytest.raises(CheckpointError, match=f"data-00000-of-00001 is damaged: {last} is not what was written"):
            checkpoint.tensor(last)
    file.unlink()
    with pytest.raises(CheckpointError, match="no file .*data-00000-of-00001"):
        checkpoint.tensor(last)


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "x.index").write_text("not a table")
    with pytest.raises(CheckpointError, match=r"x.index is damaged, or not an index"):
        Checkpoint(tmp_path / "x")
