"""Pre-activation ResNets, and wide ResNets for 32 x 32 pictures, which are built of the same blocks.

He et al. 2016, "Identity Mappings in Deep Residual Networks" (arXiv 1603.05027), Figure 1(b) and section 4.
Zagoruyko and Komodakis 2016, "Wide Residual Networks" (arXiv 1605.07146), Table 1.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from convatlas.blocks import DropPath, gate, linear_decay, make_divisible, pooled_head, scale_depth
from convatlas.blocks.attention import Gate
from convatlas.blocks.init import he, initialiser
from convatlas.blocks.preact import NormAct, NormActConv
from convatlas.net import ConvNet
from convatlas.nets.resnet import imagenet_stem
from convatlas.registry import network


class PreBlock(nn.Module):
    """Pre-activation residual block: (N, in, H, W) -> (N, out, H / stride, W / stride).

    convolutions: (width, kernel, stride) of each.
    dropout: between the last convolution and the activation before it (Zagoruyko and Komodakis, section 2.4).
    Where the shape changes, the shortcut is a 1x1 projection of the *activated* input, and the identity elsewhere.
    """

    def __init__(
        self, inputs: int, convolutions: list[tuple[int, int, int]], *, se: Gate | None, dropout: float, drop: float
    ):
        super().__init__()
        outputs, stride = convolutions[-1][0], max(step for _, _, step in convolutions)
        (width, kernel, step), *rest = convolutions
        self.preact = NormAct(inputs)
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 or inputs != outputs else None
        )
        self.conv1 = nn.Conv2d(inputs, width, kernel, step, kernel // 2, bias=False)
        body = OrderedDict()
        for number, (out, kernel, step) in enumerate(rest, 2):
            last = number == len(convolutions)
            body[f"conv{number}"] = NormActConv(width, out, kernel, step, dropout=dropout if last else 0.0)
            width = out
        self.body = nn.Sequential(body)
        self.gate = se(outputs) if se else nn.Identity()
        self.drop = DropPath(drop) if drop else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.shortcut is None:
            return x + self.drop(self.gate(self.body(self.conv1(self.preact(x)))))
        active = self.preact(x)
        return self.shortcut(active) + self.drop(self.gate(self.body(self.conv1(active))))


def basic(width: int, stride: int) -> list[tuple[int, int, int]]:
    return [(width, 3, stride), (width, 3, 1)]


def bottleneck(width: int, stride: int) -> list[tuple[int, int, int]]:
    return [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]


def bottleneck_v1(width: int, stride: int) -> list[tuple[int, int, int]]:
    """The stride in the first 1x1, as in the ResNet of 2015."""
    return [(width, 1, stride), (width, 3, 1), (4 * width, 1, 1)]


CIFAR = dict(input_size=32, classes=10)
VARIANTS = {
    "preresnet50":          dict(depths=(3, 4, 6, 3), block=bottleneck_v1),
    "preresnet200":         dict(depths=(3, 24, 36, 3)),
    "preresnet110_cifar":   CIFAR | dict(depths=(18,) * 3, widths=(16, 32, 64), block=basic),
    "preresnet164_cifar":   CIFAR | dict(depths=(18,) * 3, widths=(16, 32, 64)),
    "preresnet1001_cifar":  CIFAR | dict(depths=(111,) * 3, widths=(16, 32, 64)),
    "wrn16_10_cifar":       CIFAR | dict(depths=(2,) * 3, widths=(160, 320, 640), block=basic),
    "wrn28_10_cifar":       CIFAR | dict(depths=(4,) * 3, widths=(160, 320, 640), block=basic),
}


@network(VARIANTS)
def preresnet(
    *,
    depths: tuple[int, ...],
    widths: tuple[int, ...] = (64, 128, 256, 512),
    block=bottleneck,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> ConvNet:
    """Stages of pre-activation blocks; three stages are for 32 x 32 pictures, whose stem is one bare 3x3."""
    for_cifar = len(depths) == 3
    inputs = make_divisible((16 if for_cifar else 64) * width)
    depths = tuple(scale_depth(blocks, depth) for blocks in depths)
    drops = iter(linear_decay(drop_path, sum(depths)))
    small_stem = nn.Conv2d(channels, inputs, 3, 1, 1, bias=False)
    trunk = OrderedDict(stem=small_stem if for_cifar else imagenet_stem(channels, inputs, input_size))
    for number, (repeat, wide) in enumerate(zip(depths, widths), 1):
        blocks = []
        for index in range(repeat):
            convolutions = block(make_divisible(wide * width), 2 if number > 1 and index == 0 else 1)
            blocks.append(PreBlock(inputs, convolutions, se=gate(attention), dropout=dropout, drop=next(drops)))
            inputs = convolutions[-1][0]
        trunk[f"stage{number}"] = nn.Sequential(*blocks)
    trunk["final"] = NormAct(inputs)
    return ConvNet(
        trunk,
        pooled_head(inputs, classes),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he(), linear=he("fan_in")),
    )
