"""Loading a data set by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convatlas.data import sets, stored
from convatlas.data.division import TEST_SEED, divided, held_out
from convatlas.data.folders import folder
from convatlas.data.obtain import content, obtain
from convatlas.data.splits import SPLITS, Arrays, Data
from convatlas.errors import ConvatlasError, UnknownName

KINDS = ("digits", *sets.SETS, "folder", "imagenet", "npz")
"""What a data set's name may be, or begin with before a colon."""


def load(
    spec: str,
    *,
    seed: int = 0,
    holdout: int | float | None = None,
    bad_images: Literal["stop", "skip"] | str = "stop",
    cache: Path | None = None,
    split: str | None = None,
) -> Data:
    """A data set: mnist, fashion_mnist, digits, cifar10, cifar100, folder:PATH, npz:PATH or imagenet:PATH.

    The validation pictures are held out of the training pictures by ``seed``, of each class in proportion: 5,000, of
    fewer than 50,000 a tenth, or ``holdout``, a number or a part.  The test pictures are the published ones.

    folder:PATH: train/CLASS/* with val/ and test/ beside it; if there is one of these, it is the test.  With neither,
    and where CLASS/* are not divided, a tenth is held out to test, the same for every seed, and a tenth to validate.
    imagenet:PATH: as published; val is the test.
    npz:PATH: arrays in one file, as MedMNIST has them: train_images (N, H, W) or (N, H, W, C) uint8, train_labels, and
    where they are there val_…, test_… and ``classes``; what is not there is held out as of a folder.
    bad_images: "skip" reads all that are wanted once and leaves the broken ones out; "stop" raises when one is read.
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
    if kind in ("folder", "imagenet", "npz"):
        if not where:
            raise ConvatlasError(f"{spec!r} names no {'file' if kind == 'npz' else 'folder'}; write {kind}:PATH")
        if kind == "npz":
            return _stored(spec, Path(where).expanduser(), seed, holdout, split)
        return folder(spec, kind, Path(where).expanduser(), seed, holdout, bad_images, split)
    if Path(spec).expanduser().is_dir():
        raise ConvatlasError(f"{spec} is a folder; write folder:{spec}")
    raise UnknownName("data set", spec, ["digits", *sets.SETS, "folder:PATH", "imagenet:PATH", "npz:PATH"])


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
    mean, std = _moments(train)
    return Data(
        name="digits",
        spec="digits",
        classes=sets.DIGITS,
        train=train,
        validation=validation,
        test=_arrays("digits", images[kept], labels[kept], kept),
        channels=1,
        mean=mean,
        std=std,
        note="",
        fingerprint=_fingerprint(content({"images": images, "labels": labels, "test": kept}), validation),
    )


def _stored(spec: str, path: Path, seed: int, holdout: int | float | None, split: str | None) -> Data:
    found, classes = stored.read(path)
    if split is not None and split not in found:
        raise ConvatlasError(f"no {split} pictures in {path}, only {', '.join(found)}")
    if split is None and "train" not in found:
        raise ConvatlasError(f"{path} has no train_images")
    if split is None and len(set(found["train"][1].tolist())) < 2:
        raise ConvatlasError(f"{path}: the training pictures are of one class; there is nothing to tell apart")
    if split in (None, "train"):
        stored.refuse_absent(path, found["train"][1], classes)
    if holdout is not None and "validation" in found:
        raise ConvatlasError(f"{path} has val_images: nothing is held out of the others")
    parts = {name: _arrays(f"{path.stem} {name}", *part, np.arange(len(part[1]))) for name, part in found.items()}
    if split is None:
        parts |= _parted(parts["train"], parts, seed, holdout)
    shown = parts["train" if split is None else split]
    none = Arrays(shown.images[:0], shown.labels[:0], path.stem, np.arange(0))
    mean, std = _moments(shown)
    arrays: dict[str, NDArray[Any]] = {}
    for name, (images, labels) in found.items():
        arrays |= {f"{name}_images": images, f"{name}_labels": labels}
    return Data(
        name=path.stem,
        spec=spec,
        classes=classes,
        train=parts.get("train", none),
        validation=parts.get("validation", none),
        test=parts.get("test"),
        channels=shown.images.shape[1],
        mean=mean,
        std=std,
        note="",
        fingerprint=_fingerprint(content(arrays), parts.get("validation", none)),
    )


def _moments(split: Arrays) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in [0, 1]."""
    mean, std = [], []
    for channel in split.images.transpose(0, 1):
        counts = channel.reshape(-1).bincount(minlength=256).double()
        values = counts.new_tensor(range(256)) / 255
        middle = float((counts * values).sum() / counts.sum())
        mean.append(round(middle, 4))
        std.append(max(round(float((counts * (values - middle) ** 2).sum() / counts.sum()) ** 0.5, 4), 1e-4))
    return tuple(mean), tuple(std)


def _parted(split: Arrays, there: Collection[str], seed: int, holdout: int | float | None) -> dict[str, Arrays]:
    """What stays of the training pictures, and what is held out of them."""
    return {
        name: Arrays(split.images[at], split.labels[at], split.title, split.numbers[at])
        for name, at in divided(split.labels.numpy(), there, seed, holdout).items()
    }


def _divided(
    title: str,
    images: NDArray[Any],
    labels: NDArray[Any],
    numbers: NDArray[Any],
    seed: int,
    holdout: int | float | None,
) -> tuple[Arrays, Arrays]:
    """Training and validation pictures."""
    parts = _parted(_arrays(title, images, labels, numbers), ["test"], seed, holdout)
    return parts["train"], parts["validation"]


def _arrays(title: str, images: NDArray[Any], labels: NDArray[Any], numbers: NDArray[Any]) -> Arrays:
    import torch

    own = [array if array.flags.writeable else array.copy() for array in (images, labels)]
    return Arrays(torch.from_numpy(own[0]), torch.from_numpy(own[1]), title, numbers)


def _fingerprint(content: str, validation: Arrays) -> str:
    """Of all pictures, and of which of them are held out."""
    return hashlib.sha256(content.encode() + validation.numbers.astype("<i8").tobytes()).hexdigest()
