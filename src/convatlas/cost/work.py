"""What an engine really runs: a graph's operations after fusion, each with its multiply-adds and the bytes it moves.

Pure Python, no torch.  Batch norms are part of the convolutions before them.  PyTorch runs the rest as it stands
(``works`` here); ONNX Runtime takes in activations and shortcuts, and keeps maps in blocks of channels, between which
and plain maps it must copy (``cost.blocked``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from convatlas.graph.model import Graph, Node
from convatlas.graph.ops import Shape, macs

ELEMENT = 4
"""Bytes of a float32."""

WIDE = 4
"""Blocks of outputs that a convolution computes of what it has read once."""

FREE = {"input", "parameter", "identity", "dropout", "drop_path", "squeeze", "unsqueeze", "contiguous"}
"""In evaluation they do nothing."""
VIEWED = {"flatten", "reshape", "getitem", "chunk", "split", "permute", "transpose"}
"""In PyTorch they move nothing, or what they move is counted where it is read."""
CURVES = ("relu6", "sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "local_response_norm")
"""Pointwise operations that cost more than moving the values, each by its own rates."""
LIKE = {"gelu": "silu", "mish": "silu", "scaled_tanh": "tanh", "softmax": "sigmoid", "elu": "sigmoid",
        "leaky_relu": "relu", "sub": "add", "div": "scale", "batch_norm": "norm"}  # fmt: skip
"""What has no rates of its own goes by another's."""
COPIES = {"cat": "cat", "pad": "cat", "same_pad2d": "pad", "channel_shuffle": "shuffle"}

KINDS = ("conv", "stem", "pointwise", "depthwise", "grouped", "plain", "linear", "pool", "mean", "reorder", "relu",
         "add", "scale", "norm", "cat", "slice", "pad", "shuffle", "idle", *CURVES)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """One operation as it is run.

    name: of the graph's node for which it is done; the fused ones are ``names``.  kind: one of KINDS, each of which
    has rates of its own.
    macs: multiply-adds, of channels filled up to the width in which they are computed; of a pool what it reads.
    edge: those of them in the columns at a map's sides, where a kernel hangs over.
    narrow: of a convolution with few outputs, those for which what was read is used only so few times.
    moved: bytes of maps read and written; weights: bytes of parameters.
    """

    name: str
    kind: str
    macs: int
    edge: float
    narrow: float
    moved: int
    weights: int
    names: tuple[str, ...] = ()

    def terms(self, near: int) -> tuple[float, ...]:
        """What it costs, to be multiplied by a kind's rates: calls, multiply-adds, those at the edge, narrow ones,
        bytes of maps, of those that do not fit into ``near`` bytes of cache, and of weights."""
        far = self.moved if self.moved > near else 0
        return 1, self.macs, self.edge, self.narrow, self.moved, far, self.weights


def works(graph: Graph, shapes: Sequence[Shape], engine: str, block: int) -> list[Work]:
    """A graph's operations as an engine runs them, in their order.

    shapes: of ``graph.shapes``.  engine: "onnxruntime" or "eager".
    block: channels that are computed at once; convolutions fill theirs up to a multiple of it.
    """
    if engine == "onnxruntime":
        from convatlas.cost.blocked import blocked

        return blocked(graph, shapes, block)
    norms, made = folds(graph), []
    for i, node in enumerate(graph.nodes):
        if node.op in ("input", "parameter"):
            continue
        if node.op in FREE | VIEWED or i in norms or changes_nothing(node, shapes, i):
            made.append(Work(node.name, "idle", 0, 0, 0, 0, 0, (node.name,)))  # called all the same
        else:
            made.append(work(node, shapes, i, kind_of(node, shapes, i, block), block))
    return made


def folds(graph: Graph) -> dict[int, int]:
    """The batch norms that become part of the convolution before them: the norm's place and the convolution's."""
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    found = {}
    for i, node in enumerate(graph.nodes):
        if node.op == "batch_norm" and graph.nodes[node.inputs[0]].op == "conv2d" and readers[node.inputs[0]] == 1:
            found[i] = node.inputs[0]
    return found


def changes_nothing(node: Node, shapes: Sequence[Shape], i: int) -> bool:
    """A pool or a padding to the size that is there."""
    resizes = node.op in ("adaptive_avg_pool2d", "pad", "same_pad2d")
    return resizes and bool(node.inputs) and shapes[i] == shapes[node.inputs[0]]


def kind_of(node: Node, shapes: Sequence[Shape], i: int, block: int) -> str:
    """A node's kind, whatever comes before or after it."""
    op = node.op
    if op == "conv2d":
        inputs, groups = shapes[node.inputs[0]][1], node.attrs["groups"]
        if groups > 1:
            return "depthwise" if groups == inputs == shapes[i][1] else "grouped"
        return "stem" if inputs < block else "pointwise" if math.prod(node.attrs["kernel"]) == 1 else "conv"
    if op in ("max_pool2d", "avg_pool2d"):
        return "pool"
    if op.startswith("adaptive") or op == "mean":
        return "mean"
    if op == "mul":
        return "scale"
    found = LIKE.get(op, COPIES.get(op, op))
    if found in KINDS:
        return found
    if op.startswith("conv"):  # transposed, or over another number of axes
        return "conv"
    sources = [shapes[source] for source in node.inputs]
    return "linear" if macs(op, node.attrs, sources, shapes[i]) else "add"


def work(node: Node, shapes: Sequence[Shape], i: int, kind: str, block: int, *, full: bool = True) -> Work:
    """The work of one node.  full: its maps' channels are filled up to whole blocks."""
    sources = [shapes[source] for source in node.inputs]
    if node.op == "conv2d":
        return _convolution(node, shapes[i], sources[0], kind, block, full)
    filled = block if full else 1
    moved = sum(bytes_of(shape, filled) for shape in (*sources, shapes[i]))
    count = macs(node.op, node.attrs, sources, shapes[i]) or 0
    if kind == "pool":
        count = bytes_of(shapes[i], filled) // ELEMENT * math.prod(node.attrs["kernel"])
    weights = sum(map(math.prod, node.params.values())) * ELEMENT
    return Work(node.name, kind, count, 0, 0, moved, weights, (node.name,))


def _convolution(node: Node, y: Shape, x: Shape, kind: str, block: int, full: bool) -> Work:
    groups, kernel = node.attrs["groups"], node.attrs["kernel"]
    filled = block if full else 1
    batch, outputs, height, width = y
    count = batch * height * width * filled_up(outputs, filled) * math.prod(kernel)
    if groups == 1:
        count *= x[1] if kind == "stem" else filled_up(x[1], filled)
    elif kind != "depthwise":
        count *= x[1] // groups
    edge = count / width if kernel[-1] > 1 else 0
    narrow = count / min(WIDE, filled_up(outputs, block) // block) if kind != "depthwise" else 0
    moved = bytes_of(x, 1 if kind == "stem" else filled) + bytes_of(y, filled)
    weights = sum(map(math.prod, node.params.values())) * ELEMENT
    return Work(node.name, kind, count, edge, narrow, moved, weights, (node.name,))


def filled_up(channels: int, block: int) -> int:
    return -(-channels // block) * block


def bytes_of(shape: Shape, block: int = 1) -> int:
    """Of a tensor, or of several; a map's channels in whole blocks."""
    if shape and isinstance(shape[0], tuple):
        return sum(bytes_of(part, block) for part in shape)
    if len(shape) == 4:
        return int(math.prod(shape) // shape[1] * filled_up(shape[1], block) * ELEMENT)
    return int(math.prod(shape) * ELEMENT)
