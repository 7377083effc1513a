"""How a process that computes on a CPU keeps its memory."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Let this process keep what it frees for its next tensors, instead of giving it back to the kernel.

    By default glibc maps each large block anew, and the kernel zeroes its pages at first touch: half the time of a
    backbone's forward pass on large images. Changes nothing where malloc is not glibc's.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_TOP_PAD, 2**28)
