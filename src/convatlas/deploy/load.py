"""What else the machine is doing while something is timed, and which machine it is.  No torch."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from convatlas.cost.machine import cores, processor_name
from convatlas.errors import ConvatlasError
from convatlas.numbers import counted

PROC = Path("/proc")
WINDOW = 0.5
"""Seconds of a look at the load: the system counts in hundredths."""
PART, SPARE = 1 / 3, 1 / 4
"""Others may take a third of one core, or a quarter of the cores that our threads leave, where that is more."""
PACKAGES = ("torch", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Counters:
    """Seconds since the start, of the cores that this process may use: total, busy (by anyone), stolen (by other
    guests of a virtual machine's host; in busy too), own (this process's)."""

    total: float
    busy: float
    stolen: float
    own: float


@dataclass(frozen=True)
class Load:
    """others: how many cores' worth of time other processes took, what the host of a virtual machine gave to others
    included; stolen: that part of it; both None where the system does not tell.
    cores: that this process may use.  average: the system's load average of the last minute, ours included.
    """

    others: float | None
    stolen: float | None
    cores: int
    average: float | None

    @property
    def share(self) -> float | None:
        """Of the cores' time."""
        return None if self.others is None else self.others / self.cores

    def too_busy(self, threads: int) -> bool:
        """Whether so many threads cannot be timed beside it; not where it is unknown."""
        return self.others is not None and self.others > allowed(self.cores, threads)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "share": self.share}

    def __str__(self) -> str:
        average = "" if self.average is None else f", load average {self.average:.2f}"
        if self.others is None or self.stolen is None:
            return f"load of other processes unknown{average}"
        stolen = f" ({self.stolen:.2f} of it stolen by the virtual machine's host)" if self.stolen >= 0.005 else ""
        return f"other processes take {self.others:.2f} of {counted(self.cores, 'core')}{stolen}{average}"


def busy(seconds: float = WINDOW) -> Load:
    """What others take now, over a short window."""
    before = counters()
    time.sleep(seconds)
    return between(before, counters())


def between(before: Counters | None, after: Counters | None) -> Load:
    """What others took from one look at the counters to another."""
    average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    number = cores()
    if before is None or after is None or after.total <= before.total:  # some sandboxes count nothing
        return Load(None, None, number, average)
    part = number / (after.total - before.total)
    others = (after.busy - before.busy - (after.own - before.own)) * part
    return Load(min(max(0.0, others), number), max(0.0, after.stolen - before.stolen) * part, number, average)


def allowed(cores: int, threads: int) -> float:
    """How many cores' worth others may take beside so many threads."""
    return max(PART, SPARE * (cores - threads))


def checked_load(threads: int, allow_busy: bool = False) -> Load:
    """The load now.

    Raises ConvatlasError where it is too much for a timing of so many threads, unless that is allowed.
    """
    found = busy()
    if found.too_busy(threads) and not allow_busy:
        most = allowed(found.cores, threads)
        raise ConvatlasError(f"the machine is too busy to time anything: {found}, and {most:.2f} is the most; wait for "
                             "them or end them, or measure anyway with --busy")  # fmt: skip
    return found


def counters() -> Counters | None:
    """The system's counters; None where there are none."""
    try:
        tick = os.sysconf("SC_CLK_TCK")
        mine = os.sched_getaffinity(0)
        lines = [line.split() for line in (PROC / "stat").read_text(encoding="ascii").splitlines()]
        # user nice system idle iowait irq softirq steal; a guest's time is in user already
        found = [[int(word) for word in words[1:9]] for words in lines if _number(words[0]) in mine]
        # The name, in brackets, may hold anything.  utime and stime are fields 14 and 15, of all threads.
        own = (PROC / "self" / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[11:13]
    except (OSError, ValueError, AttributeError):
        return None
    total = sum(map(sum, found))
    stolen = sum(core[7] for core in found if len(core) > 7)
    idle = sum(core[3] + core[4] for core in found)
    return Counters(total / tick, (total - idle) / tick, stolen / tick, sum(map(int, own)) / tick)


def _number(word: str) -> int:
    """ "cpu3" -> 3; -1 for the sum of all, and for other lines."""
    digits = word.removeprefix("cpu")
    return int(digits) if word.startswith("cpu") and digits.isdigit() else -1


def machine() -> dict[str, Any]:
    """{"processor", "cores", "python", "torch", "onnxruntime", "numpy"}; a version is None where there is none."""
    found: dict[str, Any] = {"processor": processor_name(), "cores": cores(), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
