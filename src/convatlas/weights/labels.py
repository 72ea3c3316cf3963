"""Names of classes: what the number of a logit means."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from convatlas import facts

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Label:
    """A class: its name, and in ImageNet its WordNet synset ("n02124075"), which unlike the name is unique."""

    name: str
    wnid: str | None = None


@cache
def imagenet() -> tuple[Label, ...]:
    """The 1000 classes of ILSVRC in the usual order (that of the sorted synset ids)."""
    lines = (facts.FOLDER / "imagenet_classes.tsv").read_text(encoding="utf-8").splitlines()
    return tuple(Label(name, wnid) for wnid, name in (line.split("\t") for line in lines))


def named(name: str | None, classes: int) -> tuple[Label, ...]:
    """The labels of a set by its name ("imagenet", "cifar10", "digits"), or "class 0" … where there are no names."""
    if name == "imagenet" and classes == 1000:
        return imagenet()
    if name == "digits" and classes == 10:
        return tuple(Label(str(digit)) for digit in range(10))
    if name == "cifar10" and classes == len(CIFAR10):
        return tuple(map(Label, CIFAR10))
    return tuple(Label(f"class {index}") for index in range(classes))
