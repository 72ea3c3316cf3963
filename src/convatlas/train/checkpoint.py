"""Checkpoints that a kill at any moment, or a full disk, leaves whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convatlas.errors import ConvatlasError
from convatlas.files import UNWRITABLE, flush, write_whole
from convatlas.numbers import size

FOLDER, LAST = "checkpoints", "last"


def write_json(path: Path, data: Any) -> None:
    write_whole(path, lambda beside: beside.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8"))


def save(
    run: Path,
    step: int,
    fill: Callable[[Path], object],
    *,
    first: bool = True,
    wait: Callable[[], None],
    wanted: Iterable[str] = (),
) -> Path:
    """Save a checkpoint as ``run/checkpoints/step-N``, and point ``run/checkpoints/last`` at it.

    fill: writes the state into a folder; every process calls it.  first: whether this is the process that puts the
    folder in its place, when all have ``wait``ed for each other.  wanted: files that must be there then.  All else
    that is there, the one before it and what kills have left, is removed afterwards.
    """
    folder, old = run / FOLDER, latest(run)
    beside, place = folder / f".step-{step}", folder / f"step-{step}"
    if place == old:  # which stays until the new one is there
        place = folder / f"step-{step}-again"
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
    wait()
    try:
        fill(beside)
    except UNWRITABLE as error:
        raise _unwritable(folder, beside, error) from error
    wait()
    try:
        if first:
            for file in beside.rglob("*"):
                file.chmod(beside.stat().st_mode & (0o777 if file.is_dir() else 0o666))
                flush(file)
            flush(beside)
    except UNWRITABLE as error:
        raise _unwritable(folder, beside, error) from error
    if first:
        if missing := [name for name in wanted if not (beside / name).exists()]:
            shutil.rmtree(beside, ignore_errors=True)
            raise ConvatlasError(f"{', '.join(missing)} of another process did not reach {folder}: all must see the "
                                 "same folder")  # fmt: skip
        shutil.rmtree(place, ignore_errors=True)
        os.replace(beside, place)
        flush(folder)
        pointer = folder / f".{LAST}"
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(place.name)
        os.replace(pointer, folder / LAST)
        flush(folder)
        for other in folder.iterdir():
            if other.is_dir() and not other.is_symlink() and other != place:
                shutil.rmtree(other, ignore_errors=True)
    wait()
    return place


def _unwritable(folder: Path, beside: Path, error: Exception) -> ConvatlasError:
    """What to say of a checkpoint that cannot be written; what there is of it is removed."""
    shutil.rmtree(beside, ignore_errors=True)
    said, free = str(error).splitlines()[0], size(shutil.disk_usage(folder).free)
    before = "the last one is whole" if latest(folder.parent) else "there is none before it"
    return ConvatlasError(f"the checkpoint cannot be written to {folder} ({said}; {free} are free there); {before}")


CODELESS: list[Any] = [np.zeros(0).__reduce__()[0], np.ndarray, np.dtype, type(np.dtype("uint32"))]
"""What a checkpoint holds beside tensors and Python's own values: numpy's state of chance."""


HELD: set[Path] = set()
"""The folders in which this process is training."""


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Make the run's folder, and hold it for this process alone, not for those that it starts.

    Raises ConvatlasError where it cannot be made, or where another process holds it.  The system lets go of it when the
    process ends, however it does; where it knows no such locks, nothing is held.
    """
    if (place := run.absolute()) in HELD:  # the system's lock is the process', not the thread's
        raise ConvatlasError(f"this process is training in {run} already")
    missing = [folder for folder in (run, *run.parents) if not folder.exists()]
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = (run / ".lock").open("w")
    except OSError as error:
        raise ConvatlasError(f"{run} cannot be a run's folder: {error.strerror or error}") from error
    with file:
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise ConvatlasError(f"another process is training in {run}") from None
        except (ImportError, OSError):
            pass
        HELD.add(place)
        try:
            yield
        finally:
            HELD.discard(place)
            _remove_empty(run, missing)


def _remove_empty(run: Path, made: Sequence[Path]) -> None:
    """The folders that were made for a run that never began."""
    if made and [path.name for path in run.iterdir()] == [".lock"]:
        with suppress(OSError):  # of Windows, while the file is open; of a parent that holds something else by now
            (run / ".lock").unlink()
            for folder in made:
                folder.rmdir()


def without_code(folder: Path) -> None:
    """Raises ConvatlasError where a file of a checkpoint holds anything but tensors, arrays and Python's own values, as
    it would run what it says when it is loaded."""
    for file in sorted([*folder.glob("*.pkl"), *folder.glob("*.bin")]):
        try:
            with torch.serialization.safe_globals(CODELESS):
                torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ConvatlasError(f"{file} is not what a run writes: {str(error).splitlines()[0]}") from None


def latest(run: Path) -> Path | None:
    """The folder of the last whole checkpoint; None where there is none.  Raises ConvatlasError where it is gone."""
    pointer = run / FOLDER / LAST
    if pointer.is_symlink() and not pointer.exists():
        raise ConvatlasError(f"{pointer} points at a checkpoint that is not there")
    return run / FOLDER / os.readlink(pointer) if pointer.exists() else None
