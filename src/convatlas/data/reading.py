"""Reading many picture files at once, on all cores.  No torch."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from convatlas.errors import ConvatlasError
from convatlas.weights.pictures import read_picture

T = TypeVar("T")

AT_ONCE = 1024
SAMPLE = 200
"""Pictures from which the mean and the deviation of a folder's are computed."""
SIDE = 256
"""… for which a JPEG is decoded at a fraction of its size that leaves both sides at least this long."""
TURNED = 0x0112
"""EXIF's Orientation."""


@dataclass(frozen=True)
class Seen:
    """A picture that was read: its size in pixels, mode and EXIF orientation as stored, a hash of what it shows.

    error: why it cannot be read, else None.
    """

    width: int = 0
    height: int = 0
    mode: str = ""
    turned: bool = False
    digest: str = ""
    error: str | None = None


def seen(path: Path) -> Seen:
    """Read a picture, all of it."""
    try:
        picture = read_picture(path)
        digest = hashlib.blake2b(f"{picture.size}".encode(), digest_size=16)
        digest.update(picture.tobytes())
        with Image.open(path) as stored:
            turned = _turned(stored)
            return Seen(stored.width, stored.height, stored.mode, turned, digest.hexdigest())
    except ConvatlasError as error:
        return Seen(error=str(error))


def _turned(picture: Image.Image) -> bool:
    try:
        return picture.getexif().get(TURNED, 1) not in (0, 1)
    except Exception:  # an EXIF that cannot be read says nothing
        return False


def broken(path: Path) -> str | None:
    """Why a picture cannot be read, else None."""
    try:
        read_picture(path)
    except ConvatlasError as error:
        return str(error)
    return None


def refuse_broken(paths: Sequence[Path]) -> None:
    """Raises ConvatlasError, the first picture's, where one cannot be read."""
    for error in each(paths, broken, "reading"):
        if error is not None:
            raise ConvatlasError(error)


def each(paths: Sequence[Path], look: Callable[[Path], T], title: str = "") -> list[T]:
    """``look`` at every file, in order; with a progress bar where a person waits."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = not (title and console.is_terminal)
    found: list[T] = []
    # Threads cannot each set the warnings' filters aside and back; PIL's are of no use here.
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(_cores()) as pool,
        Progress(*columns, console=console, transient=True, disable=hidden) as progress,
    ):
        warnings.simplefilter("ignore")
        task = progress.add_task(title, total=len(paths))
        for start in range(0, len(paths), AT_ONCE):
            for one in pool.map(look, paths[start : start + AT_ONCE]):
                found.append(one)
                progress.advance(task)
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def moments(paths: Sequence[Path], seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of R, G and B in [0, 1], over a sample; pictures that cannot be read are left out.

    Raises ConvatlasError, the first picture's, if none can be.
    """
    chosen = np.sort(np.random.RandomState(seed % 2**32).permutation(len(paths))[:SAMPLE])
    sums = each([paths[index] for index in chosen], _sums)
    read = np.array([one for one in sums if one is not None])
    if not len(read):
        read_picture(paths[chosen[0]])
    count, first, second = read[:, 0].sum(), read[:, 1:4].sum(0), read[:, 4:].sum(0)
    mean = first / count
    std = np.sqrt(np.maximum(second / count - mean**2, 0))
    return tuple(np.round(mean, 4).tolist()), tuple(np.maximum(np.round(std, 4), 1e-4).tolist())


def _sums(path: Path) -> tuple[float, ...] | None:
    """Pixels, and for each channel the sum of its values in [0, 1] and of their squares."""
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (SIDE, SIDE))
            values = np.asarray(read_picture(opened), np.float64).reshape(-1, 3) / 255
    except Exception:
        return None
    return (float(len(values)), *values.sum(0), *np.square(values).sum(0))
