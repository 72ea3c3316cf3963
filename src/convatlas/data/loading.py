"""Loading a data set by its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convatlas.data import sets
from convatlas.data.division import TEST_SEED, held_out, how_many
from convatlas.data.folders import folder
from convatlas.data.obtain import content, obtain
from convatlas.data.splits import SPLITS, Arrays, Data
from convatlas.errors import ConvatlasError, UnknownName


def load(
    spec: str,
    *,
    seed: int = 0,
    holdout: int | float | None = None,
    bad_images: Literal["stop", "skip"] | str = "stop",
    cache: Path | None = None,
    split: str | None = None,
) -> Data:
    """A data set: mnist, fashion_mnist, digits, cifar10, cifar100, folder:PATH or imagenet:PATH.

    The validation pictures are held out of the training pictures by ``seed``, of each class in proportion: 5,000, of
    fewer than 50,000 a tenth, or ``holdout``, a number or a part.  The test pictures are the published ones.

    folder:PATH: train/CLASS/* with val/ and test/ beside it; if there is one of these, it is the test.  With neither,
    and where CLASS/* are not divided, a tenth is held out to test, the same for every seed, and a tenth to validate.
    imagenet:PATH: as published; val is the test.
    bad_images: "skip" reads every picture once and leaves the broken ones out; "stop" raises when one is read.
    cache: where published sets are kept, by default where the weights are.
    split: "train", "validation" or "test": only these pictures are wanted, and a folder that is not divided is taken
    as these whole; there may then be one class, and no train.

    Raises UnknownName for another set, and ConvatlasError for what is wrong with a folder: an empty class, only one,
    splits with different classes, no pictures.
    """
    if bad_images not in ("stop", "skip"):
        raise UnknownName("treatment of bad images", bad_images, ["stop", "skip"])
    if split is not None and split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    kind, colon, where = spec.partition(":")
    if kind == "digits" and not colon:
        return _digits(seed, holdout)
    if kind in sets.SETS and not colon:
        return _published(spec, seed, holdout, cache)
    if kind in ("folder", "imagenet"):
        if not where:
            raise ConvatlasError(f"{spec!r} names no folder; write {kind}:PATH")
        return folder(spec, kind, Path(where).expanduser(), seed, holdout, bad_images, split)
    if Path(spec).expanduser().is_dir():
        raise ConvatlasError(f"{spec} is a folder; write folder:{spec}")
    raise UnknownName("data set", spec, ["digits", *sets.SETS, "folder:PATH", "imagenet:PATH"])


# ---- in memory --------------------------------------------------------------------------------------------


def _published(name: str, seed: int, holdout: int | float | None, cache: Path | None) -> Data:
    published = sets.SETS[name]
    found = obtain(published, cache)
    parts, note = found.parts, ""
    if found.absent and published.package:
        note = (f"{name} comes from {published.package.where}, where the first {found.absent:,} training pictures "
                "are absent")  # fmt: skip
    numbers = found.absent + np.arange(len(parts["train_labels"]))
    train, validation = _divided(f"{name} train", parts["train_images"], parts["train_labels"], numbers, seed, holdout)
    test = _arrays(f"{name} test", parts["test_images"], parts["test_labels"], np.arange(len(parts["test_labels"])))
    return Data(
        name=name,
        spec=name,
        classes=found.classes,
        train=train,
        validation=validation,
        test=test,
        channels=len(published.mean),
        mean=published.mean,
        std=published.std,
        note=note,
        fingerprint=_fingerprint(found.content, validation),
    )


def _digits(seed: int, holdout: int | float | None) -> Data:
    """A fifth is the test."""
    images, labels = sets.digits()
    tested = held_out(labels, round(len(labels) / 5), TEST_SEED)
    numbers = np.arange(len(labels))
    rest, kept = numbers[~tested], numbers[tested]
    train, validation = _divided("digits", images[rest], labels[rest], rest, seed, holdout)
    values = train.images.double() / 255
    return Data(
        name="digits",
        spec="digits",
        classes=sets.DIGITS,
        train=train,
        validation=validation,
        test=_arrays("digits", images[kept], labels[kept], kept),
        channels=1,
        mean=(round(float(values.mean()), 4),),
        std=(round(float(values.std(correction=0)), 4),),
        note="",
        fingerprint=_fingerprint(content({"images": images, "labels": labels, "test": kept}), validation),
    )


def _divided(
    title: str,
    images: NDArray[Any],
    labels: NDArray[Any],
    numbers: NDArray[Any],
    seed: int,
    holdout: int | float | None,
) -> tuple[Arrays, Arrays]:
    """Training and validation pictures."""
    out = held_out(labels, how_many(len(labels), holdout), seed)
    train, validation = (_arrays(title, images[mask], labels[mask], numbers[mask]) for mask in (~out, out))
    return train, validation


def _arrays(title: str, images: NDArray[Any], labels: NDArray[Any], numbers: NDArray[Any]) -> Arrays:
    import torch

    own = [array if array.flags.writeable else array.copy() for array in (images, labels)]
    return Arrays(torch.from_numpy(own[0]), torch.from_numpy(own[1]), title, numbers)


def _fingerprint(content: str, validation: Arrays) -> str:
    """Of all pictures, and of which of them are held out."""
    return hashlib.sha256(content.encode() + validation.numbers.astype("<i8").tobytes()).hexdigest()
