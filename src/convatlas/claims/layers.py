"""Figures of single layers and small stacks, built as graphs by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

from convatlas.claims.checking import recomputes
from convatlas.claims.networks import cost, depthwise, graph, nodes, params, shapes
from convatlas.cost import analyze
from convatlas.graph.model import Graph, Node

CHANNELS = 64
"""Of the stacks whose ratio does not depend on it."""


def convolution(
    inputs: int, outputs: int, kernel: int, *, groups: int = 1, source: int = 0, name: str = "conv"
) -> Node:
    """A square convolution of stride 1 without bias that keeps the map's size."""
    attrs = {
        "inputs": inputs, "outputs": outputs, "groups": groups, "kernel": [kernel, kernel], "stride": [1, 1],
        "padding": [kernel // 2, kernel // 2], "dilation": [1, 1],
    }  # fmt: skip
    return Node(name, "conv2d", (source,), attrs, {f"{name}.weight": (outputs, inputs // groups, kernel, kernel)})


def chain(*convolutions: Node, input_size: tuple[int, int, int]) -> Graph:
    """The convolutions one after the other."""
    steps = [Node(f"conv{i}", c.op, (i,), c.attrs, {f"conv{i}.weight": c.params["conv.weight"]})
             for i, c in enumerate(convolutions)]  # fmt: skip
    return Graph("stack", input_size, (Node("input", "input"), *steps))


def stack(kernel: int, layers: int) -> Graph:
    return chain(*[convolution(CHANNELS, CHANNELS, kernel)] * layers, input_size=(CHANNELS, 28, 28))


@recomputes
def stack_field(kernel: int, layers: int) -> int:
    """The receptive field of convolutions in a row, in pixels."""
    from convatlas.cost.field import fields

    stacked = stack(kernel, layers)
    field = fields(stacked, stacked.shapes())[-1]
    assert field is not None
    return int(field.size[0])


@recomputes
def stack_fields(stacks: Mapping[str, Sequence[int]]) -> Mapping[str, int]:
    """name -> the field of a stack given as [kernel, layers]."""
    return {name: stack_field(*made) for name, made in stacks.items()}


@recomputes
def stack_params(stacks: Mapping[str, Sequence[int]]) -> Mapping[str, Fraction]:
    """name -> parameters, in units of the channels squared, of a stack given as [kernel, layers]."""
    return {name: Fraction(analyze(stack(*made)).totals["params"], CHANNELS**2) for name, made in stacks.items()}


@recomputes
def stack_saving(of: Sequence[int], against: Sequence[int]) -> Fraction:
    """By how many percent a stack [kernel, layers] has fewer parameters than another."""
    own, other = (analyze(stack(*made)).totals["params"] for made in (of, against))
    return 100 * (1 - Fraction(own, other))


@recomputes
def stack_excess(of: Sequence[int], against: Sequence[int]) -> Fraction:
    """By how many percent it has more."""
    return -stack_saving(of, against)


@recomputes
def layer_params(inputs: int, outputs: int, kernel: int, groups: int = 1) -> int:
    """Parameters of one convolution without bias."""
    return analyze(chain(convolution(inputs, outputs, kernel, groups=groups), input_size=(inputs, 8, 8))).totals[
        "params"
    ]


@recomputes
def separable_params(inputs: int, outputs: int, kernel: int) -> Mapping[str, int | float]:
    """Parameters of a depthwise and a pointwise convolution; beside them, their part of the standard one's."""
    depthwise_one, pointwise = convolution(inputs, inputs, kernel, groups=inputs), convolution(inputs, outputs, 1)
    total = analyze(chain(depthwise_one, pointwise, input_size=(inputs, 8, 8))).totals["params"]
    return {"": total, "part of the standard convolution": total / layer_params(inputs, outputs, kernel)}


@recomputes
def separable_savings(network: str) -> Mapping[str, float]:
    """Over a network's depthwise separable blocks, how many times fewer multiply-adds they take than 3x3 ones would."""
    pairs = list(nodes(network, "conv2d"))
    savings = []
    for (first, shape), (second, out) in pairwise(pairs):
        if depthwise(first) and second.attrs["kernel"] == [1, 1]:
            standard = 9 * first.attrs["inputs"] * out[1] * out[2] * out[3]
            savings.append(standard / (cost(network, first, shape) + cost(network, second, out)))
    return {"least": min(savings), "most": max(savings)}


@recomputes
def inception_module(module: str) -> Mapping[str, int]:
    """The module that Stanford's slides draw on a map of 28 x 28 x 256: multiply-adds and channels.

    naive: 1x1 to 128, 3x3 to 192 and 5x5 to 96 side by side, and the pooled map as it is.
    bottleneck: the same, with a 1x1 to 64 before the 3x3, before the 5x5 and behind the pool.
    """
    picture, inputs = Node("input", "input"), 256
    pool = Node("pool", "max_pool2d", (0,), {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1]})
    first = convolution(inputs, 128, 1, name="1x1")
    if module == "naive":
        steps = [picture, first, convolution(inputs, 192, 3, name="3x3"), convolution(inputs, 96, 5, name="5x5"), pool]
        ends = (1, 2, 3, 4)
    else:
        steps = [
            picture, first,
            convolution(inputs, 64, 1, name="before 3x3"), convolution(64, 192, 3, source=2, name="3x3"),
            convolution(inputs, 64, 1, name="before 5x5"), convolution(64, 96, 5, source=4, name="5x5"),
            pool, convolution(inputs, 64, 1, source=6, name="behind the pool"),
        ]  # fmt: skip
        ends = (1, 3, 5, 7)
    made = Graph(module, (inputs, 28, 28), (*steps, Node("cat", "cat", ends, {"dim": 1})))
    report = analyze(made)
    return {"MACs": report.totals["macs"], "channels": report.rows[-1].output_shape[1]}


@recomputes
def backward(network: str) -> Mapping[str, float]:
    """The backward pass against the forward pass.

    Each convolution and linear layer takes its forward multiply-adds once for the gradient of its weights and once for
    that of its input, which the layer that reads the picture does not need; memory: a gradient for every value of the
    forward pass but the picture, beside the values themselves.
    """
    weighted = [(node, cost(network, node, shape)) for node, shape in nodes(network) if params(node)]
    forward = sum(macs for _, macs in weighted)
    back = sum(macs * (1 if graph(network).nodes[node.inputs[0]].op == "input" else 2) for node, macs in weighted)
    kept = _values(network)
    picture = _size(shapes(network)[0])
    return {"multiply-adds": back / forward, "memory": (2 * kept - picture) / kept}


def _values(network: str) -> int:
    """Values of the picture and of every layer's output, activations done in place."""
    layers = ("input", "conv2d", "max_pool2d", "avg_pool2d", "linear")
    return sum(_size(shape) for _, shape in nodes(network, *layers))


def _size(shape: Sequence[int]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
