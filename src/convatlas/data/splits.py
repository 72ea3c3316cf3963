"""What a data set is: its splits, its classes, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convatlas.weights.labels import Label
from convatlas.weights.pictures import read_picture

if TYPE_CHECKING:
    from torch import Tensor

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Arrays:
    """Pictures in memory.

    images: (N, C, H, W) uint8, contiguous; labels: (N,) int64.
    title, numbers: whose pictures they are ("mnist train"), and their (N,) numbers there, from 0.
    """

    images: Tensor
    labels: Tensor
    title: str
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def names(self, index: int) -> str:
        """ "mnist test 17": the 18th picture of MNIST's test set."""
        return f"{self.title} {self.numbers[index]}"

    def picture(self, index: int) -> NDArray[np.uint8]:
        """One picture: (H, W, C) uint8."""
        picture: NDArray[np.uint8] = self.images[index].permute(1, 2, 0).numpy()
        return picture


@dataclass(frozen=True, eq=False)
class Files:
    """Pictures in files, read when they are asked for; labels: (N,) int64."""

    paths: list[Path]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.paths)

    def names(self, index: int) -> str:
        """The file's path."""
        return str(self.paths[index])

    def open(self, index: int) -> Image.Image:
        """One picture in RGB, upright.  Raises ConvatlasError, which names the file, where it cannot be read."""
        return read_picture(self.paths[index])

    def picture(self, index: int) -> NDArray[np.uint8]:
        """One picture: (H, W, 3) uint8."""
        return np.asarray(self.open(index))


Split = Arrays | Files


@dataclass(frozen=True)
class Data:
    """A data set, divided.

    classes: the name of each label; wnids: in ImageNet, its WordNet synset, which unlike the name is unique.
    validation: held out of the training pictures, for choosing; test: None where there are none.
    mean, std: of the training pictures' channels, in [0, 1].
    note: what must be said of it, or "".
    fingerprint: sha256 of the pictures (of files: their relative paths and sizes), their labels and their splits.
    skipped: (path, reason) of each picture that was left out because it cannot be read.
    """

    name: str
    spec: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split | None
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str
    fingerprint: str
    skipped: tuple[tuple[str, str], ...] = ()
    wnids: tuple[str, ...] | None = None

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes as the weights' ``labels`` have them."""
        wnids: tuple[Any, ...] = self.wnids or (None,) * len(self.classes)
        return tuple(map(Label, self.classes, wnids))
