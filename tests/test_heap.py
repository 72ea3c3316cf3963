"""Memory that is freed stays within reach."""

import os
import platform
from pathlib import Path

import pytest
import torch

from convatlas import heap

SIZE = 256 << 20
"""Bytes of a tensor, above every threshold of glibc."""


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def left_by_a_tensor() -> int:
    """Bytes that stay in memory of a tensor that was written and freed."""
    before = resident()
    torch.ones(SIZE // 4)
    return resident() - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that gives large blocks back at once")
def test_freed_memory_is_kept_within_and_given_back_after() -> None:
    assert left_by_a_tensor() < SIZE / 4
    before = resident()
    with heap.kept():
        assert left_by_a_tensor() > 3 * SIZE / 4
    assert resident() - before < SIZE / 4
