"""What is to be explained: a class, by whatever name a user calls it, or one unit of a layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convatlas.errors import ConvatlasError, UnknownName
from convatlas.visualize.taps import OUTPUT, name_of
from convatlas.weights.labels import Label, named

FEW = 8
"""So many classes are named where several have the words."""

Place = tuple[int, int]
"""Of a unit on its map: (row, column)."""


def class_of(labels: Sequence[Label] | None, text: str | int) -> int:
    """The number of a class that is called by its name, a part of it in whole words, its number or its WordNet id.

    labels: the names; None where there are none, and only a number will do.  Case does not matter; a whole name goes
    before a number, and a number before a part of a name.

    Raises ConvatlasError that names them where several classes are called so, or where there is no class of that
    number; UnknownName for a name that no class has.
    """
    words = str(text).strip()
    number = int(words) if re.fullmatch(r"\d+", words) else text if isinstance(text, int) else None
    if labels is None:
        if number is None or number < 0:
            raise ConvatlasError(f"this network's classes have no names: give a number, not {words!r}")
        return number
    lower = words.lower()
    if not isinstance(text, int):
        whole = [i for i, label in enumerate(labels) if lower in (label.name.lower(), (label.wnid or "").lower())]
        if lower and whole:
            return _only(labels, whole, f"are called {words!r}")
    if number is not None:
        if not 0 <= number < len(labels):
            raise ConvatlasError(f"classes are numbered 0 to {len(labels) - 1}: there is no {number}")
        return number
    part = re.compile(rf"(?<!\w){re.escape(lower)}(?!\w)")
    some = [i for i, label in enumerate(labels) if lower and part.search(label.name.lower())]
    if not some:
        raise UnknownName("class", words, [label.name for label in labels])
    return _only(labels, some, f"have {words!r} in their names")


def _only(labels: Sequence[Label], found: Sequence[int], how: str) -> int:
    if len(found) == 1:
        return found[0]
    some = ", ".join(f"{i} {labels[i].name}" for i in found[:FEW])
    more = f" and {len(found) - FEW} more" if len(found) > FEW else ""
    raise ConvatlasError(f"{len(found)} classes {how}: {some}{more}; give the whole name or the number")


@dataclass(frozen=True)
class Aim:
    """One number that a network computes.  layer: OUTPUT of a class, whose logit it is.

    at: the place on the layer's map, one for all pictures or one for each; none where the layer gives a vector.
    """

    layer: str
    unit: int
    at: tuple[Place, ...]
    label: str

    def of(self, out: Tensor) -> Tensor:
        """The layer's output (N, C, H, W) or (N, C) -> (N,)."""
        values = out[:, self.unit]
        if not self.at:
            return values
        rows, columns = torch.tensor(self.at, device=out.device).T
        return values[torch.arange(len(out), device=out.device), rows, columns]


def class_aim(net: nn.Module, logits: Tensor, target: int | str | None) -> Aim:
    """A class: ``target`` as ``class_of`` takes it, None for the likeliest of the first picture."""
    if logits.dim() != 2:
        raise ConvatlasError(f"{name_of(net)} gives {tuple(logits.shape[1:])}, no logits of classes: name a layer and "
                             "a unit of it")  # fmt: skip
    count = logits.shape[1]
    labels = getattr(getattr(net, "weights", None), "labels", None)
    if labels is None or len(labels) != count:
        labels = named(None, count)
    number = int(logits[0].argmax()) if target is None else class_of(labels, target)
    return Aim(OUTPUT, number, (), labels[number].name)


def unit_aim(layer: str, out: Tensor, unit: int, at: Place | Sequence[Place] | None = None) -> Aim:
    """A channel of a layer whose output is ``out``, at a place, or where it is largest in each picture.

    Raises ConvatlasError for a channel or a place that the layer does not have.
    """
    if out.dim() not in (2, 4):
        raise ConvatlasError(f"{layer} gives {tuple(out.shape[1:])}: neither a map nor a vector")
    if not 0 <= unit < out.shape[1]:
        raise ConvatlasError(f"{layer} has channels 0 to {out.shape[1] - 1}, no {unit}")
    if out.dim() == 2:
        if at is not None and {*_places(at)} != {(0, 0)}:
            raise ConvatlasError(f"{layer} gives a vector: it has no place {at}")
        return Aim(layer, unit, (), f"unit {unit} of {layer}")
    height, width = out.shape[2:]
    if at is None:
        largest = out[:, unit].flatten(1).argmax(1).tolist()
        places = [(place // width, place % width) for place in largest]
    else:
        places = _places(at)
    for row, column in places:
        if not (0 <= row < height and 0 <= column < width):
            raise ConvatlasError(f"{layer} is a map of {height} x {width} here: no place {row}, {column}")
    if len(places) not in (1, len(out)):
        raise ConvatlasError(f"{len(places)} places for {len(out)} pictures")
    where = f" at {places[0][0]}, {places[0][1]}" if len(places) == 1 else ""
    return Aim(layer, unit, tuple(places), f"channel {unit} of {layer}{where}")


def _places(at: Any) -> list[Place]:
    return [(int(row), int(column)) for row, column in ([at] if isinstance(at[0], int) else at)]
