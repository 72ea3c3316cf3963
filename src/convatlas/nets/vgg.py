"""VGG.  Simonyan and Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition"
(arXiv 1409.1556), Table 1."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convatlas.blocks import ConvNormAct, dense_head, gate, scale_depth, scale_width
from convatlas.blocks.init import gaussian, he, initialiser
from convatlas.net import ConvNet
from convatlas.registry import network

#            convolutions of 3x3 in each block; a 2x2 max pool ends it           Table 1
A = (1, 1, 2, 2, 2)
B = (2, 2, 2, 2, 2)
D = (2, 2, 3, 3, 3)
E = (2, 2, 4, 4, 4)
WIDTHS = (64, 128, 256, 512, 512)

VARIANTS = {
    "vgg11":       dict(depths=A),
    "vgg13":       dict(depths=B),
    "vgg16":       dict(depths=D),
    "vgg19":       dict(depths=E),
    "vgg11_bn":    dict(depths=A, batch_norm=True),
    "vgg13_bn":    dict(depths=B, batch_norm=True),
    "vgg16_bn":    dict(depths=D, batch_norm=True),
    "vgg19_bn":    dict(depths=E, batch_norm=True),
    "se_vgg16_bn": dict(depths=D, batch_norm=True, attention="se"),
}


@network(VARIANTS)
def vgg(
    *,
    depths: tuple[int, ...],
    batch_norm: bool = False,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.5,
) -> ConvNet:
    """Stacks of 3x3 convolutions; the gate, where asked for, follows each activation (the SENet paper does not say).

    ``width`` and ``depth`` scale the convolutions and leave the dense layers as they are.
    """
    norm, se = nn.BatchNorm2d if batch_norm else None, gate(attention)
    trunk = OrderedDict()
    inputs = channels
    for number, (repeat, base) in enumerate(zip(depths, WIDTHS), 1):
        block, outputs = OrderedDict(), scale_width(base, width)
        for layer in range(1, scale_depth(repeat, depth) + 1):
            block[f"conv{layer}"] = ConvNormAct(inputs, outputs, 3, norm=norm, bias=True)
            if se:
                block[f"gate{layer}"] = se(outputs)
            inputs = outputs
        block["pool"] = nn.MaxPool2d(2)
        trunk[f"block{number}"] = nn.Sequential(block)
    return ConvNet(
        trunk,
        dense_head(inputs, 7, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he(), linear=gaussian(0.01)),
    )
