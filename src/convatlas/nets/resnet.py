"""ResNet and the networks that keep its plan: plain, wide, ResNeXt, and all of them with squeeze-and-excitation.

He et al. 2015, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), Table 1.
Xie et al. 2016, "Aggregated Residual Transformations" (arXiv 1611.05431), Table 1.
Zagoruyko and Komodakis 2016, "Wide Residual Networks" (arXiv 1605.07146), section 3.4.
Hu et al. 2017, "Squeeze-and-Excitation Networks" (arXiv 1709.01507), Table 1.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from convatlas.blocks import (
    ConvNormAct,
    DropPath,
    Gate,
    gate,
    linear_decay,
    make_divisible,
    pooled_head,
    scale_depth,
    shortcut,
)
from convatlas.blocks.init import he, initialiser
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network


class Basic(nn.Module):
    """Two 3x3 convolutions: (N, in, H, W) -> (N, width, H / stride, W / stride).  He et al., Figure 5, left."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, *, option: str | None, se: Gate | None, drop: float):
        super().__init__()
        self.conv1 = ConvNormAct(inputs, width, 3, stride)
        self.conv2 = ConvNormAct(width, width, 3, act=None)
        self.gate = se(width) if se else nn.Identity()
        self.drop = DropPath(drop) if drop else nn.Identity()
        self.shortcut = shortcut(option, inputs, width, stride) if option else None
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(self.gate(self.conv2(self.conv1(x))))
        return self.act(y if self.shortcut is None else y + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1: (N, in, H, W) -> (N, 4 width, H / stride, W / stride).  He et al., Figure 5, right.

    groups, base: ResNeXt's cardinality and its channels per group at width 64; a wide ResNet has base 128.
    stride_in: "1x1" as in the paper, "3x3" as in fb.resnet.torch and torchvision ("v1.5").
    """

    expansion = 4

    def __init__(
        self, inputs: int, width: int, stride: int, *, option: str | None, se: Gate | None, drop: float,
        groups: int = 1, base: int = 64, stride_in: str = "3x3",
    ):
        super().__init__()
        inner, outputs = max(1, width * base // 64) * groups, width * self.expansion
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1 = ConvNormAct(inputs, inner, 1, first)
        self.conv2 = ConvNormAct(inner, inner, 3, second, groups=groups)
        self.conv3 = ConvNormAct(inner, outputs, 1, act=None)
        self.gate = se(outputs) if se else nn.Identity()
        self.drop = DropPath(drop) if drop else nn.Identity()
        self.shortcut = shortcut(option, inputs, outputs, stride) if option else None
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(self.gate(self.conv3(self.conv2(self.conv1(x)))))
        return self.act(y if self.shortcut is None else y + self.shortcut(x))


D18, D34 = dict(block=Basic, depths=(2, 2, 2, 2)), dict(block=Basic, depths=(3, 4, 6, 3))
D50 = dict(depths=(3, 4, 6, 3))
D101, D152 = dict(depths=(3, 4, 23, 3)), dict(depths=(3, 8, 36, 3))
V1 = dict(stride_in="1x1", pool="caffe")
SE = dict(attention="se")
SE_X = dict(attention="se", pool="caffe")     # the released SE-ResNeXt: Caffe's pool, stride in the 3x3

VARIANTS = {
    "plain18":             D18 | dict(option=None),
    "plain34":             D34 | dict(option=None),
    "resnet18_a":          D18 | dict(option="A"),
    "resnet34_a":          D34 | dict(option="A"),
    "resnet18":            D18,
    "resnet34":            D34,
    "resnet34_c":          D34 | dict(option="C"),
    "resnet50":            D50 | V1,
    "resnet101":           D101 | V1,
    "resnet152":           D152 | V1,
    "resnet50_v1_5":       D50,
    "resnet101_v1_5":      D101,
    "resnet152_v1_5":      D152,
    "wide_resnet50_2":     D50 | dict(base=128),
    "wide_resnet101_2":    D101 | dict(base=128),
    "resnext50_32x4d":     D50 | dict(groups=32, base=4),
    "resnext101_32x4d":    D101 | dict(groups=32, base=4),
    "resnext101_64x4d":    D101 | dict(groups=64, base=4),
    "resnext101_32x8d":    D101 | dict(groups=32, base=8),
    "se_resnet50":         D50 | V1 | SE,
    "se_resnet101":        D101 | V1 | SE,
    "se_resnet152":        D152 | V1 | SE,
    "se_resnet50_v1_5":    D50 | SE,
    "se_resnet101_v1_5":   D101 | SE,
    "se_resnet152_v1_5":   D152 | SE,
    "se_resnext50_32x4d":  D50 | SE_X | dict(groups=32, base=4),
    "se_resnext101_32x4d": D101 | SE_X | dict(groups=32, base=4),
}


@network(VARIANTS)
def resnet(
    *,
    depths: tuple[int, ...],
    block: type[nn.Module] = Bottleneck,
    option: str | None = "B",
    groups: int = 1,
    base: int = 64,
    stride_in: str = "3x3",
    pool: str = "torch",
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    drop_path: float = 0.0,
) -> ConvNet:
    """Four stages of residual blocks; the stem pools as torch does (padding 1) or as Caffe does (rounding up)."""
    extra = dict(groups=groups, base=base, stride_in=stride_in) if block is Bottleneck else {}
    stem_width = inputs = make_divisible(64 * width)
    depths = tuple(scale_depth(blocks, depth) for blocks in depths)
    drops = iter(linear_decay(drop_path, sum(depths)))
    trunk = OrderedDict(stem=imagenet_stem(channels, stem_width, input_size, pool))
    for number, repeat in enumerate(depths, 1):
        blocks = []
        for index in range(repeat):
            stride = 2 if number > 1 and index == 0 else 1
            blocks.append(block(
                inputs, stem_width * 2 ** (number - 1), stride,
                option=option, se=gate(attention), drop=next(drops), **extra,
            ))
            inputs = stem_width * 2 ** (number - 1) * block.expansion
        trunk[f"stage{number}"] = nn.Sequential(*blocks)
    return ConvNet(
        trunk,
        pooled_head(inputs, classes),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he(), linear=he("fan_in")),
    )


def imagenet_stem(channels: int, width: int, input_size: int, pool: str = "torch") -> nn.Module:
    """7x7 / 2 and a 3x3 / 2 max pool; for small pictures one 3x3 that keeps the size."""
    if input_size < SMALL_PICTURE:
        return nn.Sequential(OrderedDict(conv=ConvNormAct(channels, width, 3)))
    pools = dict(torch=dict(padding=1), caffe=dict(ceil_mode=True))
    return nn.Sequential(OrderedDict(
        conv=ConvNormAct(channels, width, 7, 2),
        pool=nn.MaxPool2d(3, 2, **pools[pool]),
    ))
