"""What the unit's page and its picture show alike: cells, the spectrum, the histogram's bars, the words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from convatlas.visualize.crops import Crop
from convatlas.visualize.sheets import image
from convatlas.visualize.units import Drawn, Unit

if TYPE_CHECKING:
    from PIL import Image

SMALL = 40
"""Up to this side, in pixels, a picture keeps its pixels as squares."""
BARS = 48
SPIKE = 0.4
"""Where one bar holds more than this part, the bars are drawn on a logarithmic scale."""

BRIGHT = 0.995
"""A projection's scale ends at this quantile of its sizes."""


@dataclass(frozen=True)
class Cell:
    """A picture with its words: RGBA, transparent outside of the picture it is from; or words in its place.

    title: what it is; value: the unit's, as text; name: of the picture; place: on the map, as text.
    mark: (x, y) in 0 … 1, where the unit lies, on pictures that its field is larger than.
    """

    picture: Image.Image | None
    title: str = ""
    value: str = ""
    name: str = ""
    place: str = ""
    words: str = ""
    mark: tuple[float, float] | None = None


def number(value: float) -> str:
    """-1.2345 -> "−1.23"."""
    text = f"{value:.3g}" if abs(value) >= 1e-12 else "0"
    return text.replace("-", "−")


def title(unit: Unit) -> str:
    of = f": {unit.label}" if unit.label else ""
    return f"{'Channel' if _map(unit) else 'Unit'} {unit.number} of {unit.layer}{of}"


def facts(unit: Unit) -> list[str]:
    """What unit it is, in a few words each."""
    channels, height, width = unit.found.shape
    shape = f"one of {channels} channels of {height} × {width}" if _map(unit) else f"one of {channels} values"
    told = [unit.network, shape]
    field = unit.field
    if field is not None and field.moves:
        most = "at most " if field.status == "bound" else ""
        apart = " × ".join(dict.fromkeys(f"{jump:g}" for jump in field.jump))
        told.append(f"sees {most}{field.size[0]:g} × {field.size[1]:g} pixels, units {apart} apart")
    elif field is not None:
        told.append("sees the whole picture")
    side = unit.found.preprocess.crop
    return [*told, f"{pictures(unit)} of {side} × {side}"]


def _map(unit: Unit) -> bool:
    return unit.found.shape[1:] != (1, 1)


def pictures(unit: Unit) -> str:
    """ "1,234 pictures"."""
    return f"{unit.found.count:,} picture{'s' if unit.found.count != 1 else ''}"


def drawn(unit: Unit) -> list[Cell]:
    """For it, against it, and the control."""
    made = [_drawn(unit, unit.positive, "for the unit")]
    if unit.negative is not None:
        made.append(_drawn(unit, unit.negative, "against it"))
    elif unit.floor is not None:
        made.append(Cell(None, "against it", words=f"never below {number(unit.floor)}"))
    if unit.control is not None:
        made.append(_drawn(unit, unit.control, "for it, with random weights"))
    return made


def _drawn(unit: Unit, one: Drawn, title: str) -> Cell:
    if one.dead:
        return Cell(None, title, words="dead")
    value = f"mean {number(one.value)}" if _map(unit) else number(one.value)
    return Cell(image(one.picture).convert("RGBA"), title, value)


def spectrum(unit: Unit, each: int = 3) -> list[Cell]:
    """From most negative to most positive; nothing of a unit that has one value only."""
    if not unit.highest:
        return []
    made = drawn(unit)
    low = [cell(unit, crop, "lowest") for crop in unit.lowest[:each]]
    if unit.floor is not None:
        low = [Cell(None, "lowest", number(unit.floor), words=f"{unit.quiet:.0%} of all places")]
    middle = [cell(unit, crop, "in the middle") for crop in unit.middle[:each]]
    high = [cell(unit, crop, "highest") for crop in reversed(unit.highest[:each])]
    ends = [made[1]] if unit.negative is not None else []
    return [*ends, *low, *middle, *high, made[0]]


def cell(unit: Unit, crop: Crop, title: str = "") -> Cell:
    """A crop at its place in the unit's window, with nothing where the window leaves the picture.

    Along an axis on which the window is longer than the picture, only the crop.
    """
    from PIL import Image

    own = crop.example
    moves = unit.field is None or unit.field.moves
    where = f"at {own.row}, {own.column}" if moves and not title else ""
    told = Cell(None, title, number(own.value), crop.name, where)
    if 0 in crop.picture.shape:
        return replace(told, words="sees padding only")
    spans = [window if window[1] - window[0] <= side else seen
             for window, seen, side in zip(crop.window, crop.box, crop.size)]  # fmt: skip
    (top, bottom), (left, right) = spans
    tile = Image.new("RGBA", (right - left, bottom - top))
    tile.paste(image(crop.picture).convert("RGBA"), (crop.box[1][0] - left, crop.box[0][0] - top))
    mark = None
    if moves and any(window != span for window, span in zip(crop.window, spans)):
        x, y = (min(max((sum(window) / 2 - first) / (last - first), 0), 1)
                for window, (first, last) in reversed([*zip(crop.window, spans)]))  # fmt: skip
        mark = (x, y)
    return replace(told, picture=tile, mark=mark)


def led(unit: Unit, crop: Crop) -> Cell:
    """What deconvnet leads back to a crop, around grey, on a scale of its own; framed as ``cell``."""
    assert crop.projection is not None
    sizes = crop.projection.abs().flatten().sort().values
    most = sizes[int(BRIGHT * (len(sizes) - 1))].clamp(min=1e-12) if len(sizes) else 1
    return replace(cell(unit, replace(crop, picture=crop.projection / most / 2 + 0.5)), value="", name="", place="")


def about_highest(unit: Unit) -> str:
    """What stands below the highest crops."""
    said = (f"No projections: {unit.unprojected}." if unit.unprojected else
            "Beside each crop what deconvnet leads back from this one activation to the pixels, each on its own scale "
            "around grey.")  # fmt: skip
    if not (unit.unprojected or unit.switched):
        said += " It follows the switches of max pools; with none on the way it shows little of the picture."
    cut = any(crop.box != crop.window for crop in unit.highest)
    return f"{said} What is hatched lies beyond the picture." if cut else said


@dataclass(frozen=True)
class Bars:
    """The sample's histogram: edges (B + 1,), heights (B,) in 0 … 1, and whether these are logarithms."""

    edges: np.ndarray
    heights: np.ndarray
    logarithmic: bool

    def at(self, value: float) -> float:
        """Where a value lies from left to right, in 0 … 1."""
        return float((value - self.edges[0]) / (self.edges[-1] - self.edges[0]))


def bars(unit: Unit) -> Bars:
    """From the lowest value of the data set to the highest."""
    values = unit.found.values(unit.number)
    least, most = unit.found.bottom(unit.number)[0].value, unit.found.top(unit.number)[0].value
    if most <= least:
        least, most = least - 0.5, most + 0.5
    counts, edges = np.histogram(values, BARS, (least, most))
    logarithmic = bool(counts.max() > SPIKE * max(counts.sum(), 1))
    heights = np.log1p(counts) if logarithmic else counts.astype(float)
    return Bars(edges, heights / max(heights.max(), 1e-12), logarithmic)


def about_bars(unit: Unit, made: Bars) -> str:
    """What the histogram is of."""
    count = len(unit.found.values(unit.number))
    scale = "; heights on a logarithmic scale" if made.logarithmic else ""
    ticks = " and ".join(filter(None, ("the highest" if unit.highest else "", "the lowest" if unit.lowest else "")))
    places = "places at random" if _map(unit) else "pictures"
    return f"{count:,} {places}{f'; ticks: {ticks}' if ticks else ''}{scale}"


def labels(made: Bars) -> list[tuple[float, str]]:
    """The values that are written below the bars, each with the side from which its text goes on, as SVG calls it."""
    ends = [(float(made.edges[0]), "start"), (float(made.edges[-1]), "end")]
    if ends[0][0] < 0 < ends[1][0] and 0.12 < made.at(0) < 0.88:
        ends.insert(1, (0.0, "middle"))
    return ends
