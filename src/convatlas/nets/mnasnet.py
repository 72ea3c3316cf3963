"""MnasNet.  Tan et al. 2018, "MnasNet: Platform-Aware Neural Architecture Search for Mobile" (arXiv 1807.11626),
Figure 7; B1 is the form without gates, and the small one that of the released code (tensorflow/tpu)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from convatlas.blocks import (
    ConvNormAct,
    InvertedResidual,
    PlainConv,
    SqueezeExcite,
    gate,
    linear_decay,
    make_divisible,
    pooled_head,
    scale_depth,
)
from convatlas.blocks.conv import relu
from convatlas.blocks.init import initialiser, tf_conv, tf_dense
from convatlas.errors import ConvatlasError
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
    design: Mapping[str, Any] | None = None,
) -> ConvNet:
    """Stages 1 to 9.  The gate squeezes to a quarter of the block's input channels.

    attention: "se" gates every block, "none" none of them; else those of the table.
    design: another network of the same search space, {"rows": a table, "stem": channels, "top": channels}; a row may
    end in False, and then has no shortcuts, and an expansion of 0 is a convolution over all channels.
    """
    top = TOP
    if design is not None:
        table, stem, top = _checked(design)
    style = dict(norm=partial(nn.BatchNorm2d, momentum=momentum), act=relu)
    inputs = make_divisible(stem * width)
    repeats = [scale_depth(row[4], depth) for row in table]
    drops = iter(linear_decay(drop_path, sum(repeats)))
    trunk = OrderedDict(stage1=ConvNormAct(channels, inputs, 3, 1 if input_size < SMALL_PICTURE else 2, **style))
    for number, ((kernel, stride, expand, out, _, gated, *skip), repeat) in enumerate(zip(table, repeats), 2):
        outputs, blocks = make_divisible(out * width), []
        if attention is not None:
            gated = gate(attention) is not None
        for index in range(repeat):
            squeeze = partial(SqueezeExcite, squeeze=max(1, inputs // 4))
            block = partial(InvertedResidual, expanded=inputs * expand) if expand else PlainConv
            blocks.append(block(
                inputs, outputs, kernel, stride if index == 0 else 1,
                se=squeeze if gated else None, drop=next(drops), skip=all(skip), **style,
            ))
            inputs = outputs
        trunk[f"stage{number}"] = nn.Sequential(*blocks)
    trunk[f"stage{len(table) + 2}"] = ConvNormAct(inputs, top, 1, **style)
    return ConvNet(
        trunk,
        pooled_head(top, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=tf_conv, linear=tf_dense),
    )


def _checked(design: Mapping[str, Any]) -> tuple[list[tuple], int, int]:
    """(rows, stem, top).  Raises ConvatlasError for what is no design."""
    try:
        rows = [tuple(row) for row in design["rows"]]
        stem, top = int(design["stem"]), int(design["top"])
        right = bool(rows) and min(stem, top) > 0 and all(
            len(row) in (6, 7) and min(row[0], row[1], row[3], row[4]) > 0 and row[2] >= 0 for row in rows
        )
    except (KeyError, TypeError, ValueError):
        right = False
    if not right:
        raise ConvatlasError('a design is {"rows": [[kernel, stride, expand, out, repeat, gate], …], "stem": channels, '
                             '"top": channels}')
    return rows, stem, top
