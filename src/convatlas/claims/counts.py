"""Figures of whole networks: parameters, multiply-adds, layers, kernels, fields, years."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from convatlas import facts
from convatlas.claims.checking import recomputes
from convatlas.claims.networks import (
    WEIGHTED,
    cost,
    entry,
    graph,
    kernel,
    nodes,
    shapes,
)
from convatlas.claims.networks import (
    params as params_of,
)
from convatlas.cost import analyze
from convatlas.graph.ops import CONVOLUTIONS

POOLS = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")


@recomputes
def params(network: str) -> Mapping[str, int]:
    """Trainable parameters; beside them, those with the auxiliary heads."""
    found = entry(network)
    return {"": found["params"], **({"with aux": found["with_aux"]["params"]} if "with_aux" in found else {})}


@recomputes
def params_without_norm(network: str) -> Mapping[str, int]:
    """Trainable parameters; beside them, those that are not batch norm's."""
    norm = sum(params_of(node) for node, _ in nodes(network, "batch_norm"))
    return {"": entry(network)["params"], "without batch norm": entry(network)["params"] - norm}


@recomputes
def macs(network: str, input: int | None = None) -> int:
    """Multiply-adds of one picture at the network's own input size, or at another."""
    return entry(network)["macs"] if input is None else analyze(graph(network), input_size=input).totals["macs"]


@recomputes
def macs_at(network: str, input: str) -> int:
    """Multiply-adds at an input that is a row's label."""
    return analyze(graph(network), input_size=int(input)).totals["macs"]


@recomputes
def macs_and_joints(network: str) -> Mapping[str, int]:
    """Multiply-adds; beside them, with one operation for each element added at a shortcut or scaled by a gate."""
    joints = sum(math.prod(shape) for _, shape in nodes(network, "add", "mul"))
    return {"": entry(network)["macs"], "with additions and scalings": entry(network)["macs"] + joints}


@recomputes
def macs_of_convolutions(network: str) -> Mapping[str, int]:
    """Multiply-adds; beside them, those of the convolutions alone."""
    convolutions = sum(cost(network, node, shape) for node, shape in nodes(network, *CONVOLUTIONS))
    return {"": entry(network)["macs"], "convolutions alone": convolutions}


@recomputes
def times_less(network: str, than: str) -> Mapping[str, float]:
    """How many times fewer parameters and multiply-adds ``network`` has than another."""
    return {
        "params": entry(than)["params"] / entry(network)["params"],
        "MACs": entry(than)["macs"] / entry(network)["macs"],
    }


@recomputes
def macs_percent(network: str, of: str) -> float:
    return 100 * float(entry(network)["macs"] / entry(of)["macs"])


@recomputes
def times_smaller(network: str, than: str | int) -> float:
    """How many times fewer parameters ``network`` has."""
    other = than if isinstance(than, int) else entry(than)["params"]
    return float(other / entry(network)["params"])


@recomputes
def macs_growth(network: str, base: str) -> Mapping[str, float]:
    """By how many percent ``network`` takes more multiply-adds than ``base``, and has more parameters."""
    grown = {what: 100 * (entry(network)[what] / entry(base)[what] - 1) for what in ("macs", "params")}
    return {"": grown["macs"], "parameters": grown["params"]}


@recomputes
def params_growth(network: str, base: str) -> Mapping[str, float]:
    """Parameters more than ``base``, as a number and in percent."""
    more = entry(network)["params"] - entry(base)["params"]
    return {"params": more, "percent": 100 * more / entry(base)["params"]}


@recomputes
def classes(network: str) -> int:
    return int(entry(network)["classes"])


@recomputes
def class_names() -> int:
    """Lines of the table of ImageNet's classes."""
    return len((facts.FOLDER / "imagenet_classes.tsv").read_text(encoding="utf-8").splitlines())


@recomputes
def input_size(network: str) -> int:
    return int(entry(network)["input_size"])


@recomputes
def depth(network: str) -> Mapping[str, int]:
    """Layers with parameters on the longest path from picture to logits; beside them, with pooling layers."""
    with_weights: list[int] = []
    with_pools: list[int] = []
    for node in graph(network).nodes:
        weighted, pools = node.op in WEIGHTED, node.op in POOLS
        with_weights.append(max((with_weights[i] for i in node.inputs), default=0) + weighted)
        with_pools.append(max((with_pools[i] for i in node.inputs), default=0) + (weighted or pools))
    return {"": with_weights[-1], "with pooling": with_pools[-1]}


@recomputes
def deeper(network: str, than: str) -> float:
    """How many times more layers with parameters are on the longest path."""
    return depth(network)[""] / depth(than)[""]


@recomputes
def layers(network: str) -> Mapping[str, int]:
    """Convolutions and linear layers, wherever they stand."""
    ops = Counter(node.op for node in graph(network).nodes)
    return {"convolutions": ops["conv2d"], "fully connected": ops["linear"]}


@recomputes
def operations(network: str, op: str) -> int:
    """How often an operation occurs."""
    return sum(1 for _ in nodes(network, op))


@recomputes
def activations(network: str) -> Mapping[str, int]:
    """How often each activation occurs; gates' sigmoids are none."""
    kinds = ("relu", "relu6", "silu", "hardswish")
    return {kind: sum(1 for _ in nodes(network, kind)) for kind in kinds}


@recomputes
def convolution_neurons(network: str) -> int:
    """Values in the maps of the convolutions, one picture."""
    return sum(math.prod(shape) for _, shape in nodes(network, "conv2d"))


@recomputes
def field_size(network: str) -> int:
    """The receptive field of the trunk's last unit in pixels; what a gate sees beside it does not count."""
    from convatlas.cost.field import fields

    seen = fields(graph(network), shapes(network))
    last = max(place for place, node in enumerate(graph(network).nodes) if not node.name.startswith(("head", "aux")))
    field = seen[last]
    assert field is not None
    return int(field.size[0])


@recomputes
def first_kernel(network: str) -> Mapping[str, str | int]:
    """The first convolution's kernel, and how many others are as large."""
    kernels = [kernel(node) for node, _ in nodes(network, "conv2d")]
    return {"kernel": kernels[0], "convolutions as large": kernels.count(kernels[0])}
