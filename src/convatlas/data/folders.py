"""Folders of pictures as data sets: ``folder:`` and ``imagenet:``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convatlas.data import imagenet, reading
from convatlas.data.division import divided
from convatlas.data.splits import SPLITS, Data, Files
from convatlas.data.tree import WHOLE, Entry, Tree, faults, scan
from convatlas.errors import ConvatlasError
from convatlas.weights.preprocess import IMAGENET_MEAN, IMAGENET_STD

Listed = tuple[Sequence[Entry], NDArray[np.int64]]
"""Files, and the label of each."""


def folder(
    spec: str, kind: str, root: Path, seed: int, holdout: int | float | None, bad_images: str, split: str | None
) -> Data:
    """``load`` for kind "folder" and "imagenet"."""
    tree = imagenet.scan_imagenet(root, split) if kind == "imagenet" else scan(root, split)
    skipped = _without_broken(tree, split) if bad_images == "skip" else ()
    for fault in faults(tree, one_class=split is not None):
        raise ConvatlasError(fault + (f" ({len(skipped)} cannot be read)" if skipped else ""))
    classes, wnids = tree.classes, None
    if kind == "imagenet":
        classes, wnids = imagenet.named(classes)
    place = {name: index for index, name in enumerate(wnids or classes)}
    listed = {name: _listed(tree.splits[name], place) for name in tree.splits}
    if split is not None and WHOLE in listed:
        listed = {split: listed[WHOLE]}
    elif WHOLE in listed or "train" in listed:
        listed = _parted(listed, seed, holdout, tree)
    if split is not None and split not in listed:
        raise ConvatlasError(f"no {split} pictures in {root}, only {', '.join(listed)}")
    files = {name: _files(*listed.get(name, ([], np.zeros(0, np.int64)))) for name in SPLITS}
    sample = next(files[name] for name in SPLITS if len(files[name]))
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if kind == "imagenet" else reading.moments(sample.paths, seed)
    return Data(
        name="imagenet" if wnids else root.resolve().name,
        spec=spec,
        classes=classes,
        train=files["train"],
        validation=files["validation"],
        test=files["test"] if "test" in listed else None,
        channels=3,
        mean=mean,
        std=std,
        note=tree.said,
        fingerprint=_fingerprint(listed, tree.root, wnids or classes),
        skipped=skipped,
        wnids=wnids,
    )


def _listed(classes: dict[str, list[Entry]], place: dict[str, int]) -> Listed:
    entries = [entry for name in sorted(classes) for entry in classes[name]]
    labels = np.repeat([place[name] for name in sorted(classes)], [len(classes[name]) for name in sorted(classes)])
    return entries, labels.astype(np.int64)


def _parted(listed: dict[str, Listed], seed: int, holdout: int | float | None, tree: Tree) -> dict[str, Listed]:
    """The splits that are not there held out of those that are."""
    if "validation" in listed:
        if holdout is not None:
            raise ConvatlasError(f"{tree.folders['validation']} has the validation pictures: nothing is held out of "
                                 "the others")  # fmt: skip
        return listed
    entries, labels = listed.get(WHOLE) or listed["train"]
    places = divided(labels, listed, seed, holdout)
    parts = {name: ([entries[place] for place in at.tolist()], labels[at]) for name, at in places.items()}
    return {name: parts[name] if name in parts else listed[name] for name in SPLITS}


def _files(entries: Sequence[Entry], labels: NDArray[np.int64]) -> Files:
    import torch

    return Files([path for path, _ in entries], torch.from_numpy(labels))


def _without_broken(tree: Tree, split: str | None) -> tuple[tuple[str, str], ...]:
    """Every picture that is wanted read, and the broken ones taken out of the tree; they and why."""
    wanted = [tree.splits[split]] if split in tree.splits else tree.splits.values()
    paths = [path for classes in wanted for files in classes.values() for path, _ in files]
    reasons = dict(zip(paths, reading.each(paths, reading.broken, "reading every picture")))
    for classes in wanted:
        for name, files in classes.items():
            classes[name] = [entry for entry in files if reasons[entry[0]] is None]
    return tuple((str(path), reason) for path, reason in reasons.items() if reason is not None)


def _fingerprint(listed: dict[str, Listed], root: Path, classes: tuple[str, ...]) -> str:
    """Of the relative paths, sizes, classes and splits; where the folder lies does not count."""
    lines = [
        f"{path.relative_to(root).as_posix()}\t{size}\t{classes[label]}\t{name}"
        for name, (entries, labels) in listed.items()
        for (path, size), label in zip(entries, labels)
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()
