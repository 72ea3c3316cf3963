"""Network in Network.  Lin et al. 2013 (arXiv 1312.4400), section 4; the ImageNet form is the Caffe zoo's."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convatlas.blocks import ConvNormAct, scale_width
from convatlas.blocks.init import gaussian, initialiser
from convatlas.net import ConvNet
from convatlas.registry import network

MAX, AVG = nn.MaxPool2d, nn.AvgPool2d

#        kernel stride padding widths: one filter, then two 1x1    pool; the last layer's second 1x1 gives the classes
CIFAR = [(5,    1,     2,      (192, 160, 96),                     MAX),
         (5,    1,     2,      (192, 192, 192),                    AVG),
         (3,    1,     1,      (192, 192),                         None)]
IMAGENET = [(11, 4,    0,      (96, 96, 96),                       MAX),
            (5,  1,    2,      (256, 256, 256),                    MAX),
            (3,  1,    1,      (384, 384, 384),                    MAX),
            (3,  1,    1,      (1024, 1024),                       None)]

VARIANTS = {
    "nin_cifar10":  dict(table=CIFAR, classes=10, input_size=32, drop_after=(1, 2)),
    "nin_cifar100": dict(table=CIFAR, classes=100, input_size=32, drop_after=(1, 2)),
    "nin":          dict(table=IMAGENET, drop_after=(3,)),
}


@network(VARIANTS)
def nin(
    *,
    table: list[tuple],
    drop_after: tuple[int, ...],
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 227,
    width: float = 1.0,
    dropout: float = 0.5,
) -> ConvNet:
    """Each mlpconv layer is a filter followed by 1x1 convolutions; the last gives one map a class, and their averages
    are the logits.  The pools overlap, 3x3 / 2."""
    trunk, inputs = OrderedDict(), channels
    for number, (kernel, stride, padding, widths, pool) in enumerate(table, 1):
        layers = OrderedDict()
        for place, base in enumerate(widths):
            outputs = scale_width(base, width)
            name, size = (f"cccp{place}", (1, 1, 0)) if place else ("conv", (kernel, stride, padding))
            layers[name] = ConvNormAct(inputs, outputs, size[0], size[1], padding=size[2], norm=None)
            inputs = outputs
        if pool:
            layers["pool"] = pool(3, 2, ceil_mode=True)
        if number in drop_after:
            layers["dropout"] = nn.Dropout(dropout)
        trunk[f"mlpconv{number}"] = nn.Sequential(layers)
    head = OrderedDict(
        classifier=nn.Conv2d(inputs, classes, 1),
        relu=nn.ReLU(inplace=True),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
    )
    return ConvNet(
        trunk,
        head,
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=gaussian(0.05), linear=gaussian(0.05)),
    )
