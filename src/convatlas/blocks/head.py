"""Heads: from the last map to logits.  Each ends in (or names) a ``classifier``."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def pooled_head(features: int, classes: int, dropout: float = 0.0) -> OrderedDict[str, nn.Module]:
    """Global average pooling and one linear layer: (N, features, H, W) -> (N, classes)."""
    head: OrderedDict[str, nn.Module] = OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    if dropout:
        head["dropout"] = nn.Dropout(dropout)
    head["classifier"] = nn.Linear(features, classes)
    return head


def dense_head(
    channels: int,
    size: int,
    classes: int,
    dropout: float,
    *,
    hidden: tuple[int, int] = (4096, 4096),
    drop_first: bool = False,
) -> OrderedDict[str, nn.Module]:
    """AlexNet's three fully connected layers on a fixed ``size`` x ``size`` map: (N, channels, H, W) -> (N, classes).

    Another map is pooled to that size, which at the paper's own size is the identity; so the input's size never
    changes the parameters.  drop_first: dropout before fc6 and fc7, not after them.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(pool=nn.AdaptiveAvgPool2d(size), flatten=nn.Flatten())
    inputs = channels * size * size
    for number, width in zip((6, 7), hidden):
        dense = {f"fc{number}": nn.Linear(inputs, width), f"relu{number}": nn.ReLU(inplace=True)}
        drop = {f"drop{number}": nn.Dropout(dropout)}
        layers |= drop | dense if drop_first else dense | drop
        inputs = width
    layers["classifier"] = nn.Linear(inputs, classes)
    return layers
