"""Leaf modules as operations: their kinds, and which of their attributes matter."""

from __future__ import annotations

import math
from typing import Any

from torch import nn


class NoRule(Exception):
    """Symbolic tracing met something we have no rule for."""


def inplace(module: Any) -> dict[str, Any]:
    return {"inplace": True} if getattr(module, "inplace", False) else {}


def listed(value: Any, axes: int) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value] * axes


def module_op(module: Any) -> tuple[str, dict[str, Any]]:
    """A leaf module as (op, attrs)."""
    own = getattr(module, "graph_op", None)
    if own:
        attrs = {}
        for key, attribute in (("kernel", "kernel_size"), ("stride", "stride"), ("outputs", "out_features")):
            if hasattr(module, attribute):
                value = getattr(module, attribute)
                attrs[key] = list(value) if isinstance(value, tuple) else value
        if own == "drop_path":
            attrs["p"] = module.p
        return own, attrs
    kind = type(module)
    if isinstance(module, nn.modules.conv._ConvNd):
        if kind.__name__ not in CONVOLUTION_MODULES or module.padding_mode != "zeros":
            raise NoRule(f"the module {kind.__name__}")
        axes = len(module.kernel_size)
        transposed = kind.__name__.startswith("ConvTranspose")
        attrs = dict(
            inputs=module.in_channels,
            outputs=module.out_channels,
            kernel=list(module.kernel_size),
            stride=list(module.stride),
            padding=module.padding if isinstance(module.padding, str) else list(module.padding),
            dilation=list(module.dilation),
            groups=module.groups,
        )
        if transposed:
            attrs["output_padding"] = list(module.output_padding)
        return f"conv{'_transpose' if transposed else ''}{axes}d", attrs
    if kind is nn.Linear:
        return "linear", dict(inputs=module.in_features, outputs=module.out_features)
    if getattr(module, "return_indices", False):
        raise NoRule("a pool that gives its indices")
    if kind in POOLS:
        op, axes = POOLS[kind]
        attrs = dict(
            kernel=listed(module.kernel_size, axes),
            stride=listed(module.stride, axes),
            padding=listed(module.padding, axes),
            ceil=module.ceil_mode,
        )
        if hasattr(module, "dilation"):
            attrs["dilation"] = listed(module.dilation, axes)
        else:
            attrs["count_padding"] = module.count_include_pad
        return op, attrs
    if kind in ADAPTIVE_POOLS:
        op, axes = ADAPTIVE_POOLS[kind]
        return op, dict(output_size=listed(module.output_size, axes))
    if kind is nn.Flatten:
        return "flatten", dict(start=module.start_dim, end=module.end_dim)
    if kind is nn.ChannelShuffle:
        return "channel_shuffle", dict(groups=module.groups)
    if kind in PADS:
        mode = {nn.ReflectionPad2d: {"mode": "reflect"}, nn.ReplicationPad2d: {"mode": "replicate"}}.get(kind, {})
        return "pad", dict(padding=list(module.padding), **mode)
    if kind is nn.Upsample:
        scale = module.scale_factor
        sizes = dict(size=module.size and listed(module.size, 2), scale=scale and listed(scale, 2))
        return "upsample", dict(**sizes, mode=module.mode)
    if kind in DROPOUTS:
        return "dropout", {"p": module.p, **inplace(module), **({"maps": True} if kind is nn.Dropout2d else {})}
    if kind is nn.LayerNorm:
        return "layer_norm", dict(width=math.prod(module.normalized_shape))
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and kind in SIMPLE:
        return "batch_norm", {} if module.track_running_stats else {"stats": False}
    if kind is nn.GroupNorm:
        return "group_norm", dict(groups=module.num_groups)
    if kind in SIMPLE:
        return SIMPLE[kind], inplace(module)
    if kind is nn.LocalResponseNorm:
        return "local_response_norm", dict(size=module.size)
    raise NoRule(f"the module {kind.__name__}")


CONVOLUTION_MODULES = {f"Conv{t}{n}d" for t in ("", "Transpose") for n in (1, 2, 3)}
POOLS: dict[type, tuple[str, int]] = {
    nn.MaxPool1d: ("max_pool1d", 1),
    nn.MaxPool2d: ("max_pool2d", 2),
    nn.MaxPool3d: ("max_pool3d", 3),
    nn.AvgPool1d: ("avg_pool1d", 1),
    nn.AvgPool2d: ("avg_pool2d", 2),
    nn.AvgPool3d: ("avg_pool3d", 3),
}
ADAPTIVE_POOLS: dict[type, tuple[str, int]] = {
    nn.AdaptiveAvgPool1d: ("adaptive_avg_pool1d", 1),
    nn.AdaptiveAvgPool2d: ("adaptive_avg_pool2d", 2),
    nn.AdaptiveMaxPool2d: ("adaptive_max_pool2d", 2),
}
DROPOUTS = {nn.Dropout, nn.Dropout2d}
PADS = {nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d}
SIMPLE: dict[type, str] = {
    nn.Identity: "identity",
    nn.AlphaDropout: "alpha_dropout",
    nn.BatchNorm1d: "batch_norm",
    nn.BatchNorm2d: "batch_norm",
    nn.BatchNorm3d: "batch_norm",
    nn.SyncBatchNorm: "batch_norm",
    nn.InstanceNorm2d: "instance_norm",
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "prelu",
    nn.ELU: "elu",
    nn.CELU: "celu",
    nn.SELU: "selu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.Hardsigmoid: "hardsigmoid",
    nn.Hardswish: "hardswish",
    nn.Hardtanh: "hardtanh",
    nn.Softplus: "softplus",
    nn.Softmax: "softmax",
    nn.LogSoftmax: "log_softmax",
}
