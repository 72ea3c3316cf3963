"""The lineage as a tree that grows downwards: each paper in the order of its date, what it brought beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from convatlas.compare.drawing.style import colour_of, darker, lighter, named, noted, sheet
from convatlas.compare.lineage import Node, tree
from convatlas.compare.tables import Table
from convatlas.cost.plots import INK, QUIET_INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE, GAP = 0.165, 0.15
"""Inches: from one line of words to the next, and between two papers."""

LANE, LEFT, WORDS = 0.26, 0.62, 128
"""Inches between the tree's lanes and from the edge to the first; characters in a line of words."""

WIDE = 10.4


def lanes(nodes: Sequence[Node]) -> dict[str, int]:
    """Each paper's lane: its parent's where it is the last child, else the nearest free one to the right of it.

    A lane is taken from a paper's own line down to its last child's.
    """
    order = {node.name: place for place, node in enumerate(nodes)}
    children: dict[str, list[str]] = {node.name: [] for node in nodes}
    for node in nodes:
        if node.parent:
            children[node.parent].append(node.name)
    end = {name: max([order[child] for child in own] or [order[name]]) for name, own in children.items()}
    found: dict[str, int] = {}
    until: list[int] = []  # for each lane the place up to which it is taken
    for place, node in enumerate(nodes):
        if node.parent and children[node.parent][-1] == node.name:
            lane = found[node.parent]
        else:
            home = found[node.parent] if node.parent else 0
            free = [n for n, last in enumerate(until) if last < place]
            lane = min((n for n in free if n > home), default=len(until))
        if lane == len(until):
            until.append(place)
        found[node.name] = lane
        until[lane] = max(until[lane], end[node.name])
    return found


def draw(table: Table) -> Figure:
    nodes = tree()
    told = [textwrap.wrap(" ".join(node.ideas), WORDS) for node in nodes]
    tall = sum(len(lines) * LINE + LINE + GAP for lines in told)
    made = sheet(WIDE, tall + 1.15)
    named(made, table.title)
    noted(made, table.notes)
    panel = made.subplots()
    panel.set_axis_off()
    panel.set_xlim(0, WIDE - 0.3)
    panel.set_ylim(tall, -0.1)
    lane = lanes(nodes)
    x = {name: LEFT + 0.2 + n * LANE for name, n in lane.items()}
    words_at = max(x.values()) + 0.3
    y, height = {}, 0.0
    for node, lines in zip(nodes, told):
        y[node.name] = height + LINE / 2
        height += len(lines) * LINE + LINE + GAP
    family = {node.name: node.family for node in nodes}
    for node in nodes:
        if node.parent:
            _branch(panel, x[node.parent], y[node.parent], x[node.name], y[node.name], colour_of(family[node.parent]))
    year = 0
    for node, lines in zip(nodes, told):
        at, colour = y[node.name], colour_of(node.family)
        panel.scatter(x[node.name], at, s=52, color=colour, edgecolor="white", linewidth=1.2, zorder=4)
        if node.year != year:
            panel.text(0.02, at, str(node.year), fontsize=9.5, color=QUIET_INK, va="center", weight="bold")
            panel.plot([0, WIDE - 0.3], [at - LINE / 2 - GAP / 2 + 0.01] * 2, color="#eceded", linewidth=0.8, zorder=0)
            year = node.year
        title = panel.text(words_at, at, node.title, fontsize=9.5, color=darker(colour), weight="bold", va="center")
        many = f"{len(node.networks)} networks" if len(node.networks) > 1 else "1 network"
        panel.annotate(f"{node.paper}, {many}", (1, 0), xycoords=title, xytext=(7, 0.6), textcoords="offset points",
                       fontsize=7.5, color=QUIET_INK, va="bottom")  # fmt: skip
        for n, line in enumerate(lines, 1):
            panel.text(words_at, at + n * LINE, line, fontsize=8.5, color=INK, va="center")
    return made


def _branch(panel: Axes, x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
    """Down the parent's lane, round a corner, and to the child."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if x0 == x1:
        points, codes = [(x0, y0), (x1, y1)], [Path.MOVETO, Path.LINETO]
    else:
        turn = min(0.16, y1 - y0)
        points = [(x0, y0), (x0, y1 - turn), (x0, y1), (min(x0 + turn, x1), y1), (x1, y1)]
        codes = [Path.MOVETO, Path.LINETO, Path.CURVE3, Path.CURVE3, Path.LINETO]
    path = Path(points, codes)
    panel.add_patch(PathPatch(path, fill=False, edgecolor=lighter(colour, 0.25), linewidth=1.7, zorder=2))
