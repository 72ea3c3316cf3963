"""Reading pictures as people have them: any format, mode, depth and orientation, without torch."""

from __future__ import annotations

import os
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin

from convatlas.errors import ConvatlasError
from convatlas.files import write_whole
from convatlas.registry import natural

REDUCE_ABOVE = 64 * 2**20
"""A JPEG with more pixels than this is decoded at a half, a quarter or an eighth of its size."""
REDUCED_SIDE = 2400
"""… which leaves both sides at least this long, if they were."""


def read_picture(source: str | os.PathLike[str] | Image.Image | NDArray[Any]) -> Image.Image:
    """A picture in RGB, 8 bits a channel, upright; of an animation the first frame, what is transparent on white.

    source: a file, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of 8 or 16 bits or of floats
    in [0, 1].

    Raises ConvatlasError for what is no picture, is broken, or has more pixels than PIL's ``Image.MAX_IMAGE_PIXELS``
    allows (a JPEG of such a size is decoded at a fraction of it).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PIL's: a large picture, an odd palette, a corrupt EXIF
        if isinstance(source, Image.Image):
            return _decoded(source, "the picture")
        if isinstance(source, str | os.PathLike):
            return _from_file(os.fspath(source))
        return _from_array(source)


def format_of(path: Path) -> str:
    """The format that a file's name ends in.  Raises ConvatlasError for one that pictures cannot be written in."""
    Image.init()
    kind = Image.EXTENSION.get(path.suffix.lower(), "")
    if kind not in Image.SAVE:
        raise ConvatlasError(f"{path} should end in .png, .jpg or .webp")
    return kind


def write_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that the file's name ends in, whole or not at all.

    Raises ConvatlasError for a name that is no picture's, and where it cannot be written.
    """
    kind = format_of(path)

    def save(beside: Path) -> None:
        try:
            picture.save(beside, kind)
        except ValueError as error:  # WebP's and others', of a picture that is too large for them
            raise OSError(str(error)) from error

    write_whole(path, save)


@cache
def suffixes() -> frozenset[str]:
    """What the names of pictures that PIL can read end in, in small letters."""
    Image.init()
    return frozenset(suffix for suffix, form in Image.EXTENSION.items() if form in Image.OPEN)


def in_folder(folder: Path) -> list[Path]:
    """The files in and below a folder that by their names are pictures that PIL reads, in natural order."""
    found = [
        path for path in folder.rglob("*")
        if path.suffix.lower() in suffixes()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.is_dir()
    ]  # fmt: skip
    return sorted(found, key=lambda path: natural(str(path)))


# ---- files ------------------------------------------------------------------------------------------------


def _from_file(name: str) -> Image.Image:
    if re.match(r"\w{2,}://", name):
        raise ConvatlasError(f"{name} is an address; only files on this machine are read")
    path = Path(name)
    try:
        if path.is_dir():
            raise ConvatlasError(f"{path} is a folder, not a picture")
        if not path.exists():
            raise ConvatlasError(f"no file {path}")
        if not path.is_file():
            raise ConvatlasError(f"{path} is no ordinary file")
        if path.stat().st_size == 0:
            raise ConvatlasError(f"{path} is empty")
        with path.open("rb") as file:
            jpeg = file.read(3) == b"\xff\xd8\xff"
            file.seek(0)
            with _open(file, path, jpeg) as opened:
                return _decoded(opened, str(path))
    except OSError as error:
        raise ConvatlasError(f"{path} cannot be read: {error.strerror or error}") from error


def _open(file: Any, path: Path, jpeg: bool) -> Image.Image:
    """The picture, its header read."""
    try:
        opened = Image.open(file)
    except Image.DecompressionBombError as error:
        if not jpeg:
            raise ConvatlasError(f"{path} is too large: {_without_attack(error)}") from error
        file.seek(0)
        opened = JpegImagePlugin.JpegImageFile(file)
    except Image.UnidentifiedImageError as error:
        raise ConvatlasError(f"{path} is no picture that can be read (JPEG, PNG, WebP, GIF, TIFF, BMP …)") from error
    except Exception as error:  # a broken header makes PIL's readers raise all kinds
        raise ConvatlasError(f"{path} is broken: {_reason(error)}") from error
    if jpeg and opened.width * opened.height > REDUCE_ABOVE:
        opened.draft("RGB", (min(opened.width, REDUCED_SIDE), min(opened.height, REDUCED_SIDE)))
        if Image.MAX_IMAGE_PIXELS and opened.width * opened.height > 2 * Image.MAX_IMAGE_PIXELS:
            raise ConvatlasError(f"{path} is too large: {opened.width} x {opened.height} pixels at its smallest")
    return opened


def _without_attack(error: Exception) -> str:
    """PIL's count and limit, without its guess at what they mean."""
    counts = re.findall(r"\d+", str(error))
    return f"it has {int(counts[0]):,} pixels, and the limit is {int(counts[1]):,}" if len(counts) > 1 else str(error)


def _decoded(picture: Image.Image, name: str) -> Image.Image:
    try:
        picture.load()
    except Exception as error:  # so do broken bodies
        raise ConvatlasError(f"{name} is broken or cut off: {_reason(error)}") from error
    if 0 in picture.size:
        raise ConvatlasError(f"{name} has no pixels: {picture.width} x {picture.height}")
    try:
        return _rgb(_upright(picture))
    except Exception as error:
        raise ConvatlasError(f"{name}: its colours ({picture.mode}) cannot be converted: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF says; an EXIF that cannot be read says nothing."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


# ---- colours ----------------------------------------------------------------------------------------------


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(picture))).convert("RGB")
    if picture.mode in ("I", "F"):
        return Image.fromarray(_stretched(np.asarray(picture), picture.format)).convert("RGB")
    if picture.has_transparency_data:
        above = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        white = Image.new("RGBA", above.size, "white")
        return Image.alpha_composite(white, above).convert("RGB")
    return picture.convert("RGB")


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """0 … 65535 -> 0 … 255, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _stretched(values: NDArray[Any], format: str | None = None) -> NDArray[np.uint8]:
    """32-bit integers or floats: of a known range by that range, else from the least to the greatest value."""
    finite = np.where(np.isfinite(values), values, 0).astype(np.float64)
    least, most = float(finite.min()), float(finite.max())
    if values.dtype.kind == "f":
        known = [1, 255]
    else:
        known = [65535] if format == "PNG" else [255, 65535]
    if least >= 0 and most <= known[-1]:
        least, most = 0.0, next(limit for limit in known if most <= limit)
    span = most - least or 1.0
    return np.rint((finite - least) * (255 / span)).astype(np.uint8)


# ---- arrays -----------------------------------------------------------------------------------------------


def _from_array(source: Any) -> Image.Image:
    try:
        array = np.asarray(source)
    except Exception as error:
        raise ConvatlasError(f"a {type(source).__name__} is no picture: {_reason(error)}") from error
    kind = f"an array of {array.dtype} with shape {array.shape}"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ConvatlasError(f"{kind} is no picture; expected (H, W), (H, W, 3) or (H, W, 4)")
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _eight_bits(array)
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ConvatlasError(f"{kind} is no picture: floats must lie in [0, 1]")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
            raise ConvatlasError(f"{kind} is no picture: expected uint8, uint16 or floats in [0, 1]")
        array = array.astype(np.uint8)
    return _rgb(Image.fromarray(np.ascontiguousarray(array)))
