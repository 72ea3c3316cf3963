"""Holding pictures out: by chance, the same from every class in proportion, and the same whenever the seed is."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from convatlas.errors import ConvatlasError

HELD_OUT = 5000
MANY = 50_000
"""From so many training pictures on, 5,000 are held out; of fewer, a tenth."""

TEST_SEED = 0
"""Test pictures that nobody published are chosen by this seed, whatever the run's: else the test pictures of one run
would be training pictures of the next."""


def how_many(pictures: int, holdout: int | float | None) -> int:
    """Pictures to hold out of so many: a number, a part (0.1), or None for the usual.

    Raises ConvatlasError for what is neither, or leaves nothing.
    """
    if holdout is None:
        return HELD_OUT if pictures >= MANY else max(1, round(pictures / 10))
    if isinstance(holdout, float) and 0 < holdout < 1:
        return max(1, round(pictures * holdout))
    if (isinstance(holdout, float) and not holdout.is_integer()) or holdout < 1:
        raise ConvatlasError(f"holdout is a number of pictures, at least 1, or a part between 0 and 1, not {holdout}")
    if holdout >= pictures:
        raise ConvatlasError(f"{int(holdout):,} pictures cannot be held out of {pictures:,}")
    return int(holdout)


def divided(
    labels: NDArray[np.int64], there: Collection[str], seed: int, holdout: int | float | None
) -> dict[str, NDArray[np.int64]]:
    """(N,) labels of training pictures -> the places of those that stay "train", and of "test" and "validation" where
    these are not ``there``: a tenth to test, the same for every seed, and ``holdout`` to validate.

    Each class keeps at least one.  Raises ConvatlasError where that leaves too few.
    """
    rest, found = np.arange(len(labels)), {}
    if "test" not in there:
        tenth = max(1, round(len(labels) / 10))
        out = held_out(labels, tenth, TEST_SEED)
        rest, found["test"] = rest[~out], rest[out]
        holdout = tenth if holdout is None else holdout
    if "validation" not in there:
        out = held_out(labels[rest], how_many(len(rest), holdout), seed)
        rest, found["validation"] = rest[~out], rest[out]
    return {"train": rest, **found}


def held_out(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.bool_]:
    """(N,) labels -> (N,) True for the ``count`` pictures held out, of each class in proportion.

    Each class keeps at least one.  Raises ConvatlasError where that leaves too few.
    """
    taken = _shares(np.bincount(labels), count)
    # RandomState's stream is promised never to change, the newer generators' is not.
    order = np.random.RandomState(seed % 2**32).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class by class, each in random order
    place = np.arange(len(order)) - np.searchsorted(labels[order], labels[order])
    mask = np.zeros(len(labels), bool)
    mask[order[place < taken[labels[order]]]] = True
    return mask


def _shares(counts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """How many of each class: in proportion, rounded so that they add up."""
    exact = counts * count / counts.sum()
    most = np.maximum(counts - 1, 0)
    if count > most.sum():
        raise ConvatlasError(
            f"{count:,} of {counts.sum():,} pictures cannot be held out: each class must keep one to train on"
        )
    taken = np.minimum(exact.astype(np.int64), most)
    while missing := int(count - taken.sum()):
        by_rest = np.argsort(taken - exact, kind="stable")
        taken[by_rest[taken[by_rest] < most[by_rest]][:missing]] += 1
    return taken
