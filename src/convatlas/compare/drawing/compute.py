"""The compute that trains to AlexNet's accuracy, over the years, beside a line that halves every 16 months."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convatlas import registry
from convatlas.compare.compute import DOUBLING
from convatlas.compare.drawing.labels import Label, place
from convatlas.compare.drawing.scatter import along
from convatlas.compare.drawing.style import bare, colour_of, darker, marker_of, named, noted, sheet
from convatlas.compare.tables import Table
from convatlas.cost.plots import INK, QUIET_INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(table: Table) -> Figure:
    made = sheet(10.5, 6.6)
    named(made, table.title)
    noted(made, table.notes)
    panel = made.subplots()
    rows: list[dict[str, Any]] = [dict(row) for row in table.rows]
    first, last = rows[0], rows[-1]
    panel.set_yscale("log")
    ends = (first["date"], last["date"] + 0.25)
    line = [(when, 2 ** (-(when - first["date"]) * 12 / DOUBLING)) for when in ends]
    panel.plot(*zip(*line), color=QUIET_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    best = [row for row in rows if row["best"]]
    steps = [(row["date"], 1 / row["factor"]) for row in best]
    panel.step(*zip(*[*steps, (ends[1], steps[-1][1])]), where="post", color=INK, linewidth=0.9, alpha=0.4, zorder=2)
    for row in rows:
        family = registry.card(row["network"]).family
        dark = row["best"]
        panel.scatter(row["date"], 1 / row["factor"], s=70 if dark else 38, color=colour_of(family),
                      marker=marker_of(family), alpha=0.95 if dark else 0.5, edgecolor=INK if dark else "white",
                      linewidth=0.8, zorder=4)  # fmt: skip
        panel.plot(row["date"], 1 / row["factor_printed"], marker="_", color=QUIET_INK, markersize=9, zorder=3)
    panel.set_xlim(first["date"] - 0.35, ends[1] + 0.35)
    panel.set_ylim(1 / 75, 2.2)
    panel.yaxis.set_major_formatter(
        lambda value, _: "1" if value == 1 else f"1/{1 / value:.0f}" if value < 1 else f"{value:g}"
    )
    panel.set_yticks([1, 1 / 2, 1 / 5, 1 / 10, 1 / 20, 1 / 50], minor=False)
    panel.minorticks_off()
    panel.set_ylabel("compute against AlexNet's, with our multiply-adds", fontsize=9, color=INK)
    panel.set_xticks(range(2013, 2020))
    bare(panel)
    labels = [
        Label(f"{registry.card(row['network']).title.split(' (')[0]}  {_times(row['factor'])}", row["date"],
              1 / row["factor"], 5.0, darker(colour_of(registry.card(row["network"]).family)), row["best"], True)
        for row in sorted(rows, key=lambda row: not row["best"])
    ]  # fmt: skip
    printed = [(row["date"], 1 / row["factor_printed"], 2.0) for row in rows]
    place(panel, labels, size=8.5, taken=[*along(panel, line), *along(panel, steps), *printed])
    where = line[0][0] + 3.2
    panel.annotate(f"half every {DOUBLING} months", (where, 2 ** (-(where - first["date"]) * 12 / DOUBLING)),
                   xytext=(-4, -4), textcoords="offset points", ha="right", va="top", fontsize=8.5,
                   color=QUIET_INK)  # fmt: skip
    panel.annotate("–  as printed in the paper", (0.01, 0.02), xycoords="axes fraction", fontsize=8.5, color=QUIET_INK)
    return made


def _times(factor: float) -> str:
    return "" if factor == 1 else f"{factor:.1f}x less" if factor > 1 else f"{1 / factor:.1f}x more"
