"""What ONNX Runtime runs on a processor: maps in blocks of channels, and the copies between these and plain maps.

Its convolutions compute 8 or 16 channels at once, and read and write maps whose channels lie in such blocks; they take
in the activation behind them and the addition of a shortcut.  What knows no blocks (a gate's product, a joint of maps
whose channels do not fill blocks, a shuffle) needs its maps copied out of them, and the next convolution copies back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from convatlas.cost.work import FREE, Work, bytes_of, changes_nothing, folds, kind_of, work
from convatlas.graph.model import Graph, Node
from convatlas.graph.ops import Shape

FUSED = {"relu", "relu6", "sigmoid", "tanh", "hardsigmoid", "hardswish", "leaky_relu"}
"""Activations that a convolution, or a linear layer, takes in."""
EACH = FUSED | {"silu", "gelu", "elu", "scaled_tanh", "abs", "neg", "sqrt", "exp", "mish"}
"""One value in, one out: a map stays as it lies."""
WHOLE = 4
"""A convolution's channels are read in blocks if they are a multiple of it; the last block is filled up."""


def blocked(graph: Graph, shapes: Sequence[Shape], block: int) -> list[Work]:
    """A graph's operations as ONNX Runtime runs them; ``block`` 1: of a processor for which it knows no blocks."""
    return _Run(graph, shapes, block).made


class _Run:
    """made: the works.  at: of each node, the one whose map it gives.  lies: whether its map lies in blocks.
    takes: works that may still take in an activation, and ``adds`` a shortcut too."""

    def __init__(self, graph: Graph, shapes: Sequence[Shape], block: int):
        self.graph, self.shapes, self.block = graph, shapes, block
        self.readers = Counter(source for node in graph.nodes for source in node.inputs)
        self.readers.update(graph.outputs or (len(graph.nodes) - 1,))
        self.made: list[Work] = []
        self.at: dict[int, int] = {}
        self.lies: dict[int, bool] = {}
        self.same: dict[int, int] = {}
        self.copied: set[int] = set()
        self.takes: set[int] = set()
        self.adds: set[int] = set()
        norms = folds(graph)
        for i, node in enumerate(graph.nodes):
            if node.op in FREE or i in norms or changes_nothing(node, shapes, i):
                self._passes(i, node)
                if i in norms:
                    self._names(self.at[i], node)
            else:
                self._runs(i, node)
        for i in graph.outputs or (len(graph.nodes) - 1,):
            self._plain(i, graph.nodes[i].name)

    # ---- one node ---------------------------------------------------------------------------------------

    def _passes(self, i: int, node: Node) -> None:
        source = node.inputs[0] if node.inputs else -1
        self.same[i] = self.same.get(source, source) if source >= 0 else i
        self.lies[i] = self.lies.get(source, False)
        if source in self.at:
            self.at[i] = self.at[source]
            if self.readers[source] > 1:
                self._closed(self.at[i])

    def _runs(self, i: int, node: Node) -> None:
        op = node.op
        if op in ("add", *FUSED) and self._taken_in(i, node):
            return
        if op == "conv2d":
            self._convolution(i, node)
        elif op == "linear":
            self._gives(i, node, False, "linear", takes=True)
        elif op == "batch_norm":
            lies = self._lies(node)
            self._gives(i, node, lies, "depthwise" if lies else "norm", takes=lies)
            if lies:
                self.made[-1] = replace(self.made[-1], macs=bytes_of(self.shapes[i], self.block) // 4)
        elif op in ("max_pool2d", "avg_pool2d") or (op.startswith("adaptive") and self._lies(node)):
            self._gives(
                i, node, self.shapes[i][1] % self.block == 0 and self.block > 1, kind_of(node, self.shapes, i, 1)
            )
        elif op in EACH:
            self._gives(i, node, self._lies(node), kind_of(node, self.shapes, i, 1))
        elif op in ("add", "mul"):
            alike = len({self.shapes[source] for source in node.inputs}) == 1 and len(node.inputs) > 1
            self._gives(i, node, alike and self._lies(node), kind_of(node, self.shapes, i, 1))
        elif op == "cat":
            whole = all(self.shapes[source][1] % self.block == 0 for source in node.inputs)
            self._gives(i, node, whole and self._lies(node), "cat")
        elif op in ("flatten", "reshape", "getitem"):
            for source in node.inputs:
                self._plain(source, node.name)
            self._passes(i, node)
            self.lies[i] = False
        else:
            kind = "slice" if op in ("chunk", "split") else kind_of(node, self.shapes, i, 1)
            self._gives(i, node, False, kind)

    def _convolution(self, i: int, node: Node) -> None:
        inputs, outputs = self.shapes[node.inputs[0]][1], self.shapes[i][1]
        groups, block = node.attrs["groups"], self.block
        kind = kind_of(node, self.shapes, i, block)
        if kind == "depthwise":
            lies = outputs % WHOLE == 0
        elif groups > 1:
            lies = (inputs // groups) % block == 0 == (outputs // groups) % block
            kind = "conv" if lies else kind
        else:
            lies = kind == "stem" or inputs % WHOLE == 0
        lies = lies and block > 1
        if not lies and groups > 1:
            kind = "grouped"
        elif not lies:
            kind = "plain"
        self._gives(i, node, lies, kind, reads=lies and kind != "stem", takes=True, adds=lies)

    def _taken_in(self, i: int, node: Node) -> bool:
        """Whether the node becomes a part of the work before it."""
        if node.op == "add":
            if len(node.inputs) != 2 or not self._lies(node) or len({self.shapes[s] for s in node.inputs}) != 1:
                return False
            fitting = [s for s in node.inputs if self.at.get(s) in self.adds and self.readers[s] == 1]
            if not fitting:
                return False
            into = self.at[fitting[-1]]
            self.adds.discard(into)
            self.takes.add(into)
            more = bytes_of(self.shapes[i], self.block)
            self.made[into] = replace(self.made[into], moved=self.made[into].moved + more)
        else:
            (source,) = node.inputs
            into = self.at.get(source, -1)
            if into not in self.takes or self.readers[source] != 1:
                return False
            self._closed(into)
            if node.op != "relu" and self.made[into].kind != "linear":  # a pass of its own, while the map is near
                moved = 2 * bytes_of(self.shapes[i], self.block if self.lies[source] else 1)
                kind = kind_of(node, self.shapes, i, 1)
                self.made.append(Work(self.made[into].name, kind, 0, 0, 0, moved, 0))
        self._names(into, node)
        self.at[i], self.lies[i] = into, self.made[into].kind != "linear" and self.lies[node.inputs[0]]
        return True

    def _names(self, into: int, node: Node) -> None:
        self.made[into] = replace(self.made[into], names=(*self.made[into].names, node.name))

    # ---- how maps lie -----------------------------------------------------------------------------------

    def _lies(self, node: Node) -> bool:
        return all(self.lies.get(source, False) for source in node.inputs)

    def _gives(self, i: int, node: Node, lies: bool, kind: str, *, reads: bool | None = None, takes: bool = False,
               adds: bool = False) -> None:  # fmt: skip
        """The node is run; its map lies in blocks or not, and so do those it reads, unless ``reads`` says otherwise."""
        for source in node.inputs:
            (self._in_blocks if (lies if reads is None else reads) else self._plain)(source, node.name)
        self.made.append(work(node, self.shapes, i, kind, self.block, full=lies))
        self.at[i], self.lies[i] = len(self.made) - 1, lies
        if takes:
            self.takes.add(self.at[i])
        if adds:
            self.adds.add(self.at[i])

    def _closed(self, place: int) -> None:
        self.takes.discard(place)
        self.adds.discard(place)

    def _plain(self, source: int, name: str) -> None:
        if self.lies.get(source, False):
            self._copied(source, name)

    def _in_blocks(self, source: int, name: str) -> None:
        if not self.lies.get(source, False):
            self._copied(source, name)

    def _copied(self, source: int, name: str) -> None:
        """Copied to the other layout, once for all that read it so."""
        source = self.same.get(source, source)
        if source not in self.copied:
            self.copied.add(source)
            shape = self.shapes[source]
            moved = bytes_of(shape) + bytes_of(shape, self.block)
            self.made.append(Work(name, "reorder", 0, 0, 0, moved, 0))
