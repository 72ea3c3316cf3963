"""Labels that touch neither each other nor the points: each is tried in places around its point, nearest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from convatlas.cost.plots import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

ANGLES = (0, 180, 90, 270, 45, 135, 315, 225, 22, 158, 338, 202)
"""Degrees around the point, the usual places first."""

DISTANCES = (3, 8, 16, 26, 38)
"""Points between blob and label; from LEADER on a thin line joins them."""

LEADER = 8

APART, NEAR = 3, 9
"""Points between a label and the blob of another label, and of any other where there is a choice."""

NEARNESS = 0.04
"""How much it counts to be that near, beside covering: only a choice among free places."""

DOT = 2.5
"""The least radius of a blob; a smaller point is of a line."""


class Label(NamedTuple):
    """What is to be said of the point (x, y), whose blob has a radius in points.

    must: rather crowded than not.  others: further points that it may stand beside just as well.
    """

    text: str
    x: float
    y: float
    radius: float = 3.0
    colour: str = INK
    bold: bool = False
    must: bool = False
    others: tuple[tuple[float, float], ...] = ()


class Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.top, other.top) - max(self.bottom, other.bottom)
        return wide * high if wide > 0 and high > 0 else 0.0


def place(
    panel: Axes,
    labels: Sequence[Label],
    size: float = 7.5,
    taken: Sequence[tuple[float, float, float]] = (),
    far: bool = True,
) -> list[Text]:
    """Write the labels, the first ones first; one that has no room is left out unless it must be there.

    taken: (x, y, radius) of further points that no label may cover.  far: a label may be led
    away from its point.  The panel's limits must be final.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = panel.get_figure(root=True)
    assert figure is not None
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    dot = figure.dpi / 72
    frame = panel.get_window_extent(renderer)
    inside = Box(frame.x0, frame.y0, frame.x1, frame.y1)
    points = [(*panel.transData.transform((one[0], one[1])), one[2] * dot)
              for one in [(label.x, label.y, label.radius) for label in labels] + list(taken)]  # fmt: skip

    def at(point: tuple[float, float]) -> tuple[float, float]:
        """A point of the panel in pixels."""
        right, up = panel.transData.transform(point)
        return float(right), float(up)

    rooms = [APART * dot] * len(labels) + [0.0] * len(taken)
    blobs = [_around(x, y, radius + room) for (x, y, radius), room in zip(points, rooms)]
    around = [((x, y), _around(x, y, radius + NEAR * dot)) for x, y, radius in points if radius >= DOT * dot]
    written: list[Text] = []
    used: list[Box] = []
    for label, (x, y, radius) in zip(labels, points):
        text = panel.annotate(label.text, (label.x, label.y), xytext=(0, 0), textcoords="offset points", fontsize=size,
                              color=label.colour, weight="bold" if label.bold else "normal", ha="left", va="bottom",
                              annotation_clip=False, zorder=5)  # fmt: skip
        extent = text.get_window_extent(renderer)
        wide, high = extent.width, extent.height
        anchors = [(x, y), *map(at, label.others)]
        near = [box for middle, box in around if all(math.dist(middle, own) > 1 for own in anchors)]
        found, worst = None, math.inf
        for distance in DISTANCES if far else DISTANCES[:2]:
            for (at_x, at_y), angle in product(anchors, ANGLES):
                box = _beside(at_x, at_y, wide, high, radius + distance * dot, angle)
                crowd = sum(box.overlap(other) for other in used) + 0.7 * sum(box.overlap(blob) for blob in blobs)
                crowd += NEARNESS * sum(box.overlap(other) for other in near) + wide * high - box.overlap(inside)
                if crowd < worst - 0.5:
                    found, worst = (box, distance, (at_x, at_y)), crowd
            if worst < 0.02 * wide * high:
                break
        if found is None or (worst > 0.04 * wide * high and not label.must):
            text.remove()
            continue
        box, distance, anchor = found
        text.set_position(((box.left - x) / dot, (box.bottom - y) / dot))
        if distance >= LEADER:
            _lead(panel, label, anchor, box, dot)
        used.append(Box(box.left - 2 * dot, box.bottom, box.right + 2 * dot, box.top))
        written.append(text)
    return written


def _around(x: float, y: float, half: float) -> Box:
    return Box(x - half, y - half, x + half, y + half)


def _beside(x: float, y: float, wide: float, high: float, away: float, angle: float) -> Box:
    """A box whose nearest edge is so far from the point in that direction."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    middle_x = x + away * cosine + wide / 2 * (round(cosine, 1) and math.copysign(min(1, abs(cosine) * 1.4), cosine))
    middle_y = y + away * sine + high / 2 * (round(sine, 1) and math.copysign(min(1, abs(sine) * 1.4), sine))
    return Box(middle_x - wide / 2, middle_y - high / 2, middle_x + wide / 2, middle_y + high / 2)


def _lead(panel: Axes, label: Label, anchor: tuple[float, float], box: Box, dot: float) -> None:
    """A thin line from a point, in pixels, to the nearest place of its label."""
    x, y = anchor
    near = (min(max(x, box.left), box.right), min(max(y, box.bottom), box.top))
    right, up = panel.transData.inverted().transform(anchor)
    panel.annotate("", (float(right), float(up)), xytext=((near[0] - x) / dot, (near[1] - y) / dot),
                   textcoords="offset points", annotation_clip=False, zorder=1,
                   arrowprops={"arrowstyle": "-", "color": label.colour, "linewidth": 0.5, "alpha": 0.6,
                               "shrinkA": 0, "shrinkB": label.radius})  # fmt: skip
