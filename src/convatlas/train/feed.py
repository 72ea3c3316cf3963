"""Batches: from a split of a data set to tensors, in a given order."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convatlas.data import Arrays, Files
from convatlas.data.fitting import coloured, fitted
from convatlas.errors import ConvatlasError
from convatlas.train.augment import augment, by_picture, seeded, tint
from convatlas.train.order import Order
from convatlas.train.recipe import Recipe
from convatlas.weights.preprocess import Preprocess

HINT = " (--bad-images skip leaves such out; convatlas data check names them all)"


class Feed:
    """What the loop asks for batches: pictures as float tensors (N, C, H, W), normalised; labels as (N,) int64.

    side: of the training pictures where the recipe names none, by default that of the preprocessing.
    What gives batches is to be closed where it is not read to its end, or its readers stay.
    """

    def __init__(
        self, recipe: Recipe, preprocess: Preprocess, device: torch.device, readers: int = 0, side: int | None = None
    ):
        self.recipe, self.preprocess, self.device, self.readers = recipe, preprocess, device, readers
        self.side = recipe.size or side or preprocess.crop
        shape = (1, -1, 1, 1)
        self._mean = torch.tensor(preprocess.mean, device=device).view(shape) * preprocess.scale
        self._std = torch.tensor(preprocess.std, device=device).view(shape) * preprocess.scale
        self._fitted: dict[tuple[int, int], Tensor] = {}

    def training(self, split: Arrays | Files, order: Order, epoch: int, first: int) -> Generator[tuple[Tensor, Tensor]]:
        """The batches of an epoch from its step ``first`` on, changed as the recipe says."""
        if isinstance(split, Arrays):
            images = self._fit(split, self.side)
            for step in range(first, order.steps):
                places, seeds = order.take(epoch, step)
                pictures = augment(images[places], seeds, self.recipe)
                yield self._normal(pictures), split.labels[places].to(self.device)
            return
        batches = [list(zip(*map(Tensor.tolist, order.take(epoch, step)))) for step in range(first, order.steps)]
        yield from self._read(_Seeded(split, self.recipe, self.preprocess, self.side), batches)

    def testing(self, split: Arrays | Files, size: int) -> Generator[tuple[Tensor, Tensor]]:
        """All pictures in their own order, unchanged."""
        if isinstance(split, Arrays):
            images = self._fit(split, self.preprocess.crop)
            for start in range(0, len(split), size):
                yield self._normal(images[start : start + size]), split.labels[start : start + size].to(self.device)
            return
        batches = [[(i, 0) for i in range(s, min(s + size, len(split)))] for s in range(0, len(split), size)]
        yield from self._read(_Plain(split, self.preprocess), batches)

    def _read(self, pictures: Dataset[Any], batches: Sequence[Any]) -> Generator[tuple[Tensor, Tensor]]:
        loader: DataLoader[Any] = DataLoader(
            pictures,
            batch_sampler=batches,
            num_workers=self.readers,
            generator=torch.Generator().manual_seed(0),  # else the loader draws from the network's chance
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_reader,
        )
        with _held_back():
            batches_read = iter(loader)
        try:
            for images, labels in batches_read:
                yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
        except ConvatlasError as error:  # a reader's comes with the reader's traceback as its words
            raise ConvatlasError(str(error).strip().splitlines()[-1].rpartition("Error: ")[2] + HINT) from None
        finally:  # readers leave the signal to end alone, and must be told by other means
            if self.readers:
                batches_read._shutdown_workers()  # type: ignore[attr-defined]

    def _fit(self, split: Arrays, side: int) -> Tensor:
        """The split's pictures at the size and in the colours that the network reads, in memory."""
        if (id(split), side) not in self._fitted:
            images = coloured(split.images, self.preprocess.channels)
            self._fitted[id(split), side] = fitted(images, side).to(self.device)
        return self._fitted[id(split), side]

    def _normal(self, pictures: Tensor) -> Tensor:
        if self.preprocess.order == "BGR":
            pictures = pictures.flip(1)
        return torch.sub(pictures, self._mean).div_(self._std)


class _Plain(Dataset[Any]):
    def __init__(self, split: Files, preprocess: Preprocess):
        self.split, self.preprocess = split, preprocess

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        index, _ = key
        return torch.from_numpy(self.preprocess(self.split.open(index))), int(self.split.labels[index])


class _Seeded(Dataset[Any]):
    """Pictures from files, changed by torchvision's transforms; each picture's chance is its own seed's."""

    def __init__(self, split: Files, recipe: Recipe, preprocess: Preprocess, side: int):
        self.split, self.change = split, transforms(recipe, preprocess, side)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        index, seed = key
        return seeded(self.change, self.split.open(index), seed), int(self.split.labels[index])


def transforms(recipe: Recipe, preprocess: Preprocess, side: int) -> Any:
    """From a PIL picture in RGB to the tensor that the network reads in training, side x side."""
    from torchvision.transforms import v2

    steps: list[Any] = []
    if recipe.crop == "resized":
        steps.append(v2.RandomResizedCrop(side, scale=recipe.scale, ratio=recipe.ratio, antialias=True))
    elif recipe.crop == "pad":
        steps += [v2.Resize(side), v2.CenterCrop(side), v2.RandomCrop(side, padding=recipe.padding)]
    elif recipe.crop == "random":
        steps += [v2.Resize(round(side / recipe.test_crop)), v2.RandomCrop(side)]
    else:  # as in the test
        steps.append(v2.Lambda((preprocess if side == preprocess.crop else preprocess.at(side)).picture))
    if recipe.shift:
        steps.append(v2.RandomCrop(side, padding=recipe.shift))
    if recipe.flip:
        steps.append(v2.RandomHorizontalFlip())
    steps += by_picture(recipe)
    steps += [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    if recipe.colour == "pca":
        steps.append(v2.Lambda(_tinted))
    if preprocess.order == "BGR":
        steps.append(v2.Lambda(_reversed))
    scale = preprocess.scale / 255
    steps.append(v2.Normalize([m * scale for m in preprocess.mean], [s * scale for s in preprocess.std]))
    if recipe.erase:
        steps.append(v2.RandomErasing(recipe.erase))
    return v2.Compose(steps)


def _tinted(picture: Tensor) -> Tensor:
    return picture + tint(torch.randn(1, 3))[0]


def _reversed(picture: Tensor) -> Tensor:
    return picture.flip(0)


STOPS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def _held_back() -> Iterator[None]:
    """Signals to stop wait meanwhile: readers that are started in it get none before they can leave it alone."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reader(_: int) -> None:
    """A process that reads pictures: a signal to stop is for the run alone, which still needs it."""
    torch.set_num_threads(1)
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
