"""MobileNetV2.  Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381),
Table 2; initialisation as in the released code (TF-slim)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from convatlas.blocks import (
    ConvNormAct,
    InvertedResidual,
    gate,
    linear_decay,
    make_divisible,
    pooled_head,
    scale_depth,
)
from convatlas.blocks.conv import relu6
from convatlas.blocks.init import initialiser, truncated
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network

#        expand  out  repeat stride      Table 2, its rows 2 to 8
TABLE = [(1,      16, 1,     1),
         (6,      24, 2,     2),
         (6,      32, 3,     2),
         (6,      64, 4,     2),
         (6,      96, 3,     1),
         (6,     160, 3,     2),
         (6,     320, 1,     1)]
STEM, TOP = 32, 1280

VARIANTS = {
    "mobilenet_v2_x0_35":   dict(width=0.35),
    "mobilenet_v2_x0_5":    dict(width=0.5),
    "mobilenet_v2_x0_75":   dict(width=0.75),
    "mobilenet_v2_x1_0":    dict(width=1.0),
    "mobilenet_v2_x1_4":    dict(width=1.4),
    "mobilenet_v2_x1_0_tf": dict(width=1.0, eps=1e-3, padding="tf"),
}


@network(VARIANTS)
def mobilenet_v2(
    *,
    width: float,
    depth: float = 1.0,
    eps: float = 1e-5,
    padding: str | None = None,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    dropout: float = 0.2,
    drop_path: float = 0.0,
) -> ConvNet:
    """Widths are rounded to multiples of 8; the last 1x1 keeps its 1,280 channels where width is below 1.

    The gate weighs the expanded channels, before the projection.
    """
    style = dict(norm=partial(nn.BatchNorm2d, eps=eps), act=relu6)
    inputs = make_divisible(STEM * width)
    repeats = [scale_depth(repeat, depth) for _, _, repeat, _ in TABLE]
    drops = iter(linear_decay(drop_path, sum(repeats)))
    stem_stride = 1 if input_size < SMALL_PICTURE else 2
    trunk = OrderedDict(stage1=ConvNormAct(channels, inputs, 3, stem_stride, padding=padding, **style))
    for number, ((expand, out, _, stride), repeat) in enumerate(zip(TABLE, repeats), 2):
        outputs, blocks = make_divisible(out * width), []
        for index in range(repeat):
            blocks.append(InvertedResidual(
                inputs, outputs, 3, stride if index == 0 else 1, inputs * expand,
                se=gate(attention), drop=next(drops), padding=padding, **style,
            ))
            inputs = outputs
        trunk[f"stage{number}"] = nn.Sequential(*blocks)
    top = make_divisible(TOP * max(1.0, width))
    trunk["stage9"] = ConvNormAct(inputs, top, 1, **style)
    return ConvNet(
        trunk,
        pooled_head(top, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=truncated(0.09), linear=truncated(0.09)),
    )
