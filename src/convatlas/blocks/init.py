"""Initialisation: what each paper fills its convolutions and linear layers with.

A network is built with ``skip_init`` and then filled once, by its own paper's rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from torch import nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

Init = Callable[[str, Any], None]
"""Fills one convolution or linear layer, given its path in the network."""
Fill = Callable[[Any], Any]
"""Fills the weight of one layer."""


class skip_init(TorchFunctionMode):  # noqa: N801 - used like a function
    """Inside this context, layers are made without filling their weights: they hold whatever memory held."""

    _random = frozenset(
        getattr(init, name)
        for name in ("uniform_", "normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_")
    )

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in self._random:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def initialiser(conv: Fill, linear: Fill, bias: float = 0.0) -> Init:
    """An Init that goes by the kind of layer, with every bias alike."""
    return partial(_by_kind, conv, linear, bias)


def gaussian(std: float) -> Fill:
    return partial(_gaussian, std)


def truncated(std: float) -> Fill:
    """Normal, cut at two standard deviations (TensorFlow's truncated_normal): what falls outside is drawn again."""
    return partial(_truncated, std)


def he(mode: Literal["fan_in", "fan_out"] = "fan_out") -> Fill:
    """Normal with variance 2 / fan.  He et al. 2015 (arXiv 1502.01852), equations 10 and 14."""
    return partial(_he, mode)


def xavier(layer: Any) -> None:
    """Uniform with variance 2 / (fan_in + fan_out).  Glorot and Bengio 2010."""
    init.xavier_uniform_(layer.weight)


def caffe_xavier(layer: Any) -> None:
    """Uniform with variance 1 / fan_in: what Caffe's "xavier" is unless told otherwise (filler.hpp, XavierFiller)."""
    bound = math.sqrt(3 / layer.weight[0].numel())
    init.uniform_(layer.weight, -bound, bound)


def tf_conv(layer: Any) -> None:
    """Normal with variance 2 / fan_out, the fan counted per group (tensorflow/tpu, EfficientNet and MnasNet)."""
    fan_out = math.prod(layer.kernel_size) * layer.out_channels // layer.groups
    init.normal_(layer.weight, 0.0, math.sqrt(2 / fan_out))


def tf_dense(layer: Any) -> None:
    """Uniform within 1 / sqrt(outputs) (tensorflow/tpu, EfficientNet and MnasNet)."""
    bound = 1 / math.sqrt(layer.out_features)
    init.uniform_(layer.weight, -bound, bound)


def uniform(layer: Any) -> None:
    """Uniform within 1 / sqrt(fan_in): what torch fills a weight with when nobody says otherwise."""
    bound = 1 / math.sqrt(layer.weight[0].numel())
    init.uniform_(layer.weight, -bound, bound)


def torch_default(path: str, layer: Any) -> None:
    """``uniform``, the bias too."""
    uniform(layer)
    if layer.bias is not None:
        bound = 1 / math.sqrt(layer.weight[0].numel())
        init.uniform_(layer.bias, -bound, bound)


# A network keeps its Init, so these are functions that can be pickled, and no closures.


def _by_kind(conv: Fill, linear: Fill, bias: float, path: str, layer: Any) -> None:
    (linear if isinstance(layer, nn.Linear) else conv)(layer)
    if layer.bias is not None:
        init.constant_(layer.bias, bias)


def _gaussian(std: float, layer: Any) -> None:
    init.normal_(layer.weight, 0.0, std)


def _truncated(std: float, layer: Any) -> None:
    weight = init.normal_(layer.weight, 0.0, std).detach().view(-1)
    outside = (weight.abs() > 2 * std).nonzero().view(-1)
    while len(outside) > 0:
        drawn = weight.new_empty(len(outside)).normal_(0.0, std)
        weight[outside] = drawn
        outside = outside[drawn.abs() > 2 * std]


def _he(mode: Literal["fan_in", "fan_out"], layer: Any) -> None:
    init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
