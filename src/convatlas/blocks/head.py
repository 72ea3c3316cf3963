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


def dense_head(channels: int, size: int, classes: int, dropout: float) -> OrderedDict[str, nn.Module]:
    """Three fully connected layers on a fixed ``size`` x ``size`` map (AlexNet's fc6, fc7, fc8, in VGG's order).

    Another map is pooled to that size, which at the paper's own size is the identity; so the input's size never
    changes the parameters.
    """
    return OrderedDict(
        pool=nn.AdaptiveAvgPool2d(size),
        flatten=nn.Flatten(),
        fc6=nn.Linear(channels * size * size, 4096),
        relu6=nn.ReLU(inplace=True),
        drop6=nn.Dropout(dropout),
        fc7=nn.Linear(4096, 4096),
        relu7=nn.ReLU(inplace=True),
        drop7=nn.Dropout(dropout),
        classifier=nn.Linear(4096, classes),
    )
