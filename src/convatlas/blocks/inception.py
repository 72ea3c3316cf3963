"""The Inception module, and the language in which the Inception papers' figures are written down.

A layer is one of
- a tuple (width, kernel[, stride[, padding]]): a convolution; without a padding it keeps the size at stride 1;
- a function without arguments: what it makes, a pool or a normalisation, keeps the number of channels;
- a list of towers: an Inception module.
A tower is a list of layers that run one after the other.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from convatlas.blocks.attention import Gate
from convatlas.blocks.conv import ConvNormAct
from convatlas.blocks.scale import scale_width

Layer = Any
Conv = Callable[..., nn.Module]

V = 0
"""The padding of what the figures of Inception-v4 mark with V, for "valid"."""

MAX = partial(nn.MaxPool2d, 3, 1, 1)
AVG = partial(nn.AvgPool2d, 3, 1, 1)
AVG_INSIDE = partial(nn.AvgPool2d, 3, 1, 1, count_include_pad=False)
"""As TensorFlow averages: over the pixels inside the map only."""
SHRINK = partial(nn.MaxPool2d, 3, 2)
SHRINK_CEIL = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
"""As Caffe pools: the last window may hang over the edge."""


class Inception(nn.Module):
    """Towers side by side on one map, their outputs concatenated: (N, in, H, W) -> (N, outputs, H', W').

    The gate, where there is one, weighs the concatenated channels (Hu et al. 2017, arXiv 1709.01507, Figure 2).
    Szegedy et al. 2014 (arXiv 1409.4842), Figure 2.
    """

    def __init__(
        self, inputs: int, towers: Sequence[Sequence[Layer]], *, conv: Conv = ConvNormAct, se: Gate | None = None
    ):
        super().__init__()
        self.outputs = 0
        for number, layers in enumerate(towers, 1):
            branch, outputs = tower(inputs, layers, conv=conv)
            self.add_module(f"branch{number}", branch)
            self.outputs += outputs
        self.gate = se(self.outputs) if se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(torch.cat([branch(x) for name, branch in self.named_children() if name != "gate"], 1))


def widen(row: Layer, factor: float) -> Layer:
    """A layer with every convolution's width times ``factor``."""
    if isinstance(row, list):
        return [[widen(inner, factor) for inner in layers] for layers in row]
    return (scale_width(row[0], factor), *row[1:]) if isinstance(row, tuple) else row


def layer(inputs: int, row: Layer, *, conv: Conv = ConvNormAct, se: Gate | None = None) -> tuple[nn.Module, int]:
    """One layer on ``inputs`` channels, and how many it gives."""
    if isinstance(row, list):
        module = Inception(inputs, row, conv=conv, se=se)
        return module, module.outputs
    if isinstance(row, tuple):
        width, kernel, *rest = row
        stride = rest[0] if rest else 1
        padding = rest[1] if len(rest) > 1 else None
        return conv(inputs, width, kernel, stride, padding=padding), width
    return row(), inputs


def tower(
    inputs: int, layers: Sequence[Layer], *, conv: Conv = ConvNormAct, se: Gate | None = None
) -> tuple[nn.Module, int]:
    """Layers one after the other (conv1, conv2, …, pool1, …, mixed1, …), and how many channels the last gives."""
    sequence: OrderedDict[str, nn.Module] = OrderedDict()
    seen: Counter[str] = Counter()
    for row in layers:
        kind = "mixed" if isinstance(row, list) else "conv" if isinstance(row, tuple) else "pool"
        seen[kind] += 1
        sequence[f"{kind}{seen[kind]}"], inputs = layer(inputs, row, conv=conv, se=se)
    return nn.Sequential(sequence), inputs


def stages(
    inputs: int, plan: Mapping[str, Layer], *, conv: Conv = ConvNormAct, se: Gate | None = None
) -> tuple[OrderedDict[str, nn.Module], int]:
    """A trunk of one layer a stage, and how many channels the last gives."""
    trunk: OrderedDict[str, nn.Module] = OrderedDict()
    for name, row in plan.items():
        trunk[name], inputs = layer(inputs, row, conv=conv, se=se)
    return trunk, inputs
