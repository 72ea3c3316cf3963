"""What an engine really runs: a graph's operations after fusion, each with its multiply-adds and the bytes it moves.

Pure Python, no torch.  Batch norms are part of the convolutions before them; ONNX Runtime's fused graph also takes in
the activation behind a convolution and the addition of a shortcut.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from convatlas.graph.model import Graph, Node
from convatlas.graph.ops import Shape, macs

ELEMENT = 4
"""Bytes of a float32."""

FREE = {"input", "identity", "dropout", "drop_path", "flatten", "reshape", "squeeze", "unsqueeze", "contiguous"}
"""In evaluation they move nothing."""
ACTIVATIONS = {"relu", "relu6", "sigmoid", "tanh", "hardsigmoid", "hardswish"}
"""What ONNX Runtime makes a part of the convolution before it; of a linear layer only a rectifier."""
CURVES = {"sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "gelu", "scaled_tanh", "local_response_norm"}
"""Pointwise operations that cost more than moving the values, each by its own rate."""
JOINS = {"cat", "pad", "same_pad2d", "getitem", "chunk", "split", "permute", "transpose"}
POOLS = {"max_pool2d", "avg_pool2d"}

KINDS = ("conv", "stem", "pointwise", "depthwise", "grouped", "linear", "pool", "map", "join", "shuffle",
         *sorted(CURVES))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """One operation as it is run.

    name: of the graph's node; the fused ones are ``names``.  kind: one of KINDS, whose rates are its own.
    macs: multiply-adds, of channels filled up to the width in which they are computed.
    moved: bytes of maps read and written; weights: bytes of parameters.
    """

    name: str
    kind: str
    macs: int
    moved: int
    weights: int
    names: tuple[str, ...] = ()


def works(graph: Graph, shapes: Sequence[Shape], *, fuses: bool, block: int) -> list[Work]:
    """A graph's operations as they are run, in their order.

    shapes: of ``graph.shapes``.  fuses: as ONNX Runtime does; else as folded PyTorch.
    block: channels that are computed at once; convolutions fill theirs up to a multiple of it.
    """
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    place_of: dict[int, int] = {}  # node -> the work that gives its output
    made: list[Work] = []
    open_: set[int] = set()  # works that may still take in what reads them alone
    summed: set[int] = set()
    for i, node in enumerate(graph.nodes):
        source = node.inputs[0] if node.inputs else -1
        if node.op in FREE or _changes_nothing(node, shapes, i):
            if source >= 0:
                place_of[i] = place_of.get(source, -1)
                if readers[source] != 1 and place_of[i] in open_:
                    open_.discard(place_of[i])
            continue
        into = _taken_in(node, place_of, readers, open_, summed, made, fuses)
        if into is not None:
            made[into] = replace(made[into], names=(*made[into].names, node.name))
            if node.op == "add":
                made[into] = replace(made[into], moved=made[into].moved + _bytes(shapes[i]))
                summed.add(into)
            elif node.op != "batch_norm":
                open_.discard(into)
            place_of[i] = into
            continue
        made.append(_work(node, shapes, i, block))
        place_of[i] = len(made) - 1
        if node.op in ("conv2d", "batch_norm", "linear"):
            open_.add(len(made) - 1)
    return made


def _taken_in(
    node: Node,
    place_of: dict[int, int],
    readers: Counter[int],
    open_: set[int],
    summed: set[int],
    made: list[Work],
    fuses: bool,
) -> int | None:
    """The work that this node becomes a part of; None where it is run by itself."""
    alone = [place_of.get(source, -1) for source in node.inputs if readers[source] == 1]
    fitting = [place for place in alone if place in open_]
    if not fitting:
        return None
    last = max(fitting)
    if node.op == "batch_norm":
        return last if made[last].kind not in ("map", "linear") and last not in summed else None
    if not fuses:
        return None
    if node.op in ACTIVATIONS:
        return last if made[last].kind != "linear" or node.op == "relu" else None
    if node.op == "add" and len(node.inputs) == 2 and made[last].kind not in ("map", "linear") and last not in summed:
        return last
    return None


def _changes_nothing(node: Node, shapes: Sequence[Shape], i: int) -> bool:
    """A pool or a padding to the size that is there."""
    resizes = node.op in ("adaptive_avg_pool2d", "pad", "same_pad2d")
    return resizes and bool(node.inputs) and shapes[i] == shapes[node.inputs[0]]


def _bytes(shape: Shape) -> int:
    if shape and isinstance(shape[0], tuple):
        return sum(_bytes(part) for part in shape)
    return math.prod(shape) * ELEMENT


def _work(node: Node, shapes: Sequence[Shape], i: int, block: int) -> Work:
    read = sum(_bytes(shapes[source]) for source in node.inputs)
    weights = sum(map(math.prod, node.params.values())) * ELEMENT
    if node.op == "conv2d":
        return _convolution(node, shapes, i, block, read, weights)
    count = macs(node.op, node.attrs, [shapes[source] for source in node.inputs], shapes[i]) or 0
    if node.op == "linear":
        kind = "linear"
    elif node.op in POOLS:
        kind = "pool"
        count = _bytes(shapes[i]) // ELEMENT * math.prod(node.attrs["kernel"])
    elif node.op in JOINS:
        kind = "join"
    elif node.op == "channel_shuffle":
        kind = "shuffle"
    else:
        kind = node.op if node.op in CURVES else "map"
    return Work(node.name, kind, count, read + _bytes(shapes[i]), weights, (node.name,))


def _convolution(node: Node, shapes: Sequence[Shape], i: int, block: int, read: int, weights: int) -> Work:
    batch, outputs, height, width = shapes[i]
    inputs, groups = shapes[node.inputs[0]][1], node.attrs["groups"]
    kernel = math.prod(node.attrs["kernel"])
    pixels = batch * height * width
    if groups > 1 and groups == inputs == outputs:
        kind, full = "depthwise", _filled(outputs, block)
        count = pixels * full * kernel
    elif groups > 1 and ((inputs // groups) % block or (outputs // groups) % block):
        kind, full = "grouped", outputs
        count = pixels * outputs * (inputs // groups) * kernel
    else:
        full = _filled(outputs, block)
        few = inputs < block
        kind = "stem" if few else "pointwise" if kernel == 1 else "conv"
        count = pixels * full * (inputs if few else _filled(inputs, block)) // groups * kernel
    return Work(node.name, kind, count, read + pixels * full * ELEMENT, weights, (node.name,))


def _filled(channels: int, block: int) -> int:
    return -(-channels // block) * block
