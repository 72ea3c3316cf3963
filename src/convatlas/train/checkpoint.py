"""Checkpoints that a kill at any moment, or a full disk, leaves whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from convatlas.errors import ConvatlasError
from convatlas.numbers import size

FOLDER, LAST = "checkpoints", "last"

UNWRITABLE = (OSError, RuntimeError, SafetensorError)
"""What the system, torch and safetensors raise where a disk is full."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, flush it to the disk, and put it there: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        _flush(beside)
        os.replace(beside, path)
        _flush(path.parent)
    except UNWRITABLE as error:
        beside.unlink(missing_ok=True)
        raise ConvatlasError(f"{path} cannot be written: {error}") from error


def write_json(path: Path, data: Any) -> None:
    write_whole(path, lambda beside: beside.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8"))


def save(run: Path, step: int, fill: Callable[[Path], object], *, first: bool = True, wait: Callable[[], None]) -> Path:
    """Save a checkpoint as ``run/checkpoints/step-N``, and point ``run/checkpoints/last`` at it.

    fill: writes the state into a folder; every process calls it.  first: whether this is the process that puts the
    folder in its place, when all have ``wait``ed for each other.  The one before it is removed afterwards.
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
        wait()
        if first:
            for file in beside.rglob("*"):
                _flush(file)
    except UNWRITABLE as error:
        shutil.rmtree(beside, ignore_errors=True)
        said, free = str(error).splitlines()[0], size(shutil.disk_usage(folder).free)
        raise ConvatlasError(f"the checkpoint cannot be written to {folder}, where {free} are free ({said}); "
                             "the last one is whole") from error  # fmt: skip
    if first:
        shutil.rmtree(place, ignore_errors=True)
        os.replace(beside, place)
        _flush(folder)
        pointer = folder / f".{LAST}"
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(place.name)
        os.replace(pointer, folder / LAST)
        _flush(folder)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    wait()
    return place


def latest(run: Path) -> Path | None:
    """The folder of the last whole checkpoint; None where there is none.  Raises ConvatlasError where it is gone."""
    pointer = run / FOLDER / LAST
    if pointer.is_symlink() and not pointer.exists():
        raise ConvatlasError(f"{pointer} points at a checkpoint that is not there")
    return run / FOLDER / os.readlink(pointer) if pointer.exists() else None


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
