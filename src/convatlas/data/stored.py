"""``npz:PATH``: one's own pictures as arrays in one file, in the layout of MedMNIST's."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convatlas.data.tree import some
from convatlas.errors import ConvatlasError

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pictures (N, C, H, W), and their labels (N,)."""

PARTS = {"train": "train", "val": "validation", "test": "test"}


def read(path: Path) -> tuple[dict[str, Part], tuple[str, ...]]:
    """The splits of a file, and the names of the classes, which are their numbers where it names none.

    The file holds train_images, train_labels, and it may hold val_…, test_… and ``classes``, the names; images are
    uint8, (N, H, W) or (N, H, W, C), labels whole numbers from 0, (N,) or (N, 1); train has every class.  Raises
    ConvatlasError for another.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ConvatlasError(f"{path} is no npz file of arrays, but one array")
        with file:
            stored = {key: file[key] for key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ConvatlasError(f"{path} is no npz file of arrays: {str(error).splitlines()[0]}") from error
    found = {split: _part(stored, key, path) for key, split in PARTS.items() if f"{key}_images" in stored}
    if "train" not in found and "test" not in found:
        raise ConvatlasError(f"{path} has neither train_images nor test_images, only {', '.join(stored) or 'nothing'}")
    shapes = {images.shape[1:] for images, _ in found.values()}
    if len(shapes) > 1:
        raise ConvatlasError(f"{path}: the splits' pictures differ in shape (C, H, W): {', '.join(map(str, shapes))}")
    most = max(int(labels.max()) for _, labels in found.values()) + 1
    classes = stored.get("classes", np.arange(most))
    if classes.ndim != 1 or classes.dtype.kind not in "iuU":
        raise ConvatlasError(
            f"{path}: classes are their names, a list of words, not {classes.dtype} of {classes.shape}"
        )
    names = tuple(map(str, classes.tolist()))
    if len(names) < most:
        raise ConvatlasError(f"{path} names {len(names)} classes and has labels up to {most - 1}")
    return found, names


def refuse_absent(path: Path, labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Raises ConvatlasError where a class has no training pictures: it could not be learned."""
    there = set(labels.tolist())
    if absent := [name for label, name in enumerate(classes) if label not in there]:
        raise ConvatlasError(f"{path}: no training pictures of class {some(absent)}")


def _part(stored: dict[str, NDArray[Any]], key: str, path: Path) -> Part:
    images, labels = stored[f"{key}_images"], stored.get(f"{key}_labels")
    if labels is None:
        raise ConvatlasError(f"{path} has {key}_images and no {key}_labels")
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ConvatlasError(f"{path}: {key}_images are uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), not "
                             f"{images.dtype} of {images.shape}")  # fmt: skip
    if labels.size != len(images) or not len(images) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ConvatlasError(f"{path}: {key}_labels are whole numbers from 0, one for each of {len(images)} pictures")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels.reshape(-1).astype(np.int64)
