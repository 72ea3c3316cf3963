"""This machine: its processor, its cache, and where its calibration lies.  No torch."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from convatlas.files import cache_dir

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
NVIDIA = Path("/dev/nvidiactl")
QUOTA = Path("/sys/fs/cgroup/cpu.max")
MOST_THREADS = 16
"""One picture is no work for more."""
USUAL_CACHE, USUAL_OWN = 16 << 20, 1 << 20
"""Bytes of the last cache, and of a core's own, where nobody says them."""


def place() -> Path:
    """The file with its calibration."""
    return cache_dir() / "machine.json"


@cache
def told() -> dict[str, str]:
    """What the system says of the first core: "model name", "flags" …"""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in CPUINFO.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return found


def processor_name() -> str:
    return told().get("model name") or platform.processor() or platform.machine()


def processor() -> str:
    """Its name, and how many cores it has here."""
    return f"{processor_name()}, {os.cpu_count()} cores"


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """$OMP_NUM_THREADS, else the cores that this process may use: by its affinity, and by its container's quota."""
    if (asked := os.environ.get("OMP_NUM_THREADS", "")).isdigit() and int(asked):
        return int(asked)
    number = cores()
    try:
        limit, period = QUOTA.read_text().split()
        number = min(number, max(1, round(int(limit) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        pass
    return min(number, MOST_THREADS)


def sees_gpu() -> bool:
    """Whether there is one of NVIDIA's that this process may use, as far as can be told without torch."""
    return NVIDIA.exists() and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1")


def version_of(package: str) -> str | None:
    """Of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def flags() -> frozenset[str]:
    """What it can do: avx2, avx512f …"""
    return frozenset((told().get("flags") or told().get("Features") or "").split())


def last_cache() -> int:
    """Bytes of the largest cache of a core."""
    return max(_caches().values(), default=USUAL_CACHE)


def own_cache() -> int:
    """Bytes of the largest cache that a core has for itself: the second level's."""
    return _caches().get(2, USUAL_OWN)


@cache
def _caches() -> dict[int, int]:
    """Bytes of the first core's caches, by their level."""
    found: dict[int, int] = {}
    for path in CACHES.glob("index*/size") if CACHES.is_dir() else ():
        with suppress(OSError, ValueError):
            text, level = path.read_text().strip(), int(path.with_name("level").read_text())
            size = int(text.rstrip("KM")) * {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1)
            found[level] = max(found.get(level, 0), size)
    return found
