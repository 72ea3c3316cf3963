"""What a picture is to make large: a neuron, a channel, a layer, a class, a direction; objectives add and scale.

Olah, Mordvintsev and Schubert 2017, "Feature Visualization" (distill.pub/2017/feature-visualization), whose names these
are.  Activations are (N, C, H, W), or (N, C) where a layer has no map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from convatlas.errors import ConvatlasError
from convatlas.visualize.taps import OUTPUT

PICTURE = "the picture"
"""Where an objective finds the picture itself, (N, C, H, W) in [0, 1]."""

Seen = Mapping[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """value: from the outputs of ``layers`` (and ``PICTURE``) to what each picture is worth, (N,).

    placed: whether it looks at places of the maps.  While the picture is moved, scaled and turned it is then given maps
    that are led back, unit by unit, to where they lie at rest.
    """

    layers: tuple[str, ...]
    value: Callable[[Seen], Tensor]
    title: str
    placed: bool = False

    def __add__(self, other: Objective) -> Objective:
        layers = tuple(dict.fromkeys((*self.layers, *other.layers)))
        return Objective(layers, lambda seen: self.value(seen) + other.value(seen), f"{self.title} + {other.title}",
                         self.placed or other.placed)  # fmt: skip

    def __radd__(self, other: int) -> Objective:
        """``sum`` begins with 0."""
        return self if other == 0 else NotImplemented

    def __mul__(self, factor: float) -> Objective:
        return replace(self, value=lambda seen: self.value(seen) * factor, title=f"{factor:g} × {self.title}")

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return replace(self, value=lambda seen: -self.value(seen), title=f"−{self.title}")

    def __sub__(self, other: Objective) -> Objective:
        return self + -other


def neuron(layer: str, unit: int | Sequence[int], at: tuple[int, int] | None = None) -> Objective:
    """layer[x, y, z]: one place of a channel, (row, column); by default the middle, H // 2 and W // 2.

    unit: of all pictures, or one for each.
    """

    def value(seen: Seen) -> Tensor:
        maps = _maps(seen, layer, "a neuron")
        height, width = maps.shape[2:]
        row, column = at or (height // 2, width // 2)
        if not (0 <= row < height and 0 <= column < width):
            raise ConvatlasError(f"{layer} is a map of {height} x {width} here: no place {row}, {column}")
        return _of(maps, unit, layer)[:, row, column]

    where = "" if at is None else f" at {at[0]}, {at[1]}"
    return Objective((layer,), value, f"neuron {_named(unit)} of {layer}{where}", placed=True)


def channel(layer: str, unit: int | Sequence[int]) -> Objective:
    """layer[:, :, z]: the mean over a channel.  unit: of all pictures, or one for each."""
    return Objective((layer,), lambda seen: _of(seen[layer], unit, layer).reshape(len(seen[layer]), -1).mean(1),
                     f"channel {_named(unit)} of {layer}")  # fmt: skip


def layer(layer: str) -> Objective:
    """layer[:, :, :]²: DeepDream's mean of the squares of everything."""
    return Objective((layer,), lambda seen: seen[layer].flatten(1).square().mean(1), f"layer {layer}")


def logit(number: int | Sequence[int], label: str = "") -> Objective:
    """pre_softmax[k]: a class before the softmax.  number: of all pictures, or one for each."""
    return Objective((OUTPUT,), lambda seen: _of(_logits(seen), number, "the classifier"),
                     f"logit of {label or _named(number)}")  # fmt: skip


def probability(number: int | Sequence[int], label: str = "") -> Objective:
    """softmax[k]: a class after the softmax; it also grows where the others fall."""
    return Objective((OUTPUT,), lambda seen: _of(_logits(seen).softmax(1), number, "the classifier"),
                     f"probability of {label or _named(number)}")  # fmt: skip


def direction(layer: str, vector: Tensor, power: float = 0) -> Objective:
    """The mean over the map of (h · v) max(0.1, cos(h, v))^power; vector: (C,)."""

    def value(seen: Seen) -> Tensor:
        maps = seen[layer].flatten(2) if seen[layer].dim() > 2 else seen[layer][..., None]
        if maps.shape[1] != len(vector):
            raise ConvatlasError(f"{layer} has {maps.shape[1]} channels, the direction {len(vector)}")
        along = torch.einsum("ncp,c->np", maps, vector.to(maps))
        near = F.cosine_similarity(maps, vector.to(maps)[None, :, None], 1, eps=1e-4).clamp(min=0.1)
        return (along * near**power).mean(1)

    return Objective((layer,), value, f"a direction of {layer}")


def diversity(layer: str) -> Objective:
    """Minus each picture's cosines with the others, of their Gram matrices, summed and divided by the pictures."""

    def value(seen: Seen) -> Tensor:
        maps = _maps(seen, layer, "diversity").flatten(2)
        grams = F.normalize((maps @ maps.mT).flatten(1), dim=1)
        if len(grams) < 2:
            raise ConvatlasError("diversity is between pictures: make at least 2")
        alike = grams @ grams.T
        return -(alike.sum(1) - alike.diagonal()) / len(grams)

    return Objective((layer,), value, f"diversity of {layer}")


def inversion(layer: str, target: Tensor) -> Objective:
    """Minus the squared distance to a picture's own activations, target (1, C, H, W), as a part of their square.

    Mahendran and Vedaldi 2014 (arXiv 1412.0035), equation 2.
    """

    def value(seen: Seen) -> Tensor:
        own = seen[layer]
        if own.shape[1:] != target.shape[1:]:
            raise ConvatlasError(f"{layer} gives {tuple(own.shape[1:])} here, and the picture's is "
                                 f"{tuple(target.shape[1:])}: invert without changes of size")  # fmt: skip
        return -(own - target).square().flatten(1).sum(1) / target.square().sum().clamp(min=1e-12)

    return Objective((layer,), value, f"inversion of {layer}")


def total_variation() -> Objective:
    """The mean absolute step between neighbouring pixels; to be taken away."""

    def value(seen: Seen) -> Tensor:
        x = seen[PICTURE]
        down, right = x.diff(dim=2).abs().flatten(1).mean(1), x.diff(dim=3).abs().flatten(1).mean(1)
        return down + right

    return Objective((), value, "total variation")


def alignment() -> Objective:
    """Minus how far neighbours in the batch are apart, by 1 to 4 places: for rows that change gradually."""

    def value(seen: Seen) -> Tensor:
        x = seen[PICTURE]
        apart = x.new_zeros(len(x))
        for first, second in combinations(range(len(x)), 2):
            if second - first <= 4:
                step = (x[first] - x[second]).square().mean() / 2 ** (second - first)
                apart = apart - F.one_hot(torch.tensor(first), len(x)).to(x) * step
        return apart

    return Objective((), value, "alignment")


def _named(unit: int | Sequence[int]) -> str:
    return ", ".join(map(str, unit)) if isinstance(unit, Sequence) else str(unit)


def _of(activations: Tensor, unit: int | Sequence[int], layer: str) -> Tensor:
    """(N, C, …) -> (N, …): one channel of each picture."""
    if activations.dim() not in (2, 4):
        raise ConvatlasError(f"{layer} gives {tuple(activations.shape[1:])}: neither a map nor a vector of channels")
    units = list(unit) if isinstance(unit, Sequence) else [unit] * len(activations)
    most = activations.shape[1]
    for one in units:
        if not 0 <= one < most:
            raise ConvatlasError(f"{layer} has channels 0 to {most - 1}, no {one}")
    if len(units) != len(activations):
        raise ConvatlasError(f"{len(units)} channels for {len(activations)} pictures")
    return activations[torch.arange(len(units)), torch.tensor(units)]


def _maps(seen: Seen, layer: str, what: str) -> Tensor:
    if seen[layer].dim() != 4:
        raise ConvatlasError(f"{what} needs a map, and {layer} gives {tuple(seen[layer].shape[1:])}")
    return seen[layer]


def _logits(seen: Seen) -> Tensor:
    found = seen[OUTPUT]
    if found.dim() != 2:
        raise ConvatlasError(f"the network's output is {tuple(found.shape[1:])}, no logits of classes")
    return found
