"""A journey as one matplotlib figure: the picture, its stages side by side, the answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from convatlas.visualize.sheets import WARM, enlarged, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from convatlas.visualize.travelling import Journey, Stage

INK, QUIET = "#2b2d33", "#74777e"
CELL, GAP, HEAD, FOOT = 0.9, 0.16, 0.5, 0.42
"""Inches: a map's side, between maps (with a channel's number), above a column, below it."""
ACROSS = 16
"""Columns in a line at most; what does not fit goes on below, in lines of about the same length."""
PIXELS = 200
"""A map is enlarged to at least so many, so that no viewer smooths it."""


def draw(journey: Journey, channels: int) -> Figure:
    """See ``Journey.figure``."""
    from matplotlib.figure import Figure

    shown = [stage for stage in journey.stages if not (stage.answer and journey.answers)]
    high = min(channels, max((len(s.activations.values) for s in shown if s.activations.maps), default=4))
    places, lines, across = _places([2.0, *[1.0] * len(shown), *([3.0] if journey.answers else [])])
    column = high * (CELL + GAP)
    band = HEAD + column + FOOT
    size = across * (CELL + GAP) + 0.4, lines * band + 0.45
    made = Figure(figsize=size)
    page = _Page(made, size)
    page.words(0.25, 0.28, journey.network, size=13)
    meaning = "brown is positive, blue negative, zero light; each column has its own scale"
    page.words(size[0] - 0.25, 0.28, meaning, size=8, colour=QUIET, align="right")
    for n, (x, line) in enumerate(places):
        left, top = 0.25 + x * (CELL + GAP), 0.45 + line * band
        if n == 0:
            _picture(page, journey, left, top)
        elif n <= len(shown):
            _stage(page, shown[n - 1], left, top, high)
        else:
            _answers(page, journey, left, top)
    return made


def _places(widths: Sequence[float]) -> tuple[list[tuple[float, int]], int, float]:
    """Where columns of these widths stand, (x, line), how many lines there are, and how wide the widest is."""
    lines = math.ceil(sum(widths) / ACROSS)
    room = max(sum(widths) / lines + 1, *widths)
    places, x, line, widest = [], 0.0, 0, 0.0
    for width in widths:
        if x and x + width > room:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += width
        widest = max(widest, x)
    return places, line + 1, widest


def _picture(page: _Page, journey: Journey, left: float, top: float) -> None:
    side, picture = 2 * CELL + GAP - 0.1, journey.picture
    page.words(left, top + 0.14, "the picture")
    page.words(left, top + 0.3, f"{picture.height} x {picture.width}", size=7.5, colour=QUIET)
    longer = max(picture.size)
    page.picture(left, top + HEAD, side * picture.width / longer, side * picture.height / longer, picture)


def _stage(page: _Page, stage: Stage, left: float, top: float, high: int) -> None:
    of = stage.activations
    page.words(left, top + 0.14, stage.name if len(stage.name) <= 13 else f"…{stage.name[-12:]}")
    page.words(left, top + 0.3, of.shape, size=7.5, colour=QUIET)
    y, bottom = top + HEAD, top + HEAD + high * (CELL + GAP)
    if of.maps:
        rows, width = of.values.shape[1:]
        wide, tall = CELL * min(1, width / rows), CELL * min(1, rows / width)
        for channel in of.channels[:high]:
            page.picture(left, y, wide, tall, of.scale.image(of.values[channel]))
            page.words(left, y + tall + 0.09, str(channel), size=5.5, colour=QUIET)
            y += CELL + GAP
    else:
        page.picture(left, y, CELL, bottom - y - GAP, mosaic(stage, (bottom - y - GAP) / CELL))
    least = -of.scale.limit if of.scale.signed else 0.0
    page.picture(left, bottom + 0.02, CELL, 0.06, of.scale.image(torch.linspace(least, of.scale.limit, 100)[None]))
    page.words(left, bottom + 0.18, number(least), size=6, colour=QUIET)
    page.words(left + CELL, bottom + 0.18, number(of.scale.limit), size=6, colour=QUIET, align="right")


def mosaic(stage: Stage, shape: float) -> Image.Image:
    """A vector's values row by row; shape: height by width."""
    from PIL import Image

    of = stage.activations
    columns = max(1, round((len(of.values) / shape) ** 0.5))
    rows = -(-len(of.values) // columns)
    cells = np.full((rows * columns, 3), 255, np.uint8)
    cells[: len(of.values)] = of.scale.colours(of.values)
    return Image.fromarray(cells.reshape(rows, columns, 3))


def _answers(page: _Page, journey: Journey, left: float, top: float) -> None:
    page.words(left, top + 0.14, "the answer")
    page.words(left, top + 0.3, f"of {len(journey.labels)} classes", size=7.5, colour=QUIET)
    wide = 3 * (CELL + GAP) - 0.2
    for place, (label, share) in enumerate(journey.answers):
        y = top + HEAD + 0.12 + place * 0.5
        name = journey.labels[label]
        page.words(left, y, name if len(name) <= 30 else f"{name[:29]}…", size=9)
        page.words(left + wide, y, f"{100 * share:.1f} %", size=9, align="right")
        page.bar(left, y + 0.12, wide, 0.07, "#ececea")
        page.bar(left, y + 0.12, wide * share, 0.07, WARM[3])


class _Page:
    """A figure measured in inches from its upper left corner."""

    def __init__(self, made: Figure, size: tuple[float, float]):
        self.made, (self.width, self.height) = made, size

    def words(self, x: float, y: float, text: str, *, size: float = 9, colour: str = INK, align: Any = "left") -> None:
        self.made.text(x / self.width, 1 - y / self.height, text, fontsize=size, color=colour, ha=align, va="center")

    def picture(self, x: float, y: float, wide: float, tall: float, picture: Image.Image) -> None:
        axes = self.made.add_axes((x / self.width, 1 - (y + tall) / self.height, wide / self.width, tall / self.height))
        axes.set_axis_off()
        times = -(-PIXELS // max(picture.size))
        axes.imshow(np.asarray(enlarged(picture.convert("RGB"), times)), aspect="auto", interpolation="none")

    def bar(self, x: float, y: float, wide: float, tall: float, colour: str) -> None:
        from matplotlib.patches import Rectangle

        corner = x / self.width, 1 - (y + tall) / self.height
        self.made.add_artist(Rectangle(corner, wide / self.width, tall / self.height, color=colour, linewidth=0))
