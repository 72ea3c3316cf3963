"""The part of a picture that a unit sees: exactly its receptive field, cut off at the picture's border."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil, floor

import torch
from torch import Tensor, nn

from convatlas.cost.boxes import Box, box
from convatlas.cost.field import Field, fields
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.model import Graph
from convatlas.graph.source import graph_of
from convatlas.visualize.finding import Example, Examples
from convatlas.visualize.sheets import tensor


class View:
    """Where the units of a layer look.

    path, shape: the layer, and the (C, H, W) that it gives for a picture of ``size``, (C, H, W).
    field: of every unit; None where it cannot be known, and reason says why.  A unit's window then is the picture.
    """

    def __init__(self, net: nn.Module, path: str, shape: tuple[int, int, int], size: tuple[int, int, int]):
        self.size, self.reason = size, ""
        self.field: Field | None = None
        self._flat = False
        try:
            self._graph: Graph = graph_of(net, size)
            self._shapes = self._graph.shapes(size)
            self._place = self._graph.place(path, exact=True)
        except UnknownName:
            self.reason = f"{path} does nothing that the graph has"
            return
        except ConvatlasError as error:
            self.reason = str(error)
            return
        given = self._shapes[self._place]
        self._flat = len(given) == 2
        if (given[1:] if len(given) == 4 else (*given[1:], 1, 1)) != shape:
            self.reason = f"its last operation in the graph gives {given[1:]}, and it {shape}"
            return
        self.field = fields(self._graph, self._shapes)[self._place]
        if self.field is None:
            self.reason = "an operation before it has no rule"

    @property
    def switched(self) -> bool:
        """Whether a max pool lies before the layer, whose switches a deconvnet follows; taken for so where the graph is
        not known."""
        known = self.field is not None
        return not known or any("max_pool" in node.op for node in self._graph.nodes[: self._place + 1])

    @property
    def gated(self) -> bool:
        """Whether the whole picture reaches every unit too, through a gate or a norm over the map."""
        return self.field is not None and self.field.whole and self.field.moves

    def box(self, row: int, column: int) -> Box:
        """The pixels that a unit can depend on, ((top, bottom), (left, right)), the ends behind the last ones.

        Behind a global gate those of the local path.  The whole picture where the field is not known.
        """
        found = None
        if self.field is not None:
            found = box(self._graph, self._shapes, self._place, () if self._flat else (row, column))
        return ((0, self.size[1]), (0, self.size[2])) if found is None else found

    def window(self, row: int, column: int) -> Box:
        """The same as if the picture went on for ever: what of it lies outside is padding."""
        seen = self.box(row, column)
        if self.field is None:
            return seen
        starts = [o + i * j for o, i, j in zip(self.field.offset, (row, column), self.field.jump)]
        return tuple((min(floor(start), first), max(ceil(start + size), last))
                     for start, size, (first, last) in zip(starts, self.field.size, seen))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Crop:
    """What a unit saw where it had its value.

    name: of the picture.  picture: (C, h, w) in [0, 1], the pixels of ``box``.  window: the receptive field, not cut
    off.  projection: (C, h, w) of either sign, the unit's value led back to these pixels; None where it cannot be.
    size: (height, width) of the whole picture.
    """

    example: Example
    name: str
    picture: Tensor = field(repr=False)
    box: Box
    window: Box
    size: tuple[int, int]
    projection: Tensor | None = field(default=None, repr=False)

    @property
    def offset(self) -> tuple[int, int]:
        """Rows above and columns left of the crop that lie outside of the picture."""
        (top, _), (left, _) = self.window
        return self.box[0][0] - top, self.box[1][0] - left

    def cut(self, picture: Tensor) -> Tensor:
        """The same pixels of anything as large as the picture, (C, H, W)."""
        (top, bottom), (left, right) = self.box
        return picture[:, top:bottom, left:right]


def crops(found: Examples, view: View, chosen: Iterable[Example]) -> list[Crop]:
    """The pixels that each example's unit saw."""
    made = []
    for one in chosen:
        whole = tensor(found.picture(one.picture), found.preprocess.channels)
        (top, bottom), (left, right) = seen = view.box(one.row, one.column)
        made.append(Crop(one, found.name(one.picture), whole[:, top:bottom, left:right], seen,
                         view.window(one.row, one.column), (whole.shape[1], whole.shape[2])))  # fmt: skip
    return made


def wholes(found: Examples, chosen: Iterable[Crop]) -> Tensor:
    """The pictures of crops, whole: (N, C, H, W) in [0, 1]."""
    return torch.stack([tensor(found.picture(one.example.picture), found.preprocess.channels) for one in chosen])
