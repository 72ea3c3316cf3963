"""What a machine is calibrated on: small graphs of one or a few kinds of operation, a few of each one after the other.

None of them is a network, or a network's whole block.  They are written as ``graph.model.Graph``s, so that what an
engine runs of them is counted by the very rules by which it is counted of networks (``cost.work``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from convatlas.graph.model import Graph, Node

FEW = 4
"""Of one kind, one after the other; each has weights of its own."""
LARGE = 100e6
"""Multiply-adds of which one is enough: what takes long is disturbed more often."""


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
        both = {key: [value, value] for key, value in (("kernel", kernel), ("stride", stride), ("dilation", 1))}
        made = self.op("conv2d", x, params=params, inputs=inputs, outputs=outputs, padding=[kernel // 2] * 2,
                       groups=groups, **both)  # fmt: skip
        return self.op(act, made) if act else made

    def linear(self, x: int, inputs: int, outputs: int) -> int:
        params: dict[str, tuple[int, ...]] = {"weight": (outputs, inputs), "bias": (outputs,)}
        return self.op("linear", x, params=params, inputs=inputs, outputs=outputs)

    def pool(self, x: int, kind: str, kernel: int = 3, stride: int = 1) -> int:
        same = {key: [value, value] for key, value in (("kernel", kernel), ("stride", stride))}
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


Sides = tuple[tuple[int, ...], ...]

CONV: Sides = (  # channels, side, kernel
    (16, 112, 3), (32, 112, 3), (64, 112, 3), (64, 56, 3), (128, 28, 3), (256, 14, 3), (512, 7, 3), (16, 32, 3),
    (32, 16, 3), (64, 8, 3), (192, 35, 3), (256, 28, 3), (48, 27, 5), (32, 14, 5), (192, 17, 3), (384, 8, 3), (48, 28, 3),
)  # fmt: skip
POINTWISE: Sides = (  # narrow, wide, side
    (16, 96, 112), (32, 64, 56), (64, 256, 56), (128, 512, 28), (256, 1024, 14), (512, 2048, 7), (24, 144, 56),
    (40, 240, 28), (96, 576, 14), (160, 960, 7), (320, 1280, 7), (64, 64, 112), (192, 64, 28), (728, 728, 19),
    (16, 64, 1), (128, 960, 1), (16, 32, 56), (96, 16, 112),
)  # fmt: skip
DEPTHWISE: Sides = (  # channels, side, kernel
    (32, 112, 3), (96, 112, 3), (144, 56, 3), (144, 56, 5), (192, 28, 3), (240, 28, 5), (384, 14, 3), (672, 14, 5),
    (960, 7, 3), (1152, 7, 5), (512, 14, 3), (24, 56, 3), (128, 147, 3),
)  # fmt: skip
HALVING: Sides = ((96, 112, 3), (144, 56, 5), (240, 28, 3), (576, 14, 3), (672, 14, 5))  # depthwise
GROUPED: Sides = (  # channels, side, groups, kernel
    (128, 56, 32, 3), (256, 28, 32, 3), (240, 28, 3, 1), (480, 14, 3, 1), (960, 7, 3, 1), (58, 28, 58, 3),
    (116, 14, 58, 3), (120, 28, 3, 1),
)  # fmt: skip
PLAIN: Sides = ((58, 28, 1), (50, 14, 1), (30, 27, 3), (18, 56, 3), (200, 7, 1))  # channels, side, kernel
STEM: Sides = (  # outputs, kernel, stride, side
    (32, 3, 2, 224), (64, 7, 2, 224), (64, 3, 1, 224), (16, 3, 1, 32), (64, 11, 4, 224), (24, 3, 2, 224), (96, 7, 2, 224),
    (32, 3, 2, 299),
)  # fmt: skip
NARROW: Sides = (  # inputs, outputs, side, kernel
    (128, 32, 28, 3), (128, 32, 14, 3), (160, 16, 32, 3), (320, 12, 16, 3), (192, 32, 28, 1), (512, 16, 14, 1),
)  # fmt: skip
WIDER: Sides = (  # inputs, outputs, side, kernel, all with stride 2
    (64, 128, 56, 3), (128, 256, 28, 3), (256, 512, 14, 3), (256, 512, 56, 1), (512, 1024, 28, 1), (1024, 2048, 14, 1),
)  # fmt: skip
LINEAR: Sides = (  # inputs, outputs, batch
    (128, 128, 1), (1280, 1000, 1), (2048, 1000, 1), (4096, 4096, 1), (9216, 4096, 1), (512, 512, 16), (2048, 1000, 16),
)  # fmt: skip
POOLED: Sides = ((64, 112), (192, 28), (512, 14), (16, 14))
MAPS: Sides = ((64, 112), (64, 56), (256, 28), (512, 14), (1024, 7), (16, 14))
ODD: Sides = ((36, 32), (232, 14), (728, 19), (12, 14))
"""Maps whose channels fill no blocks."""
CURVED: Sides = ((32, 112), (144, 56), (480, 14), (16, 14))
NORMED: Sides = ((96, 55), (256, 27))


def pieces(engine: str) -> Iterator[Piece]:
    """All that are measured, of the widths and sizes that networks have.

    An engine that makes an activation a part of the convolution before it is measured with both.
    """
    yield from _convolutions()
    yield from _maps()
    for c, d, batch in LINEAR:
        b = Build("linear", c, 1, 1)
        x = b.op("flatten", 0, start=1, end=-1)
        yield b.done(*(b.linear(x, c, d) for _ in range(FEW if c * d < 1 << 22 else 1)), batch=batch)
    for c, side in CURVED:
        for act in ("relu", "relu6", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh"):
            if engine == "eager":
                yield repeated(act, (c, side, side), lambda b, x, a=act: b.op(a, x))
            elif act != "relu":
                yield repeated(act, (c, side, side), lambda b, x, c=c, a=act: b.conv(x, c, c, act=a), 2)
    if engine == "eager":
        yield repeated("idle", (16, 14, 14), lambda b, x: b.op("identity", x), 4 * FEW)
    for c, side in NORMED:
        lrn = dict(size=5, alpha=1e-4, beta=0.75, k=1.0)
        yield repeated("response norm", (c, side, side), lambda b, x, lrn=lrn: b.op("local_response_norm", x, **lrn), 2)


def _convolutions() -> Iterator[Piece]:
    for c, side, k in CONV:
        large = c * c * k * k * side * side > LARGE
        yield repeated("conv", (c, side, side), lambda b, x, c=c, k=k: b.conv(x, c, c, k), 1 if large else FEW)
    for c, d, side in POINTWISE:
        yield repeated("pointwise", (c, side, side),
                       lambda b, x, c=c, d=d: b.conv(b.conv(x, c, d), d, c, act=""), FEW // 2)  # fmt: skip
    for c, side, k in DEPTHWISE:
        yield repeated("depthwise", (c, side, side), lambda b, x, c=c, k=k: b.conv(x, c, c, k, 1, c))
    for c, side, k in HALVING:
        yield aside("depthwise", (c, side, side), lambda b, x, c=c, k=k: b.conv(x, c, c, k, 2, c))
    for c, side, g, k in GROUPED:
        yield repeated("grouped", (c, side, side), lambda b, x, c=c, k=k, g=g: b.conv(x, c, c, k, 1, g))
    for c, side, k in PLAIN:
        yield repeated("plain", (c, side, side), lambda b, x, c=c, k=k: b.conv(x, c, c, k))
    for d, k, s, side in STEM:
        yield aside("stem", (3, side, side), lambda b, x, d=d, k=k, s=s: b.conv(x, 3, d, k, s), 2)
    for c, d, side, k in NARROW:
        yield _narrowed(c, d, side, k)
    for c, d, side, k in WIDER:
        yield aside("wider", (c, side, side), lambda b, x, c=c, d=d, k=k: b.conv(x, c, d, k, 2), 2)


def _maps() -> Iterator[Piece]:
    for c, side in POOLED:
        for kind in ("max", "avg"):
            yield repeated("pool", (c, side, side), lambda b, x, k=kind: b.pool(x, k))
        yield repeated("pool", (c, side, side), lambda b, x: b.pool(x, "max", 5))
        yield _means(c, side)
    for c, side in MAPS:
        size = (c, side, side)
        yield _shortcuts(c, side)
        yield _joined(c, side, 32, 1)
        yield _gated(c, side, 16)
        yield _scaled(c, side)
    for c, side in ODD:
        size = (c, side, side)
        yield repeated("norm", size, lambda b, x, c=c: b.op("relu", b.norm(x, c)))
        yield repeated("add", size, lambda b, x: b.op("add", b.op("relu", x), x))
        yield _joined(c, side, 12, 3)
        yield repeated("shuffle", size, lambda b, x: b.op("channel_shuffle", x, groups=2))
        yield repeated("slice", size, _halves)
    for c, side in ((32, 112), (144, 56), (240, 28)):
        yield repeated("pad", (c, side, side), lambda b, x, c=c: b.conv(b.op("same_pad2d", x, kernel=[3, 3], stride=[2, 2]), c, c, 2, 1, c))


def _shortcuts(channels: int, side: int) -> Piece:
    """With a norm before its convolution, and an addition behind it."""
    b = Build("shortcut", channels, side, side)
    x = b.conv(0, channels, channels)
    for _ in range(FEW - 1):
        inner = b.conv(b.op("relu", b.norm(x, channels)), channels, channels, act="")
        x = b.op("add", x, inner)
    return b.done(x)


def _narrowed(inputs: int, outputs: int, side: int, kernel: int) -> Piece:
    """To few maps, side by side."""
    return aside("narrow", (inputs, side, side), lambda b, x: b.conv(x, inputs, outputs, kernel), 2)


def _joined(channels: int, side: int, grown: int, kernel: int) -> Piece:
    """Maps that grow by what is computed of them."""
    b, x, c = Build("cat", channels, side, side), 0, channels
    for _ in range(FEW):
        x = b.op("cat", x, b.conv(x, c, grown, kernel), dim=1)
        c += grown
    return b.done(x)


def _means(channels: int, side: int) -> Piece:
    """Each of several maps to its means."""
    b = Build("mean", channels, side, side)
    maps = [b.pool(0, "max")]
    for _ in range(FEW - 1):
        maps.append(b.pool(maps[-1], "max"))
    return b.done(*(b.mean(x) for x in maps))


def _scaled(channels: int, side: int) -> Piece:
    """A map times its means, again and again."""
    b = Build("scale", channels, side, side)
    x, means = 0, b.mean(0)
    for _ in range(FEW):
        x = b.op("mul", x, means)
    return b.done(x)


def _gated(channels: int, side: int, squeezed: int) -> Piece:
    """A map times what its means say."""

    def step(b: Build, x: int) -> int:
        x = b.conv(x, channels, channels)
        gate = b.conv(b.conv(b.mean(x), channels, squeezed), squeezed, channels, act="sigmoid")
        return b.op("mul", x, gate)

    return repeated("gate", (channels, side, side), step, 2)


def _halves(b: Build, x: int) -> int:
    both = b.op("chunk", x, dim=1, chunks=2)
    first, second = b.op("getitem", both, piece=0), b.op("getitem", both, piece=1)
    return b.op("cat", second, first, dim=1)
