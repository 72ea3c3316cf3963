"""What of a graph's costs holds at every input size and batch: found once for each graph, and kept while it lives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from convatlas.cost.course import Course, checkpointed, course
from convatlas.cost.keeping import NOTHING, Keeping, fixed, keeping
from convatlas.cost.operations import Work, work
from convatlas.cost.storages import Storages, storages
from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph, Node
from convatlas.graph.ops import KEEPS_SHAPE, VIEWS, Shape

Kinds = tuple[tuple[Any, ...], ...]
"""How the operations whose keeping depends on shapes keep at one input, sizes left out."""


class Compiled:
    """By node: needs: whether its output needs a gradient.  readers: how many gradients it computes, of inputs and of
    its weight.  work: its Work.
    details: its kernel, stride and groups in short.  idle: whether it only passes on its input in evaluation; resizes:
    whether it does where the sizes are the same.  own: its parameters; fresh: those that no earlier node has.
    sizes: path -> values of each parameter that an operation reads and that is trained; all: of each that is read.
    unsure: whether a reshaped permutation may be a view or a copy, which we do not work out."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.needs: list[bool] = []
        self.work: list[Work] = [work(node) for node in graph.nodes]
        self.details: list[str] = [_detail(node.attrs) for node in graph.nodes]
        self.idle = [node.op in ("dropout", "alpha_dropout", "drop_path", "parameter") for node in graph.nodes]
        self.resizes = [node.op.startswith(("adaptive", "pad", "same_pad")) for node in graph.nodes]
        self.fresh: list[int] = []
        self.own: list[int] = []
        self.sizes: dict[str, int] = {}
        self.all: dict[str, int] = {}
        self.weighs: list[bool] = []
        self.moving = [moves(node) for node in graph.nodes]
        self.copying = [node.op in ("flatten", "reshape", "contiguous") for node in graph.nodes]
        self.disordered = [False] * len(graph.nodes)  # values that do not lie in order, so that flattening them copies
        self.unsure = False
        self.varying: list[int] = []
        self.readers: list[int] = []  # how many inputs of each node need a gradient
        for place, node in enumerate(graph.nodes):
            wanted = [self.needs[i] for i in node.inputs]
            own = {path: math.prod(shape) for path, shape in node.params.items()}
            trained = {path: size for path, size in own.items() if path not in graph.frozen}
            self.needs.append(node.op != "detach" and (bool(trained) or True in wanted))
            # A weight's gradient takes as many multiply-adds as an input's; a bias' takes none.
            weighs = any(len(node.params[path]) > 1 for path in trained)
            # Attention multiplies twice forward and four times backward.
            attends = node.op == "scaled_dot_product_attention"
            self.readers.append(2 * any(wanted) if attends else sum(wanted) + weighs)
            self.own.append(sum(own.values()))
            self.fresh.append(sum(size for path, size in trained.items() if path not in self.sizes))
            self.sizes.update(trained)
            self.all.update(own)
            self.weighs.append(weighs)
            if node.inputs and (not fixed(node) or (self.copying[place] and True in self.moving)):
                self.varying.append(place)
        self.reaches = self._reaching()
        self.readers = [count if reached else 0 for count, reached in zip(self.readers, self.reaches)]
        self._fixed: list[Keeping | None] | None = None
        self._buffers: tuple[int, int] | None = None
        self._storages: dict[Kinds, Storages] = {}
        self._courses: dict[tuple[Kinds, bool], Course] = {}

    def _reaching(self) -> list[bool]:
        """Which nodes the network's output depends on; the others get no gradient."""
        nodes = self.graph.nodes
        if not self.graph.outputs:
            return [True] * len(nodes)
        reaches = [False] * len(nodes)
        for place in self.graph.outputs:
            reaches[place] = True
        for place in range(len(nodes) - 1, -1, -1):
            if reaches[place]:
                for source in nodes[place].inputs:
                    reaches[source] = True
        return reaches

    def keeps(self, shapes: Sequence[Shape]) -> list[Keeping | None]:
        """Each node's Keeping at these shapes; None where its derivative is not known."""
        if True in self.moving:
            self._find_disorder(shapes)
        if self._fixed is None:
            self._fixed = [self._keeping(place, shapes) for place in range(len(shapes))]
            return list(self._fixed)
        found = list(self._fixed)
        for place in self.varying:
            found[place] = self._keeping(place, shapes)
        return found

    def _keeping(self, place: int, shapes: Sequence[Shape]) -> Keeping | None:
        node = self.graph.nodes[place]
        if not node.inputs:
            return NOTHING
        inputs = node.inputs
        needs = [self.needs[i] for i in inputs]
        return keeping(node, [shapes[i] for i in inputs], shapes[place], needs, weighs=self.weighs[place],
                       copies=self.disordered[inputs[0]])  # fmt: skip

    def _find_disorder(self, shapes: Sequence[Shape]) -> None:
        """Which values do not lie in order: behind a permutation that moves axes longer than 1, until a copy."""
        self.unsure = False
        for place, node in enumerate(self.graph.nodes):
            before = bool(node.inputs) and self.disordered[node.inputs[0]]
            if self.moving[place] and node.op not in ("permute", "transpose"):  # a part of a map has gaps
                self.disordered[place] = True
            elif self.moving[place]:
                x = shapes[node.inputs[0]]
                dims = [d % len(x) for d in node.attrs.get("dims", range(len(x)))]
                if node.op == "transpose" and len(dims) == 2:
                    order = list(range(len(x)))
                    order[dims[0]], order[dims[1]] = dims[1], dims[0]
                    dims = order
                long = [d for d in dims if x[d] > 1]
                self.disordered[place] = before or long != sorted(long)
            else:
                follows = node.op in VIEWS or node.op in KEEPS_SHAPE or "inplace" in node.attrs
                self.disordered[place] = before and follows and not self.copying[place]
                self.unsure |= before and self.copying[place]

    def buffer_bytes(self, shapes: Sequence[Shape], element: int) -> int:
        """Bytes of batch norm's running mean and variance and its counter of batches, and of RBF units' codes."""
        if self._buffers is None:
            nodes = self.graph.nodes
            norms = {next(iter(n.params), n.name): s[1] for n, s in zip(nodes, shapes)
                     if n.op == "batch_norm" and n.attrs.get("stats", True)}  # fmt: skip
            codes = [s[-1] * shapes[n.inputs[0]][-1] for n, s in zip(nodes, shapes) if n.op == "rbf"]
            self._buffers = 2 * sum(norms.values()) + sum(codes), 8 * len(norms)
        values, counters = self._buffers
        return values * element + counters

    def kinds(self, keeps: Sequence[Keeping | None]) -> Kinds:
        """What tells the storages and the course apart from those at other shapes."""
        kinds: list[tuple[Any, ...]] = []
        for place in self.varying:
            keep = keeps[place]
            if keep is None:
                kinds.append(())
            else:
                more = (keep.more or keep.more_bytes) != 0, keep.forward != 0, keep.backward != 0
                kinds.append((keep.aliases, keep.inputs, keep.output, keep.passes, *more))
        return tuple(kinds)

    def storages(self, kinds: Kinds, keeps: Sequence[Keeping | None]) -> Storages:
        """The storages of a forward pass in training."""
        if kinds not in self._storages:
            self._storages[kinds] = storages(self.graph, self.needs, [keep or NOTHING for keep in keeps])
        return self._storages[kinds]

    def course(self, kinds: Kinds, keeps: Sequence[Keeping | None], checkpointing: bool) -> Course:
        """The course of a training step.  Raises ConvatlasError if the graph does not say where its checkpoints lie."""
        if checkpointing and not self.graph.checkpoints:
            raise ConvatlasError(f"{self.graph.name} does not say where its activation checkpoints lie")
        if (kinds, checkpointing) not in self._courses:
            segments = checkpointed(self.graph, self.needs) if checkpointing else []
            known = [keep or NOTHING for keep in keeps]
            made = self.storages(kinds, keeps)
            self._courses[kinds, checkpointing] = course(self.graph, self.needs, known, made, segments)
        return self._courses[kinds, checkpointing]


def moves(node: Node) -> bool:
    """Whether the values of the output, a view, may not lie in order: a permutation, or a part along an axis but the
    first."""
    if node.op in ("chunk", "split"):
        return bool(node.attrs["dim"] != 0) if "dim" in node.attrs else True
    if node.op == "getitem" and "index" in node.attrs:
        return any(index != [None, None, None] for index in node.attrs["index"][1:])
    return node.op in ("permute", "transpose")


def compiled(graph: Graph) -> Compiled:
    """The graph's Compiled, made when it is first asked for."""
    if "costs" not in graph.cache:
        graph.cache["costs"] = Compiled(graph)
    found: Compiled = graph.cache["costs"]
    return found


def _detail(attrs: Any) -> str:
    """Kernel, stride and groups in short: "3x3 /2 g32"."""
    if "kernel" not in attrs:
        return ""
    words = ["x".join(map(str, attrs["kernel"]))]
    if "stride" in attrs and any(step != 1 for step in attrs["stride"]):
        words.append("/" + "x".join(map(str, dict.fromkeys(attrs["stride"]))))
    if attrs.get("groups", 1) != 1:
        words.append(f"g{attrs['groups']}")
    return " ".join(words)
