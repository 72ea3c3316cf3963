"""Residual and plain networks for 32 x 32 pictures.

He et al. 2015, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), section 4.2.
Xie et al. 2016, "Aggregated Residual Transformations" (arXiv 1611.05431), section 5.3.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convatlas.blocks import ConvNormAct, gate, linear_decay, make_divisible, pooled_head, scale_depth
from convatlas.blocks.init import he, initialiser
from convatlas.net import ConvNet
from convatlas.nets.resnet import Basic, Bottleneck
from convatlas.registry import network

#     layers: 6n + 2, n blocks in each of the three stages
N20, N32, N44, N56, N110, N1202 = (dict(blocks=n) for n in (3, 5, 7, 9, 18, 200))
#     ResNeXt-29: 9n + 2 layers, the first stage 256 wide
X29 = dict(block=Bottleneck, blocks=3, stem=64, option="B")

VARIANTS = {
    "plain20_cifar":          N20 | dict(option=None),
    "plain32_cifar":          N32 | dict(option=None),
    "plain44_cifar":          N44 | dict(option=None),
    "plain56_cifar":          N56 | dict(option=None),
    "plain110_cifar":         N110 | dict(option=None),
    "resnet20_cifar":         N20,
    "resnet32_cifar":         N32,
    "resnet44_cifar":         N44,
    "resnet56_cifar":         N56,
    "resnet110_cifar":        N110,
    "resnet1202_cifar":       N1202,
    "resnet20_b_cifar":       N20 | dict(option="B"),
    "resnet56_b_cifar":       N56 | dict(option="B"),
    "resnext29_8x64d_cifar":  X29 | dict(groups=8),
    "resnext29_16x64d_cifar": X29 | dict(groups=16),
}


@network(VARIANTS)
def resnet_cifar(
    *,
    blocks: int,
    block: type[nn.Module] = Basic,
    stem: int = 16,
    option: str | None = "A",
    groups: int = 1,
    classes: int = 10,
    channels: int = 3,
    input_size: int = 32,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    drop_path: float = 0.0,
) -> ConvNet:
    """A 3x3 stem and three stages on maps of 32, 16 and 8 pixels, each twice as wide as the one before."""
    extra = dict(groups=groups) if block is Bottleneck else {}
    first = inputs = make_divisible(stem * width)
    blocks = scale_depth(blocks, depth)
    drops = iter(linear_decay(drop_path, 3 * blocks))
    trunk = OrderedDict(stem=ConvNormAct(channels, first, 3))
    for number in (1, 2, 3):
        stage = []
        for index in range(blocks):
            stride = 2 if number > 1 and index == 0 else 1
            stage.append(block(
                inputs, first * 2 ** (number - 1), stride,
                option=option, se=gate(attention), drop=next(drops), **extra,
            ))
            inputs = first * 2 ** (number - 1) * block.expansion
        trunk[f"stage{number}"] = nn.Sequential(*stage)
    return ConvNet(
        trunk,
        pooled_head(inputs, classes),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he(), linear=he("fan_in")),
    )
