"""What a machine is calibrated on: small pieces of networks, each of one kind of operation, repeated.

A piece takes a map to a map of the same shape, so that it can be repeated; the difference between many and few of them
is a piece's own time, without what the ends cost.  None of them is a network, or a network's whole block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

FEW, MANY = 2, 6


@dataclass(frozen=True)
class Piece:
    """name: what it is; make: a fresh one, with weights of its own; shape: (C, H, W), or (C,) of a linear layer."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


def repeated(piece: Piece, times: int) -> nn.Module:
    """So many of a piece, one after the other, or side by side where they do not give what they read."""
    first = piece.make()
    if isinstance(first, _Aside):
        return _Sum([first, *(piece.make() for _ in range(times - 1))]).eval()
    return nn.Sequential(first, *(piece.make() for _ in range(times - 1))).eval()


class _Aside(nn.Module):
    """A layer that gives another shape, and the mean of what it gives."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer, self.pool = layer, nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.pool(self.layer(x))
        return answer


class _Sum(nn.Module):
    def __init__(self, branches: list[nn.Module]):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.branches[0](x)
        for branch in list(self.branches)[1:]:
            total = total + branch(x)
        return total


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution with a rectifier."""
    made = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
    return nn.Sequential(made, nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv, self.act = nn.Conv2d(channels, channels, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.act(x + self.conv(x))
        return answer


class _Gate(nn.Module):
    """A squeeze-and-excitation gate behind a convolution."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.before = conv(channels, channels)
        self.pool, self.squeeze = nn.AdaptiveAvgPool2d(1), conv(channels, squeezed)
        self.excite, self.gate = nn.Conv2d(squeezed, channels, 1), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        answer: Tensor = x * self.gate(self.excite(self.squeeze(self.pool(x))))
        return answer


class _Dense(nn.Module):
    """Maps joined, and brought back to as many as there were."""

    def __init__(self, channels: int, grown: int):
        super().__init__()
        self.grow, self.back = conv(channels, grown), conv(channels + grown, channels)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.back(torch.cat([x, self.grow(x)], 1))
        return answer


class _Halves(nn.Module):
    """Half of the channels pass, the others are convolved, and all are shuffled."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv, self.shuffle = conv(channels // 2, channels // 2), nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        one, other = x.chunk(2, 1)
        answer: Tensor = self.shuffle(torch.cat([one, self.conv(other)], 1))
        return answer


Sides = tuple[tuple[int, ...], ...]

CONV: Sides = (  # channels, side
    (16, 112), (64, 112), (64, 56), (128, 28), (256, 14), (512, 7), (16, 32), (32, 16), (64, 8), (64, 28), (192, 14),
    (256, 28), (512, 14), (20, 56),
)  # fmt: skip
LARGE: Sides = ((48, 27, 5), (192, 13, 5), (128, 17, 7))  # channels, side, kernel
POINTWISE: Sides = (  # narrow, wide, side
    (16, 96, 112), (32, 64, 56), (64, 256, 56), (128, 512, 28), (256, 1024, 14), (512, 2048, 7), (24, 144, 56),
    (40, 240, 28), (96, 576, 14), (160, 960, 7), (320, 1280, 7), (464, 464, 7), (64, 64, 112), (192, 64, 28),
    (728, 728, 19), (512, 128, 14),
)  # fmt: skip
DEPTHWISE: Sides = (  # channels, side, kernel
    (32, 112, 3), (96, 112, 3), (144, 56, 3), (144, 56, 5), (192, 28, 3), (240, 28, 5), (384, 14, 3), (672, 14, 5),
    (960, 7, 3), (1152, 7, 5), (512, 14, 3), (58, 28, 3),
)  # fmt: skip
HALVING: Sides = ((96, 112), (144, 56), (240, 28), (576, 14))  # depthwise: channels, side
GROUPED: Sides = (  # channels, side, groups, kernel
    (128, 56, 32, 3), (256, 28, 32, 3), (512, 14, 32, 3), (1024, 7, 32, 3), (240, 28, 3, 1), (480, 14, 3, 1),
)  # fmt: skip
STEM: Sides = (  # channels, kernel, stride, side
    (32, 3, 2, 224), (64, 7, 2, 224), (64, 3, 1, 224), (16, 3, 1, 32), (64, 11, 4, 224), (24, 3, 2, 224),
)  # fmt: skip
WIDER: Sides = ((64, 128, 56, 3), (128, 256, 28, 3), (256, 512, 14, 3), (256, 512, 56, 1), (1024, 2048, 14, 1))
LINEAR: Sides = ((128,), (1024,), (2048,), (4096,))
POOLED: Sides = ((64, 112), (192, 28), (512, 14))
JOINED: Sides = ((64, 112), (64, 56), (256, 56), (256, 28), (512, 14), (1024, 7))
GATED: Sides = (  # channels, squeezed, side
    (32, 8, 112), (144, 6, 56), (480, 20, 14), (1152, 48, 7), (256, 16, 56), (2048, 128, 7),
)  # fmt: skip
CURVED: Sides = ((32, 112), (144, 56), (480, 14))
HALVED: Sides = ((116, 28), (232, 14), (464, 7))
NORMED: Sides = ((96, 55), (256, 27))


def pieces() -> Iterator[Piece]:
    """All that are measured, of the widths and sizes that networks have."""
    for c, side in CONV:
        yield Piece("conv", partial(conv, c, c, 3), (c, side, side))
    for c, side, kernel in LARGE:
        yield Piece("conv", partial(conv, c, c, kernel), (c, side, side))
    for c, wide, side in POINTWISE:
        yield Piece("pointwise", partial(_pair, c, wide), (c, side, side))
    for c, side, kernel in DEPTHWISE:
        yield Piece("depthwise", partial(conv, c, c, kernel, 1, c), (c, side, side))
    for c, side in HALVING:
        yield Piece("depthwise", partial(_aside, c, c, 3, 2, c), (c, side, side))
    for c, side, groups, kernel in GROUPED:
        yield Piece("grouped", partial(_pair, c, c, kernel, groups), (c, side, side))
    for c, kernel, stride, side in STEM:
        yield Piece("stem", partial(_aside, 3, c, kernel, stride), (3, side, side))
    for c, wide, side, kernel in WIDER:
        yield Piece("wider", partial(_aside, c, wide, kernel, 2), (c, side, side))
    for (c,) in LINEAR:
        yield Piece("linear", partial(_linear, c), (c,))
    for c, side in POOLED:
        yield Piece("pool", partial(nn.MaxPool2d, 3, 1, 1), (c, side, side))
        yield Piece("pool", partial(_behind, nn.AvgPool2d(3, 1, 1), c), (c, side, side))
    for c, side in JOINED:
        yield Piece("residual", partial(_Residual, c), (c, side, side))
        yield Piece("norm", partial(_normed, c), (c, side, side))
        yield Piece("join", partial(_Dense, c, 32), (c, side, side))
    for c, squeezed, side in GATED:
        yield Piece("gate", partial(_Gate, c, squeezed), (c, side, side))
    for c, side in CURVED:
        for act in (nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh):
            yield Piece("curve", partial(_behind, act(), c), (c, side, side))
    for c, side in HALVED:
        yield Piece("halves", partial(_Halves, c), (c, side, side))
    for c, side in NORMED:
        yield Piece("curve", partial(_behind, nn.LocalResponseNorm(5), c), (c, side, side))


def _pair(narrow: int, wide: int, kernel: int = 1, groups: int = 1) -> nn.Module:
    """To more channels, and back; the way back may be grouped."""
    return nn.Sequential(conv(narrow, wide), conv(wide, narrow, kernel, 1, groups))


def _aside(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Module:
    return _Aside(conv(inputs, outputs, kernel, stride, groups))


def _linear(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU())


def _behind(layer: nn.Module, channels: int) -> nn.Module:
    """An operation behind a convolution, as it stands in networks."""
    return nn.Sequential(nn.Conv2d(channels, channels, 1), layer)


def _normed(channels: int) -> nn.Module:
    """Norm and rectifier before a convolution."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1))
