"""What each operation computes: all its operations, its backward multiply-adds, and the bytes it must move.

Conventions (docs/conventions.md says them for people):

macs           multiply-adds of convolutions, linear layers and matrix products (``graph.ops.macs``).
macs_all       these, and one operation for each value that a norm, an activation, an arithmetic operation or an
               added bias gives, and for each value that a pool reads through its windows.
macs_backward  multiply-adds of the gradients: those of the weights and those of the inputs, as many as forward each;
               none for what needs no gradient, the picture above all.
traffic        inputs read, parameters read, output written, each value once: what no implementation can go below that
               runs one operation at a time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from convatlas.graph.model import Node
from convatlas.graph.ops import CONVOLUTIONS, ELEMENTWISE, TRANSPOSED, VIEWS, macs_a_value

PRODUCTS = CONVOLUTIONS | TRANSPOSED | {"linear", "matmul"}
"""Operations that are made of multiply-adds."""

PER_VALUE = ELEMENTWISE | frozenset(
    """
    batch_norm layer_norm group_norm instance_norm relu relu6 leaky_relu prelu elu celu selu gelu silu mish sigmoid tanh
    hardsigmoid hardswish hardtanh softplus softmax log_softmax scaled_tanh channel_affine neg abs sqrt exp upsample
    """.split()
)
"""Operations that count one for each value of their output."""

MOVES = frozenset("channel_shuffle cat pad same_pad2d clone".split())
"""Operations that only copy values to another place."""

FREE = VIEWS | MOVES | frozenset("input parameter dropout alpha_dropout drop_path".split())
"""Operations that compute nothing in evaluation."""


class Work(NamedTuple):
    """What one operation computes, whatever its shapes.

    macs, macs_read:  multiply-adds for each value of its output, of its (first) input; of a matrix product, and where a
                      recorded count is given, the count itself follows from shapes or attributes (``counted``).
    others, others_read: other operations for each value of its output, of its input; None where nobody has told them.
    moves:            whether it reads and writes memory.
    """

    macs: int = 0
    macs_read: int = 0
    counted: bool = False
    others: int | None = 0
    others_read: int = 0
    moves: bool = True


def work(node: Node) -> Work:
    """The node's Work."""
    op, attrs = node.op, node.attrs
    moves = not ((op in FREE and op not in MOVES) or "view" in attrs)
    others, read = _others(node)
    if "macs" in attrs or op == "matmul":
        return Work(counted=True, others=others, others_read=read, moves=moves)
    return Work(*macs_a_value(op, attrs), others=others, others_read=read, moves=moves)


def _others(node: Node) -> tuple[int | None, int]:
    """Other operations than multiply-adds, for each value of the output and of the input."""
    op, attrs = node.op, node.attrs
    if op in PRODUCTS:  # the bias is the parameter of one dimension
        return int(any(len(shape) == 1 for shape in node.params.values())), 0
    if op in PER_VALUE:
        return 1, 0
    if op in FREE or "view" in attrs:
        return 0, 0
    if op == "local_response_norm":  # the sum of squares over the neighbours, then a power and a quotient
        return attrs["size"] + 2, 0
    if op.startswith(("max_pool", "avg_pool")) and "kernel" in attrs:
        return math.prod(attrs["kernel"]), 0
    if op.startswith("adaptive") or op == "mean":
        return 0, 1
    if op == "rbf":  # a difference and its square for each unit and each value that it reads
        return 0, 2 * attrs["outputs"]
    return None, 0
