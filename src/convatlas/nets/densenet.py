"""DenseNet.  Huang et al. 2016, "Densely Connected Convolutional Networks" (arXiv 1608.06993), Tables 1 and 2.

The 264 and 232 layers with k = 48 are those of Pleiss et al. 2017 (arXiv 1707.06990) and of the authors' README.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from convatlas.blocks import ConvNormAct, gate, pooled_head, scale_depth, scale_width
from convatlas.blocks.attention import Gate
from convatlas.blocks.init import he, initialiser, uniform
from convatlas.blocks.preact import NormAct, NormActConv
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network


class DenseLayer(nn.Module):
    """BN-ReLU-conv, its output appended to its input: (N, C, H, W) -> (N, C + growth, H, W).  Section 3.

    bottleneck: a 1x1 to 4 growth channels before the 3x3 (DenseNet-B).
    """

    def __init__(self, inputs: int, growth: int, *, bottleneck: bool, dropout: float, se: Gate | None):
        super().__init__()
        layers = OrderedDict()
        if bottleneck:
            layers["conv1"] = NormActConv(inputs, 4 * growth, 1)
            inputs = 4 * growth
        layers["conv2"] = NormActConv(inputs, growth, 3)
        if se:
            layers["gate"] = se(growth)
        if dropout:
            layers["dropout"] = nn.Dropout(dropout)
        self.body = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


#                                  layers in each block        growth
VARIANTS = {
    "densenet121":            dict(depths=(6, 12, 24, 16),     growth=32),
    "densenet161":            dict(depths=(6, 12, 36, 24),     growth=48),
    "densenet169":            dict(depths=(6, 12, 32, 32),     growth=32),
    "densenet201":            dict(depths=(6, 12, 48, 32),     growth=32),
    "densenet264":            dict(depths=(6, 12, 64, 48),     growth=32),
    "densenet232_k48":        dict(depths=(6, 32, 48, 48),     growth=48),
    "densenet264_k48":        dict(depths=(6, 12, 64, 48),     growth=48),
    #                              (L - 4) / 3 layers in each block; with bottlenecks half as many of two convolutions
    "densenet40_k12_cifar":       dict(depths=(12,) * 3, growth=12, plain=True),
    "densenet100_k12_cifar":      dict(depths=(32,) * 3, growth=12, plain=True),
    "densenet100_k24_cifar":      dict(depths=(32,) * 3, growth=24, plain=True),
    "densenet_bc100_k12_cifar":   dict(depths=(16,) * 3, growth=12),
    "densenet_bc190_k40_cifar":   dict(depths=(31,) * 3, growth=40),
    "densenet_bc250_k24_cifar":   dict(depths=(41,) * 3, growth=24),
}
for _row in VARIANTS.values():
    if len(_row["depths"]) == 3:
        _row |= dict(input_size=32, classes=10)


@network(VARIANTS)
def densenet(
    *,
    depths: tuple[int, ...],
    growth: int,
    plain: bool = False,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.0,
) -> ConvNet:
    """Dense blocks with transitions between.  Three blocks are for 32 x 32 pictures, whose stem is one bare 3x3.

    plain: no bottlenecks, a stem of 16 channels, and transitions that keep all channels; else (BC) a stem of twice the
    growth, and transitions that halve them.  ``width`` scales the growth, to multiples of 4, and the stem.
    """
    depths = tuple(scale_depth(repeat, depth) for repeat in depths)
    growth = scale_width(growth, width, divisor=4)
    inputs = scale_width(16, width) if plain else 2 * growth
    if len(depths) == 3:
        stem: nn.Module = nn.Conv2d(channels, inputs, 3, 1, 1, bias=False)
    elif input_size < SMALL_PICTURE:
        stem = ConvNormAct(channels, inputs, 3)
    else:
        stem = nn.Sequential(OrderedDict(conv=ConvNormAct(channels, inputs, 7, 2), pool=nn.MaxPool2d(3, 2, 1)))
    trunk = OrderedDict(stem=stem)
    for number, repeat in enumerate(depths, 1):
        layers = [
            DenseLayer(inputs + index * growth, growth, bottleneck=not plain, dropout=dropout, se=gate(attention))
            for index in range(repeat)
        ]
        trunk[f"block{number}"] = nn.Sequential(*layers)
        inputs += repeat * growth
        if number < len(depths):
            outputs = inputs if plain else inputs // 2
            trunk[f"transition{number}"] = nn.Sequential(
                OrderedDict(conv=NormActConv(inputs, outputs, 1), pool=nn.AvgPool2d(2))
            )
            inputs = outputs
    trunk["final"] = NormAct(inputs)
    return ConvNet(
        trunk,
        pooled_head(inputs, classes),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he("fan_in"), linear=uniform),
    )
