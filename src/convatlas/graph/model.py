"""Graph and Node: plain records, their JSON, and the shape pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convatlas.errors import ConvatlasError, InputTooSmall
from convatlas.graph.ops import NothingLeft, Shape, output_shape

LARGEST_LEAST = 1024
"""How far ``least_input`` looks."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    name: unique in the graph: the path of the module that runs, or of the one whose ``forward`` calls the operation,
    followed by the operation's name.
    op: what it does, by the field's own word: conv2d, linear, batch_norm, add, cat …
    inputs: the places in the graph of the nodes it reads.
    attrs: kernel, stride, padding, groups … of the operation.
    params: path -> shape of the parameters it uses.
    shape: the output's shape where the graph was recorded at one input; None where it follows from the input's size.
    """

    name: str
    op: str
    inputs: tuple[int, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """What a network computes, in the order in which it does so; the first node is the input.

    input_size: (C, H, W), one picture.
    recorded:   the batch at which every shape was recorded, or None where shapes follow from any input's size.
    unused:     path -> shape of the parameters that no operation reads.
    """

    name: str
    input_size: tuple[int, int, int]
    nodes: tuple[Node, ...]
    recorded: int | None = None
    unused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def shapes(self, input_size: tuple[int, int, int] | None = None, batch: int = 1) -> list[Shape]:
        """Every node's output shape for a batch of pictures of that size (by default the graph's own).

        Raises InputTooSmall, naming the least size that the network takes.
        """
        size = self.input_size if input_size is None else input_size
        if not isinstance(batch, int) or batch < 1:
            raise ConvatlasError(f"a batch holds at least 1 picture, and a whole number of them, not {batch}")
        if min(size) < 1:
            raise ConvatlasError(f"an input measures at least 1 pixel each way, not {size[1]} x {size[2]}")
        if self.recorded is not None and (batch, size) != (self.recorded, self.input_size):
            raise ConvatlasError(f"{self.name} was recorded for one input only; capture it again at this one")
        if self.recorded is None and size[0] != self.input_size[0]:
            raise ConvatlasError(f"{self.name} reads {self.input_size[0]} channels, not {size[0]}")
        try:
            return self._walk((batch, *size))
        except NothingLeft as where:
            least = self.least_input()
            hint = f"; the least is {least} x {least}" if least else ""
            raise InputTooSmall(
                f"{self.name}: an input of {size[1]} x {size[2]} is too small: nothing is left of it at {where}{hint}"
            ) from None

    def least_input(self) -> int | None:
        """The side of the smallest square picture that the network takes, found by trying; None if there is none."""
        for side in range(1, LARGEST_LEAST + 1):
            try:
                self._walk((1, self.input_size[0], side, side))
            except (NothingLeft, ConvatlasError):
                continue
            return side
        return None

    def _walk(self, picture: Shape) -> list[Shape]:
        shapes: list[Shape] = []
        for node in self.nodes:
            if node.op == "input":
                shapes.append(picture)
            elif node.shape is not None:
                shapes.append(node.shape)
            else:
                try:
                    shapes.append(output_shape(node.op, node.attrs, node.params, [shapes[i] for i in node.inputs]))
                except NothingLeft:
                    raise NothingLeft(node.name) from None
                except ConvatlasError as error:
                    raise ConvatlasError(f"{self.name}: {node.name}: {error}") from None
        return shapes

    # ---- as JSON ----------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts, for the atlas file."""
        nodes = [
            [node.name, node.op, list(node.inputs), dict(node.attrs), {p: list(s) for p, s in node.params.items()}]
            for node in self.nodes
        ]
        return {"name": self.name, "input_size": list(self.input_size), "nodes": nodes,
                "unused": {p: list(s) for p, s in self.unused.items()}}  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Graph:
        nodes = tuple(
            Node(name, op, tuple(inputs), attrs, {p: tuple(s) for p, s in params.items()})
            for name, op, inputs, attrs, params in data["nodes"]
        )
        unused = {p: tuple(s) for p, s in data["unused"].items()}
        channels, height, width = data["input_size"]
        return cls(data["name"], (channels, height, width), nodes, unused=unused)
