"""The networks that are compared, each with its figures; who has none is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from convatlas import registry
from convatlas.compare.accuracy import SOURCES, Accuracy, accuracy
from convatlas.compare.axes import ACCURACIES, Axis
from convatlas.compare.figures import computed
from convatlas.errors import ConvatlasError

NAMED = 12
"""So many networks that are left out are named where all are asked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """One network.

    input: side of the picture at which its accuracy was measured and its costs are computed.
    values: by the axis' name; accuracies: the published ones that the values rest on, by the axis' name.
    front: whether it is on the Pareto front.
    """

    name: str
    title: str
    family: str
    year: int | None
    input: int
    values: Mapping[str, float] = field(default_factory=dict)
    accuracies: Mapping[str, Accuracy] = field(default_factory=dict)
    front: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Networks without a figure on an axis."""

    axis: Axis
    names: tuple[str, ...]

    def said(self, most: int = NAMED) -> str:
        """ "left out, no published top-1 by its paper: alexnet_owt, vgg11_bn"; beyond ``most`` they are counted."""
        what = (
            f"published {self.axis.title.split(' (')[0]} {SOURCES[self.axis.source]}"
            if self.axis.source
            else self.axis.title
        )
        shown = ", ".join(self.names[:most])
        more = f" and {len(self.names) - most} more" if len(self.names) > most else ""
        return f"left out, no {what}: {shown}{more}"


def names_of(patterns: str | Iterable[str]) -> list[str]:
    """The networks that fit any of the patterns, in natural order.

    Raises UnknownName for a name without wildcards that does not exist, ConvatlasError for a pattern that fits none.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in wanted:
        if not registry.find(pattern):
            raise ConvatlasError(f"no network fits {pattern!r}; `convatlas list` names them all")
    return [card.name for card in registry.find(wanted or "*")]


def gather(
    names: Sequence[str], axes: Sequence[Axis], also: Sequence[Axis] = (), *, allow_busy: bool = False
) -> tuple[list[Row], list[LeftOut]]:
    """The networks that have a figure on every one of ``axes``, and those that are left out; ``also`` may be absent.

    All of a row's costs are at one input size: that of its accuracies where they agree, else the network's own.
    """
    wanted = list({axis.name: axis for axis in (*axes, *also)}.values())
    needed = {axis.name for axis in axes}
    missing: dict[str, list[str]] = {axis.name: [] for axis in wanted}
    rows = []
    for name in names:
        row = _row(name, wanted, needed, allow_busy)
        absent = [axis for axis in wanted if axis.name in needed and axis.name not in row.values]
        if absent:
            missing[absent[0].name].append(name)
        else:
            rows.append(row)
    return rows, [LeftOut(axis, tuple(missing[axis.name])) for axis in wanted if missing[axis.name]]


def _row(name: str, axes: Sequence[Axis], needed: set[str], allow_busy: bool) -> Row:
    card = registry.card(name)
    found = {
        axis.name: known for axis in axes
        if axis.key in ACCURACIES and (known := accuracy(name, ACCURACIES[axis.key], axis.source)) is not None
    }  # fmt: skip
    # A further column changes no cost: the accuracies that every row has say at which size it is.
    sides = {known.input for name, known in found.items() if known.input and name in needed}
    side = sides.pop() if len(sides) == 1 else card.input_size
    values: dict[str, float] = {}
    for axis in axes:
        if axis.key in ACCURACIES:
            if axis.name in found:
                share = found[axis.name].value
                values[axis.name] = share / card.params * 1e6 if axis.key == "density" else share
            elif axis.name in needed:  # nothing that costs time is computed of what is left out
                return Row(name, card.title, card.family, card.year, side, values, found)
    for axis in axes:
        if axis.key not in ACCURACIES and (value := computed(name, axis.key, side, allow_busy)) is not None:
            values[axis.name] = value
    return Row(name, card.title, card.family, card.year, side, values, found)
