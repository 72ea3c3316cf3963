"""Graph and Node: plain records, their JSON, and the shape pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convatlas.errors import ConvatlasError, InputTooSmall, UnknownName
from convatlas.graph.ops import KEEPS_SHAPE, NothingLeft, Shape, output_shape

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


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """What a network computes, in the order in which it does so; the first node is the input.

    input_size: (C, H, W), one picture.
    recorded:   the batch at which every shape was recorded, or None where shapes follow from any input's size.
    unused:     path -> shape of the parameters that no operation reads.
    checkpoints: paths of the modules that activation checkpointing runs twice; none where nobody has said.
    frozen: paths of the parameters that are not trained.
    outputs: the places of what the network gives; none: whatever nobody reads.
    cache: what passes have found that holds at every input size.
    """

    name: str
    input_size: tuple[int, int, int]
    nodes: tuple[Node, ...]
    recorded: int | None = None
    unused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    checkpoints: tuple[str, ...] = ()
    frozen: frozenset[str] = frozenset()
    outputs: tuple[int, ...] = ()
    cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def shapes(self, input_size: tuple[int, int, int] | None = None, batch: int = 1) -> list[Shape]:
        """Every node's output shape for a batch of pictures of that size (by default the graph's own).

        Raises InputTooSmall, naming the least size that the network takes.
        """
        size = self.input_size if input_size is None else input_size
        if not isinstance(batch, int) or batch < 1:
            raise ConvatlasError(f"a batch holds at least 1 picture, and a whole number of them, not {batch}")
        if size[0] < 1:
            raise ConvatlasError(f"an input has at least 1 channel, not {size[0]}")
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

    def place(self, layer: str, *, exact: bool = False) -> int:
        """The place of the node that gives a layer's output; "" is the network's own.

        Of what runs several times it is the last run; "act#2" is the second, "act#1" the first.
        exact: layer is a module's whole path; what only ends so is another.  Raises what ``places`` does.
        """
        if not layer:
            return (self.outputs or (len(self.nodes) - 1,))[-1]
        names = [node.name for node in self.nodes]
        if "#" in layer:
            return places(names, layer.removesuffix("#1"), self.name)[0]
        names = [".".join(word.partition("#")[0] for word in name.split(".")) for name in names]
        if exact and not any(f"{name}.".startswith(f"{layer}.") for name in names):
            raise UnknownName(f"operation of {self.name}", layer, names)
        return places(names, layer, self.name)[-1]

    def least_input(self) -> int | None:
        """The side of the smallest square picture that the network takes, found by trying; None if there is none."""
        if self.recorded is not None:
            return None
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
            if node.shape is not None:
                shapes.append(node.shape)
            elif node.op in KEEPS_SHAPE:
                shapes.append(shapes[node.inputs[0]])
            elif node.op == "input":
                shapes.append(picture)
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
        unused = {p: list(s) for p, s in self.unused.items()}
        return {"name": self.name, "input_size": list(self.input_size), "nodes": nodes, "unused": unused,
                "checkpoints": list(self.checkpoints), "frozen": sorted(self.frozen),
                "outputs": list(self.outputs)}  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Graph:
        nodes = tuple(
            Node(name, op, tuple(inputs), attrs, {p: tuple(s) for p, s in params.items()})
            for name, op, inputs, attrs, params in data["nodes"]
        )
        unused = {p: tuple(s) for p, s in data["unused"].items()}
        channels, height, width = data["input_size"]
        size = (channels, height, width)
        checkpoints, frozen = tuple(data["checkpoints"]), frozenset(data["frozen"])
        outputs = tuple(data["outputs"])
        return cls(data["name"], size, nodes, unused=unused, checkpoints=checkpoints, frozen=frozen, outputs=outputs)


def places(names: Sequence[str], layer: str, network: str) -> list[int]:
    """Where in a list of nodes' names a layer lies.

    layer: a node's name or a module's path, with or without "trunk.", or the last words of one.
    Raises UnknownName, and ConvatlasError that names them where several layers end in these words.
    """

    def under(path: str) -> list[int]:
        return [i for i, name in enumerate(names) if name == path or name.startswith(f"{path}.")]

    if found := under(layer) or under(f"trunk.{layer}"):
        return found
    paths = {
        ".".join(words[:n]): None for words in (name.split(".") for name in names) for n in range(1, len(words) + 1)
    }
    ending = [path for path in paths if path.endswith(f".{layer}")]
    if not ending:
        known = [path.removeprefix("trunk.") for path in paths]
        raise UnknownName(f"layer of {network}", layer, known, [path for path in known if path.count(".") == 0])
    if len(ending) > 1:
        some = ", ".join(path.removeprefix("trunk.") for path in ending[:4])
        more = f" and {len(ending) - 4} more" if len(ending) > 4 else ""
        raise ConvatlasError(f"{network} has several layers {layer!r}: {some}{more}")
    return under(ending[0])
