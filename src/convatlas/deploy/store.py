"""Engines on disk: exported networks as ONNX Runtime has optimised them for this processor.  No torch.

A file's name holds what determines it (the network, its weights' hash, versions, the processor) and the hash of its
content, so a file that is cut off, damaged or of other weights is never taken for another; it is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import convatlas
from convatlas import facts, files
from convatlas.cost import machine
from convatlas.errors import ConvatlasError
from convatlas.files import cache_dir, write_whole

logger = logging.getLogger(__name__)

LARGEST = 4 << 30
"""Bytes of engines that are kept; beyond that the longest unused go."""
DIGITS = 16
STALE = 3600
"""Seconds after which nobody is writing a file any more."""


def folder() -> Path:
    return cache_dir() / "engines"


def key_of(network: str, options: Mapping[str, Any], weights: str) -> str:
    """What determines an engine, as a hash.  weights: their sha256, or another name of their content."""
    parts = [network, sorted(options.items()), weights, form(network), convatlas.__version__, *versions()]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def form(network: str) -> int:
    """A checksum of the network as the atlas has it: another one where its code was changed."""
    from convatlas.graph import atlas

    return atlas.checksum(network) if network in facts.index() else 0


@cache
def versions() -> tuple[str, ...]:
    """ONNX Runtime's version and this processor: an optimised graph suits no other."""
    try:
        runtime = metadata.version("onnxruntime")
    except metadata.PackageNotFoundError:
        runtime = ""
    return runtime, processor()


@cache
def processor() -> str:
    """Its model and what it can do, as a hash."""
    words = [machine.processor(), " ".join(sorted(machine.flags()))]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:DIGITS]


def find(network: str, key: str) -> bytes | None:
    """A kept engine's file; None where there is none, or it is not what was written."""
    for path in folder().glob(f"{_plain(network)}-{key[:DIGITS]}-*.onnx"):
        with suppress(OSError):
            content = path.read_bytes()
            if path.stem.rpartition("-")[2] == _digest(content):
                with suppress(OSError):  # of a folder that is not ours to write to
                    os.utime(path)
                return content
        logger.warning("%s is damaged, and is made again", path)
        with suppress(OSError):
            path.unlink()
    return None


def keep(network: str, key: str, content: bytes) -> None:
    """Keep an engine for the next time.  Where it cannot be written a warning says so, and nothing else happens."""
    path = folder() / f"{_plain(network)}-{key[:DIGITS]}-{_digest(content)}.onnx"
    try:
        write_whole(path, lambda beside: beside.write_bytes(content))
        _within(LARGEST, path)
    except ConvatlasError as error:
        logger.warning("the engine is not kept for the next time: %s", error)


def _within(limit: int, newest: Path) -> None:
    """Remove the longest unused until the folder holds no more than so many bytes."""
    with suppress(OSError):
        for half in folder().glob(".*.onnx.*"):  # of a process that was killed
            if time.time() - half.stat().st_mtime > STALE:
                half.unlink()
        kept = sorted(folder().glob("*.onnx"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = newest.stat().st_size
        for path in kept:
            total += path.stat().st_size if path != newest else 0
            if total > limit and path != newest:
                path.unlink()


def _plain(network: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_+" else "_" for letter in network)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]


# ---- which engine was the fastest ---------------------------------------------------------------------------


def remembered(key: str) -> str | None:
    """The kind of engine that was found the fastest."""
    kind = files.remembered(_choices()).get(key)
    return kind if isinstance(kind, str) else None


def remember(key: str, kind: str) -> None:
    """For the next time."""
    files.remember(_choices(), key, kind)


def _choices() -> Path:
    return folder() / "choices.json"
