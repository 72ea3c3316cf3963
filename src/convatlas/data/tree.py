"""Folders of pictures: what lies where, and what is wrong with it.  No torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from convatlas.data.splits import SPLITS
from convatlas.errors import ConvatlasError
from convatlas.weights.pictures import suffixes

NAMES = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Folders, in any case, that are splits, and which."""

WHOLE = ""
"""The split of a folder that is not divided."""

Entry = tuple[Path, int]
"""A file and its size in bytes."""


@dataclass
class Tree:
    """A folder of pictures: split -> class -> files, each sorted by name.

    folders: the folder of each split; left_out: what else there is, counted by kind (".txt", "folder extra");
    unlabelled: pictures of a test whose classes nobody published.  remark: what else is to be said of it.
    """

    root: Path
    splits: dict[str, dict[str, list[Entry]]] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0
    remark: str = ""

    def add(self, split: str, folder: Path) -> None:
        """The folder's folders as the classes of a split."""
        if split in self.splits:
            raise ConvatlasError(f"{self.folders[split]} and {folder} are both the {split} pictures")
        self.folders[split] = folder
        classes = self.splits[split] = {}
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                classes[entry.name] = self._pictures(Path(entry.path))
            else:
                self.left_out[_suffix(entry.name)] += 1

    def _pictures(self, folder: Path) -> list[Entry]:
        """The pictures in a class' folder and below."""
        found = []
        for at, folders, names in os.walk(folder, onerror=_raised):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.startswith("."):
                    continue
                if _suffix(name) in suffixes():
                    path = os.path.join(at, name)
                    found.append((Path(path), _size(path)))
                else:
                    self.left_out[_suffix(name)] += 1
        return found

    @property
    def classes(self) -> tuple[str, ...]:
        """Of all splits together, sorted."""
        return tuple(sorted({name for classes in self.splits.values() for name in classes}))

    @property
    def said(self) -> str:
        """What was left out, and what is taken for what; or ""."""
        said = [self.remark] if self.remark else []
        if self.left_out:
            kinds = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in self.left_out.most_common(4))
            said.append(f"left out, because they are no pictures by their names: {kinds}")
        if self.unlabelled:
            said.append(f"left out, because they have no classes: {self.unlabelled:,} pictures in test")
        return "; ".join(said)


def scan(root: Path, only: str | None = None, without: Collection[str] = ()) -> Tree:
    """What lies in a folder.  Nothing is opened.

    root/train/CLASS/* with val/ and test/ beside it, in their usual spellings, or root/CLASS/* not divided.  If only
    one of val and test is there, it is the test: the pictures by which one chooses are held out of train.  ``only``:
    all pictures are wanted as this one split; then train may be absent.  ``without``: folders that are passed by.

    Raises ConvatlasError where there is no such folder, it cannot be read, or there is no class in it.
    """
    if not root.is_dir():
        raise ConvatlasError(f"{root} is a file, not a folder" if root.exists() else f"no folder {root}")
    try:
        return _scanned(root, only, without)
    except OSError as error:
        raise ConvatlasError(f"{error.filename or root} cannot be read: {error.strerror or error}") from error


def _scanned(root: Path, only: str | None, without: Collection[str]) -> Tree:
    tree = Tree(root)
    inside = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    inside = [path for path in inside if path.name not in without]
    named = [path for path in inside if path.name.lower() in NAMES]
    if named and (len(named) == len(inside) or any(_holds_classes(path) for path in named if _is_train(path))):
        for path in named:
            tree.add(NAMES[path.name.lower()], path)
        for path in inside:
            if path not in named:
                tree.left_out[f"folder {path.name}"] += 1
        _roles(tree, only)
    elif inside:
        tree.add(WHOLE, root)
    else:
        raise ConvatlasError(f"no folders in {root}; expected {root}/CLASS/*.jpg, or train/CLASS/*.jpg in it")
    return tree


def _raised(error: OSError) -> None:
    raise error


def _is_train(path: Path) -> bool:
    return NAMES[path.name.lower()] == "train"


def _holds_classes(path: Path) -> bool:
    """Folders and no pictures: a split, not a class whose name is "train"."""
    entries = [entry for entry in os.scandir(path) if not entry.name.startswith(".")]
    return any(entry.is_dir() for entry in entries) and not any(_suffix(entry.name) in suffixes() for entry in entries)


def _roles(tree: Tree, only: str | None) -> None:
    """The only pictures beside train's are the test's; the splits in their usual order."""
    alone = "train" not in tree.splits
    if "validation" in tree.splits and "test" not in tree.splits and not (alone and only == "validation"):
        tree.splits["test"] = tree.splits.pop("validation")
        tree.folders["test"] = own = tree.folders.pop("validation")
        if not alone:
            tree.remark = f"{own.name} is the test, as there is no other; validation is held out of train"
    if alone and only is None:
        there = ", ".join(path.name for path in tree.folders.values())
        raise ConvatlasError(f"no train folder in {tree.root}, only {there}")
    tree.splits = {split: tree.splits[split] for split in SPLITS if split in tree.splits}


def faults(tree: Tree, one_class: bool = False) -> list[str]:
    """What is wrong with a folder of pictures, the gravest first; nothing, if it can be trained on.

    one_class: a single class will do, as it does for pictures that are only looked at.
    """
    found = []
    if not any(files for classes in tree.splits.values() for files in classes.values()):
        return [f"no pictures in {tree.root}" + (f"; {tree.said}" if tree.said else "")]
    for split, classes in tree.splits.items():
        empty = [name for name, files in classes.items() if not files]
        if empty:
            found.append(f"no pictures of class {some(empty)} in {tree.folders[split]}")
    first, *others = tree.splits
    for split in others:
        pair = (first, split), (split, first)
        extra = {one: sorted(set(tree.splits[one]) - set(tree.splits[other])) for one, other in pair}
        only = [f"only {tree.folders[one]} has {some(names)}" for one, names in extra.items() if names]
        if only:
            found.append(f"two splits with different classes: {', '.join(only)}")
    if len(tree.classes) == 1 and not one_class:
        found.append(f"only one class, {tree.classes[0]!r}, in {tree.root}: there is nothing to tell apart")
    return found


def some(names: list[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower() or name


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # a link that leads nowhere: it is told of when it is read
        return 0
