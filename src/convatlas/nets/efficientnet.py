"""EfficientNet.  Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(arXiv 1905.11946), Table 1, with the coefficients of the released code; and EfficientNet-Lite (tensorflow/tpu)."""

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
    pooled_head,
    scale_depth,
    scale_width,
)
from convatlas.blocks.conv import Act, relu6, silu
from convatlas.blocks.init import initialiser, tf_conv, tf_dense
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network

#     kernel stride expand  out  repeat      Table 1 of the paper, stages 2 to 8
B0 = [(3,     1,     1,      16,  1),
      (3,     2,     6,      24,  2),
      (5,     2,     6,      40,  2),
      (3,     2,     6,      80,  3),
      (5,     1,     6,     112,  3),
      (5,     2,     6,     192,  4),
      (3,     1,     6,     320,  1)]
STEM, TOP = 32, 1280

SCALED = {
    #     width      depth       input_size      dropout
    "b0": dict(width=1.0, depth=1.0, input_size=224, dropout=0.2),
    "b1": dict(width=1.0, depth=1.1, input_size=240, dropout=0.2),
    "b2": dict(width=1.1, depth=1.2, input_size=260, dropout=0.3),
    "b3": dict(width=1.2, depth=1.4, input_size=300, dropout=0.3),
    "b4": dict(width=1.4, depth=1.8, input_size=380, dropout=0.4),
    "b5": dict(width=1.6, depth=2.2, input_size=456, dropout=0.4, eps=1e-3, momentum=0.01),
    "b6": dict(width=1.8, depth=2.6, input_size=528, dropout=0.5, eps=1e-3, momentum=0.01),
    "b7": dict(width=2.0, depth=3.1, input_size=600, dropout=0.5, eps=1e-3, momentum=0.01),
}
TF = dict(eps=1e-3, momentum=0.01, padding="tf")
LITE = TF | dict(lite=True, attention="none")
LITE_DROP = dict(b0=0.2, b1=0.2, b2=0.3, b3=0.3, b4=0.3)
LITE_SIZE = dict(b0=224, b1=240, b2=260, b3=280, b4=300)

VARIANTS = {
    **{f"efficientnet_{b}": row for b, row in SCALED.items()},
    **{f"efficientnet_{b}_tf": row | TF for b, row in SCALED.items()},
    **{f"efficientnet_lite{b[1]}": SCALED[b] | LITE | dict(input_size=LITE_SIZE[b], dropout=LITE_DROP[b])
       for b in LITE_SIZE},
}


@network(VARIANTS)
def efficientnet(
    *,
    width: float,
    depth: float,
    input_size: int,
    dropout: float,
    eps: float = 1e-5,
    momentum: float = 0.1,
    padding: str | None = None,
    lite: bool = False,
    attention: str | None = "se",
    drop_path: float = 0.2,
    classes: int = 1000,
    channels: int = 3,
) -> ConvNet:
    """Stages 1 to 9 of Table 1.  Lite: ReLU6, no gates, and the stem, the top and both end stages are not scaled.

    The gate squeezes to a quarter of the block's *input* channels, not of the expanded ones.
    """
    norm = partial(nn.BatchNorm2d, eps=eps, momentum=momentum)
    style = dict(norm=norm, act=relu6 if lite else silu)
    scaled = partial(scale_width, width=width)
    repeats = [
        row[-1] if lite and place in (0, len(B0) - 1) else scale_depth(row[-1], depth) for place, row in enumerate(B0)
    ]
    drops = iter(linear_decay(drop_path, sum(repeats)))

    inputs = STEM if lite else scaled(STEM)
    stem_stride = 1 if input_size < SMALL_PICTURE else 2
    trunk = OrderedDict(stage1=ConvNormAct(channels, inputs, 3, stem_stride, padding=padding, **style))
    for number, ((kernel, stride, expand, out, _), repeat) in enumerate(zip(B0, repeats), 2):
        blocks = []
        for index in range(repeat):
            blocks.append(InvertedResidual(
                inputs, scaled(out), kernel, stride if index == 0 else 1, inputs * expand,
                se=_gate(attention, inputs, style["act"]), drop=next(drops), padding=padding, **style,
            ))
            inputs = scaled(out)
        trunk[f"stage{number}"] = nn.Sequential(*blocks)
    top = TOP if lite else scaled(TOP)
    trunk["stage9"] = ConvNormAct(inputs, top, 1, **style)
    return ConvNet(
        trunk,
        pooled_head(top, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=tf_conv, linear=tf_dense),
    )


def _gate(attention: str | None, inputs: int, act: Act):
    if gate(attention) is None:
        return None
    return lambda expanded: SqueezeExcite(expanded, max(1, inputs // 4), act=act)
