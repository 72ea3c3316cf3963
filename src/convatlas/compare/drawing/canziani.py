"""Canziani's figures: accuracy by network, against operations, by parameter, and operations against time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convatlas.compare.axes import axis
from convatlas.compare.canziani import Canziani, his, notes, said
from convatlas.compare.drawing.labels import Label, place
from convatlas.compare.drawing.scatter import LEAST, along, drawn, ticked
from convatlas.compare.drawing.style import bare, colour_of, darker, headed, lighter, marker_of, named, noted, sheet
from convatlas.compare.figures import DENSE, DEPTHWISE, kind
from convatlas.cost.plots import INK, QUIET_INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 40
"""The most networks that have a line each."""


def draw(found: Canziani) -> Figure:
    tall = max(9.5, 5.0 + 0.21 * min(len(found.rows), LINES))
    made = sheet(13.0, tall)
    named(made, "Canziani's figures, remade with exact counts and later networks")
    noted(made, [*said(found.times), *notes(found)], 220)
    panels = made.subplots(2, 2, gridspec_kw={"width_ratios": (1, 1.35)})
    _lines(panels[0][0], found, "top1")
    _lines(panels[1][0], found, "density")
    drawn(panels[0][1], found.rows, axis("macs"), found.accuracy, axis("params"), most=40)
    panels[0][1].set_ylabel("top-1 accuracy", fontsize=9, color=INK)
    headed(panels[0][1], f"Top-1 accuracy against multiply-adds; area: parameters{LEAST}")
    _times(panels[1][1], found)
    return made


def _lines(panel: Axes, found: Canziani, key: str) -> None:
    """A line for each network, his own value as a ring where he has one."""
    one = axis(key, found.accuracy.source)
    rows = sorted(found.rows, key=lambda row: row.values[one.name])[-LINES:]
    places = range(len(rows))
    values = [row.values[one.name] for row in rows]
    colours = [colour_of(row.family) for row in rows]
    what = {"top1": "top1_accuracy", "density": "accuracy_density"}[key]
    theirs = [(value, place) for place, row in enumerate(rows) if (value := his(row.name, what)) is not None]
    every = [*values, *(value for value, _ in theirs)]
    low = min(every) * 0.8 if key == "density" else max(0.0, min(every) - 4)
    panel.hlines(places, low, values, color=[lighter(colour, 0.55) for colour in colours], linewidth=1.5, zorder=2)
    panel.scatter(values, places, s=34, color=colours, zorder=3, linewidth=0)
    panel.scatter([value for value, _ in theirs], [place for _, place in theirs], s=26, facecolor="none",
                  edgecolor=INK, linewidth=1.1, zorder=4)  # fmt: skip
    panel.set_xlim(low, None)
    panel.set_yticks(places, [row.name for row in rows])
    panel.set_ylim(-0.6, len(rows) - 0.4)
    if key == "density":
        panel.set_xscale("log")
    ticked(panel.xaxis, one)
    bare(panel, "x")
    panel.tick_params(axis="y", length=0, labelsize=7.5)
    headed(
        panel,
        {"top1": "Top-1 accuracy (ring: his)", "density": "Top-1 accuracy per million parameters (ring: his)"}[key],
    )


def _times(panel: Axes, found: Canziani) -> None:
    """Each network's operations and time, and the law through those of dense convolutions; or why there is none."""
    headed(panel, "Do operations predict time?")
    if not found.times.seconds:
        panel.set_axis_off()
        panel.text(0.5, 0.5, f"No times here:\n{found.times.how}.", transform=panel.transAxes, ha="center", va="center",
                   fontsize=10, color=QUIET_INK)  # fmt: skip
        return
    macs = {row.name: row.values["macs"] for row in found.rows}
    for row in found.rows:
        narrow = kind(row.name) == DEPTHWISE
        panel.scatter(macs[row.name], found.times.seconds[row.name], s=54, marker=marker_of(row.family), zorder=3,
                      facecolor="white" if narrow else colour_of(row.family), edgecolor=colour_of(row.family),
                      linewidth=1.6 if narrow else 0.6)  # fmt: skip
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.margins(0.08)
    line = []
    law = found.times.law
    if law:
        ends = [min(macs.values()), max(macs.values())]
        line = [(x, law.at(x)) for x in ends]
        panel.plot(*zip(*line), color=QUIET_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    ticked(panel.xaxis, axis("macs"))
    ticked(panel.yaxis, axis("latency"))
    panel.set_xlabel("multiply-adds", fontsize=9, color=INK)
    panel.set_ylabel(f"time of a picture, {found.times.how.split()[0]}", fontsize=9, color=INK)
    bare(panel)
    place(panel, [
        Label(row.name, macs[row.name], found.times.seconds[row.name], 4.0, darker(colour_of(row.family)),
              kind(row.name) == DEPTHWISE)
        for row in sorted(found.rows, key=lambda row: kind(row.name) == DENSE)
    ], size=7.0, taken=along(panel, line), far=len(found.rows) <= 40)  # fmt: skip
    if law:
        lines = [f"{DENSE}: time goes as operations to the power {law.exponent:.2f}, r = {law.correlation:.3f}"]
        lines += [f"{one}: {by:.1f} times that" for one, by in (found.times.slower or {}).items() if one != DENSE]
        panel.annotate("\n".join(lines), (0.015, 0.985), xycoords="axes fraction", va="top", fontsize=8.5, color=INK,
                       linespacing=1.5)  # fmt: skip
    panel.annotate(f"hollow: {DEPTHWISE} convolutions; dashed: the law of the {DENSE} ones", (0.99, 0.02),
                   xycoords="axes fraction", ha="right", fontsize=8, color=QUIET_INK)  # fmt: skip
