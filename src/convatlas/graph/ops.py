"""What each operation does to a shape, and how many multiply-adds it takes.

An operation is known by its name; its attributes are plain numbers, lists and words.  Shapes are tuples of ints, and
tuples of shapes where an operation gives several tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convatlas.errors import ConvatlasError

Shape = tuple[Any, ...]
Attrs = Mapping[str, Any]
Params = Mapping[str, tuple[int, ...]]
Rule = Callable[[Attrs, Sequence[Shape]], Shape]


class NothingLeft(Exception):
    """A window does not fit into what is left of the map."""


KEEPS_SHAPE = frozenset(
    """
    identity dropout alpha_dropout drop_path batch_norm layer_norm group_norm instance_norm local_response_norm
    channel_shuffle relu relu6 leaky_relu prelu elu celu selu gelu silu mish sigmoid tanh hardsigmoid hardswish
    hardtanh softplus softmax log_softmax scaled_tanh channel_affine neg contiguous clone abs sqrt exp
    """.split()
)
"""Operations whose output has the shape of their first input."""

VIEWS = frozenset("identity flatten reshape permute transpose getitem chunk split squeeze unsqueeze contiguous".split())
"""Operations that move no data (or only rearrange it) and that a table for people leaves out."""


def output_shape(op: str, attrs: Attrs, params: Params, inputs: Sequence[Shape]) -> Shape:
    """The output's shape.  Raises NothingLeft if the input is too small, ConvatlasError if the shapes do not fit."""
    if op in KEEPS_SHAPE:
        return inputs[0]
    if op == "parameter":
        return next(iter(params.values()))
    return RULES[op](attrs, inputs)


def macs(op: str, attrs: Attrs, inputs: Sequence[Shape], output: Shape) -> int | None:
    """Multiply-adds of convolutions, linear layers and matrix products; 0 for what is none; None where unknown."""
    if "macs" in attrs:
        return None if attrs["macs"] is None else int(attrs["macs"])
    if op == "matmul":
        return math.prod(output) * int(inputs[0][-1])
    given, read = macs_a_value(op, attrs)
    return (math.prod(output) * given if given else 0) + (math.prod(inputs[0]) * read if read else 0)


def macs_a_value(op: str, attrs: Attrs) -> tuple[int, int]:
    """Multiply-adds for each value of the output, and for each value of the input, of what is no matrix product."""
    if op in CONVOLUTIONS:
        return attrs["inputs"] // attrs["groups"] * math.prod(attrs["kernel"]), 0
    if op in TRANSPOSED:
        return 0, attrs["outputs"] // attrs["groups"] * math.prod(attrs["kernel"])
    if op == "linear":
        return attrs["inputs"], 0
    return 0, 0


def windows(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool = False) -> int:
    """How many windows fit along one axis: the convolution's and the pool's output size."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1  # a window that would start in the padding behind the picture does not count
    if count < 1:
        raise NothingLeft
    return count


def _windowed(attrs: Attrs, spatial: Sequence[int]) -> list[int]:
    padding, ones = attrs["padding"], [1] * len(spatial)
    if padding == "same":
        return list(spatial)
    if padding == "valid":
        padding = [0] * len(spatial)
    ceil, dilation = attrs.get("ceil", False), attrs.get("dilation", ones)
    return [
        windows(size, kernel, stride, pad, spread, ceil)
        for size, kernel, stride, pad, spread in zip(spatial, attrs["kernel"], attrs["stride"], padding, dilation)
    ]


POINT = [1, 1]
"""Kernel and stride of a 1x1 convolution."""


def _conv(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    if x[1] != attrs["inputs"]:
        raise ConvatlasError(f"expects {attrs['inputs']} channels and gets {x[1]}")
    if attrs["kernel"] == POINT and attrs["stride"] == POINT and attrs["padding"] == [0, 0]:
        return (x[0], attrs["outputs"], x[2], x[3])
    return (x[0], attrs["outputs"], *_windowed(attrs, x[2:]))


def _conv_transpose(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    spatial = (
        (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
        for size, kernel, stride, padding, dilation, extra in zip(
            x[2:], attrs["kernel"], attrs["stride"], attrs["padding"], attrs["dilation"], attrs["output_padding"]
        )
    )
    return (x[0], attrs["outputs"], *spatial)


def _pool(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    return (*x[:2], *_windowed(attrs, x[2:]))


def _adaptive_pool(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    return (*x[:2], *(old if new is None else new for new, old in zip(attrs["output_size"], x[2:])))


def _same_pad(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    padded = (
        max((-(-size // stride) - 1) * stride + kernel, size)
        for size, kernel, stride in zip(x[2:], attrs["kernel"], attrs["stride"])
    )
    return (*x[:2], *padded)


def _pad(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    shape = list(inputs[0])
    widths = attrs["padding"]
    for axis, (before, after) in enumerate(zip(widths[::2], widths[1::2]), 1):
        shape[-axis] += before + after
    return tuple(shape)


def _linear(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    if x[-1] != attrs["inputs"]:
        raise ConvatlasError(f"expects {attrs['inputs']} features and gets {x[-1]}")
    return (*x[:-1], attrs["outputs"])


def _flatten(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    start, end = attrs["start"] % len(x), attrs["end"] % len(x)
    return (*x[:start], math.prod(x[start : end + 1]), *x[end + 1 :])


def _broadcast(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    rank = max(len(x) for x in inputs)
    padded = [(1,) * (rank - len(x)) + tuple(x) for x in inputs]
    result = []
    for sizes in zip(*padded):
        size = next((s for s in sizes if s != 1), 1)
        if any(s not in (1, size) for s in sizes):
            raise ConvatlasError(f"shapes do not fit together: {' and '.join(map(str, inputs))}")
        result.append(size)
    return tuple(result)


def _cat(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    first = inputs[0]
    axis = attrs["dim"] % len(first)
    if any((*x[:axis], *x[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) for x in inputs):
        raise ConvatlasError(f"shapes do not fit together: {' and '.join(map(str, inputs))}")
    return (*first[:axis], sum(x[axis] for x in inputs), *first[axis + 1 :])


def _pieces(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    """chunk (into ``chunks``) and split (into pieces of ``size``, or of ``sizes``) along ``dim``."""
    (x,) = inputs
    axis = attrs["dim"] % len(x)
    total = x[axis]
    sizes = attrs.get("sizes")
    if sizes is None:
        size = attrs["size"] if "size" in attrs else -(-total // attrs["chunks"])
        sizes = [min(size, total - start) for start in range(0, total, size)]
    return tuple((*x[:axis], size, *x[axis + 1 :]) for size in sizes)


def _getitem(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    if "piece" in attrs:
        piece: Shape = x[attrs["piece"]]
        return piece
    result: list[int] = []
    axes = iter(x)
    for index in attrs["index"]:
        size = next(axes)
        if isinstance(index, list):
            result.append(len(range(*slice(*index).indices(size))))
    return (*result, *axes)


def _mean(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    dims = {d % len(x) for d in attrs["dim"]}
    if attrs["keepdim"]:
        return tuple(1 if axis in dims else size for axis, size in enumerate(x))
    return tuple(size for axis, size in enumerate(x) if axis not in dims)


def _reshape(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    new = list(attrs["shape"])
    if new.count(-1) == 1:
        known = -math.prod(new)
        if known == 0 or math.prod(x) % known:
            raise ConvatlasError(f"cannot reshape {x} to {tuple(new)}")
        new[new.index(-1)] = math.prod(x) // known
    if math.prod(new) != math.prod(x):
        raise ConvatlasError(f"cannot reshape {x} to {tuple(new)}")
    return tuple(new)


def _permute(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    return tuple(inputs[0][d] for d in attrs["dims"])


def _transpose(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    shape = list(inputs[0])
    a, b = attrs["dims"]
    shape[a], shape[b] = shape[b], shape[a]
    return tuple(shape)


def _unsqueeze(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    shape = list(inputs[0])
    shape.insert(attrs["dim"] % (len(shape) + 1), 1)
    return tuple(shape)


def _squeeze(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    dims = {d % len(x) for d in attrs["dims"]}
    return tuple(size for axis, size in enumerate(x) if axis not in dims or size != 1)


def _matmul(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    a, b = inputs
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ConvatlasError(f"shapes do not fit together: {a} and {b}")
    return (*_broadcast({}, [a[:-2], b[:-2]]), a[-2], b[-1])


def _upsample(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    (x,) = inputs
    if attrs.get("size") is not None:
        return (*x[:2], *attrs["size"])
    return (*x[:2], *(int(size * scale) for size, scale in zip(x[2:], attrs["scale"])))


def _rbf(attrs: Attrs, inputs: Sequence[Shape]) -> Shape:
    return (inputs[0][0], attrs["outputs"])


CONVOLUTIONS = frozenset(("conv1d", "conv2d", "conv3d"))
TRANSPOSED = frozenset(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"))
ELEMENTWISE = frozenset(("add", "sub", "mul", "div"))

RULES: dict[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, _conv),
    **dict.fromkeys(TRANSPOSED, _conv_transpose),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"), _pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive_pool),
    **dict.fromkeys(ELEMENTWISE, _broadcast),
    "linear": _linear,
    "same_pad2d": _same_pad,
    "pad": _pad,
    "flatten": _flatten,
    "cat": _cat,
    "chunk": _pieces,
    "split": _pieces,
    "getitem": _getitem,
    "mean": _mean,
    "reshape": _reshape,
    "permute": _permute,
    "transpose": _transpose,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "matmul": _matmul,
    "upsample": _upsample,
    "rbf": _rbf,
}
