"""ILSVRC's winners: bars of the entries' errors, one network's beside, the depth below, the human level across."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convatlas import facts
from convatlas.compare.drawing.style import COLOURS, PAPER, bare, lighter, named, noted, sheet
from convatlas.compare.tables import Table
from convatlas.cost.plots import INK, QUIET_INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EARLY = lighter(COLOURS["the first"], 0.3)
COLOUR = {"AlexNet": EARLY, "Clarifai": EARLY, "GoogLeNet": COLOURS["Inception"], "ResNet": COLOURS["residual"],
          "Trimps-Soushen": COLOURS["Inception"], "SENet": COLOURS["gated"]}  # fmt: skip
SHALLOW = "#c9cbd0"
LIGHT = (SHALLOW, COLOURS["Inception"], COLOURS["gated"])
"""Colours on which white could not be read."""

WIDTH, SHIFT = 0.62, 0.045
"""Years: of a bar, and from one sheet of an ensemble's bar to the next."""

NEAR, ABOVE = 1.3, 13
"""Per cent: so near below the human level a label would stand on its line; points: there it stands above."""

HEIGHT = 31.5
"""Per cent: the top of the panel."""


def draw(table: Table) -> Figure:
    made = sheet(10.5, 6.0)
    named(made, table.title)
    noted(
        made,
        [
            *table.notes[:2],
            "Depth: layers with weights on the longest path. Clarifai and Trimps-Soushen published none.",
        ],
    )
    panel = made.subplots()
    human = facts.winners()["human"]["error"]
    for row in table.rows:
        year, error = _number(row["year"]), _number(row["error"])
        many = bool(row["ensemble"])
        colour = COLOUR[str(row["name"])] if many else SHALLOW
        for n in range(3 if many else 1):  # the look of several sheets laid on each other
            shade = lighter(colour, 0.45 * n)
            panel.bar(year + SHIFT * n, error, width=WIDTH, color=shade, linewidth=0, zorder=3 - n * 0.1)
        ink = INK if colour in LIGHT else "white"
        panel.annotate(f"{error:.3g} %", (year, error), xytext=(0, -5), textcoords="offset points", ha="center",
                       va="top", fontsize=11.5, color=ink, weight="bold", zorder=5)  # fmt: skip
        if (single := row["single"]) is not None:
            value, half = _number(single), WIDTH / 2
            panel.plot([year, year], [error, value], color=INK, linewidth=0.6, alpha=0.6, zorder=3)
            panel.plot([year - half, year + half], [value, value], color=INK, linewidth=1.4, zorder=4)
            lift = ABOVE if 0 <= human - value < NEAR else 4  # not on the human level's line
            panel.annotate(f"one network {value:g} %", (year, value), xytext=(0, lift), textcoords="offset points",
                           ha="center", fontsize=8.5, color=INK, zorder=5,
                           bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1})  # fmt: skip
    panel.axhline(human, color=QUIET_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    panel.annotate(f"human\nabout {human:g} %", (2017.5, human), xytext=(0, 3), textcoords="offset points",
                   fontsize=8.5, color=QUIET_INK, ha="left", va="bottom", linespacing=1.1)  # fmt: skip
    _key(panel)
    ticks = [_below(row) for row in table.rows]
    panel.set_xticks([_number(row["year"]) for row in table.rows], ticks)
    panel.set_xlim(2009.5, 2018.2)
    panel.set_ylim(0, HEIGHT)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    panel.set_ylabel("top-5 error on the test pictures", fontsize=9, color=INK)
    bare(panel, "y")
    panel.tick_params(axis="x", length=0, labelsize=9)
    return made


def _key(panel: Axes) -> None:
    """What bars and lines stand for."""
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    sheets = tuple(Patch(color=lighter(EARLY, 0.45 * n), linewidth=0) for n in range(3))
    handles: Any = [Patch(color=SHALLOW, linewidth=0), sheets, Line2D([], [], color=INK, linewidth=1.4),
               Line2D([], [], color=QUIET_INK, linewidth=1, linestyle=(0, (4, 3)))]  # fmt: skip
    words = ["no network: descriptors and a classifier", "an ensemble of networks; a colour for each family",
             "one network of the same authors, on the validation pictures", "a human"]  # fmt: skip
    panel.legend(handles, words, handler_map={tuple: HandlerTuple(None, 0)}, loc="upper right", fontsize=8.5,
                 frameon=False, labelcolor=INK)  # fmt: skip


def _below(row: object) -> str:
    """Year, entry, how many networks, and how deep."""
    assert isinstance(row, dict)
    if not row["ensemble"]:
        return f"{row['year']}\n{row['team']}\n{str(row['name']).replace(' and ', chr(10) + 'and ')}"
    nets = f"{row['nets']} networks" if row["nets"] else "an ensemble"
    depth = f"\n{row['depth']} layers" if row["depth"] else ""
    return f"{row['year']}\n{row['name']}\n{nets}{depth}"


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
