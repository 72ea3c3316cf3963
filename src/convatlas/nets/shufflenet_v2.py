"""ShuffleNet V2.  Ma et al. 2018, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design"
(arXiv 1807.11164), Table 5."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from convatlas.blocks import ConvNormAct, gate, pooled_head, scale_depth, scale_width
from convatlas.blocks.attention import Gate
from convatlas.blocks.init import gaussian, he, initialiser
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network

REPEATS = (4, 8, 4)
STEM = 24

#                                       stages 2 to 4    conv5      Table 5
VARIANTS = {
    "shufflenet_v2_x0_5": dict(widths=(48, 96, 192),    top=1024),
    "shufflenet_v2_x1_0": dict(widths=(116, 232, 464),  top=1024),
    "shufflenet_v2_x1_5": dict(widths=(176, 352, 704),  top=1024),
    "shufflenet_v2_x2_0": dict(widths=(244, 488, 976),  top=2048),
}


class SplitUnit(nn.Module):
    """Half of the channels pass by, the other half are convolved: (N, C, H, W) -> same shape.  Figure 3(c)."""

    def __init__(self, channels: int, *, se: Gate | None):
        super().__init__()
        half = channels // 2
        self.branch = branch(half, half, 1, se)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        passed, convolved = x.chunk(2, 1)
        return self.shuffle(torch.cat([passed, self.branch(convolved)], 1))


class DownUnit(nn.Module):
    """Both branches are convolved with stride 2: (N, in, H, W) -> (N, out, H / 2, W / 2).  Figure 3(d)."""

    def __init__(self, inputs: int, outputs: int, *, se: Gate | None):
        super().__init__()
        half = outputs // 2
        self.short = nn.Sequential(OrderedDict(
            depthwise=ConvNormAct(inputs, inputs, 3, 2, groups=inputs, act=None),
            pointwise=ConvNormAct(inputs, half, 1),
        ))
        self.branch = branch(inputs, half, 2, se)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(torch.cat([self.short(x), self.branch(x)], 1))


def branch(inputs: int, width: int, stride: int, se: Gate | None) -> nn.Module:
    """1x1, depthwise 3x3, 1x1, and the gate where there is one."""
    layers = OrderedDict(
        conv1=ConvNormAct(inputs, width, 1),
        depthwise=ConvNormAct(width, width, 3, stride, groups=width, act=None),
        conv2=ConvNormAct(width, width, 1),
    )
    if se:
        layers["gate"] = se(width)
    return nn.Sequential(layers)


@network(VARIANTS)
def shufflenet_v2(
    *,
    widths: tuple[int, int, int],
    top: int,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
) -> ConvNet:
    """Stages 2 to 4, named as in the paper, between conv1 with its pool and conv5.

    ``width`` multiplies the row's channels and the stem's, which the four published widths share.
    """
    scaled = partial(scale_width, width=width)
    inputs, top = scaled(STEM), scaled(top)
    small = input_size < SMALL_PICTURE
    stem = OrderedDict(conv=ConvNormAct(channels, inputs, 3, 1 if small else 2))
    if not small:
        stem["pool"] = nn.MaxPool2d(3, 2, 1)
    trunk = OrderedDict(stem=nn.Sequential(stem))
    for number, (repeat, base) in enumerate(zip(REPEATS, widths), 2):
        se, outputs = gate(attention), scaled(base)
        units = [DownUnit(inputs, outputs, se=se)]
        units += [SplitUnit(outputs, se=se) for _ in range(scale_depth(repeat, depth) - 1)]
        trunk[f"stage{number}"] = nn.Sequential(*units)
        inputs = outputs
    trunk["conv5"] = ConvNormAct(inputs, top, 1)
    return ConvNet(
        trunk,
        pooled_head(top, classes),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he(), linear=gaussian(0.01)),
    )
