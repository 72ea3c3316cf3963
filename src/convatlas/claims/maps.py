"""Figures of layers' maps: what VGG, LeNet and AlexNet keep and connect, layer by layer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction

from convatlas.claims.checking import recomputes
from convatlas.claims.networks import entry, graph, nodes, params, readers, shapes
from convatlas.graph.ops import windows

POOLED = ("max_pool2d", "avg_pool2d")


# ---- VGG: the lecture's table --------------------------------------------------------------------------------


def _rows(network: str) -> dict[str, tuple[int, int]]:
    """layer -> (values of its output, parameters without biases); activations are done in place."""
    rows = {"input": (math.prod(shapes(network)[0]), 0)}
    for node, shape in nodes(network, "conv2d", "max_pool2d", "linear"):
        name = re.sub(r"^(trunk|head)\.|(\.conv)+$", "", node.name)
        rows[name] = (math.prod(shape), params(node, biases=False))
    return rows


@recomputes
def layer_memory(network: str, layer: str) -> Mapping[str, int]:
    """Values of a layer's output for one picture, and its parameters without biases."""
    memory, weights = _rows(network)[layer]
    return {"memory": memory, "params": weights}


@recomputes
def forward_memory(network: str) -> Mapping[str, int]:
    """Values and bytes (float32) of the picture and of all layers' outputs, activations in place; beside them, the
    values with activations that have an output of their own."""
    values = sum(memory for memory, _ in _rows(network).values())
    apart = sum(math.prod(shape) for _, shape in nodes(network, "relu"))
    return {"values": values, "bytes": 4 * values, "values, ReLUs apart": values + apart}


@recomputes
def memory_share(network: str, layers: list[str]) -> float:
    """The percentage of the forward pass' values that is in these layers."""
    rows = _rows(network)
    return 100 * sum(rows[layer][0] for layer in layers) / sum(memory for memory, _ in rows.values())


@recomputes
def linear_share(network: str) -> Mapping[str, float]:
    """The percentage of the parameters that is in linear layers; beside it, in the first of them."""
    own = [params(node) for node, _ in nodes(network, "linear")]
    total = entry(network)["params"]
    return {"": 100 * sum(own) / total, "the first alone": 100 * own[0] / total}


# ---- LeNet and AlexNet ---------------------------------------------------------------------------------------


def _lenet_layers() -> dict[str, tuple[int, int]]:
    """layer -> (parameters, connections): every unit is connected to what it reads, and to its bias."""
    found: dict[str, list[int]] = {}
    for node, shape in nodes("lenet5"):
        layer, units = node.name.split(".")[1] if "." in node.name else "", math.prod(shape)
        read = {
            "conv2d": lambda n=node: n.attrs["inputs"] * math.prod(n.attrs["kernel"]) + 1,
            "avg_pool2d": lambda n=node: math.prod(n.attrs["kernel"]) + 1,
            "linear": lambda n=node: n.attrs["inputs"] + 1,
            "rbf": lambda n=node: shapes("lenet5")[n.inputs[0]][-1],
        }.get(node.op, lambda: 0)()
        row = found.setdefault(layer, [0, 0])
        row[0] += params(node)
        row[1] += units * read
    return {layer: (row[0], row[1]) for layer, row in found.items()}


@recomputes
def lenet_layer(layer: str) -> Mapping[str, int]:
    own, connections = _lenet_layers()[layer]
    return {"params": own, "connections": connections}


@recomputes
def lenet_connections() -> int:
    return sum(connections for _, connections in _lenet_layers().values())


@recomputes
def after_pooling(network: str) -> str:
    """The activation that follows the pooling layers, scaled or not."""
    read = readers(network)
    kinds = set()
    for place, node in enumerate(graph(network).nodes):
        if node.op in POOLED:
            while graph(network).nodes[place].op in (*POOLED, "channel_affine"):
                place = read[place][0]
            kinds.add(graph(network).nodes[place].op.removeprefix("scaled_"))
    return ", ".join(sorted(kinds))


@recomputes
def filters(network: str) -> int:
    """Filters of all convolutions."""
    return sum(node.attrs["outputs"] for node, _ in nodes(network, "conv2d"))


@recomputes
def largest_convolution_share(network: str) -> float:
    """The percentage of the parameters that the largest convolution has."""
    return float(100 * max(params(node) for node, _ in nodes(network, "conv2d")) / entry(network)["params"])


@recomputes
def map_size(input: str, kernel: int, stride: int, padding: int) -> Fraction:
    """(input + 2 x padding - kernel) / stride + 1: not whole where the windows do not fit."""
    exact = Fraction(int(input) + 2 * padding - kernel, stride) + 1
    assert int(exact) == windows(int(input), kernel, stride, padding, 1)
    return exact


@recomputes
def layer_neurons(network: str, layer: str) -> int:
    """Values of a convolution's or linear layer's output, or of the picture."""
    return _rows(network)[layer][0]
