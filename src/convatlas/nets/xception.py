"""Xception.  Chollet 2016, "Xception: Deep Learning with Depthwise Separable Convolutions" (arXiv 1610.02357),
Figure 5."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from convatlas.blocks import ConvNormAct, Gate, gate, pooled_head
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


#            separable widths  stride      Figure 5
BLOCKS = {
    "block1":  ((128, 128),      2),     # entry flow
    "block2":  ((256, 256),      2),
    "block3":  ((728, 728),      2),
    **{f"block{number}": ((728, 728, 728), 1) for number in range(4, 12)},   # middle flow, eight times
    "block12": ((728, 1024),     2),     # exit flow
}

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
    dropout: float = 0.5,
) -> ConvNet:
    """Entry, middle and exit flow; two convolutions before the blocks and two separable ones behind them."""
    trunk = OrderedDict(
        conv1=ConvNormAct(channels, 32, 3, 2, padding=0),
        conv2=ConvNormAct(32, 64, 3, padding=0),
    )
    inputs = 64
    for name, (widths, stride) in BLOCKS.items():
        trunk[name] = Block(inputs, widths, stride, relu_first=name != "block1", se=gate(attention))
        inputs = widths[-1]
    for name, width in dict(conv3=1536, conv4=2048).items():
        trunk[name] = nn.Sequential(OrderedDict(conv=Separable(inputs, width), act=nn.ReLU(inplace=True)))
        inputs = width
    return ConvNet(
        trunk,
        pooled_head(inputs, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=xavier, linear=xavier),
    )
