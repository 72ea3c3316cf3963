"""BN-Inception (Inception-v2).  Ioffe and Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by
Reducing Internal Covariate Shift" (arXiv 1502.03167), Figure 5, as in the public Caffe port (convolutions with biases);
and with squeeze-and-excitation, Hu et al. 2017 (arXiv 1709.01507), Table 2."""

from __future__ import annotations

from functools import partial

from convatlas.blocks import ConvNormAct, gate, pooled_head
from convatlas.blocks.inception import AVG, MAX, SHRINK_CEIL, stages, widen
from convatlas.blocks.init import he, initialiser
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network


def same(one: int, reduce3: int, three: int, reduce_double: int, double: int, pool, proj: int) -> list:
    """A module that keeps the size."""
    return [
        [(one, 1)],
        [(reduce3, 1), (three, 3)],
        [(reduce_double, 1), (double, 3), (double, 3)],
        [pool, (proj, 1)],
    ]


def strided(reduce3: int, three: int, reduce_double: int, double: int) -> list:
    """A module at stride 2: no 1x1, and the pool's channels passed on whole."""
    return [
        [(reduce3, 1), (three, 3, 2)],
        [(reduce_double, 1), (double, 3), (double, 3, 2)],
        [SHRINK_CEIL],
    ]


#                       1x1  3x3: reduce, out  double 3x3: reduce, out  pool: kind, proj      Figure 5
TABLE = {
    "inception3a": same(64,   64,  64,         64,   96,                AVG, 32),
    "inception3b": same(64,   64,  96,         64,   96,                AVG, 64),
    "inception3c": strided(  128, 160,         64,   96),
    "inception4a": same(224,  64,  96,         96,  128,                AVG, 128),
    "inception4b": same(192,  96, 128,         96,  128,                AVG, 128),
    "inception4c": same(160, 128, 160,         128, 160,                AVG, 128),
    "inception4d": same(96,  128, 192,         160, 192,                AVG, 128),
    "inception4e": strided(  128, 192,         192, 256),
    "inception5a": same(352, 192, 320,         160, 224,                AVG, 128),
    "inception5b": same(352, 192, 320,         192, 224,                MAX, 128),
}

VARIANTS = {
    "inception_v2":    dict(),
    "se_inception_v2": dict(attention="se"),
}


@network(VARIANTS)
def inception_v2(
    *,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    width: float = 1.0,
) -> ConvNet:
    """Ten modules, two of them at stride 2.  A gate stands at the end of every module."""
    small = input_size < SMALL_PICTURE
    plan = {
        "conv1":        (64, 3) if small else (64, 7, 2),
        "pool1":        None if small else SHRINK_CEIL,
        "conv2_reduce": (64, 1),
        "conv2":        (192, 3),
        "pool2":        SHRINK_CEIL,
        **TABLE,
    }
    trunk, features = stages(
        channels,
        {name: widen(row, width) for name, row in plan.items() if row is not None},
        conv=partial(ConvNormAct, bias=True),
        se=gate(attention),
    )
    return ConvNet(
        trunk,
        pooled_head(features, classes),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=he("fan_in"), linear=he("fan_in")),
    )
