"""SENet-154, the network of the ILSVRC 2017 entry.  Hu et al. 2017, "Squeeze-and-Excitation Networks"
(arXiv 1709.01507), appendix: a modified 64x4d ResNeXt-152."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from convatlas.blocks import ConvNormAct, DropPath, gate, linear_decay, pooled_head, scale_depth, scale_width
from convatlas.blocks.attention import Gate
from convatlas.blocks.init import he, initialiser
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network

DEPTHS = (3, 8, 36, 3)
GROUPS = 64


class Bottleneck(nn.Module):
    """1x1 of half the usual width, grouped 3x3, 1x1, gate: (N, in, H, W) -> (N, 4 width, H / stride, W / stride).

    The shortcut projects where the shape changes: by a 1x1 in the first stage, by a 3x3 in the others.
    """

    def __init__(self, inputs: int, width: int, stride: int, projection: int, *, se: Gate | None, drop: float):
        super().__init__()
        outputs = 4 * width
        self.conv1 = ConvNormAct(inputs, 2 * width, 1)
        self.conv2 = ConvNormAct(2 * width, 4 * width, 3, stride, groups=GROUPS)
        self.conv3 = ConvNormAct(4 * width, outputs, 1, act=None)
        self.gate = se(outputs) if se else nn.Identity()
        self.drop = DropPath(drop) if drop else nn.Identity()
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else ConvNormAct(inputs, outputs, projection, stride, act=None)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(self.gate(self.conv3(self.conv2(self.conv1(x))))) + self.shortcut(x))


@network({"senet154": {}})
def senet154(
    *,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = "se",
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.2,
    drop_path: float = 0.0,
) -> ConvNet:
    """A stem of three 3x3 in place of the 7x7, and dropout before the classifier.

    ``width`` rounds to multiples of 32, so that the groups divide the 1x1 of half the usual width.
    """
    scaled = partial(scale_width, width=width)
    small = input_size < SMALL_PICTURE
    stem = OrderedDict(
        conv1=ConvNormAct(channels, scaled(64), 3, 1 if small else 2),
        conv2=ConvNormAct(scaled(64), scaled(64), 3),
        conv3=ConvNormAct(scaled(64), scaled(128), 3),
    )
    if not small:
        stem["pool"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    trunk, inputs = OrderedDict(stem=nn.Sequential(stem)), scaled(128)
    depths = [scale_depth(blocks, depth) for blocks in DEPTHS]
    drops = iter(linear_decay(drop_path, sum(depths)))
    for number, repeat in enumerate(depths, 1):
        blocks, inner = [], scaled(64 * 2 ** (number - 1), divisor=GROUPS // 2)
        for index in range(repeat):
            stride = 2 if number > 1 and index == 0 else 1
            projection = 1 if number == 1 else 3
            blocks.append(Bottleneck(inputs, inner, stride, projection, se=gate(attention), drop=next(drops)))
            inputs = 4 * inner
        trunk[f"stage{number}"] = nn.Sequential(*blocks)
    return ConvNet(
        trunk,
        pooled_head(inputs, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he(), linear=he("fan_in")),
    )
