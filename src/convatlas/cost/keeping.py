"""What each operation makes a training step keep until its backward pass: PyTorch's eager rules on the CPU.

Autograd keeps what the derivative of an operation reads: its input (a convolution), its output (ReLU), or something of
its own (a dropout's mask).  An operation that writes over its input, and whose derivative reads that input, keeps a
copy of it: so an in-place ReLU keeps nothing more, and an in-place ReLU6 a whole map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from convatlas.graph.model import Node
from convatlas.graph.ops import CONVOLUTIONS, TRANSPOSED, VIEWS, Shape


class Keeping(NamedTuple):
    """One operation in a training step; sizes in values of the network's dtype unless they are called bytes.

    aliases:  its output is (a view of, or written over) its first input: no memory of its own.
    inputs:   the inputs that the backward pass reads, by position.
    output:   whether it reads the output.
    more:     values kept beside these; more_bytes: what is kept in a dtype of its own.
    forward:  values that live while it runs forward, beside inputs and output; backward: the same, backward.
    passes:   the inputs whose gradient is (a view of) the output's: no memory of its own.
    """

    aliases: bool = False
    inputs: tuple[int, ...] = ()
    output: bool = False
    more: int = 0
    more_bytes: int = 0
    forward: int = 0
    backward: int = 0
    passes: tuple[int, ...] = ()


NOTHING = Keeping()
INPUT = Keeping(inputs=(0,))
OUTPUT = Keeping(output=True)
OVER = Keeping(aliases=True)
OVER_OUTPUT = Keeping(aliases=True, output=True)
SAME = Keeping(aliases=True, passes=(0,))
PASSES = Keeping(passes=(0,))

READ_INPUT = frozenset(
    "relu6 leaky_relu prelu elu celu selu gelu silu mish hardsigmoid hardswish hardtanh softplus abs".split()
)
READ_OUTPUT = frozenset("relu sigmoid tanh softmax log_softmax exp sqrt".split())
OVERWRITTEN_BY_OUTPUT = READ_OUTPUT | {"leaky_relu", "elu", "celu", "selu"}
"""Operations whose derivative, when they are done in place, reads the output instead."""

FIXED = (
    CONVOLUTIONS | TRANSPOSED | VIEWS | READ_INPUT - {"prelu"} | READ_OUTPUT
    | {"linear", "batch_norm", "cat", "neg", "clone", "mean", "parameter", "channel_shuffle"}
)  # fmt: skip
"""Operations that keep the same at every input size and batch, but for the in-place ones among those that read their
input, and convolutions that pad by themselves."""


def fixed(node: Node) -> bool:
    """Whether the operation's Keeping is the same at every input size and batch."""
    if "inplace" in node.attrs and node.op not in OVERWRITTEN_BY_OUTPUT:
        return False
    return node.op in FIXED and node.attrs.get("padding") != "same"


def keeping(
    node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool], *, weighs: bool, copies: bool
) -> Keeping | None:
    """The operation's Keeping; None where its derivative is not known to us.

    needs:  which inputs need a gradient; weighs: whether its weight does.
    copies: whether a view of its input must copy it, because the values do not lie in order.
    """
    op, attrs = node.op, node.attrs
    if op in CONVOLUTIONS or op == "linear" or op in TRANSPOSED:
        return _convolution(node, inputs, output) if weighs else NOTHING  # the input's gradient reads the weight only
    if op == "batch_norm":
        return Keeping(inputs=(0,), more=2 * output[1])
    if op == "relu":
        return OVER_OUTPUT if "inplace" in attrs else OUTPUT
    if op in VIEWS or "view" in attrs:
        if copies and op in ("flatten", "reshape", "contiguous"):
            return PASSES
        # A slice's gradient is a whole map with zeros around it; a piece's is put together by its chunk or split.
        return OVER if op in ("getitem", "chunk", "split") and "piece" not in attrs else SAME
    if op in ("dropout", "drop_path"):
        return _dropout(node, inputs[0])
    if "inplace" in attrs:
        return _in_place(op, attrs, output, needs)
    if op in READ_OUTPUT:
        return OUTPUT
    if op == "prelu":  # the gradient of its weight is as large as the map before it is summed up
        return Keeping(inputs=(0,), backward=math.prod(output))
    if op in READ_INPUT:
        return INPUT
    if op in ("add", "sub"):
        return Keeping(passes=tuple([i for i, x in enumerate(inputs) if x == output and (i == 0 or op == "add")]))
    if op == "cat":
        return Keeping(passes=tuple(range(len(inputs))))
    rule = RULES.get(op)
    return rule(node, inputs, output, needs) if rule else None


def _in_place(op: str, attrs: object, output: Shape, needs: Sequence[bool]) -> Keeping | None:
    if op in OVERWRITTEN_BY_OUTPUT:
        return OVER_OUTPUT
    if op in READ_INPUT:
        return Keeping(aliases=True, more=math.prod(output))
    if op in ("add", "sub"):
        return Keeping(aliases=True, passes=(0, 1) if op == "add" and len(needs) == 2 else (0,))
    if op == "mul" and len(needs) == 1:
        return OVER
    return None


def _convolution(node: Node, inputs: Sequence[Shape], output: Shape) -> Keeping:
    padding = node.attrs.get("padding")
    if padding == "same":
        sides = [d * (k - 1) for k, d in zip(node.attrs["kernel"], node.attrs["dilation"])]
        if any(side % 2 for side in sides):  # the odd zero is added by hand, in a copy
            padded = math.prod(inputs[0][:2]) * math.prod(n + side % 2 for n, side in zip(inputs[0][2:], sides))
            return Keeping(more=padded)
    return INPUT


def _dropout(node: Node, x: Shape) -> Keeping:
    """A mask of zeros and 1 / (1 - p), of the values, of the maps, or of the pictures."""
    p = node.attrs.get("p", 0)
    if p == 0:
        return SAME
    if p == 1:
        return Keeping(aliases="inplace" in node.attrs, more=1)
    values = x[0] if node.op == "drop_path" else math.prod(x[:2] if "maps" in node.attrs else x)
    return Keeping(aliases="inplace" in node.attrs, more=values)


def _mul(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    if len(inputs) == 1:
        return NOTHING if "number" in node.attrs else INPUT
    # Each operand's gradient reads the other; a gate's is as large as the map before it is summed up.
    kept = tuple(i for i in range(2) if needs[1 - i])
    return Keeping(inputs=kept, backward=math.prod(output) if inputs[0] != inputs[1] else 0)


def _div(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    if "first" in node.attrs:  # a number over a map keeps the reciprocal
        return Keeping(more=math.prod(output))
    if len(inputs) == 1:
        return NOTHING if "number" in node.attrs else INPUT
    return Keeping(inputs=(0, 1) if needs[1] else (1,), backward=math.prod(output))


def _matmul(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    return Keeping(inputs=tuple(i for i in range(len(inputs)) if needs[1 - i]) if len(inputs) == 2 else (0,))


def _max_pool(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    return Keeping(inputs=(0,), more_bytes=8 * math.prod(output))  # 64-bit places of the maxima


def _adaptive_avg_pool(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    return NOTHING if all(size == 1 for size in output[2:]) else INPUT  # to one value it is a mean


def _pad(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    return INPUT if "mode" in node.attrs else NOTHING


def _local_response_norm(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    """Its input; the squares, padded by size - 1 maps; the sum before the power, and the divisor.  Without a gradient
    three of them live together at most, before there is an output."""
    values = math.prod(output)
    padded = values // output[1] * (output[1] + node.attrs["size"] - 1)
    scratch = values if needs[0] else 2 * values
    return Keeping(inputs=(0,), more=padded + 2 * values, forward=scratch, backward=3 * values)


def _layer_norm(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    """Mean and deviation of each normalised part."""
    width = node.attrs.get("width") or math.prod(next(iter(node.params.values()), output[-1:]))
    return Keeping(inputs=(0,), more=2 * (math.prod(output) // width))


def _group_norm(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping | None:
    groups = node.attrs.get("groups")
    return None if groups is None else Keeping(inputs=(0,), more=2 * int(output[0]) * groups)


def _scaled_tanh(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    return Keeping(more=math.prod(output), forward=math.prod(output), backward=math.prod(output))


def _channel_affine(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    return Keeping(inputs=(0,), forward=math.prod(output), backward=math.prod(output))


def _rbf(node: Node, inputs: Sequence[Shape], output: Shape, needs: Sequence[bool]) -> Keeping:
    """The difference between each input and each unit's code."""
    differences = math.prod(output) * int(inputs[0][-1])
    return Keeping(more=differences, forward=differences, backward=2 * differences)


RULES = {
    "mul": _mul,
    "div": _div,
    "matmul": _matmul,
    "max_pool1d": _max_pool,
    "max_pool2d": _max_pool,
    "max_pool3d": _max_pool,
    "adaptive_max_pool2d": _max_pool,
    "avg_pool1d": lambda *_: INPUT,
    "avg_pool2d": lambda *_: INPUT,
    "avg_pool3d": lambda *_: INPUT,
    "adaptive_avg_pool1d": _adaptive_avg_pool,
    "adaptive_avg_pool2d": _adaptive_avg_pool,
    "mean": lambda *_: NOTHING,
    "neg": lambda *_: NOTHING,
    "clone": lambda *_: NOTHING,
    "upsample": lambda *_: NOTHING,
    "channel_shuffle": lambda *_: NOTHING,
    "same_pad2d": _pad,
    "pad": _pad,
    "local_response_norm": _local_response_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "scaled_tanh": _scaled_tanh,
    "channel_affine": _channel_affine,
    "rbf": _rbf,
}
