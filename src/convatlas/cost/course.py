"""The course of a training step: which tensors come and go, in order, whatever their sizes are.

A tensor is made when its operation runs and freed when nothing will read it: forward in the order of the graph,
backward in the reverse, as autograd's engine goes.  A second gradient that arrives at a node is added to the first,
into a third tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import add
from typing import NamedTuple

from convatlas.cost.keeping import Keeping
from convatlas.cost.storages import Storages
from convatlas.graph.model import Graph

NONE = 0
"""The amount that is nothing."""

LOSS = 1
"""What the loss keeps for itself."""


class Moment(NamedTuple):
    """While one operation runs.  phase: forward, recompute, loss, backward or step; place: the operation's, or -1."""

    phase: str
    place: int


class Course(NamedTuple):
    """events: numbers of the amounts that are added, or, from ``amounts`` on, taken away.

    moments, and for each how many events lie before it, and the amount that lives only then.
    graded: for each node the parameters whose gradient is made there.
    """

    events: list[int]
    moments: list[Moment]
    before: list[int]
    passing: list[int]
    amounts: int
    graded: list[tuple[str, ...]]

    def heights(self, amounts: Sequence[int], always: int) -> list[int]:
        """What lives at each moment, ``always`` included."""
        signed = [*amounts, *[-amount for amount in amounts]]
        live = list(accumulate(map(signed.__getitem__, self.events), initial=always))
        return list(map(add, map(live.__getitem__, self.before), map(amounts.__getitem__, self.passing)))


class Amounts:
    """The numbers of the amounts of a graph: of each storage, and of each node what it keeps beside storages, its
    gradient, its scratch memory forward (with what it keeps) and backward, and the gradients of its parameters."""

    def __init__(self, nodes: int, storages: int):
        self.kept = 2 + storages
        self.gradient = self.kept + nodes
        self.forward = self.gradient + nodes
        self.backward = self.forward + nodes
        self.parameters = self.backward + nodes
        self.all = self.parameters + nodes

    @staticmethod
    def storage(number: int) -> int:
        return 2 + number


def checkpointed(graph: Graph, needs: Sequence[bool]) -> list[tuple[int, int]]:
    """The first and the last node of each activation checkpoint."""
    paths = set(graph.checkpoints)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for place, node in enumerate(graph.nodes):
        words = node.name.split(".")
        for count in range(1, len(words) + 1):
            path = ".".join(words[:count])
            if path in paths and needs[place]:
                first.setdefault(path, place)
                last[path] = place
    return [(first[path], last[path]) for path in first]


def course(
    graph: Graph,
    needs: Sequence[bool],
    keeps: Sequence[Keeping],
    storages: Storages,
    segments: Sequence[tuple[int, int]] = (),
) -> Course:
    """The course of one step.  segments: nodes that keep only their input, and run again before their backward pass."""
    walk = _Walk(graph, needs, keeps, storages, segments)
    walk.run()
    return Course(walk.events, walk.moments, walk.before, walk.passing, walk.amounts.all, walk.graded)


class _Walk:
    """owners: how many operations keep each storage for their backward pass.  Gradients are numbers too."""

    def __init__(
        self,
        graph: Graph,
        needs: Sequence[bool],
        keeps: Sequence[Keeping],
        storages: Storages,
        segments: Sequence[tuple[int, int]],
    ):
        self.nodes, self.needs, self.keeps, self.made = graph.nodes, needs, keeps, storages
        self.amounts = Amounts(len(graph.nodes), len(storages.maker))
        self.events: list[int] = []
        self.moments: list[Moment] = []
        self.before: list[int] = []
        self.passing: list[int] = []
        self.leaving: list[list[int]] = [[] for _ in range(len(graph.nodes) + 1)]  # after a node: nothing holds it
        for storage, place in enumerate(storages.last_held):
            self.leaving[place].append(storage)
        self.owners = [0] * len(storages.maker)
        self.alive = [False] * len(storages.maker)
        self.starts = dict(segments)
        self.ends = {last: first for first, last in segments}
        self.inside = {place for first, last in segments for place in range(first, last + 1)}
        self.arrived: list[list[int]] = [[] for _ in self.nodes]  # gradients at each node
        self.holders: list[int] = []  # of each gradient
        self.weight: list[int] = []  # its amount
        self.graded: list[tuple[str, ...]] = [()] * len(self.nodes)
        self.known: set[str] = set()  # parameters with a gradient
        self.frozen = graph.frozen

    def add(self, amount: int) -> None:
        self.events.append(amount)

    def take(self, amount: int) -> None:
        self.events.append(self.amounts.all + amount)

    def note(self, phase: str, place: int, more: int = NONE) -> None:
        self.moments.append(Moment(phase, place))
        self.before.append(len(self.events))
        self.passing.append(more)

    def run(self) -> None:
        outputs = [place for place in self.made.outputs if self.needs[place]]
        logits = [self.amounts.gradient + place for place in outputs]
        for place in range(len(self.nodes)):
            if place in self.starts:
                self.own(self.read_by(place, self.starts[place]), 1)
            self.forward(place, "forward", place not in self.inside)
        for amount in logits:  # the loss keeps the log-probabilities; nobody reads the logits again
            self.add(amount)
        self.add(LOSS)
        self.note("loss", -1)
        for place, amount in zip(outputs, logits):
            self.free(self.made.storage[place])
            self.arrived[place] = [self.new(amount)]
            self.note("loss", -1, amount)
        for amount in logits:
            self.take(amount)
        for place in range(len(self.nodes) - 1, 0, -1):
            if place in self.ends:
                for again in range(self.ends[place], place + 1):
                    self.forward(again, "recompute", True)
                self.free(self.made.storage[place])  # its readers have run long ago
            if self.arrived[place]:
                self.backward(place)
            if place in self.starts:
                self.own(self.read_by(place, self.starts[place]), -1)
        self.note("step", -1)

    def read_by(self, first: int, last: int) -> set[int]:
        """The storages from outside that the nodes from first to last read."""
        return {self.made.storage[i] for node in self.nodes[first : last + 1] for i in node.inputs if i < first}

    def own(self, storages: set[int], change: int) -> None:
        for storage in storages:
            self.owners[storage] += change
            self.free(storage)

    def free(self, storage: int) -> None:
        """Unless somebody keeps it; the picture, 0, is the caller's."""
        if self.alive[storage] and not self.owners[storage] and storage:
            self.alive[storage] = False
            self.take(self.amounts.storage(storage))

    def forward(self, place: int, phase: str, keeps: bool) -> None:
        keep, own = self.keeps[place], self.made.storage[place]
        if not keep.aliases and not self.alive[own]:
            self.alive[own] = True
            self.add(self.amounts.storage(own))
        kept = self.needs[place] and (keep.more or keep.more_bytes)
        self.note(phase, place, self.amounts.forward + place if kept or keep.forward else NONE)
        if keeps:
            if kept:
                self.add(self.amounts.kept + place)
            for storage in self.made.kept[place]:
                self.owners[storage] += 1
        for storage in self.leaving[place]:
            self.free(storage)

    def backward(self, place: int) -> None:
        node, keep, arrived = self.nodes[place], self.keeps[place], self.arrived[place]
        if fresh := tuple(path for path in node.params if path not in self.known and path not in self.frozen):
            self.known.update(fresh)
            self.graded[place] = fresh
            self.add(self.amounts.parameters + place)
        made: list[tuple[int, int]] = []
        for position, source in enumerate(node.inputs):
            if not self.needs[source] or self.nodes[source].op == "parameter":
                continue
            if position in keep.passes:
                self.holders[arrived[0]] += 1
                made.append((source, arrived[0]))
            else:
                made.append((source, self.new(self.amounts.gradient + source)))
        again = any(path in self.known and path not in self.graded[place] for path in node.params)
        self.note("backward", place, self.amounts.backward + place if keep.backward or again else NONE)
        for gradient in arrived:
            self.drop(gradient)
        self.arrived[place] = []
        if keep.more or keep.more_bytes:
            self.take(self.amounts.kept + place)
        for storage in self.made.kept[place]:
            self.owners[storage] -= 1
            self.free(storage)
        for source, gradient in made:
            self.deliver(source, gradient)

    def new(self, amount: int) -> int:
        self.add(amount)
        self.holders.append(1)
        self.weight.append(amount)
        return len(self.weight) - 1

    def drop(self, gradient: int) -> None:
        self.holders[gradient] -= 1
        if not self.holders[gradient]:
            self.take(self.weight[gradient])

    def deliver(self, source: int, gradient: int) -> None:
        arrived = self.arrived[source]
        if not arrived or self.nodes[source].op in ("chunk", "split"):
            arrived.append(gradient)
            return
        (old,) = arrived
        arrived[0] = self.new(self.amounts.gradient + source)
        self.note("backward", source)
        self.drop(old)
        self.drop(gradient)
