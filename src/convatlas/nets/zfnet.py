"""ZFNet.  Zeiler and Fergus 2013, "Visualizing and Understanding Convolutional Networks" (arXiv 1311.2901), Figure 3
and Table 3."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convatlas.blocks import ConvNormAct, dense_head, local_response_norm, scale_width
from convatlas.blocks.init import gaussian, initialiser
from convatlas.net import ConvNet
from convatlas.registry import network

VARIANTS = {
    "zfnet":    dict(widths=(384, 384, 256)),
    "zfnet_b":  dict(widths=(512, 1024, 512)),
    "zfnet512": dict(widths=(512, 512, 512), zoo=True),     # the ONNX model zoo's
}


@network(VARIANTS)
def zfnet(
    *,
    widths: tuple[int, int, int],
    zoo: bool = False,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    width: float = 1.0,
    dropout: float = 0.5,
) -> ConvNet:
    """AlexNet with a first layer of 7x7 / 2 and a second of stride 2; ``widths`` are those of conv3 to conv5.

    The responses are normalised after the pools.  zoo: before them; nothing is padded in the first two stages, the
    last pool is 2x2 and fc7 is 1,024 wide, as in the ONNX model zoo's graph.
    ``width`` leaves the dense layers as they are.
    """
    pad = 0 if zoo else 1
    trunk, inputs = OrderedDict(), channels
    for name, base, kernel in (("conv1", 96, 7), ("conv2", 256, 5)):
        outputs = scale_width(base, width)
        padding = pad if name == "conv1" else 0
        pool, norm = nn.MaxPool2d(3, 2, pad), local_response_norm()
        trunk[name] = nn.Sequential(OrderedDict(
            conv=ConvNormAct(inputs, outputs, kernel, 2, padding=padding, norm=None),
            **(dict(norm=norm, pool=pool) if zoo else dict(pool=pool, norm=norm)),
        ))
        inputs = outputs
    for name, base in zip(("conv3", "conv4", "conv5"), widths):
        outputs = scale_width(base, width)
        trunk[name] = nn.Sequential(OrderedDict(conv=ConvNormAct(inputs, outputs, 3, norm=None)))
        inputs = outputs
    trunk["conv5"].add_module("pool", nn.MaxPool2d(2 if zoo else 3, 2))
    return ConvNet(
        trunk,
        dense_head(inputs, 6, classes, dropout, hidden=(4096, 1024 if zoo else 4096)),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=gaussian(0.01), linear=gaussian(0.01)),
    )
