"""The checksum of TensorFlow's files: CRC-32C (RFC 3720, appendix B.4), of many stretches at once."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

UInt32Array = npt.NDArray[np.uint32]

_STRETCH = 256


def masked_crc32c(data: bytes) -> int:
    """As LevelDB and TensorFlow write it: turned by 15 bits, plus a constant."""
    crc = _crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc32c(data: bytes) -> int:
    """A checksum is linear in its bits: that of a stretch from 0 is added to what zeros of its length make of those before."""
    whole = len(data) // _STRETCH * _STRETCH
    stretches_NL = np.frombuffer(data, np.uint8, count=whole).reshape(-1, _STRETCH)
    states_N, table = np.zeros(len(stretches_NL), np.uint32), _table()
    for place in range(_STRETCH if whole else 0):
        states_N = table[(states_N ^ stretches_NL[:, place]) & 255] ^ (states_N >> 8)
    state = 0xFFFFFFFF
    for own in states_N.tolist():
        state = _after_zeros(state) ^ own
    for byte in data[whole:]:
        state = int(table[(state ^ byte) & 255]) ^ state >> 8
    return state ^ 0xFFFFFFFF


def _after_zeros(state: int) -> int:
    """The state that a stretch of zeros leaves."""
    parts = _zeros()
    return parts[0][state & 255] ^ parts[1][state >> 8 & 255] ^ parts[2][state >> 16 & 255] ^ parts[3][state >> 24]


@lru_cache
def _table() -> UInt32Array:
    states: UInt32Array = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        states = (states >> 1 ^ (states & 1) * 0x82F63B78).astype(np.uint32)
    return states


@lru_cache
def _zeros() -> list[list[int]]:
    """What a stretch of zeros makes of each value of each byte of a state."""
    states_BV = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32))[:, None]
    for _ in range(_STRETCH):
        states_BV = _table()[states_BV & 255] ^ states_BV >> 8
    zeros: list[list[int]] = states_BV.tolist()
    return zeros
