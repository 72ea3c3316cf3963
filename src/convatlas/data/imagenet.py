"""ImageNet as it is published: synsets as folders, and validation pictures that may lie in one heap.  No torch."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

from convatlas.data.tree import Entry, Tree, scan
from convatlas.errors import ConvatlasError
from convatlas.weights.labels import imagenet
from convatlas.weights.pictures import suffixes

TRUTHS = ("val.txt", "LOC_val_solution.csv", "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt")
"""Where the classes of a heap of validation pictures are written, under the root or beside the pictures."""

KAGGLE = Path("ILSVRC/Data/CLS-LOC")


def scan_imagenet(root: Path, only: str | None = None) -> Tree:
    """root/train/n*/*.JPEG and root/val/n*/*.JPEG; val/ may hold the pictures in one heap, with one of TRUTHS.

    val is the test split; what lies in test/ in one heap has no classes, and is left out.  Raises ConvatlasError for
    folders that are no synsets, and where classes are not known.
    """
    inner = root / KAGGLE if (root / KAGGLE).is_dir() else root
    heap = _heap(inner / "val")
    without = () if _has_folders(inner / "test") else ("test",)
    tree = scan(inner, only, without)
    tree.remark = ""  # that val is the test needs no saying
    if without:
        tree.unlabelled = len(_heap(inner / "test"))
    if heap:
        split = "validation" if "validation" in tree.splits else "test"
        tree.folders[split] = inner / "val"
        tree.splits[split] = _sorted_out(heap, (root, inner, inner / "val"))
        for path, _ in heap:
            tree.left_out[path.suffix.lower()] -= 1
        tree.left_out = +tree.left_out
    for split, classes in tree.splits.items():
        for name in classes:
            if not re.fullmatch(r"n\d{8}", name):
                raise ConvatlasError(f"{tree.folders[split] / name} is no synset (n01440764); for other classes say "
                                     f"folder:{root}")  # fmt: skip
    return tree


def named(classes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Synsets -> (names, synsets) of the classes: all thousand of ImageNet if these are among them."""
    labels = {str(label.wnid): label.name for label in imagenet()}
    wnids = tuple(labels) if set(classes) <= set(labels) else classes
    return tuple(labels.get(wnid, wnid) for wnid in wnids), wnids


# ---- a heap of validation pictures ------------------------------------------------------------------------


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and any(entry.is_dir() for entry in os.scandir(folder) if not entry.name.startswith("."))


def _heap(folder: Path) -> list[Entry]:
    if not folder.is_dir():
        return []
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    return [
        (Path(entry.path), entry.stat().st_size) for entry in entries
        if entry.is_file() and os.path.splitext(entry.name)[1].lower() in suffixes()
    ]  # fmt: skip


def _sorted_out(heap: list[Entry], places: tuple[Path, ...]) -> dict[str, list[Entry]]:
    """The pictures of a heap by their synsets."""
    truth = next((place / name for name in TRUTHS for place in places if (place / name).is_file()), None)
    if truth is None:
        raise ConvatlasError(f"the pictures in {heap[0][0].parent} have no classes: put them into folders n…, or put "
                             f"{TRUTHS[0]}, {TRUTHS[1]} or the development kit into {places[0]}")  # fmt: skip
    known = _devkit(truth) if truth.name.startswith("ILSVRC") else _table(truth)
    classes: dict[str, list[Entry]] = {}
    for entry in heap:
        if entry[0].stem not in known:
            raise ConvatlasError(f"{truth} does not say what {entry[0].name} shows")
        classes.setdefault(known[entry[0].stem], []).append(entry)
    return dict(sorted(classes.items()))


def _table(path: Path) -> dict[str, str]:
    """ "NAME.JPEG 65", "NAME.JPEG n01440764" or "NAME,n01440764 85 1 499 272" -> {NAME: synset}."""
    wnids = [str(label.wnid) for label in imagenet()]
    found = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="," if path.suffix == ".csv" else " "):
            if len(row) < 2 or row[0] == "ImageId":
                continue
            said = row[1].split()[0]
            if said.isdigit() and int(said) < len(wnids):
                said = wnids[int(said)]
            if not re.fullmatch(r"n\d{8}", said):
                raise ConvatlasError(f"{path}: {said!r} is neither a synset nor a number from 0 to 999")
            found[Path(row[0]).stem] = said
    return found


def _devkit(path: Path) -> dict[str, str]:
    """The development kit: a number for each picture in order, and a MATLAB file of what the numbers mean."""
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise ConvatlasError(f"the development kit is read by SciPy: pip install scipy, or put {TRUTHS[0]} beside it"
                             ) from error  # fmt: skip
    synsets = loadmat(path.with_name("meta.mat"), squeeze_me=True)["synsets"]
    wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    numbers = path.read_text(encoding="ascii").split()
    return {f"ILSVRC2012_val_{place:08d}": wnids[int(number)] for place, number in enumerate(numbers, 1)}
