"""A comparison as a figure: each network a blob, the Pareto front a line, the limits' corner shaded."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from convatlas.compare.axes import HIGHER, Axis
from convatlas.compare.drawing.labels import Label, place
from convatlas.compare.drawing.style import (
    COLOURS,
    GROUP_OF,
    MARKERS,
    bare,
    colour_of,
    darker,
    lighter,
    marker_of,
    named,
    noted,
    save,
    sheet,
)
from convatlas.cost.plots import INK, QUIET_INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from convatlas.compare.comparison import Comparison
    from convatlas.compare.limits import Choice
    from convatlas.compare.rows import Row

SMALL, LARGE = 34.0, 900.0
"""Areas of the smallest and the largest blob, in points²; a smaller one could not be seen."""

LEAST = ", at least a dot"

CROWD = 30
"""Beyond so many networks the blobs are smaller, and a label is left out where it has no room beside its blob."""


def scatter(found: Comparison, path: str | Path | None = None) -> Figure:
    """The whole figure, saved where a path is given."""
    made = sheet(10.5, 7.2)
    named(made, found.title)
    crowd = f"Of {len(found.rows)} networks those are named whose names have room; the table has all."
    noted(made, [*found.notes, *([crowd] if len(found.rows) > CROWD else [])])
    panel = made.subplots()
    drawn(panel, found.rows, found.x, found.y, found.size)
    legend(panel, found.rows, found.size)
    return save(made, path)


def limited(found: Choice, path: str | Path | None = None) -> Figure:
    """The best within limits: what they shut out is shaded, the winner stands out."""
    x = found.limits[0].axis
    front = {row.name for row in found.fitting[:1]}
    rows = [replace(row, front=row.name in front) for row in (*found.fitting, *(row for row, _ in found.fallen))]
    made = sheet(10.5, 7.2)
    named(made, found.title)
    shut = [row.name for row, over in found.fallen if all(limit.axis.name != x.name for limit in over)]
    noted(
        made, [*found.notes, *([f"Shut out by another limit than the one shown: {', '.join(shut)}."] if shut else [])]
    )
    panel = made.subplots()
    fits = {row.name for row in found.fitting}
    drawn(panel, rows, x, found.by, None, faint={row.name for row in rows} - fits)
    low, high = panel.get_xlim()
    edge = found.limits[0].value
    ends = (low, edge) if x.better == HIGHER else (edge, high)
    panel.axvspan(max(low, ends[0]), min(high, ends[1]), color="#f1f1f2", zorder=0, linewidth=0)
    panel.set_xlim(low, high)
    legend(panel, rows, None)
    return save(made, path)


def drawn(
    panel: Axes,
    rows: Sequence[Row],
    x: Axis,
    y: Axis,
    size: Axis | None,
    *,
    label: bool = True,
    most: int = CROWD,
    faint: Collection[str] = (),
) -> None:
    """Blobs, front and labels in a panel; most: so many networks may all be named; faint: those in the background."""
    area = areas(rows, size)
    for row in sorted(rows, key=lambda row: -area[row.name]):
        edge = 0.8 if row.front or area[row.name] > SMALL else 0  # a white edge would leave little of a dot
        panel.scatter(row.values[x.name], row.values[y.name], s=area[row.name], color=colour_of(row.family),
                      marker=marker_of(row.family), alpha=0.2 if row.name in faint else 0.62, linewidth=edge,
                      edgecolor=INK if row.front else "white", zorder=3)  # fmt: skip
    front = sorted((row.values[x.name], row.values[y.name]) for row in rows if row.front)
    panel.plot([p[0] for p in front], [p[1] for p in front], color=INK, linewidth=0.9, alpha=0.45, zorder=2)
    scaled(panel, x, y)
    bare(panel)
    if label:
        crowded = len(rows) > most
        first = sorted(
            rows, key=lambda row: (not row.front, row.name in faint, area[row.name] if crowded else -row.values[y.name])
        )
        place(panel, [
            Label(row.name, row.values[x.name], row.values[y.name], radius(area[row.name]),
                  _ink(row, faint), row.front, not crowded)
            for row in first
        ], size=7.0 if crowded else 8.0, taken=along(panel, front), far=not crowded)  # fmt: skip


def _ink(row: Row, faint: Collection[str]) -> str:
    colour = darker(colour_of(row.family))
    return lighter(colour, 0.45) if row.name in faint else colour


def along(panel: Axes, line: Sequence[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """Points along a line of the panel, close together, that labels are not to cover."""
    found = []
    back = panel.transData.inverted()
    for start, end in pairwise(panel.transData.transform(line) if len(line) > 1 else []):
        steps = max(1, int(math.dist(start, end) / 6))
        for n in range(1, steps):
            x, y = back.transform([a + (b - a) * n / steps for a, b in zip(start, end)])
            found.append((float(x), float(y), 1.5))
    return found


def scaled(panel: Axes, x: Axis, y: Axis) -> None:
    """Scales, limits with room at the edges, ticks in the axes' own units."""
    panel.set_xscale(x.scale)
    panel.set_yscale(y.scale)
    panel.margins(0.07, 0.07)
    panel.autoscale_view()
    for axis, which in ((panel.xaxis, x), (panel.yaxis, y)):
        ticked(axis, which)
    panel.set_xlabel(x.label, fontsize=9, color=INK)
    panel.set_ylabel(y.label, fontsize=9, color=INK)


def ticked(axis: object, which: Axis) -> None:
    """A tick for 1, 2 and 5 of every power of ten on a logarithmic axis, each in the axis' own unit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    form = FuncFormatter(lambda value, _: rounded(which, value))
    if which.scale == "log":
        axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=30))  # type: ignore[attr-defined]
        axis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]
    axis.set_major_formatter(form)  # type: ignore[attr-defined]


def rounded(which: Axis, value: float) -> str:
    """ "20.00 MB" -> "20 MB": an axis' ticks are round."""
    number, _, unit = which.form(value).partition(" ")
    try:
        return f"{float(number.replace(',', '')):g} {unit}".strip()
    except ValueError:
        return which.form(value)


def areas(rows: Sequence[Row], size: Axis | None) -> dict[str, float]:
    """Each blob's area, in proportion to the axis."""
    if size is None:
        return {row.name: 46.0 for row in rows}
    largest = max(row.values[size.name] for row in rows)
    full = LARGE / (2 if len(rows) > CROWD else 1)
    return {row.name: max(SMALL, full * row.values[size.name] / largest) for row in rows}


def radius(area: float) -> float:
    """Of a blob, in points."""
    return math.sqrt(area / math.pi)


def legend(panel: Axes, rows: Sequence[Row], size: Axis | None) -> None:
    """The groups of families that are there, and what the blobs' area means, below the panel."""
    from matplotlib.lines import Line2D

    groups = [group for group in COLOURS if any(GROUP_OF.get(row.family) == group for row in rows)]
    handles = [Line2D([], [], linestyle="", marker=MARKERS[g], color=COLOURS[g], markersize=6, label=g) for g in groups]
    if size is not None:
        panel.annotate(f"area: {size.label}{LEAST}", (0.995, 0.01), xycoords="axes fraction", ha="right", fontsize=8,
                       color=QUIET_INK)  # fmt: skip
    panel.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.01, 1.06), ncols=len(handles), fontsize=8,
                 frameon=False, columnspacing=1.2, handletextpad=0.2, labelcolor=INK)  # fmt: skip
