"""This machine: its processor, its cache, and where its calibration lies.  No torch."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

from convatlas.files import cache_dir

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
USUAL_CACHE = 16 << 20
"""Bytes of the last cache, where nobody says them."""


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


def flags() -> frozenset[str]:
    """What it can do: avx2, avx512f …"""
    return frozenset((told().get("flags") or told().get("Features") or "").split())


def last_cache() -> int:
    """Bytes of the largest cache of a core."""
    sizes = [USUAL_CACHE] if not CACHES.is_dir() else []
    for path in CACHES.glob("index*/size") if CACHES.is_dir() else ():
        with suppress(OSError, ValueError):
            text = path.read_text().strip()
            sizes.append(int(text.rstrip("KM")) * {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1))
    return max(sizes, default=USUAL_CACHE)
