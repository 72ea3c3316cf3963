"""ShuffleNet.  Zhang et al. 2017, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices"
(arXiv 1707.01083), Table 1."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from convatlas.blocks import ConvNormAct, gate, make_divisible, pooled_head, scale_depth
from convatlas.blocks.attention import Gate
from convatlas.blocks.init import gaussian, he, initialiser
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network

#          groups: channels of stage 2, doubled in stages 3 and 4      Table 1
WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
REPEATS = (4, 8, 4)
STEM = 24

VARIANTS = {
    "shufflenet_v1_x0_25_g1":  dict(groups=1, width=0.25),
    "shufflenet_v1_x0_25_g3":  dict(groups=3, width=0.25),
    "shufflenet_v1_x0_5_g1":   dict(groups=1, width=0.5),
    "shufflenet_v1_x0_5_g3":   dict(groups=3, width=0.5),
    "shufflenet_v1_x1_0_g1":   dict(groups=1),
    "shufflenet_v1_x1_0_g2":   dict(groups=2),
    "shufflenet_v1_x1_0_g3":   dict(groups=3),
    "shufflenet_v1_x1_0_g4":   dict(groups=4),
    "shufflenet_v1_x1_0_g8":   dict(groups=8),
    "shufflenet_v1_x1_5_g3":   dict(groups=3, width=1.5, stem=24),      # the authors' release keeps 24 here
    "shufflenet_v1_x2_0_g3":   dict(groups=3, width=2.0),
    "se_shufflenet_v1_g3":     dict(groups=3, attention="se"),
}


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1: (N, in, H, W) -> (N, out, H / stride, W / stride).

    Figure 2(b): added to its input; 2(c), with stride 2: concatenated with the average-pooled input.  The gate weighs
    the branch.  first_groups: 1 in stage 2, whose input has too few channels to be grouped.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int, first_groups: int, *, se: Gate | None):
        super().__init__()
        inner, out = outputs // 4, outputs - inputs if stride > 1 else outputs
        self.conv1 = ConvNormAct(inputs, inner, 1, groups=first_groups)
        self.shuffle = nn.ChannelShuffle(groups) if groups > 1 else nn.Identity()
        self.depthwise = ConvNormAct(inner, inner, 3, stride, groups=inner, act=None)
        self.conv2 = ConvNormAct(inner, out, 1, groups=groups, act=None)
        self.gate = se(out) if se else nn.Identity()
        self.pool = nn.AvgPool2d(3, stride, 1) if stride > 1 else None
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.conv2(self.depthwise(self.shuffle(self.conv1(x)))))
        return self.act(x + y if self.pool is None else torch.cat([self.pool(x), y], 1))


@network(VARIANTS)
def shufflenet_v1(
    *,
    groups: int,
    width: float = 1.0,
    depth: float = 1.0,
    stem: int | None = None,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
) -> ConvNet:
    """Stages 2 to 4, named as in the paper.  ``width`` scales the stem too, unless ``stem`` says how wide that is."""
    inputs = stem or make_divisible(STEM * width, groups)
    small = input_size < SMALL_PICTURE
    first = OrderedDict(conv=ConvNormAct(channels, inputs, 3, 1 if small else 2))
    if not small:
        first["pool"] = nn.MaxPool2d(3, 2, 1)
    trunk = OrderedDict(stem=nn.Sequential(first))
    for number, repeat in enumerate(REPEATS, 2):
        outputs, units = make_divisible(WIDTHS[groups] * 2 ** (number - 2) * width, 4 * groups), []
        for index in range(scale_depth(repeat, depth)):
            first_groups = 1 if number == 2 and index == 0 else groups
            units.append(
                ShuffleUnit(inputs, outputs, 2 if index == 0 else 1, groups, first_groups, se=gate(attention))
            )
            inputs = outputs
        trunk[f"stage{number}"] = nn.Sequential(*units)
    return ConvNet(
        trunk,
        pooled_head(inputs, classes),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he(), linear=gaussian(0.01)),
    )
