"""The full picture: a row of channels for each stage, first to last."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw
from torch import nn

from convatlas.errors import ConvatlasError
from convatlas.visualize import objectives
from convatlas.visualize.finding import shape_at
from convatlas.visualize.optimize import NotFinite, Visualization, visualize
from convatlas.visualize.sheets import INK, WORDS, enlarged, font
from convatlas.visualize.shown import Shown
from convatlas.visualize.travelling import stops

MARGIN, GAP = 110, 4
"""Pixels: for a row's name, between pictures."""
SIDE = 96
"""Pixels: pictures smaller than half of it are enlarged."""


@dataclass(frozen=True)
class Row:
    """One layer: what it gives (channels, height, width), which channels are shown, and their pictures."""

    layer: str
    shape: tuple[int, ...]
    units: tuple[int, ...]
    made: Visualization


class Broken(NotFinite):
    """A value of a row is NaN or infinite.  rows: those before it, and its own as far as it was good."""

    def __init__(self, error: NotFinite, rows: list[Row]):
        super().__init__(str(error), error.good)
        self.rows = rows


def sheet(
    net: nn.Module,
    layers: Sequence[str] | None = None,
    *,
    columns: int = 6,
    size: int | None = None,
    steps: int = 128,
    seed: int = 0,
    watch: Callable[[str, int, int], None] | None = None,
) -> list[Row]:
    """Channels of each layer, taken at random by the seed.

    layers: by default a ConvNet's stages; else those of the module's children that give a map.
    watch: called with the layer that begins, and how many of how many are done.
    Interrupted, it gives the rows so far, and ``made.interrupted`` of the last one says so.

    Raises UnknownName for a layer that does not exist, before any row is drawn, and Broken, with the rows so far, where
    a value is not finite.
    """
    if columns < 1:
        raise ConvatlasError(f"a row has at least 1 picture, not {columns}")
    layers, shown = list(layers or stops(net)), Shown(net)
    shapes = [shape_at(net, layer, shown) for layer in layers]  # which also finds out whether there is such a layer
    rows: list[Row] = []
    for done, (layer, shape) in enumerate(zip(layers, shapes)):
        units = sorted(random.Random(f"{seed} {layer}").sample(range(shape[0]), min(columns, shape[0])))
        try:
            if watch is not None:
                watch(layer, done, len(layers))
            made = visualize(net, objectives.channel(layer, units), count=len(units), size=size, steps=steps, seed=seed)
        except NotFinite as error:
            begun = [Row(layer, shape, tuple(units), error.good)] if error.good.steps else []
            raise Broken(error, rows + begun) from None
        except KeyboardInterrupt:  # before the row's first step
            if not rows:
                raise
            rows[-1] = replace(rows[-1], made=replace(rows[-1].made, interrupted=True))
            break
        rows.append(Row(layer, shape, tuple(units), made))
        if made.interrupted:
            break
    return rows


def drawn(rows: Sequence[Row], title: str) -> Image.Image:
    """The rows below each other, each with its layer's name and size and the numbers of its channels; small pictures
    are enlarged, each pixel a square."""
    cells = [[enlarged(one, max(1, SIDE // max(one.size))) for one in row.made.images] for row in rows]
    width, height = (max(getattr(one, side) for line in cells for one in line) for side in ("width", "height"))
    columns, words, top = max(map(len, cells)), 16, 34
    page = Image.new("RGB", (MARGIN + columns * (width + GAP), top + len(rows) * (height + words + GAP)), "white")
    draw = ImageDraw.Draw(page)
    draw.text((10, 8), title, fill=INK, font=font(16))
    for number, (row, line) in enumerate(zip(rows, cells)):
        y = top + number * (height + words + GAP)
        draw.text((10, y + 2), row.layer, fill=INK, font=font(13))
        draw.text((10, y + 20), " x ".join(map(str, row.shape)), fill=WORDS, font=font(11))
        for column, (unit, one) in enumerate(zip(row.units, line)):
            x = MARGIN + column * (width + GAP)
            page.paste(one.convert("RGB"), (x, y))
            draw.text((x + 1, y + height + 1), str(unit), fill=WORDS, font=font(11))
    return page
