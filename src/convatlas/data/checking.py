"""Reading every picture of a folder, to say what is wrong before a training run does.  No torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convatlas.data import reading
from convatlas.data.division import divided
from convatlas.data.imagenet import scan_imagenet
from convatlas.data.tree import WHOLE, Tree, faults, scan
from convatlas.errors import ConvatlasError


@dataclass(frozen=True)
class Check:
    """What was found.

    counts: split -> class -> files ("" is the split of a folder that is not divided); broken: (path, reason).
    faults: why ``load`` refuses the folder as it is; note: what was left out.
    leaks: pictures, the same pixel for pixel, in more than one split; conflicts: in more than one class of one split;
    repeated: how many more there are within one class.
    smallest, largest: (path, width, height), by pixels; modes: PIL's, as stored; turned: upright only by their EXIF.
    """

    path: str
    pictures: int
    counts: dict[str, dict[str, int]]
    broken: tuple[tuple[str, str], ...]
    faults: tuple[str, ...]
    leaks: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]
    repeated: int
    smallest: tuple[str, int, int] | None
    largest: tuple[str, int, int] | None
    modes: dict[str, int]
    turned: int
    note: str

    @property
    def fine(self) -> bool:
        """Whether ``load`` and a training run will get through."""
        return not (self.broken or self.faults)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists, for programs."""
        return {"ok": self.fine, **asdict(self)}


def check(path: str | Path) -> Check:
    """Read every picture of a folder: PATH or folder:PATH, or imagenet:PATH.

    Raises ConvatlasError where there is no folder, or no class in it.
    """
    kind, _, where = str(path).partition(":")
    if kind not in ("folder", "imagenet") or not where:
        kind, where = "folder", str(path)
    root = Path(where).expanduser()
    tree = scan_imagenet(root) if kind == "imagenet" else scan(root)
    listed = [(split, name, file) for split, classes in tree.splits.items()
              for name, files in classes.items() for file, _ in files]  # fmt: skip
    seen = dict(
        zip((file for *_, file in listed), reading.each([file for *_, file in listed], reading.seen, "reading"))
    )
    read = [(split, name, file) for split, name, file in listed if seen[file].error is None]
    by_size = sorted((seen[file].width * seen[file].height, str(file), file) for *_, file in read)
    ends = [(str(file), seen[file].width, seen[file].height) for *_, file in by_size[:1] + by_size[-1:]]
    leaks, conflicts, repeated = _duplicates(read, seen)
    return Check(
        str(root), len(listed),
        {split: {name: len(files) for name, files in classes.items()} for split, classes in tree.splits.items()},
        tuple((str(file), look.error) for file, look in seen.items() if look.error is not None),
        tuple(faults(tree) or _indivisible(tree)), leaks, conflicts, repeated,
        ends[0] if ends else None, ends[-1] if ends else None,
        dict(Counter(seen[file].mode for *_, file in read).most_common()),
        sum(seen[file].turned for *_, file in read), tree.said,
    )  # fmt: skip


def _indivisible(tree: Tree) -> list[str]:
    """Why no pictures can be held out of those for training."""
    classes = tree.splits.get(WHOLE) or tree.splits["train"]
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])
    try:
        divided(labels, tree.splits, 0, None)
    except ConvatlasError as error:
        return [str(error)]
    return []


Groups = tuple[tuple[str, ...], ...]


def _duplicates(read: list[tuple[str, str, Path]], seen: dict[Path, reading.Seen]) -> tuple[Groups, Groups, int]:
    """Pictures that are the same: groups over several splits, groups over several classes, and the rest's number."""
    same: dict[str, list[tuple[str, str, Path]]] = defaultdict(list)
    for one in read:
        same[seen[one[2]].digest].append(one)
    leaks, conflicts, repeated = [], [], 0
    for group in same.values():
        paths = tuple(str(file) for *_, file in group)
        if len({split for split, *_ in group}) > 1:
            leaks.append(paths)
        elif len({name for _, name, _ in group}) > 1:
            conflicts.append(paths)
        else:
            repeated += len(group) - 1
    return tuple(leaks), tuple(conflicts), repeated
