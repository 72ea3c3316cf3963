"""Which storages a network's operations make, share and keep for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from convatlas.cost.keeping import Keeping
from convatlas.graph.model import Graph


class Storages(NamedTuple):
    """By node: its storage, those that it keeps for its backward pass, and those of them that no earlier node keeps.

    By storage: the node that makes it, and the last one while which something holds it forward; one past the last for
    what the network gives.  outputs: the nodes that give it.
    """

    storage: list[int]
    kept: list[tuple[int, ...]]
    first_kept: list[tuple[int, ...]]
    maker: list[int]
    last_held: list[int]
    outputs: list[int]


def storages(graph: Graph, needs: Sequence[bool], keeps: Sequence[Keeping]) -> Storages:
    """The storages of one forward pass in training.  needs: whether each node's output needs a gradient."""
    nodes, left = graph.nodes, _leaving(graph)
    storage: list[int] = []
    kept: list[tuple[int, ...]] = []
    first_kept: list[tuple[int, ...]] = []
    maker: list[int] = []
    last_held: list[int] = []
    seen: set[int] = set()
    for place, (node, keep) in enumerate(zip(nodes, keeps)):
        sources = node.inputs
        if keep.aliases:
            own = storage[sources[0]]
        else:
            own = len(maker)
            maker.append(place)
            last_held.append(-1)
        storage.append(own)
        for source in sources:
            last_held[storage[source]] = max(last_held[storage[source]], left(source, place))
        keeping: tuple[int, ...] = ()
        if needs[place]:
            keeping = tuple([storage[sources[i]] for i in keep.inputs] + ([own] if keep.output else []))
        kept.append(keeping)
        first_kept.append(tuple(dict.fromkeys(one for one in keeping if one not in seen)))
        seen.update(keeping)
    read = {i for node in nodes for i in node.inputs}
    outputs = list(graph.outputs) or [place for place in range(len(nodes)) if place not in read]
    for place in outputs:
        last_held[storage[place]] = len(nodes)
    return Storages(storage, kept, first_kept, maker, last_held, outputs)


def _leaving(graph: Graph) -> Callable[[int, int], int]:
    """What tells for a source and a node that reads it the last node of the outermost module that is given the source:
    Python holds the arguments of a call until it returns."""
    words = [node.name.split(".") for node in graph.nodes]
    shared = [0]  # how many words of its path a node has in common with the one before
    for before, now in pairwise(words):
        shared.append(next((i for i, (a, b) in enumerate(zip(before, now)) if a != b), min(len(before), len(now))))
    ends: list[list[int]] = [[] for _ in words]  # by node and length of path: the last node under it
    for place in reversed(range(len(words))):
        ends[place] = [place] * (len(words[place]) + 1)
        if place + 1 < len(words):
            ends[place][: shared[place + 1] + 1] = ends[place + 1][: shared[place + 1] + 1]

    def left(source: int, place: int) -> int:
        common = min(shared[source + 1 : place + 1])
        return ends[place][min(common + 1, len(words[place]))]

    return left
