"""compare: patterns -> Comparison, the networks side by side with the Pareto front marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas.compare import timings
from convatlas.compare.accuracy import DENSE, ENSEMBLE, MULTI, TEN
from convatlas.compare.axes import ACCURACIES, HIGHER, Axis, axis
from convatlas.compare.pareto import front
from convatlas.compare.rows import LeftOut, Row, gather, names_of
from convatlas.compare.tables import Column, Table, words
from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLD = f"Accuracies are of one network on ImageNet's validation pictures, never of an {ENSEMBLE}."


@dataclass(frozen=True, slots=True)
class Comparison:
    """Networks with their figures.

    x, y: the two axes of the figure and of the Pareto front; size: the blobs' (None: all alike).
    rows: the best on y first.  left_out: who has no figure on one of these axes.  also: further columns.
    """

    x: Axis
    y: Axis
    size: Axis | None
    also: tuple[Axis, ...]
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def axes(self) -> list[Axis]:
        """All that have a column."""
        every = [self.y, self.x, *([self.size] if self.size else []), *self.also]
        return list({one.name: one for one in every}.values())

    @property
    def front(self) -> tuple[Row, ...]:
        """The rows on the Pareto front, along x."""
        return tuple(sorted((row for row in self.rows if row.front), key=lambda row: row.values[self.x.name]))

    @property
    def table(self) -> Table:
        """Every figure, and for accuracies their source, protocol and input."""
        columns = [words("network", "network"), words("family", "family", spare=4),
                   Column("year", "year", str, spare=2)]  # fmt: skip
        rows = [{"network": row.name, "title": row.title, "family": row.family, "year": row.year} for row in self.rows]
        lines: list[dict[str, Any]] = [*rows]
        for one in self.axes:
            if one.key in ("year", "input"):
                continue
            columns.append(Column(one.name, one.title, one.form))
            for line, row in zip(lines, self.rows):
                line[one.name] = row.values.get(one.name)
            if one.key in ACCURACIES:
                columns += _origin(one, lines, self.rows)
        for line, row in zip(lines, self.rows):
            line |= {"input": row.input, "front": row.front}
        columns += [
            Column("input", "input", str, spare=3),
            Column("front", "front", lambda on: "●" if on else "", number=False),
        ]
        columns.insert(1, words("title", "what it is", told=False))
        return Table(self.title, tuple(columns), tuple(lines), tuple(self.notes))

    @property
    def people(self) -> Table:
        """The table as it is printed for people."""
        return self.table

    @property
    def title(self) -> str:
        return f"{self.y.label[:1].upper()}{self.y.label[1:]}, against {self.x.label}"

    @property
    def notes(self) -> list[str]:
        """What must be said: the protocols that differ, the inputs, who is left out."""
        front, said = [row.name for row in self.rows if row.front], []
        if front:
            said.append(
                f"● on the Pareto front: nothing else here is as good in both {_short(self.x)} and {_short(self.y)}."
            )
        for one in self.axes:
            tested = {row.name: row.accuracies[one.name] for row in self.rows if one.name in row.accuracies}
            if tested:
                said.append(TOLD)
            for protocol in (DENSE, TEN, MULTI):
                if names := [name for name, known in tested.items() if known.protocol == protocol]:
                    said.append(f"Tested {protocol}, which flatters beside a single crop: {', '.join(names)}.")
            if names := [name for name, known in tested.items() if known.unverified]:
                said.append(f"Not verified: {', '.join(names)}.")
        said += [*doubts(self.axes), *(left.said() for left in self.left_out)]
        return list(dict.fromkeys(said))

    def to_csv(self) -> str:
        """Every row and figure, with a header."""
        return self.table.to_csv()

    def to_json(self) -> dict[str, Any]:
        """{"x", "y", "size", "axes", "networks": […], "front": [names], "left_out": {axis: [names]}, "notes"}"""
        return {
            "x": self.x.name,
            "y": self.y.name,
            "size": self.size.name if self.size else None,
            "axes": {one.name: {"means": one.means, "better": one.better} for one in self.axes},
            "networks": [
                {"name": row.name, "title": row.title, "family": row.family, "year": row.year, "input": row.input,
                 "values": dict(row.values), "front": row.front,
                 "accuracies": {key: known.to_json() for key, known in row.accuracies.items()}}
                for row in self.rows
            ],
            "front": [row.name for row in self.front],
            "left_out": {left.axis.name: list(left.names) for left in self.left_out},
            "notes": self.notes,
        }  # fmt: skip

    def to_markdown(self) -> str:
        """The table as Markdown, with its notes."""
        return self.table.to_markdown()

    def plot(self, path: str | Path | None = None) -> Figure:
        """The networks as blobs, the front as a line: a matplotlib figure, saved to ``path`` where one is given (.svg,
        .png, .pdf)."""
        from convatlas.compare.drawing.scatter import scatter

        return scatter(self, path)


def compare(
    patterns: str | Iterable[str] = "*",
    *,
    x: str = "macs",
    y: str = "top1",
    size: str | None = "params",
    also: Sequence[str] = (),
    accuracy: str = "paper",
    allow_busy: bool = False,
) -> Comparison:
    """Networks side by side.

    patterns: names with * and ? as wildcards, any of which may match.
    x, y, size, also: axes by their keys (``convatlas.compare.AXES``), an accuracy's with its source: "top1:timm".
    accuracy: whose accuracies where the axis names none: paper, torchvision, torchvision_v2, timm, single or any.
    allow_busy: measure times although other programs keep the machine busy.

    Raises UnknownName for an axis, a source or a network that does not exist, ConvatlasError for a pattern that fits
    no network, and where fewer than two networks have the figures.
    """
    along, up = axis(x, accuracy), axis(y, accuracy)
    blobs = axis(size, accuracy) if size else None
    more = tuple(axis(one, accuracy) for one in also)
    names = names_of(patterns)
    rows, left_out = gather(names, [up, along, *([blobs] if blobs else [])], more, allow_busy=allow_busy)
    if len(rows) < 2:
        have = f"only {rows[0].name} has" if rows else f"none of {len(names)} has"
        missing = "".join(f"; {left.said(3)}" for left in left_out)
        raise ConvatlasError(f"a comparison takes two networks, and {have} all figures asked{missing}")
    rows = ranked(marked(rows, [along, up]), up)
    return Comparison(along, up, blobs, more, tuple(rows), tuple(left_out))


def doubts(axes: Iterable[Axis]) -> tuple[str, ...]:
    """What makes times doubtful, where an axis is of them."""
    keys = {one.key for one in axes}
    return (
        *(timings.doubts() if "latency" in keys else ()),
        *(timings.disturbed() if "measured" in keys else ()),
    )


def marked(rows: Sequence[Row], axes: Sequence[Axis]) -> list[Row]:
    """The rows with their Pareto front over these axes; none is on it where one of them has no better end."""
    ways = [one.better for one in axes]
    if None in ways:
        return list(rows)
    on = front([[row.values[one.name] for one in axes] for row in rows], [way for way in ways if way])
    return [replace(row, front=best) for row, best in zip(rows, on)]


def ranked(rows: Sequence[Row], by: Axis) -> list[Row]:
    """The best first; of an axis that has no better end, the lowest."""
    return sorted(rows, key=lambda row: row.values[by.name], reverse=by.better == HIGHER)


def _origin(one: Axis, lines: Sequence[dict[str, Any]], rows: Sequence[Row]) -> list[Column]:
    """The columns that say where the accuracies of an axis come from."""
    for line, row in zip(lines, rows):
        if known := row.accuracies.get(one.name):
            line |= {f"{one.name} tested": known.described, f"{one.name} source": known.source,
                     f"{one.name} protocol": known.protocol, f"{one.name} note": known.note}  # fmt: skip
    return [words(f"{one.name} tested", "where", wide=True, spare=1),
            *(words(f"{one.name} {what}", what, told=False) for what in ("source", "protocol", "note"))]  # fmt: skip


def _short(one: Axis) -> str:
    return one.title.split(" (")[0]
