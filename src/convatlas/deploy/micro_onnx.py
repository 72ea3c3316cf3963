"""Small graphs as ONNX, operation by operation, with random weights.  No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph, Node

OPSET = 18
ASKED = 24
"""Small operations on sizes that an exported network runs for one padding to "same"."""


def onnx_bytes(graph: Graph) -> bytes:
    """A graph of ``deploy.micro`` as a file of ONNX, for any number of inputs."""
    try:
        from onnx import TensorProto, helper
    except ImportError:
        raise ConvatlasError("calibrating ONNX Runtime needs onnx: pip install onnx") from None
    writing = _Writing()
    shapes = graph.shapes()
    for place, node in enumerate(graph.nodes):
        if node.op == "input":
            writing.gives[place] = "input"
        else:
            WRITERS[node.op](writing, place, node, [shapes[source] for source in node.inputs])
    ends = graph.outputs or (len(graph.nodes) - 1,)
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *graph.input_size])
    gives = [
        helper.make_tensor_value_info(writing.gives[end], TensorProto.FLOAT, ["N", *shapes[end][1:]]) for end in ends
    ]
    made = helper.make_graph(writing.nodes, graph.name, [given], gives, writing.tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


class _Writing:
    """nodes, tensors: what was written.  gives: of each place of the graph, the name of its map."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.gives: dict[int, str] = {}
        self.chance = np.random.default_rng(0)

    def node(self, op: str, inputs: Sequence[str], name: str, **attrs: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attrs))
        return name

    def tensor(self, name: str, values: NDArray[Any] | list[Any]) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weights(self, node: Node) -> list[str]:
        """Random, so that maps keep their size: numbers near nothing are slow."""
        names = []
        for name, shape in node.params.items():
            reads = math.prod(shape[1:]) if len(shape) > 1 else 1e4
            names.append(self.tensor(name, (self.chance.standard_normal(shape) * math.sqrt(2 / reads)).astype("f4")))
        return names

    def inputs(self, node: Node) -> list[str]:
        return [self.gives[source] for source in node.inputs]


Writer = Callable[[_Writing, int, Node, Sequence[Any]], None]


def _plainly(op: str, read: Callable[[Node], dict[str, Any]] = lambda node: {}) -> Writer:
    """An operation that ONNX has too."""

    def write(w: _Writing, place: int, node: Node, shapes: Sequence[Any]) -> None:
        w.gives[place] = w.node(op, [*w.inputs(node), *w.weights(node)], node.name, **read(node))

    return write


def _windowed(node: Node) -> dict[str, Any]:
    found = {"kernel_shape": node.attrs["kernel"], "strides": node.attrs["stride"], "pads": node.attrs["padding"] * 2}
    return {**found, "group": node.attrs["groups"]} if node.op == "conv2d" else found


def _silu(w: _Writing, place: int, node: Node, shapes: Sequence[Any]) -> None:
    (x,) = w.inputs(node)
    w.gives[place] = w.node("Mul", [x, w.node("Sigmoid", [x], f"{node.name}.sigmoid")], node.name)


def _clip(w: _Writing, place: int, node: Node, shapes: Sequence[Any]) -> None:
    ends = [w.tensor(f"{node.name}.{end}", np.array(end, np.float32)) for end in (0, 6)]
    w.gives[place] = w.node("Clip", [*w.inputs(node), *ends], node.name)


def _norm(w: _Writing, place: int, node: Node, shapes: Sequence[Any]) -> None:
    channels = shapes[0][1]
    scales = [w.tensor(f"{node.name}.{i}", np.full(channels, value, "f4")) for i, value in enumerate((1, 0.01, 0, 1))]
    w.gives[place] = w.node("BatchNormalization", [*w.inputs(node), *scales], node.name)


def _shuffle(w: _Writing, place: int, node: Node, shapes: Sequence[Any]) -> None:
    _, channels, height, width = shapes[0]
    groups = node.attrs["groups"]
    apart = w.tensor(f"{node.name}.apart", [-1, groups, channels // groups, height, width])
    together = w.tensor(f"{node.name}.together", [-1, channels, height, width])
    x = w.node("Reshape", [*w.inputs(node), apart], f"{node.name}.0")
    x = w.node("Transpose", [x], f"{node.name}.1", perm=[0, 2, 1, 3, 4])
    w.gives[place] = w.node("Reshape", [x, together], node.name)


def _chunk(w: _Writing, place: int, node: Node, shapes: Sequence[Any]) -> None:
    """Where to cut is asked of the map's size, as in exported networks."""
    (x,) = w.inputs(node)
    w.gives[place] = x
    one, half = w.tensor(f"{node.name}.axis", [1]), w.tensor(f"{node.name}.half", [2])
    size = w.node("Gather", [w.node("Shape", [x], f"{node.name}.shape"), one], f"{node.name}.size", axis=0)
    more = w.node("Div", [w.node("Add", [size, one], f"{node.name}.more"), half], f"{node.name}.cut")
    w.node("Mul", [more, one], f"{node.name}.end")
    w.tensor(f"{node.name}.none", [0])
    w.tensor(f"{node.name}.all", [1 << 30])


def _piece(w: _Writing, place: int, node: Node, shapes: Sequence[Any]) -> None:
    (x,) = w.inputs(node)
    cut = next(made for made in reversed(w.nodes) if made.output[0].endswith(".end")).output[0].removesuffix(".end")
    ends = [f"{cut}.none", f"{cut}.end"] if node.attrs["piece"] == 0 else [f"{cut}.end", f"{cut}.all"]
    w.gives[place] = w.node("Slice", [x, *ends, f"{cut}.axis"], node.name)


def _same_pad(w: _Writing, place: int, node: Node, shapes: Sequence[Any]) -> None:
    """How much is asked of the map's size, as in exported networks."""
    (x,) = w.inputs(node)
    none, last = w.tensor(f"{node.name}.none", [0]), w.tensor(f"{node.name}.last", [3])
    asked = w.node("Gather", [w.node("Shape", [x], f"{node.name}.shape"), last], f"{node.name}.asked0", axis=0)
    for i in range(1, ASKED):
        asked = w.node("Neg", [asked], f"{node.name}.asked{i}")
    nothing = w.node("Mul", [asked, none], f"{node.name}.nothing")
    kernel, stride = node.attrs["kernel"], node.attrs["stride"]
    wanted = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(shapes[0][2:], kernel, stride)]
    pads = [0, 0, *(n // 2 for n in wanted), 0, 0, *(n - n // 2 for n in wanted)]
    pads_name = w.node("Add", [nothing, w.tensor(f"{node.name}.pads", pads)], f"{node.name}.padding")
    w.gives[place] = w.node("Pad", [x, pads_name], node.name)


def _response_norm(w: _Writing, place: int, node: Node, shapes: Sequence[Any]) -> None:
    """By an average over neighbours, as torch writes it; ONNX's own operation has other code."""
    (x,) = w.inputs(node)
    size, name = node.attrs["size"], node.name
    axis = w.tensor(f"{name}.axis", [1])
    y = w.node("Unsqueeze", [w.node("Mul", [x, x], f"{name}.0"), axis], f"{name}.1")
    y = w.node("Pad", [y, w.tensor(f"{name}.pads", [0, 0, size // 2, 0, 0, 0, 0, (size - 1) // 2, 0, 0])], f"{name}.2")
    y = w.node("AveragePool", [y], f"{name}.3", kernel_shape=[size, 1, 1], strides=[1, 1, 1])
    y = w.node("Squeeze", [y, axis], f"{name}.4")
    for i, (op, value) in enumerate((("Mul", 1e-4), ("Add", 1.0), ("Pow", 0.75)), 5):
        y = w.node(op, [y, w.tensor(f"{name}.{op}", np.array(value, np.float32))], f"{name}.{i}")
    w.gives[place] = w.node("Div", [x, y], name)


WRITERS: dict[str, Writer] = {
    "conv2d": _plainly("Conv", _windowed),
    "linear": _plainly("Gemm", lambda node: {"transB": 1}),
    "max_pool2d": _plainly("MaxPool", _windowed),
    "avg_pool2d": _plainly("AveragePool", lambda node: {**_windowed(node), "count_include_pad": 1}),
    "adaptive_avg_pool2d": _plainly("GlobalAveragePool"),
    "relu": _plainly("Relu"),
    "relu6": _clip,
    "sigmoid": _plainly("Sigmoid"),
    "tanh": _plainly("Tanh"),
    "hardswish": _plainly("HardSwish"),
    "hardsigmoid": _plainly("HardSigmoid", lambda node: {"alpha": 1 / 6}),
    "add": _plainly("Add"),
    "mul": _plainly("Mul"),
    "cat": _plainly("Concat", lambda node: {"axis": 1}),
    "flatten": _plainly("Flatten"),
    "silu": _silu,
    "batch_norm": _norm,
    "channel_shuffle": _shuffle,
    "chunk": _chunk,
    "getitem": _piece,
    "same_pad2d": _same_pad,
    "local_response_norm": _response_norm,
}
