"""Which storages a network's operations make, share and keep for the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from convatlas.cost.keeping import Keeping
from convatlas.graph.model import Graph


class Storages(NamedTuple):
    """By node: its storage, those that it keeps for its backward pass, and those of them that no earlier node keeps.

    By storage: the node that makes it, and the last one that reads it forward; one past the last for what the network
    gives.  outputs: the nodes that give it.
    """

    storage: list[int]
    kept: list[tuple[int, ...]]
    first_kept: list[tuple[int, ...]]
    maker: list[int]
    last_read: list[int]
    outputs: list[int]


def storages(graph: Graph, needs: Sequence[bool], keeps: Sequence[Keeping]) -> Storages:
    """The storages of one forward pass in training.  needs: whether each node's output needs a gradient."""
    nodes = graph.nodes
    storage: list[int] = []
    kept: list[tuple[int, ...]] = []
    first_kept: list[tuple[int, ...]] = []
    maker: list[int] = []
    last_read: list[int] = []
    seen: set[int] = set()
    for place, (node, keep) in enumerate(zip(nodes, keeps)):
        sources = node.inputs
        if keep.aliases:
            own = storage[sources[0]]
        else:
            own = len(maker)
            maker.append(place)
            last_read.append(-1)
        storage.append(own)
        for source in sources:
            last_read[storage[source]] = place
        keeping: tuple[int, ...] = ()
        if needs[place]:
            keeping = tuple([storage[sources[i]] for i in keep.inputs] + ([own] if keep.output else []))
        kept.append(keeping)
        first_kept.append(tuple(dict.fromkeys(one for one in keeping if one not in seen)))
        seen.update(keeping)
    read = {i for node in nodes for i in node.inputs}
    outputs = list(graph.outputs) or [place for place in range(len(nodes)) if place not in read]
    for place in outputs:
        last_read[storage[place]] = len(nodes)
    return Storages(storage, kept, first_kept, maker, last_read, outputs)
