"""AlexNet.  Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural Networks" (NIPS 2012),
Figure 2; and its form on one GPU, Krizhevsky 2014, "One weird trick" (arXiv 1404.5997)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn
from torch.nn import init

from convatlas.blocks import ConvNormAct, dense_head, local_response_norm, scale_width
from convatlas.net import ConvNet
from convatlas.registry import network

#           width kernel stride padding towers      two towers are two groups, except where they see each other
TWO = [("conv1",  96, 11, 4, 0, 1),
       ("conv2", 256,  5, 1, 2, 2),
       ("conv3", 384,  3, 1, 1, 1),
       ("conv4", 384,  3, 1, 1, 2),
       ("conv5", 256,  3, 1, 1, 2)]
ONE = [(*row[:-1], 1) for row in TWO]
OWT = [("conv1",  64, 11, 4, 2, 1),
       ("conv2", 192,  5, 1, 2, 1),
       ("conv3", 384,  3, 1, 1, 1),
       ("conv4", 256,  3, 1, 1, 1),
       ("conv5", 256,  3, 1, 1, 1)]

VARIANTS = {
    "alexnet":           dict(table=TWO),
    "alexnet_ungrouped": dict(table=ONE),
    "alexnet_owt":       dict(table=OWT, input_size=224, responses=False, drop_first=True),
}


@network(VARIANTS)
def alexnet(
    *,
    table: list[tuple],
    responses: bool = True,
    drop_first: bool = False,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 227,
    width: float = 1.0,
    dropout: float = 0.5,
) -> ConvNet:
    """Five convolutions with overlapping pools, three dense layers.

    227 pixels and no padding, because (224 - 11) / 4 + 1 is no whole number.  responses: local response normalisation
    after conv1 and conv2, before their pools.  drop_first: dropout before fc6 and fc7, as torchvision has it, where the
    paper drops the outputs of these two layers.  ``width`` leaves the dense layers as they are.
    """
    trunk, inputs = OrderedDict(), channels
    for name, base, kernel, stride, padding, towers in table:
        outputs = scale_width(base, width)
        conv = ConvNormAct(inputs, outputs, kernel, stride, padding=padding, groups=towers, norm=None)
        stage = OrderedDict(conv=conv)
        if responses and name in ("conv1", "conv2"):
            stage["norm"] = local_response_norm()
        if name in ("conv1", "conv2", "conv5"):
            stage["pool"] = nn.MaxPool2d(3, 2)
        trunk[name] = nn.Sequential(stage)
        inputs = outputs
    return ConvNet(
        trunk,
        dense_head(inputs, 6, classes, dropout, drop_first=drop_first),
        input_size=(channels, input_size, input_size),
        init=gaussian_with_ones,
    )


def gaussian_with_ones(path: str, layer: Any) -> None:
    """Section 5: N(0, 0.01); biases 1 in conv2, conv4, conv5 and the hidden dense layers, else 0."""
    init.normal_(layer.weight, 0.0, 0.01)
    ones = any(name in path.split(".") for name in ("conv2", "conv4", "conv5", "fc6", "fc7"))
    init.constant_(layer.bias, float(ones))
