"""MobileNetV3.  Howard et al. 2019, "Searching for MobileNetV3" (arXiv 1905.02244), Tables 1 and 2;
initialisation as in the released code (TF-slim)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from itertools import groupby

from torch import nn

from convatlas.blocks import ConvNormAct, InvertedResidual, SqueezeExcite, deepen, gate, linear_decay, make_divisible
from convatlas.blocks.conv import relu
from convatlas.blocks.init import initialiser, truncated
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network

RE, HS = relu, partial(nn.Hardswish, inplace=True)

#        kernel expanded out gate   act stride      Table 1
LARGE = [(3,    16,   16,  False, RE, 1),
         (3,    64,   24,  False, RE, 2),
         (3,    72,   24,  False, RE, 1),
         (5,    72,   40,  True,  RE, 2),
         (5,   120,   40,  True,  RE, 1),
         (5,   120,   40,  True,  RE, 1),
         (3,   240,   80,  False, HS, 2),
         (3,   200,   80,  False, HS, 1),
         (3,   184,   80,  False, HS, 1),
         (3,   184,   80,  False, HS, 1),
         (3,   480,   112, True,  HS, 1),
         (3,   672,   112, True,  HS, 1),
         (5,   672,   160, True,  HS, 2),
         (5,   960,   160, True,  HS, 1),
         (5,   960,   160, True,  HS, 1)]
#        kernel expanded out gate   act stride      Table 2
SMALL = [(3,    16,   16,  True,  RE, 2),
         (3,    72,   24,  False, RE, 2),
         (3,    88,   24,  False, RE, 1),
         (5,    96,   40,  True,  HS, 2),
         (5,   240,   40,  True,  HS, 1),
         (5,   240,   40,  True,  HS, 1),
         (5,   120,   48,  True,  HS, 1),
         (5,   144,   48,  True,  HS, 1),
         (5,   288,   96,  True,  HS, 2),
         (5,   576,   96,  True,  HS, 1),
         (5,   576,   96,  True,  HS, 1)]
STEM = 16

TV = dict(eps=1e-3, momentum=0.01)
VARIANTS = {
    "mobilenet_v3_small_x0_75": dict(table=SMALL, head=1024, width=0.75),
    "mobilenet_v3_small_x1_0":  dict(table=SMALL, head=1024, width=1.0) | TV,
    "mobilenet_v3_large_x0_75": dict(table=LARGE, head=1280, width=0.75),
    "mobilenet_v3_large_x1_0":  dict(table=LARGE, head=1280, width=1.0) | TV,
    "mobilenet_v3_small_x0_75_tf": dict(table=SMALL, head=1024, width=0.75, eps=1e-3, padding="tf"),
    "mobilenet_v3_small_x1_0_tf":  dict(table=SMALL, head=1024, width=1.0, eps=1e-3, padding="tf"),
    "mobilenet_v3_large_x0_75_tf": dict(table=LARGE, head=1280, width=0.75, eps=1e-3, padding="tf"),
    "mobilenet_v3_large_x1_0_tf":  dict(table=LARGE, head=1280, width=1.0, eps=1e-3, padding="tf"),
}


@network(VARIANTS)
def mobilenet_v3(
    *,
    table: list[tuple],
    head: int,
    width: float,
    depth: float = 1.0,
    eps: float = 1e-5,
    momentum: float = 0.1,
    padding: str | None = None,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    dropout: float = 0.2,
    drop_path: float = 0.0,
) -> ConvNet:
    """Stage n is row n of the table; the last 1x1 has 6 times the channels it reads, and ``head`` is not scaled.

    ``depth`` multiplies the rows of one width, and what it adds are copies of their last.

    The gate squeezes to a quarter of the expanded channels and ends in a hard sigmoid.  attention: "se" gates every
    block, "none" none of them; else those of the table.
    """
    norm = partial(nn.BatchNorm2d, eps=eps, momentum=momentum)
    inputs, unscaled = make_divisible(STEM * width), STEM
    table = [row for _, rows in groupby(table, lambda row: row[2]) for row in deepen([*rows], depth)]
    drops = iter(linear_decay(drop_path, len(table)))
    stem_stride = 1 if input_size < SMALL_PICTURE else 2
    trunk = OrderedDict(stage1=ConvNormAct(channels, inputs, 3, stem_stride, padding=padding, norm=norm, act=HS))
    for number, (kernel, expanded, out, gated, act, stride) in enumerate(table, 2):
        outputs = make_divisible(out * width)
        if attention is not None:
            gated = gate(attention) is not None
        trunk[f"stage{number}"] = InvertedResidual(
            inputs, outputs, kernel, stride, make_divisible(inputs * expanded / unscaled),
            norm=norm, act=act, padding=padding, se=hard_gate if gated else None, drop=next(drops),
        )
        inputs, unscaled = outputs, out
    top = make_divisible(6 * unscaled * width)
    trunk[f"stage{len(table) + 2}"] = ConvNormAct(inputs, top, 1, norm=norm, act=HS)
    return ConvNet(
        trunk,
        OrderedDict(
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(top, head),
            act=HS(),
            dropout=nn.Dropout(dropout),
            classifier=nn.Linear(head, classes),
        ),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=truncated(0.09), linear=truncated(0.09)),
    )


def hard_gate(channels: int) -> nn.Module:
    return SqueezeExcite(channels, make_divisible(channels / 4), gate=nn.Hardsigmoid)
