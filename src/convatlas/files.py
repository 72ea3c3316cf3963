"""Files that are written whole, or not at all; and where those are that can be made again."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from convatlas.errors import ConvatlasError

logger = logging.getLogger(__name__)

UNWRITABLE = (OSError, RuntimeError, SafetensorError)
"""What the system, torch and safetensors raise where a disk is full."""


def cache_dir() -> Path:
    """Where weights, engines and the calibration are kept: $CONVATLAS_CACHE, else the platform's cache folder."""
    if given := os.environ.get("CONVATLAS_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "convatlas" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "convatlas"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convatlas"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, flush it to the disk, and put it there: whole, or not at all.

    A link stays, and what it leads to is written.
    Raises ConvatlasError where it cannot be written, or its folder cannot be made.
    """
    place = Path(os.path.realpath(path))
    beside = place.with_name(f".{place.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
        mode = beside.stat().st_mode
        beside.unlink()
        write(beside)
        beside.chmod(mode)  # safetensors would leave it to its owner alone
        flush(beside)
        os.replace(beside, place)
        flush(place.parent)
    except BaseException as error:
        with suppress(OSError):  # what should be its folder may be a file
            beside.unlink(missing_ok=True)
        if not isinstance(error, UNWRITABLE) or (type(error) is RuntimeError and "writ" not in str(error)):
            raise
        raise ConvatlasError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def refuse_unwritable(path: Path) -> None:
    """Raises ConvatlasError where ``write_whole`` could not write the file: to be asked before long work."""
    place = Path(os.path.realpath(path))
    try:
        folder = next(parent for parent in place.parents if parent.exists())
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=folder):  # permissions alone do not tell: the disk may be read-only
            pass
    except OSError as error:
        raise ConvatlasError(f"{path} cannot be written: {error.strerror or error}") from error


def remembered(path: Path) -> dict[str, Any]:
    """What ``remember`` has kept in a file; {} where there is none yet, or it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(path: Path, key: str, value: Any) -> None:
    """Keep a value in a file of JSON for the next time; several processes may do so at once.

    Where it cannot be written a warning says so, and nothing else happens.
    """
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            text = json.dumps({**remembered(path), key: value}, indent=1)
            write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    except (OSError, ConvatlasError) as error:
        logger.warning("what was measured is not kept for the next time: %s", error)


def flush(path: Path) -> None:
    """What was written is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
