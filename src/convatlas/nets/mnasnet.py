"""MnasNet.  Tan et al. 2018, "MnasNet: Platform-Aware Neural Architecture Search for Mobile" (arXiv 1807.11626),
Figure 7; B1 is the form without gates, and the small one that of the released code (tensorflow/tpu)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from convatlas.blocks import (
    ConvNormAct,
    InvertedResidual,
    SqueezeExcite,
    gate,
    linear_decay,
    make_divisible,
    pooled_head,
    scale_depth,
)
from convatlas.blocks.conv import relu
from convatlas.blocks.init import initialiser, tf_conv, tf_dense
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network

#     kernel stride expand  out  repeat gate
A1 = [(3,     1,     1,      16,  1,     False),
      (3,     2,     6,      24,  2,     False),
      (5,     2,     3,      40,  3,     True),
      (3,     2,     6,      80,  4,     False),
      (3,     1,     6,     112,  2,     True),
      (5,     2,     6,     160,  3,     True),
      (3,     1,     6,     320,  1,     False)]
B1 = [(3,     1,     1,      16,  1,     False),
      (3,     2,     3,      24,  3,     False),
      (5,     2,     3,      40,  3,     False),
      (5,     2,     6,      80,  3,     False),
      (3,     1,     6,      96,  2,     False),
      (5,     2,     6,     192,  4,     False),
      (3,     1,     6,     320,  1,     False)]
SMALL = [(3,  1,     1,       8,  1,     False),
         (3,  2,     3,      16,  1,     False),
         (3,  2,     6,      16,  2,     False),
         (5,  2,     6,      32,  4,     True),
         (3,  1,     6,      32,  3,     True),
         (5,  2,     6,      88,  3,     True),
         (3,  1,     6,     144,  1,     False)]
TOP = 1280

TV = dict(momentum=0.0003)      # torchvision's, as TensorFlow's decay of 0.9997
VARIANTS = {
    "mnasnet_small":    dict(table=SMALL, stem=8),
    "mnasnet_a1":       dict(table=A1),
    "mnasnet_b1_x0_5":  dict(table=B1, width=0.5) | TV,
    "mnasnet_b1_x0_75": dict(table=B1, width=0.75) | TV,
    "mnasnet_b1":       dict(table=B1) | TV,
    "mnasnet_b1_x1_3":  dict(table=B1, width=1.3) | TV,
}


@network(VARIANTS)
def mnasnet(
    *,
    table: list[tuple],
    stem: int = 32,
    momentum: float = 0.1,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.2,
    drop_path: float = 0.0,
) -> ConvNet:
    """Stages 1 to 9.  The gate squeezes to a quarter of the block's input channels.

    attention: "se" gates every block, "none" none of them; else those of the table.
    """
    style = dict(norm=partial(nn.BatchNorm2d, momentum=momentum), act=relu)
    inputs = make_divisible(stem * width)
    repeats = [scale_depth(repeat, depth) for *_, repeat, _ in table]
    drops = iter(linear_decay(drop_path, sum(repeats)))
    trunk = OrderedDict(stage1=ConvNormAct(channels, inputs, 3, 1 if input_size < SMALL_PICTURE else 2, **style))
    for number, ((kernel, stride, expand, out, _, gated), repeat) in enumerate(zip(table, repeats), 2):
        outputs, blocks = make_divisible(out * width), []
        if attention is not None:
            gated = gate(attention) is not None
        for index in range(repeat):
            squeeze = partial(SqueezeExcite, squeeze=max(1, inputs // 4))
            blocks.append(InvertedResidual(
                inputs, outputs, kernel, stride if index == 0 else 1, inputs * expand,
                se=squeeze if gated else None, drop=next(drops), **style,
            ))
            inputs = outputs
        trunk[f"stage{number}"] = nn.Sequential(*blocks)
    trunk["stage9"] = ConvNormAct(inputs, TOP, 1, **style)
    return ConvNet(
        trunk,
        pooled_head(TOP, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=tf_conv, linear=tf_dense),
    )
