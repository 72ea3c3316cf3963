"""Inception-v3.  Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer Vision" (arXiv 1512.00567),
Table 1, with the stem and the widths of the released code, which names the stages and differs from the table there."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from convatlas.blocks import ConvNormAct, gate, pooled_head
from convatlas.blocks.inception import AVG, SHRINK, V, stages, widen
from convatlas.blocks.init import initialiser, truncated
from convatlas.net import ConvNet
from convatlas.registry import network


def grid35(pool: int) -> list:
    """A 5x5, and two 3x3 that see as much.  Figure 5."""
    return [[(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)], [AVG, (pool, 1)]]


def grid17(width: int) -> list:
    """7x7 as 1x7 and 7x1.  Figure 6, n = 7."""
    return [
        [(192, 1)],
        [(width, 1), (width, (1, 7)), (192, (7, 1))],
        [(width, 1), (width, (7, 1)), (width, (1, 7)), (width, (7, 1)), (192, (1, 7))],
        [AVG, (192, 1)],
    ]


#             3x3 as 1x3 beside 3x1                                            Figure 7
GRID8 = [
    [(320, 1)],
    [(384, 1),           [[(384, (1, 3))], [(384, (3, 1))]]],
    [(448, 1), (384, 3), [[(384, (1, 3))], [(384, (3, 1))]]],
    [AVG, (192, 1)],
]

TABLE = {
    #                                                          map at 299
    "conv1a":  (32, 3, 2, V),                                # 149
    "conv2a":  (32, 3, 1, V),                                # 147
    "conv2b":  (64, 3),
    "pool1":   SHRINK,                                       # 73
    "conv3b":  (80, 1),
    "conv4a":  (192, 3, 1, V),                               # 71
    "pool2":   SHRINK,                                       # 35
    "mixed5b": grid35(32),
    "mixed5c": grid35(64),
    "mixed5d": grid35(64),
    "mixed6a": [[(384, 3, 2, V)],                            # 17
                [(64, 1), (96, 3), (96, 3, 2, V)],
                [SHRINK]],
    "mixed6b": grid17(128),
    "mixed6c": grid17(160),
    "mixed6d": grid17(160),
    "mixed6e": grid17(192),
    "mixed7a": [[(192, 1), (320, 3, 2, V)],                  # 8
                [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, V)],
                [SHRINK]],
    "mixed7b": GRID8,
    "mixed7c": GRID8,
}
AUX = "mixed6e"

VARIANTS = {
    "inception_v3": dict(),
}


@network(VARIANTS)
def inception_v3(
    *,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 299,
    attention: str | None = None,
    width: float = 1.0,
    dropout: float = 0.5,
    aux: bool = False,
) -> ConvNet:
    """Eleven modules on maps of 35, 17 and 8; the auxiliary head reads the last map of 17."""
    conv = partial(ConvNormAct, norm=partial(nn.BatchNorm2d, eps=1e-3))
    plan = {name: widen(row, width) for name, row in TABLE.items()}
    trunk, features = stages(channels, plan, conv=conv, se=gate(attention))
    return ConvNet(
        trunk,
        pooled_head(features, classes, dropout),
        aux={AUX: auxiliary(trunk[AUX].outputs, classes, conv)} if aux else None,
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=truncated(0.1), linear=truncated(0.1)),
    )


def auxiliary(features: int, classes: int, conv) -> nn.Module:
    """The auxiliary classifier, with batch norm: (N, features, 17, 17) -> (N, classes).  Figure 8."""
    return nn.Sequential(OrderedDict(
        pool=nn.AvgPool2d(5, 3),
        conv1=conv(features, 128, 1),
        conv2=conv(128, 768, 5, padding=V),
        mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(768, classes),
    ))
