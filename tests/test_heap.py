"""Memory that is freed stays within reach."""

import platform
import resource

import pytest
import torch

from convatlas import heap

SIZE = 16 << 20  # floats: 64 MiB, above every threshold of glibc


def faults() -> int:
    """Pages fetched by writing five large tensors, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(SIZE).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that gives large blocks back at once")
def test_freed_memory_is_kept_within_and_given_back_after() -> None:
    outside = faults()
    with heap.kept():
        faults()
        assert faults() < outside / 20
    assert faults() > outside / 2
