"""Small graphs of one or a few kinds of operation, a few of each one after the other: what a machine is calibrated on.

Which ones they are is in ``deploy.pieces``.  They are written as ``graph.model.Graph``s, so that what an
engine runs of them is counted by the very rules by which it is counted of networks (``cost.work``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convatlas.graph.model import Graph, Node

FEW = 4
"""Of one kind, one after the other; each has weights of its own."""


@dataclass(frozen=True)
class Piece:
    """name: what it is of; graph: with the size (C, H, W) of what it reads; batch: of how many."""

    name: str
    graph: Graph
    batch: int = 1


class Build:
    """A graph that is written operation by operation; a place is what an operation gives."""

    def __init__(self, name: str, *size: int):
        self.name, self.size = name, size
        self.nodes: list[Node] = [Node("input", "input")]

    def op(self, op: str, *inputs: int, params: dict[str, tuple[int, ...]] | None = None, **attrs: Any) -> int:
        where = f"{op}{len(self.nodes)}"
        named = {f"{where}.{key}": shape for key, shape in (params or {}).items()}
        self.nodes.append(Node(where, op, inputs or (len(self.nodes) - 1,), attrs, named))
        return len(self.nodes) - 1

    def conv(self, x: int, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1,
             act: str = "relu") -> int:  # fmt: skip
        params: dict[str, tuple[int, ...]] = {"weight": (outputs, inputs // groups, kernel, kernel), "bias": (outputs,)}
        both: dict[str, Any] = {
            key: [value, value] for key, value in (("kernel", kernel), ("stride", stride), ("dilation", 1))
        }
        made = self.op("conv2d", x, params=params, inputs=inputs, outputs=outputs, padding=[kernel // 2] * 2,
                       groups=groups, **both)  # fmt: skip
        return self.op(act, made) if act else made

    def linear(self, x: int, inputs: int, outputs: int) -> int:
        params: dict[str, tuple[int, ...]] = {"weight": (outputs, inputs), "bias": (outputs,)}
        return self.op("linear", x, params=params, inputs=inputs, outputs=outputs)

    def pool(self, x: int, kind: str, kernel: int = 3, stride: int = 1) -> int:
        same: dict[str, Any] = {"kernel": [kernel] * 2, "stride": [stride] * 2}
        more: dict[str, Any] = {"dilation": [1, 1]} if kind == "max" else {"count_padding": True}
        return self.op(f"{kind}_pool2d", x, padding=[kernel // 2] * 2, ceil=False, **same, **more)

    def mean(self, x: int) -> int:
        return self.op("adaptive_avg_pool2d", x, output_size=[1, 1])

    def norm(self, x: int, channels: int) -> int:
        params: dict[str, tuple[int, ...]] = {"weight": (channels,), "bias": (channels,)}
        return self.op("batch_norm", x, params=params)

    def done(self, *outputs: int, batch: int = 1) -> Piece:
        channels, height, width = (*self.size, 1, 1)[:3]
        made = Graph(self.name, (channels, height, width), tuple(self.nodes), outputs=outputs)
        return Piece(self.name, made, batch)


Step = Callable[[Build, int], int]


def repeated(name: str, size: tuple[int, ...], step: Step, times: int = FEW) -> Piece:
    """So many steps, each from a map to one of the same shape, one after the other."""
    b, x = Build(name, *size), 0
    for _ in range(times):
        x = step(b, x)
    return b.done(x)


def aside(name: str, size: tuple[int, ...], step: Step, times: int = FEW) -> Piece:
    """So many steps side by side, each of whose maps is averaged: they do not give what they read."""
    b = Build(name, *size)
    return b.done(*(b.mean(step(b, 0)) for _ in range(times)))


# ---- steps ------------------------------------------------------------------------------------------------


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: str = "relu") -> Step:
    return lambda b, x: b.conv(x, inputs, outputs, kernel, stride, groups, act)


def there_and_back(narrow: int, wide: int) -> Step:
    """To more channels, and back without a rectifier."""
    return lambda b, x: b.conv(b.conv(x, narrow, wide), wide, narrow, act="")


def pool(kind: str, kernel: int = 3) -> Step:
    return lambda b, x: b.pool(x, kind, kernel)


def op(name: str, **attrs: Any) -> Step:
    """An operation that reads one map."""
    return lambda b, x: b.op(name, x, **attrs)


def norm(channels: int) -> Step:
    """A norm that no convolution precedes, with its rectifier."""
    return lambda b, x: b.op("relu", b.norm(x, channels))


def padded(channels: int) -> Step:
    """Padding to "same", and what takes the padding off again."""
    return lambda b, x: b.conv(b.op("same_pad2d", x, kernel=[3, 3], stride=[2, 2]), channels, channels, 2, 1, channels)


def plus(b: Build, x: int) -> int:
    return b.op("add", b.op("relu", x), x)


# ---- pieces of several maps -------------------------------------------------------------------------------


def shortcuts(channels: int, side: int) -> Piece:
    """With a norm before its convolution, and an addition behind it."""
    b = Build("shortcut", channels, side, side)
    x = b.conv(0, channels, channels)
    for _ in range(FEW - 1):
        inner = b.conv(b.op("relu", b.norm(x, channels)), channels, channels, act="")
        x = b.op("add", x, inner)
    return b.done(x)


def joined(channels: int, side: int, grown: int, kernel: int) -> Piece:
    """Maps that grow by what is computed of them."""
    b, x, c = Build("cat", channels, side, side), 0, channels
    for _ in range(FEW):
        x = b.op("cat", x, b.conv(x, c, grown, kernel), dim=1)
        c += grown
    return b.done(x)


def means(channels: int, side: int) -> Piece:
    """Each of several maps to its means."""
    b = Build("mean", channels, side, side)
    maps = [b.pool(0, "max")]
    for _ in range(FEW - 1):
        maps.append(b.pool(maps[-1], "max"))
    return b.done(*(b.mean(x) for x in maps))


def scaled(channels: int, side: int) -> Piece:
    """A map times its means, again and again."""
    b = Build("scale", channels, side, side)
    x, means = 0, b.mean(0)
    for _ in range(FEW):
        x = b.op("mul", x, means)
    return b.done(x)


def gated(channels: int, side: int, squeezed: int) -> Piece:
    """A map times what its means say."""

    def step(b: Build, x: int) -> int:
        x = b.conv(x, channels, channels)
        gate = b.conv(b.conv(b.mean(x), channels, squeezed), squeezed, channels, act="sigmoid")
        return b.op("mul", x, gate)

    return repeated("gate", (channels, side, side), step, 2)


def halves(b: Build, x: int) -> int:
    both = b.op("chunk", x, dim=1, chunks=2)
    first, second = b.op("getitem", both, piece=0), b.op("getitem", both, piece=1)
    return b.op("cat", second, first, dim=1)
