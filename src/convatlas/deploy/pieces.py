"""What a machine is calibrated on: the shapes that are measured.  None of them is a network, or a network's block."""

from __future__ import annotations

from collections.abc import Iterator

from convatlas.deploy.micro import (
    FEW,
    Build,
    Piece,
    aside,
    conv,
    gated,
    halves,
    joined,
    means,
    norm,
    op,
    padded,
    plus,
    pool,
    repeated,
    scaled,
    shortcuts,
    there_and_back,
)

LARGE = 100e6
"""Multiply-adds of which one is enough: what takes long is disturbed more often."""
Sides = tuple[tuple[int, ...], ...]

CONV: Sides = (  # channels, side, kernel
    (16, 112, 3), (32, 112, 3), (64, 112, 3), (64, 56, 3), (128, 28, 3), (256, 14, 3), (512, 7, 3), (16, 32, 3),
    (32, 16, 3), (64, 8, 3), (192, 35, 3), (256, 28, 3), (48, 27, 5), (32, 14, 5), (192, 17, 3), (384, 8, 3),
    (48, 28, 3),
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
    (32, 3, 2, 224), (64, 7, 2, 224), (64, 3, 1, 224), (16, 3, 1, 32), (64, 11, 4, 224), (24, 3, 2, 224),
    (96, 7, 2, 224), (32, 3, 2, 299),
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
PADDED: Sides = ((32, 112), (144, 56), (240, 28))


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
                yield repeated(act, (c, side, side), op(act))
            elif act != "relu":
                yield repeated(act, (c, side, side), conv(c, c, act=act), 2)
    if engine == "eager":
        yield repeated("idle", (16, 14, 14), op("identity"), 4 * FEW)
    for c, side in NORMED:
        yield repeated("response norm", (c, side, side), op("local_response_norm", size=5), 2)


def _convolutions() -> Iterator[Piece]:
    for c, side, k in CONV:
        large = c * c * k * k * side * side > LARGE
        yield repeated("conv", (c, side, side), conv(c, c, k), 1 if large else FEW)
    for c, d, side in POINTWISE:
        yield repeated("pointwise", (c, side, side), there_and_back(c, d), FEW // 2)
    for c, side, k in DEPTHWISE:
        yield repeated("depthwise", (c, side, side), conv(c, c, k, 1, c))
    for c, side, k in HALVING:
        yield aside("depthwise", (c, side, side), conv(c, c, k, 2, c))
    for c, side, g, k in GROUPED:
        yield repeated("grouped", (c, side, side), conv(c, c, k, 1, g))
    for c, side, k in PLAIN:
        yield repeated("plain", (c, side, side), conv(c, c, k))
    for d, k, s, side in STEM:
        yield aside("stem", (3, side, side), conv(3, d, k, s), 2)
    for c, d, side, k in NARROW:
        yield aside("narrow", (c, side, side), conv(c, d, k), 2)
    for c, d, side, k in WIDER:
        yield aside("wider", (c, side, side), conv(c, d, k, 2), 2)


def _maps() -> Iterator[Piece]:
    for c, side in POOLED:
        for kind, k in (("max", 3), ("avg", 3), ("max", 5)):
            yield repeated("pool", (c, side, side), pool(kind, k))
        yield means(c, side)
    for c, side in MAPS:
        yield shortcuts(c, side)
        yield joined(c, side, 32, 1)
        yield gated(c, side, 16)
        yield scaled(c, side)
    for c, side in ODD:
        size = (c, side, side)
        yield repeated("norm", size, norm(c))
        yield repeated("add", size, plus)
        yield joined(c, side, 12, 3)
        yield repeated("shuffle", size, op("channel_shuffle", groups=2))
        yield repeated("slice", size, halves)
    for c, side in PADDED:
        yield repeated("pad", (c, side, side), padded(c))
