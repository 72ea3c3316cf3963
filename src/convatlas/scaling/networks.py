"""A network of the line as deep, as wide and for as large pictures as factors say, and what that truly costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from convatlas import registry
from convatlas.cost import analyze
from convatlas.errors import ConvatlasError
from convatlas.graph.capture import capture
from convatlas.graph.model import Graph
from convatlas.registry import SMALL_PICTURE
from convatlas.scaling.coefficients import Factors

DIMENSIONS = ("depth", "width", "resolution")
CLOSE = 1e-4
"""How near a factor is found."""


@dataclass(frozen=True)
class Base:
    """What is scaled.  side: of its pictures, by default the network's own; width, depth: of ``registry.create``, in
    place of the network's own; classes, channels: of the data it is for."""

    name: str
    side: int | None = None
    width: float | None = None
    depth: float | None = None
    classes: int | None = None
    channels: int | None = None

    @property
    def pixels(self) -> int:
        """The side of its pictures."""
        return self.side or registry.card(self.name).input_size

    def own(self, option: str) -> float:
        """Its width or depth."""
        given = getattr(self, option)
        return float(given if given is not None else registry.default(self.name, option))

    @property
    def options(self) -> dict[str, Any]:
        """Of ``registry.create``, but for the classes and channels that the data decide."""
        own = {"width": self.width, "depth": self.depth, "input_size": self.side}
        return {name: value for name, value in own.items() if value is not None}


@dataclass(frozen=True)
class Scaled:
    """A network made larger.

    options: of ``registry.create``.  input_size: (C, H, W).  macs: multiply-adds of one picture, counted; formula: what
    depth * width ** 2 * resolution ** 2 makes of the base's.
    """

    base: Base
    factors: Factors
    options: Mapping[str, Any]
    input_size: tuple[int, int, int]
    params: int
    macs: int
    activation_bytes: int
    formula: int
    graph: Graph = field(repr=False, compare=False)

    @property
    def side(self) -> int:
        return self.input_size[1]

    @cached_property
    def ratio(self) -> float:
        """How many times the base's multiply-adds it truly takes."""
        return self.macs / scaled(self.base).macs

    def to_json(self) -> dict[str, Any]:
        return {
            "network": self.base.name, "options": dict(self.options), "depth": self.factors.depth,
            "width": self.factors.width, "resolution": self.factors.resolution, "input_size": list(self.input_size),
            "params": self.params, "macs": self.macs, "macs_by_formula": self.formula, "ratio": self.ratio,
            "activation_bytes": self.activation_bytes,
        }  # fmt: skip


def scaled(base: Base | str, factors: Factors = Factors()) -> Scaled:  # noqa: B008
    """The network scaled, its multiply-adds from the cost pass.

    Channels become multiples of 8, never below 90 % of what the factor says; repeats are rounded up; a picture's side
    to the next whole pixel.

    Raises UnknownName, UnknownOption for what the network has none of (repeated blocks, say), and ConvatlasError where
    a base for small pictures would get the stem of one for large ones.
    """
    base = Base(base) if isinstance(base, str) else base
    side = math.floor(base.pixels * factors.resolution + 0.5)
    if base.pixels < SMALL_PICTURE <= side:
        raise ConvatlasError(
            f"{base.name} for {base.pixels} pixels has a stem for small pictures, and for {side} it has another: that "
            f"is no scaling; begin at {SMALL_PICTURE} pixels or more, or end below"
        )
    options = dict(base.options)
    for option in ("width", "depth"):
        factor = getattr(factors, option)
        if factor != 1:
            options[option] = round(base.own(option) * factor, 6)
    if side != registry.card(base.name).input_size:
        options["input_size"] = side
    graph = _graph(base.name, options.get("width"), options.get("depth"), base.classes, base.channels,
                   options.get("input_size") if side < SMALL_PICTURE else None)  # fmt: skip
    size = (graph.input_size[0], side, side)
    totals = analyze(graph, input_size=size).totals
    plain = totals["macs"] if factors == Factors() else scaled(base).macs
    return Scaled(base, factors, options, size, totals["params"], totals["macs"], totals["activation_bytes"],
                  round(plain * factors.product), graph)  # fmt: skip


_CAPTURED: dict[tuple[Any, ...], Graph] = {}


@cache
def _graph(
    name: str, width: float | None, depth: float | None, classes: int | None, channels: int | None, small: int | None
) -> Graph:
    """Its graph, which holds for every input size (small: of a picture that has a stem of its own)."""
    net = registry.create(name, width=width, depth=depth, classes=classes, channels=channels, input_size=small,
                          initialise=False)  # fmt: skip
    key = (name, small, *((path, tuple(tensor.shape)) for path, tensor in net.named_parameters()))
    if key not in _CAPTURED:  # several factors round to the same network
        _CAPTURED[key] = capture(net)
    return _CAPTURED[key]


def alone(base: Base | str, dimension: str, macs: float) -> Scaled:
    """The network scaled in one dimension ("depth", "width" or "resolution") until it takes about so many
    multiply-adds: the nearest there is.

    Raises what ``scaled`` does.
    """
    base = Base(base) if isinstance(base, str) else base
    if dimension == "resolution":
        return _larger(base, macs)
    low, high = 1.0, 2.0

    def at(factor: float) -> Scaled:
        return scaled(base, Factors(**{dimension: factor}))

    while at(high).macs < macs:
        low, high = high, 2 * high
    while high - low > CLOSE:
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).macs < macs else (low, middle)
    found = [one for one in (at(low), at(high)) if one.macs != scaled(base).macs]  # the base is not scaled
    return min(found, key=lambda one: abs(one.macs - macs))


def _larger(base: Base, macs: float) -> Scaled:
    """With a picture of the side that comes nearest, among those that its stem is for."""
    found = [scaled(base)]
    while found[-1].macs < macs and found[-1].side + 1 != SMALL_PICTURE:
        found.append(scaled(base, Factors(resolution=(found[-1].side + 1) / base.pixels)))
    return min(found[-2:], key=lambda one: abs(one.macs - macs))
