"""The pictures of a quantization: those by which it is calibrated, those by which it is chosen, those that test it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convatlas.data import Arrays, Data, Files, Split, load
from convatlas.data.trained import as_trained, matched
from convatlas.errors import ConvatlasError
from convatlas.weights import Label, Preprocess
from convatlas.weights.pictures import in_folder

READERS = 2
"""Threads that read pictures."""
AHEAD = 2
"""Batches that are read while one is answered."""
MOST_CHOSEN = 1000
"""By so many pictures at most one method is chosen among several."""

Batch = tuple[NDArray[np.float32], NDArray[np.int64] | None]
"""Pictures (N, C, H, W), and for each the place of its class among the network's, where that is known."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Some pictures of a split.

    places: (N,) which.  order: for each class of the data its place among the network's; None where pictures have no
    classes.  title: "training", "test" …
    """

    split: Split
    places: NDArray[np.int64]
    title: str
    order: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def batches(self, preprocess: Preprocess, size: int, unread: set[str]) -> Iterator[Batch]:
        """All of them as the network sees them, so many at once; those that cannot be read go into ``unread``."""
        groups = [self.places[start : start + size] for start in range(0, len(self.places), size)]
        for places, pictures in zip(groups, self._read(groups, preprocess)):
            there = [place for place, picture in enumerate(pictures) if not isinstance(picture, str)]
            unread.update(picture for picture in pictures if isinstance(picture, str))
            if there:
                labels = None if self.order is None else self.order[self.split.labels[places[there]].numpy()]
                yield np.stack([pictures[place] for place in there]), labels

    def _read(self, groups: list[NDArray[np.int64]], preprocess: Preprocess) -> Iterator[Sequence[Any]]:
        if isinstance(self.split, Arrays):
            from convatlas.data.fitting import as_seen

            for places in groups:
                yield [*as_seen(self.split.images[places], preprocess).numpy()]
            return
        waiting = deque(groups)
        ahead: deque[list[Future[Any]]] = deque()
        with ThreadPoolExecutor(READERS) as readers:
            for _ in groups:
                while waiting and len(ahead) < AHEAD:
                    ahead.append([readers.submit(_seen, self.split, place, preprocess) for place in waiting.popleft()])
                yield [one.result() for one in ahead.popleft()]


def _seen(split: Files, place: int, preprocess: Preprocess) -> NDArray[np.float32] | str:
    """A picture as the network sees it, or why it cannot be read."""
    try:
        return preprocess(split.open(place))
    except ConvatlasError as error:
        return str(error)


@dataclass(frozen=True, eq=False)
class Samples:
    """calibrate, choose, test: never the same pictures, but for what ``notes`` say."""

    spec: str
    calibrate: Sample
    choose: Sample
    test: Sample
    notes: tuple[str, ...] = ()


def samples(
    spec: str,
    told: Mapping[str, Any],
    origin: str | os.PathLike[str],
    labels: Sequence[Label],
    *,
    pictures: int,
    tested: int,
    seed: int,
) -> Samples:
    """Divide data for a network: training pictures calibrate, validation pictures choose, test pictures test.

    The data of the run that trained it is divided as it was then.  Of a folder that is not divided ``pictures``
    calibrate and the others choose and test.  A folder of pictures without classes, or with other classes than the
    network's, has no labels: then answers can only be compared.
    told: what the network's file says of itself; origin: where it is from; pictures, tested: how many at most.

    Raises ConvatlasError where there is no such data, or it has changed since the run.
    """
    if (heap := _without_classes(spec)) is not None:
        return _of_one(spec, heap, None, ("the pictures have no classes",), pictures, tested, seed)
    opened = as_trained(told, spec, origin)
    if opened is None:
        divided_by_itself = spec.partition(":")[0] in ("folder", "imagenet")
        opened = load(spec, split="test") if divided_by_itself else load(spec)
    order, notes = _order(opened, labels)
    if not len(opened.train):  # taken whole
        assert opened.test is not None
        return _of_one(spec, opened.test, order, notes, pictures, tested, seed)
    test = opened.test if opened.test is not None else opened.validation
    title = "test" if opened.test is not None else "validation"
    choose = opened.validation if len(opened.validation) else test
    if choose is test:
        notes = (*notes, f"the {title} pictures choose and test")
    return Samples(
        spec,
        Sample(opened.train, _some(len(opened.train), pictures, seed), "training"),
        Sample(choose, _some(len(choose), MOST_CHOSEN, seed), "validation", order),
        Sample(test, _some(len(test), tested, seed), title, order),
        notes,
    )


def _without_classes(spec: str) -> Files | None:
    """The pictures of a folder that has no folders in it; None for any other data."""
    import torch

    kind, _, where = spec.partition(":")
    folder = Path(where).expanduser()
    if kind != "folder" or not where or not folder.is_dir():
        return None
    if any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir()):
        return None
    found = in_folder(folder)
    if not found:
        raise ConvatlasError(f"no pictures in {folder}")
    return Files(found, torch.zeros(len(found), dtype=torch.int64))


def _order(data: Data, labels: Sequence[Label]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    try:
        return matched(data, labels), ()
    except ConvatlasError as error:
        return None, (str(error),)


def _of_one(
    spec: str,
    split: Split,
    order: NDArray[np.int64] | None,
    notes: tuple[str, ...],
    pictures: int,
    tested: int,
    seed: int,
) -> Samples:
    """Some calibrate, at most half of them; the others choose and test."""
    chance = np.random.RandomState(seed).permutation(len(split))
    first = min(pictures, max(1, len(split) // 2))
    rest = chance[first:] if len(split) > 1 else chance
    if len(split) == 1:
        notes = (*notes, "one picture calibrates and tests")
    test = Sample(split, np.sort(rest[:tested]), "other", order)
    return Samples(spec, Sample(split, np.sort(chance[:first]), ""), test, test, notes)


def _some(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """So many of ``count`` places, in order."""
    chosen: NDArray[np.int64] = np.sort(np.random.RandomState(seed).permutation(count)[:most])
    return chosen
