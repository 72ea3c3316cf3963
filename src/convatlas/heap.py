"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # names of malloc.h
LARGEST = 32 << 20
"""Above so many bytes glibc maps a block by itself at the latest; it comes to that by its own rules in time."""


@contextmanager
def kept() -> Iterator[None]:
    """Within it, memory that is freed stays with this process for its next tensors; afterwards it is given back.

    glibc gives large blocks back to the system at once, and each comes back page by page: a training step on the CPU
    spends up to a third of its time so.  Where the C library is another one, nothing is changed.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):
        yield
        return
    mallopt(MMAP_MAX, 0)
    mallopt(TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        mallopt(MMAP_MAX, 65536)
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, 2 * LARGEST)
        trim(0)
