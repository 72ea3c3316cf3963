"""Registered networks as the claims' functions read them: each graph is loaded once."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from functools import cache
from typing import Any

from convatlas import facts
from convatlas.errors import UnknownName
from convatlas.graph.atlas import ARCHIVE, AUX
from convatlas.graph.model import Graph, Node
from convatlas.graph.ops import CONVOLUTIONS, Shape, macs

WEIGHTED = CONVOLUTIONS | {"linear"}
"""What a paper counts as a layer with parameters."""


@cache
def archive() -> zipfile.ZipFile:
    """The atlas, opened once for all the graphs that are wanted."""
    return zipfile.ZipFile(io.BytesIO((facts.FOLDER / ARCHIVE).read_bytes()))


@cache
def graph(network: str) -> Graph:
    """A network's graph, +aux with its auxiliary heads.  Raises UnknownName."""
    entry(network.removesuffix(AUX))
    return Graph.from_json(json.loads(archive().read(f"{network}.json")))


@cache
def shapes(network: str) -> list[Shape]:
    """Every node's output for one picture at the network's own input size."""
    return graph(network).shapes()


def entry(network: str) -> dict[str, Any]:
    """The network's entry of the index.  Raises UnknownName."""
    if network not in facts.index():
        raise UnknownName("network", network, facts.index())
    return facts.index()[network]


def nodes(network: str, *ops: str) -> Iterator[tuple[Node, Shape]]:
    """The nodes of these operations (of all, where none is named) with their outputs' shapes."""
    for node, shape in zip(graph(network).nodes, shapes(network)):
        if not ops or node.op in ops:
            yield node, shape


def cost(network: str, node: Node, shape: Shape) -> int:
    """Multiply-adds of a node."""
    return macs(node.op, node.attrs, [shapes(network)[i] for i in node.inputs], shape) or 0


def params(node: Node, *, biases: bool = True) -> int:
    """Parameters of a node, or those of its weights alone."""
    return sum(math.prod(shape) for path, shape in node.params.items() if biases or not path.endswith("bias"))


def kernel(node: Node) -> str:
    """ "3x3" """
    return "x".join(map(str, node.attrs["kernel"]))


def depthwise(node: Node) -> bool:
    return node.op in CONVOLUTIONS and node.attrs["groups"] == node.attrs["inputs"] > 1


def readers(network: str) -> list[list[int]]:
    """For each node, the places of the nodes that read it."""
    found: list[list[int]] = [[] for _ in graph(network).nodes]
    for place, node in enumerate(graph(network).nodes):
        for source in node.inputs:
            found[source].append(place)
    return found
