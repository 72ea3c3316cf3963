"""Xception.  Chollet 2016, "Xception: Deep Learning with Depthwise Separable Convolutions" (arXiv 1610.02357),
Figure 5."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from convatlas.blocks import ConvNormAct, Gate, gate, pooled_head, scale_depth, scale_width
from convatlas.blocks.init import initialiser, xavier
from convatlas.net import ConvNet
from convatlas.registry import network


class Separable(nn.Sequential):
    """Depthwise 3x3 and 1x1 with nothing between them, then the norm: (N, in, H, W) -> (N, out, H, W).

    Section 2: an activation between the two hurts (Figure 10).
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(OrderedDict(
            depthwise=nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            pointwise=nn.Conv2d(inputs, outputs, 1, bias=False),
            norm=nn.BatchNorm2d(outputs),
        ))


class Block(nn.Module):
    """Separable convolutions, each behind a ReLU, and a shortcut: (N, in, H, W) -> (N, out, H / stride, W / stride).

    The shortcut is a 1x1 projection where the stride is 2, else the identity; at stride 2 a max pool ends the branch.
    The gate weighs the branch before the addition.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...], stride: int, *, relu_first: bool, se: Gate | None):
        super().__init__()
        outputs = widths[-1]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (before, width) in enumerate(zip((inputs, *widths), widths), 1):
            if number > 1 or relu_first:
                layers[f"act{number}"] = nn.ReLU(inplace=number > 1)    # the shortcut reads the first one's input
            layers[f"conv{number}"] = Separable(before, width)
        if stride > 1:
            layers["pool"] = nn.MaxPool2d(3, stride, 1)
        if se:
            layers["gate"] = se(outputs)
        self.branch = nn.Sequential(layers)
        self.shortcut = ConvNormAct(inputs, outputs, 1, stride, act=None) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.shortcut(x)


#         separable widths  stride repeat      Figure 5
BLOCKS = [((128, 128),      2,     1),       # entry flow
          ((256, 256),      2,     1),
          ((728, 728),      2,     1),
          ((728, 728, 728), 1,     8),       # middle flow
          ((728, 1024),     2,     1)]       # exit flow

VARIANTS = {
    "xception": dict(),
}


@network(VARIANTS)
def xception(
    *,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 299,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.5,
) -> ConvNet:
    """Entry, middle and exit flow; two convolutions before the blocks and two separable ones behind them.

    ``depth`` is that of the middle flow.
    """
    scaled = partial(scale_width, width=width)
    trunk = OrderedDict(
        conv1=ConvNormAct(channels, scaled(32), 3, 2, padding=0),
        conv2=ConvNormAct(scaled(32), scaled(64), 3, padding=0),
    )
    inputs, number = scaled(64), 0
    for widths, stride, repeat in BLOCKS:
        outputs = tuple(map(scaled, widths))
        for _ in range(scale_depth(repeat, depth) if stride == 1 else repeat):
            number += 1
            trunk[f"block{number}"] = Block(inputs, outputs, stride, relu_first=number > 1, se=gate(attention))
            inputs = outputs[-1]
    for name, last in dict(conv3=scaled(1536), conv4=scaled(2048)).items():
        trunk[name] = nn.Sequential(OrderedDict(conv=Separable(inputs, last), act=nn.ReLU(inplace=True)))
        inputs = last
    return ConvNet(
        trunk,
        pooled_head(inputs, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=xavier, linear=xavier),
    )
