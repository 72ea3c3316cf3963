"""sights: what every unit of a layer sees of the picture, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from convatlas.cost.boxes import box
from convatlas.cost.field import Field, fields
from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph, Node
from convatlas.graph.ops import Shape
from convatlas.graph.source import graph_of
from convatlas.visualize.taps import path_of

Span = tuple[int, int]
"""The first pixel and the one behind the last."""


@dataclass(frozen=True)
class Sight:
    """The units' boxes on the picture: ``convatlas.cost.boxes.box`` of the unit (r, c) is (rows[r], columns[c]).

    rows, columns: one span for each row and column of the map; of a vector one for all its units.  Both ends are 0
    where a unit sees nothing but padding.
    field: size and jump, where no border is near; ``whole`` if the whole picture comes through gates, too.
    """

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    field: Field


def sights(graph: Graph, shapes: Sequence[Shape], place: int) -> Sight | None:
    """Of the node at ``place``; None where an operation on the way has no rule.

    Along one axis the box does not depend on where the unit lies along the other.  A unit whose field lies on the
    picture meets no border on the way, unless a map is cropped, and so its box is its field; the others are walked.
    """
    known = fields(graph, shapes)[place]
    if known is None:
        return None
    size = tuple(shapes[place][2:])
    if not size:
        all_alike = box(graph, shapes, place, ())
        return None if all_alike is None else Sight((all_alike[0],), (all_alike[1],), known)
    regular = known.status == "exact" and not any(map(_crops, graph.nodes[: place + 1]))

    def span(axis: int, i: int) -> Span | None:
        start = known.offset[axis] + i * known.jump[axis]
        end = start + known.size[axis]
        if regular and known.jump[axis] and start >= 0 and end <= shapes[0][2 + axis]:
            return int(start), int(end)
        found = box(graph, shapes, place, [i if along == axis else n // 2 for along, n in enumerate(size)])
        return None if found is None else (found[axis][0], found[axis][1])

    rows, columns = ([span(axis, i) for i in range(n)] for axis, n in enumerate(size))
    if None in rows or None in columns:
        return None
    return Sight(tuple(r for r in rows if r), tuple(c for c in columns if c), known)


def field_of(net: nn.Module, layer: str, size: tuple[int, int, int]) -> Field | None:
    """What the units of a layer see of a picture of ``size``, (C, H, W); None where it cannot be known: a network that
    cannot be traced runs all the same."""
    try:
        graph = graph_of(net, size)
        shapes = graph.shapes(size)
        return fields(graph, shapes)[graph.place(path_of(net, layer), exact=True)]
    except ConvatlasError:
        return None


def _crops(node: Node) -> bool:
    """Whether a node may take units of a map away, beyond which lie pixels all the same."""
    padding = node.attrs.get("padding", ())
    return (node.op == "getitem" and "piece" not in node.attrs) or (node.op == "pad" and min(padding, default=-1) < 0)
