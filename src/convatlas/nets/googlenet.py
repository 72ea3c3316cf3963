"""GoogLeNet (Inception-v1).  Szegedy et al. 2014, "Going Deeper with Convolutions" (arXiv 1409.4842), Table 1.

What the paper leaves open (the constants of its normalisation, initialisation) is as in Caffe's bvlc_googlenet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import nn
from torch.nn import init

from convatlas.blocks import ConvNormAct, gate, local_response_norm, pooled_head
from convatlas.blocks.inception import MAX, SHRINK_CEIL, stages, widen
from convatlas.blocks.init import caffe_xavier, initialiser, truncated
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network

#                  1x1  3x3: reduce, out  5x5: reduce, out  pool: proj      Table 1
TABLE = {
    "inception3a": (64,   96, 128,        16, 32,           32),
    "inception3b": (128, 128, 192,        32, 96,           64),
    "pool3":       SHRINK_CEIL,
    "inception4a": (192,  96, 208,        16, 48,           64),
    "inception4b": (160, 112, 224,        24, 64,           64),
    "inception4c": (128, 128, 256,        24, 64,           64),
    "inception4d": (112, 144, 288,        32, 64,           64),
    "inception4e": (256, 160, 320,        32, 128,          128),
    "pool4":       SHRINK_CEIL,
    "inception5a": (256, 160, 320,        32, 128,          128),
    "inception5b": (384, 192, 384,        48, 128,          128),
}
AUX = ("inception4a", "inception4d")


def reduced(one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int, kernel: int = 5) -> list:
    """The module with dimension reductions: a 1x1 before each larger filter and after the pool.  Figure 2(b)."""
    return [[(one, 1)], [(reduce3, 1), (three, 3)], [(reduce5, 1), (five, kernel)], [MAX, (pool, 1)]]


def naive(one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> list:
    """The same filters with nothing before them, and the pool's channels passed on whole.  Figure 2(a)."""
    return [[(one, 1)], [(three, 3)], [(five, 5)], [MAX]]


SLIM = dict(batch_norm=True, last_pool=partial(nn.MaxPool2d, 2, 2, ceil_mode=True), dropout=0.2)

VARIANTS = {
    "googlenet":       dict(),
    "googlenet_naive": dict(module=naive),
    "googlenet_bn":    SLIM,
    "googlenet_slim":  SLIM | dict(module=partial(reduced, kernel=3)),
}


@network(VARIANTS)
def googlenet(
    *,
    module: Callable[..., list] = reduced,
    batch_norm: bool = False,
    last_pool: Callable[[], nn.Module] = SHRINK_CEIL,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    width: float = 1.0,
    dropout: float = 0.4,
    aux: bool = False,
) -> ConvNet:
    """Nine Inception modules.  With batch norm, the local response norms go and the fourth pool is TF-slim's 2x2.

    The naive form keeps each filter's width from Table 1, so its maps grow from module to module, up to 4,944
    channels before the classifier.
    """
    conv = partial(ConvNormAct, norm=partial(nn.BatchNorm2d, eps=1e-3) if batch_norm else None)
    response = None if batch_norm else partial(local_response_norm, alpha=1e-4 / 5, k=1.0)   # Caffe averages over 5
    small = input_size < SMALL_PICTURE
    plan = {
        "conv1":        (64, 3) if small else (64, 7, 2),
        "pool1":        None if small else SHRINK_CEIL,
        "norm1":        response,
        "conv2_reduce": (64, 1),
        "conv2":        (192, 3),
        "norm2":        response,
        "pool2":        SHRINK_CEIL,
        **{name: module(*row) if isinstance(row, tuple) else row for name, row in TABLE.items()},
        "pool4":        last_pool,
    }
    trunk, features = stages(
        channels,
        {name: widen(row, width) for name, row in plan.items() if row is not None},
        conv=conv,
        se=gate(attention),
    )
    heads = {}
    if aux:
        widths = {name: block.outputs for name, block in trunk.items() if name in AUX}
        heads = {name: auxiliary(widths[name], classes, conv, batch_norm) for name in AUX}
    return ConvNet(
        trunk,
        pooled_head(features, classes, dropout),
        aux=heads,
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=truncated(0.01), linear=truncated(0.01)) if batch_norm else caffe,
    )


def auxiliary(features: int, classes: int, conv: Callable[..., nn.Module], batch_norm: bool) -> nn.Module:
    """The auxiliary classifier of section 5: (N, features, H, W) -> (N, classes).

    The paper's pool is 5x5 / 3, which makes 4x4 of the 14x14 that 224 pixels give; what it makes of another map is
    brought to 4x4.  With batch norm, the map is averaged to 4x4 at once, as in torchvision.
    """
    pool = OrderedDict() if batch_norm else OrderedDict(pool=nn.AvgPool2d(5, 3))
    return nn.Sequential(pool | OrderedDict(
        grid=nn.AdaptiveAvgPool2d(4),
        conv=conv(features, 128, 1),
        flatten=nn.Flatten(),
        fc=nn.Linear(128 * 4 * 4, 1024),
        relu=nn.ReLU(inplace=True),
        dropout=nn.Dropout(0.7),
        classifier=nn.Linear(1024, classes),
    ))


def caffe(path: str, layer: nn.Conv2d | nn.Linear) -> None:
    """Caffe's "xavier", and every bias 0.2 but the classifiers'."""
    caffe_xavier(layer)
    init.constant_(layer.bias, 0.0 if path.endswith("classifier") else 0.2)
