"""Tensors as pictures: one, a grid of many, a card with words, values in colours with their scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image, ImageFont

GAP, PAPER, WORDS, INK = 2, 255, (116, 119, 126), (43, 45, 51)
WARM = ("#f1f1ee", "#f0cba2", "#e38f4c", "#b4552d", "#5f2110")
COLD = ("#f1f1ee", "#b7d2ea", "#6ba2d8", "#2d6cb4", "#123258")
"""From zero to the strongest, of positive and of negative values: apart for every kind of eye, and darker with
strength."""


def image(picture: Tensor) -> Image.Image:
    """(C, H, W) or (H, W) in [0, 1] -> grey for one channel, else RGB."""
    from PIL import Image

    pixels = (picture.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    if pixels.ndim == 3:
        pixels = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels))


def tensor(picture: Image.Image, channels: int = 3) -> Tensor:
    """A picture -> (C, H, W) float32 in [0, 1]."""
    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"), np.float32) / 255
    return torch.from_numpy(pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1)))


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib's DejaVu Sans, which knows more signs and alphabets than PIL's own font."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def labelled(text: str, size: tuple[int, int]) -> Image.Image:
    """A card (height, width) that says in words why there is no picture."""
    from PIL import Image, ImageDraw

    height, width = size
    card = Image.new("RGB", (width, height), (244, 244, 242))
    ImageDraw.Draw(card).text((width / 2, height / 2), text, fill=WORDS, anchor="mm", font=font(max(9, width // 8)))
    return card


def grid(images: Sequence[Image.Image], columns: int | None = None, gap: int = GAP) -> Image.Image:
    """Pictures side by side, row by row, as near to a square as they go; all are as large as the largest."""
    from PIL import Image

    columns = columns or math.ceil(math.sqrt(len(images)))
    width, height = max(i.width for i in images), max(i.height for i in images)
    rows = math.ceil(len(images) / columns)
    mode = "L" if all(i.mode == "L" for i in images) else "RGB"
    paper = PAPER if mode == "L" else (PAPER,) * 3
    made = Image.new(mode, (columns * (width + gap) - gap, rows * (height + gap) - gap), paper)
    for place, one in enumerate(images):
        row, column = divmod(place, columns)
        made.paste(one, (column * (width + gap), row * (height + gap)))
    return made


# ---- values in colours ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """From values to colours, the same for all that are to be compared: zero is light, strong values are dark.

    limit: the magnitude of the darkest colour; what lies beyond has that colour too.  peak: the largest magnitude.
    signed: whether any value is negative: these are blue, and positive ones brown.
    """

    limit: float
    peak: float
    signed: bool

    @classmethod
    def of(cls, values: Tensor, what: str, beyond: float = 0.0) -> Scale:
        """Of all values of ``what``, of which the share ``beyond`` may have the colour of the limit.

        Raises ConvatlasError where a value is not finite.
        """
        sizes = values.detach().abs().flatten().float()
        if not bool(torch.isfinite(sizes).all()):
            raise ConvatlasError(f"{what} has values that are not finite")
        peak = float(sizes.max()) if len(sizes) else 0.0
        here = sizes[sizes > 0]
        rank = math.ceil(len(here) * (1 - beyond))
        limit = float(here.kthvalue(max(1, rank)).values) if len(here) else 1.0
        # A limit near the peak is the peak: nothing to explain.
        return cls(peak if peak and limit > 0.8 * peak else limit, peak, bool((values < 0).any()))

    def colours(self, values: Tensor) -> NDArray[np.uint8]:
        """(…) -> (…, 3): RGB."""
        places = (values.detach().float().cpu() / self.limit * STEPS).round().clamp(-STEPS, STEPS).long() + STEPS
        return _table()[places.numpy()]

    def image(self, values: Tensor, times: int = 1) -> Image.Image:
        """(H, W) -> a picture, each value a square of ``times`` pixels."""
        return enlarged(_pixels(self.colours(values)), times)

    @property
    def words(self) -> str:
        """What the ends of the scale mean."""
        beyond = f"; beyond {number(self.limit)} as there, up to {number(self.peak)}" if self.peak > self.limit else ""
        return f"one scale for all{beyond}"


STEPS = 255
"""Shades on either side of zero."""
SHEET = 800
"""Pixels: a sheet's width that cells are enlarged for."""


@cache
def _table() -> NDArray[np.uint8]:
    """(2 STEPS + 1, 3): from the most negative to the most positive."""
    halves = []
    for anchors in (COLD, WARM):
        colours = np.array([[int(anchor[i : i + 2], 16) for i in (1, 3, 5)] for anchor in anchors], float)
        at = np.linspace(0, len(anchors) - 1, STEPS + 1)
        halves.append(np.stack([np.interp(at, range(len(anchors)), channel) for channel in colours.T], 1))
    return np.concatenate([halves[0][:0:-1], halves[1]]).round().astype(np.uint8)


def roomy(columns: int, least: int, most: int) -> int:
    """A cell's side in pixels: large where there are few."""
    return max(least, min(most, SHEET // columns))


def number(value: float) -> str:
    """Three significant digits, as a scale has them."""
    return f"{value:.3g}"


def enlarged(picture: Image.Image, times: int) -> Image.Image:
    """Each pixel a square of ``times`` pixels; nothing is smoothed."""
    from PIL import Image

    if times == 1:
        return picture
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def tagged(picture: Image.Image, text: str) -> Image.Image:
    """A picture with a small word above it."""
    from PIL import Image, ImageDraw

    made = Image.new("RGB", (picture.width, picture.height + 12), (PAPER,) * 3)
    made.paste(picture, (0, 12))
    ImageDraw.Draw(made).text((0, 0), text, fill=WORDS, font=font(9))
    return made


def framed(body: Image.Image, title: str, note: str, bar: Image.Image, ends: Sequence[str]) -> Image.Image:
    """A sheet: a title and a note above the body, and below it the scale with numbers at its ends (and its middle)."""
    from PIL import Image, ImageDraw

    margin, top, below = 14, 52, 44
    probe = ImageDraw.Draw(Image.new("L", (1, 1)))
    words = max(probe.textlength(title, font=font(16)), probe.textlength(note, font=font(12)), bar.width)
    sheet = Image.new("RGB", (round(max(body.width, words)) + 2 * margin, top + body.height + below), (PAPER,) * 3)
    draw = ImageDraw.Draw(sheet)
    draw.text((margin, 9), title, fill=INK, font=font(16))
    draw.text((margin, 31), note, fill=WORDS, font=font(12))
    sheet.paste(body, (margin, top))
    y = top + body.height + 12
    sheet.paste(bar, (margin, y))
    for place, text in enumerate(ends):
        share = place / (len(ends) - 1)
        anchor = "la" if place == 0 else "ra" if share == 1 else "ma"
        draw.text((margin + share * bar.width, y + bar.height + 3), text, fill=WORDS, font=font(11), anchor=anchor)
    return sheet


def scale_bar(scale: Scale, width: int = 200) -> tuple[Image.Image, list[str]]:
    """The colours from one end of a scale to the other, and the numbers there."""
    least = -scale.limit if scale.signed else 0.0
    bar = scale.image(torch.linspace(least, scale.limit, width).expand(9, width))
    return bar, ([number(least), "0"] if scale.signed else ["0"]) + [number(scale.limit)]


def _pixels(colours: NDArray[Any]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(colours))
