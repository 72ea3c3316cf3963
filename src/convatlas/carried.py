"""What an exported file carries beside its weights: one JSON object, read without opening the weights.  No torch.

A file of ONNX keeps it among its metadata, a safetensors file in its header.  Its keys are those of a run's record
(network, options, classes, wnids, preprocess …), so that a file answers what a run's folder answers.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import IO, Any

from convatlas.errors import ConvatlasError

KEY = "convatlas"
"""The name of our entry among a file's metadata."""
SUFFIXES = (".onnx", ".safetensors")
LONGEST = 64 << 20
"""Bytes of metadata at most: what claims more is broken."""

METADATA_PROPS = 14
"""The field of ModelProto, of onnx.proto, that holds StringStringEntryProto: key = 1, value = 2."""


def read(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What an exported file says of itself; None where it is no file of ours.

    Raises ConvatlasError for a file that cannot be read, or is cut off.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            text = _in_onnx(file) if path.suffix.lower() == ".onnx" else _in_safetensors(file)
        found = None if text is None else json.loads(text)
    except OSError as error:
        raise ConvatlasError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise ConvatlasError(damaged(path)) from error
    return found if isinstance(found, dict) and {"network", "options"} <= found.keys() else None


def damaged(path: Path) -> str:
    """What is said of a file that is not what its name says."""
    return f"{path} is damaged, or no {'ONNX' if path.suffix.lower() == '.onnx' else 'safetensors'} file"


def _in_safetensors(file: IO[bytes]) -> str | None:
    """Eight bytes of length, a JSON object with "__metadata__" and every tensor's place, and the tensors."""
    header = json.loads(_exactly(file, int.from_bytes(_exactly(file, 8), "little")))
    if not isinstance(header, dict):
        raise ValueError("no object")
    _skip(file, max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0))
    text = (header.get("__metadata__") or {}).get(KEY)
    return text if isinstance(text, str) else None


def _in_onnx(file: IO[bytes]) -> str | None:
    """The entry of a protocol buffer's top level; what is before it, the weights among it, is skipped."""
    if not os.fstat(file.fileno()).st_size:
        raise EOFError
    while (tag := _varint(file)) is not None:
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            _varint(file)
        elif kind == 2:
            length = _needed(_varint(file))
            if field != METADATA_PROPS:
                _skip(file, length)
                continue
            key, value = _entry(_exactly(file, length))
            if key == KEY:
                return value
        elif kind in (1, 5):
            _skip(file, 8 if kind == 1 else 4)
        else:
            raise ValueError(f"wire type {kind}")
    return None


def _entry(content: bytes) -> tuple[str, str]:
    file, parts = io.BytesIO(content), {1: "", 2: ""}
    while (tag := _varint(file)) is not None:
        parts[tag >> 3] = _exactly(file, _needed(_varint(file))).decode()
    return parts[1], parts[2]


def _varint(file: IO[bytes]) -> int | None:
    """A number of seven bits a byte, the lowest first; None at the file's end."""
    number = shift = 0
    while byte := file.read(1):
        number |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return number
        shift += 7
        if shift > 63:
            raise ValueError("no number is so long")
    if shift:
        raise EOFError
    return None


def _needed(number: int | None) -> int:
    if number is None:
        raise EOFError
    return number


def _skip(file: IO[bytes], length: int) -> None:
    if file.seek(length, os.SEEK_CUR) > os.fstat(file.fileno()).st_size:
        raise EOFError


def _exactly(file: IO[bytes], length: int) -> bytes:
    content = file.read(length) if length <= LONGEST else b""
    if len(content) != length:
        raise EOFError
    return content
