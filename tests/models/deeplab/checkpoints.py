"""Checkpoints with DeepLab's names and shapes, as slim's scopes make them, and files of TensorFlow's form."""

import struct
from dataclasses import dataclass, field
from math import prod

import numpy as np

from models.deeplab.checkpoint import Entry
from models.deeplab.crc32c import masked_crc32c

ENTRY_65, ENTRY_71 = ([128, 256, 728], [128, 256, 256, 728, 728])
EXPANDED = [(16, 1), (24, 6), (24, 6), *[(32, 6)] * 3, *[(64, 6)] * 4, *[(96, 6)] * 3, *[(160, 6)] * 3, (320, 6)]
"""Of MobileNet-v2: channels of each unit, and by how much it expands."""


@dataclass
class Made:
    """A checkpoint's tensors by name: small, so that nothing overflows on the way through a network."""

    tensors: dict = field(default_factory=dict)

    @property
    def entries(self):
        return {name: Entry(shape, 0, 0, 0, 0) for name, shape in self.tensors.items()}

    def tensor(self, name):
        rng, shape = np.random.default_rng(masked_crc32c(name.encode())), self.tensors[name]
        if name.endswith(("gamma", "moving_variance")):
            return rng.uniform(0.5, 1.5, shape).astype(np.float32)
        return rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(prod(shape[:-1]) or 1))

    def norm(self, scope, channels):
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            self.tensors[f"{scope}/BatchNorm/{name}"] = (channels,)

    def conv(self, scope, given, made, side=1):
        self.tensors[f"{scope}/weights"] = (side, side, given, made)
        self.tensors[f"{scope}/weights/Momentum"] = (side, side, given, made)
        self.norm(scope, made)

    def depthwise(self, scope, channels):
        self.tensors[f"{scope}/depthwise_weights"] = (3, 3, channels, 1)
        self.norm(scope, channels)

    def separable(self, scope, given, made):
        self.depthwise(f"{scope}_depthwise", given)
        self.conv(f"{scope}_pointwise", given, made)

    def classifier(self, classes):
        self.tensors |= {"logits/semantic/weights": (1, 1, 256, classes), "logits/semantic/biases": (classes,)}
        return self

    def mobilenet(self):
        self.conv("MobilenetV2/Conv", 3, 32, side=3)
        given = 32
        for number, (made, factor) in enumerate(EXPANDED):
            scope = f"MobilenetV2/expanded_conv{f'_{number}' if number else ''}"
            if factor > 1:
                self.conv(f"{scope}/expand", given, given * factor)
            self.depthwise(f"{scope}/depthwise", given * factor)
            self.conv(f"{scope}/project", given * factor, made)
            given = made
        return self

    def pooled_head(self):
        self.conv("image_pooling", 320, 256)
        self.conv("aspp0", 320, 256)
        self.conv("concat_projection", 512, 256)
        return self

    def xception(self, name, entry, middle):
        self.conv(f"{name}/entry_flow/conv1_1", 3, 32, side=3)
        self.conv(f"{name}/entry_flow/conv1_2", 32, 64, side=3)
        units = [(f"entry_flow/block{block}/unit_1", (width,) * 3) for block, width in enumerate(entry, start=1)]
        units += [(f"middle_flow/block1/unit_{unit}", (728,) * 3) for unit in range(1, middle + 1)]
        units += [("exit_flow/block1/unit_1", (728, 1024, 1024)), ("exit_flow/block2/unit_1", (1536, 1536, 2048))]
        given = 64
        for unit, widths in units:
            scope = f"{name}/{unit}/xception_module"
            if unit.startswith("entry") or unit == "exit_flow/block1/unit_1":
                self.conv(f"{scope}/shortcut", given, widths[-1])
            for order, width in enumerate(widths, start=1):
                self.separable(f"{scope}/separable_conv{order}", given, width)
                given = width
        return self

    def aspp(self):
        self.conv("image_pooling", 2048, 256)
        self.conv("aspp0", 2048, 256)
        for number in (1, 2, 3):
            self.separable(f"aspp{number}", 2048, 256)
        self.conv("concat_projection", 5 * 256, 256)
        return self

    def dpc(self):
        for number in range(5):
            self.separable(f"meta_architecture/branch{number}", 2048 if number == 0 else 256, 256)
        self.conv("meta_architecture/concat_projection", 5 * 256, 256)
        return self

    def decoder(self):
        self.conv("decoder/feature_projection0", 256, 48)
        self.separable("decoder/decoder_conv0", 304, 256)
        self.separable("decoder/decoder_conv1", 256, 256)
        return self


def write_bundle(path, tensors):
    """``path``.index and its data, several keys a block, each but for what it shares with the one before."""
    data, entries = b"", [(b"", _field(1, 1))]
    for name, tensor in sorted(tensors.items()):
        values = np.ascontiguousarray(tensor).tobytes()
        shape = b"".join(_bytes(2, _field(1, size)) for size in tensor.shape)
        crc = b"\x35" + struct.pack("<I", masked_crc32c(values))  # field 6, of 32 bits
        entry = _field(1, 1 if tensor.dtype == np.float32 else 9) + _bytes(2, shape)
        entries.append((name.encode(), entry + _field(4, len(data)) + _field(5, len(values)) + crc))
        data += values
    path.with_name(f"{path.name}.data-00000-of-00001").write_bytes(data)
    table, index = b"", []
    for first in range(0, len(entries), 8):
        block = _block(entries[first : first + 8])
        index.append((entries[min(first + 8, len(entries)) - 1][0], _varint(len(table)) + _varint(len(block) - 5)))
        table += block
    handles = b""
    for block in (_block([]), _block(index)):
        handles += _varint(len(table)) + _varint(len(block) - 5)
        table += block
    footer = handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    path.with_name(f"{path.name}.index").write_bytes(table + footer)


def _block(entries):
    block, before = b"", b""
    for key, value in entries:
        shared = next(
            (at for at, (one, other) in enumerate(zip(key, before, strict=False)) if one != other), min(map(len, (key, before)))
        )
        block += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    block += struct.pack("<II", 0, 1) + b"\0"
    return block + struct.pack("<I", masked_crc32c(block))


def _field(number, value):
    return _varint(number << 3) + _varint(value) if value else b""


def _bytes(number, value):
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number):
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])
