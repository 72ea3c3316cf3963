"""Inception-v4.  Szegedy et al. 2016, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (arXiv 1602.07261), Figures 3 to 9."""

from __future__ import annotations

from functools import partial

from torch import nn

from convatlas.blocks import ConvNormAct, gate, pooled_head, scale_depth
from convatlas.blocks.inception import AVG_INSIDE, SHRINK, V, tower, widen
from convatlas.blocks.init import he, initialiser
from convatlas.net import ConvNet
from convatlas.registry import network

STEM = [                                                              # Figure 3
    (32, 3, 2, V),
    (32, 3, 1, V),
    (64, 3),
    [[SHRINK],
     [(96, 3, 2, V)]],
    [[(64, 1), (96, 3, 1, V)],
     [(64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3, 1, V)]],
    [[(192, 3, 2, V)],
     [SHRINK]],
]
A = [                                                                 # Figure 4
    [(96, 1)],
    [(64, 1), (96, 3)],
    [(64, 1), (96, 3), (96, 3)],
    [AVG_INSIDE, (96, 1)],
]
REDUCTION_A = [                                                       # Figure 7, with the row of Table 1
    [(384, 3, 2, V)],
    [(192, 1), (224, 3), (256, 3, 2, V)],
    [SHRINK],
]
B = [                                                                 # Figure 5
    [(384, 1)],
    [(192, 1), (224, (1, 7)), (256, (7, 1))],
    [(192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))],
    [AVG_INSIDE, (128, 1)],
]
REDUCTION_B = [                                                       # Figure 8
    [(192, 1), (192, 3, 2, V)],
    [(256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2, V)],
    [SHRINK],
]
C = [                                                                 # Figure 6
    [(256, 1)],
    [(384, 1),                                 [[(256, (1, 3))], [(256, (3, 1))]]],
    [(384, 1), (448, (3, 1)), (512, (1, 3)),   [[(256, (1, 3))], [(256, (3, 1))]]],
    [AVG_INSIDE, (256, 1)],
]
PLAN = {                                                              # Figure 9
    "stem":        STEM,
    "inception_a": [A] * 4,
    "reduction_a": [REDUCTION_A],
    "inception_b": [B] * 7,
    "reduction_b": [REDUCTION_B],
    "inception_c": [C] * 3,
}

VARIANTS = {
    "inception_v4": dict(),
}


@network(VARIANTS)
def inception_v4(
    *,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 299,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.2,
) -> ConvNet:
    """Figure 9.  A gate, where asked for, stands at the end of each module and reduction, not in the stem.

    ``depth`` is that of the stages that repeat a module.
    """
    conv = partial(ConvNormAct, norm=partial(nn.BatchNorm2d, eps=1e-3))
    trunk, features = {}, channels
    for name, layers in PLAN.items():
        if name.startswith("inception"):
            layers = layers[:1] * scale_depth(len(layers), depth)
        layers = [widen(row, width) for row in layers]
        trunk[name], features = tower(features, layers, conv=conv, se=None if name == "stem" else gate(attention))
    return ConvNet(
        trunk,
        pooled_head(features, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he("fan_in"), linear=he("fan_in")),
    )
