"""Activations: what a layer gives for one picture, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convatlas.errors import ConvatlasError
from convatlas.visualize.sheets import (
    COLD,
    WARM,
    WORDS,
    Scale,
    enlarged,
    font,
    framed,
    grid,
    image,
    roomy,
    scale_bar,
    tagged,
)
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import Taps, aside, name_of
from convatlas.weights.preprocess import Preprocess

if TYPE_CHECKING:
    from PIL import Image

CELL, LARGEST = 40, 168
"""Pixels: a map's longer side at least, and at most where it is enlarged; each value is a whole square."""
BEYOND = 0.001
"""Share of the values that may lie beyond the scale: a few that stand out would leave the others pale."""
BARS = 200
"""A vector of so many values is drawn as bars; a longer one as cells."""


@dataclass(frozen=True)
class Activations:
    """What a layer gives for one picture.

    values: (C, H, W), of a layer without maps (C,); float32, all channels.  picture: what of it the network saw.
    channels: those that are drawn, in that order.  scale: one for all channels of the layer.
    """

    network: str
    layer: str
    values: Tensor = field(repr=False)
    picture: Image.Image = field(repr=False)
    channels: tuple[int, ...] = field(repr=False)
    scale: Scale

    @property
    def maps(self) -> bool:
        """Whether it gives maps; a map of one unit a channel is a vector."""
        return self.values.dim() == 3

    @property
    def shape(self) -> str:
        """ "40 x 28 x 28"."""
        return " x ".join(map(str, self.values.shape))

    @property
    def image(self) -> Image.Image:
        """The channels' maps side by side, or the values of a vector as bars; with the scale's numbers."""
        bar, ends = scale_bar(self.scale)
        drawn, there = len(self.channels), len(self.values)
        some = "" if drawn == there else f"   {drawn} of {there} channels"
        title = f"{self.network}   {self.layer}   {self.shape}{some}"
        return framed(self._drawn(), title, self.scale.words, bar, ends)

    @property
    def images(self) -> list[Image.Image]:
        """The drawn channels' maps, a pixel for each unit; of a vector each value by itself."""
        return [self.scale.image(self.values[c].view(*self.values.shape[1:] or (1, 1))) for c in self.channels]

    def _drawn(self) -> Image.Image:
        if not self.maps:
            return _bars(self) if len(self.channels) <= BARS else _cells(self)
        columns = _columns(len(self.channels))
        times = max(1, roomy(columns, CELL, LARGEST) // max(self.values.shape[1:]))
        cells = [tagged(enlarged(one, times), str(c)) for one, c in zip(self.images, self.channels)]
        return grid(cells, columns, gap=4)


def activations(
    net: nn.Module,
    picture: Any,
    layer: str,
    *,
    strongest: int | None = None,
    channels: Sequence[int] | None = None,
    preprocess: Preprocess | None = None,
) -> Activations:
    """What a layer of any module gives for a picture, before anything behind it runs.

    picture: a file, a PIL image or an array, prepared as the network's weights want it; or a tensor (C, H, W) in
    [0, 1], in RGB, of the size that the network is to see.
    layer: the path of a submodule, or its last words.
    strongest: draw only so many channels, those of the largest norm, the largest first.  channels: draw these.

    Raises UnknownName for a layer that does not exist; ConvatlasError for one that gives neither maps nor a vector, for
    channels that it does not have, for values that are not finite, and for what is no picture.
    """
    if strongest is not None and strongest < 1:
        raise ConvatlasError(f"at least 1 channel is drawn, not {strongest}")
    seen, x = prepared(net, picture, preprocess)
    with aside(net), torch.no_grad():
        given = Taps(net, [layer], x)(x)[layer]
    values = plain(given)
    if values is None:
        shape = " x ".join(map(str, given.shape))
        raise ConvatlasError(f"{layer} of {name_of(net)} gives {shape}: neither maps (1, C, H, W) nor a vector (1, C)")
    if channels is not None:
        if strangers := [c for c in channels if not 0 <= c < len(values)]:
            raise ConvatlasError(f"{layer} of {name_of(net)} has channels 0 to {len(values) - 1}, not {strangers[0]}")
        chosen = tuple(channels)
    else:
        chosen = by_strength(values)[:strongest] if strongest is not None else tuple(range(len(values)))
    if not chosen:
        raise ConvatlasError("at least 1 channel is drawn")
    return Activations(name_of(net), layer, values, seen, chosen, scale_of(values, layer))


def prepared(net: nn.Module, picture: Any, preprocess: Preprocess | None = None) -> tuple[Image.Image, Tensor]:
    """What of a picture a network sees, and that as it reads it, (1, C, H, W).  picture: as ``activations`` has it."""
    shown = Shown(net, preprocess)
    pixels = shown.seen(picture)
    return image(pixels[0]), shown(pixels)


def plain(given: Tensor) -> Tensor | None:
    """One picture's output: (1, C, H, W) -> (C, H, W); (1, C) and (1, C, 1, 1) -> (C,); None for any other."""
    values = given.detach().float().cpu()
    if values.dim() not in (2, 4) or len(values) != 1 or not values.numel():
        return None
    return values.flatten() if values[0, 0].numel() == 1 else values[0].contiguous()


def by_strength(values: Tensor) -> tuple[int, ...]:
    """The channels, those of the largest norm first."""
    norms = values.flatten(1).norm(dim=1) if values.dim() > 1 else values.abs()
    return tuple(norms.argsort(descending=True, stable=True).tolist())


def scale_of(values: Tensor, layer: str) -> Scale:
    """The scale of all channels of a layer."""
    return Scale.of(values, layer, BEYOND)


# ---- drawing ----------------------------------------------------------------------------------------------


def _columns(count: int) -> int:
    """As wide as it goes without becoming a strip; a number that people count in, where it nearly fits."""
    wide = (columns for columns in (4, 6, 8, 10, 12, 16, 20, 24, 32) if columns * columns >= 1.2 * count)
    return min(count, next(wide, 40))


def _bars(of: Activations) -> Image.Image:
    """A bar up for each positive value, down for each negative one."""
    from PIL import Image, ImageDraw

    values = of.values[list(of.channels)]
    wide, high = max(4, min(24, 960 // len(values))), 140
    down = high if of.scale.signed else 0
    made = Image.new("RGB", (wide * len(values), high + down + 15), "white")
    draw = ImageDraw.Draw(made)
    draw.line([(0, high), (made.width, high)], fill=(200, 201, 205))
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100) if n * wide >= 24)
    for place, (channel, value) in enumerate(zip(of.channels, values.tolist())):
        end = high - round(max(-1.0, min(1.0, value / of.scale.limit)) * (high - 1))
        left = place * wide
        draw.rectangle([left, min(high, end), left + wide - 2, max(high, end)], fill=(WARM if value > 0 else COLD)[3])
        if place % every == 0:
            draw.text((left, high + down + 3), str(channel), fill=WORDS, font=font(10))
    return made


def _cells(of: Activations) -> Image.Image:
    """A vector row by row, a cell for each value; the first one's number stands at the left."""
    from PIL import Image, ImageDraw

    columns, side, margin = 50, 16, 40
    cells = [enlarged(one, side - 2) for one in of.images]
    body = grid(cells, columns)
    made = Image.new("RGB", (body.width + margin, body.height), "white")
    made.paste(body, (margin, 0))
    for row in range(0, len(cells), columns):
        number = str(of.channels[row])
        ImageDraw.Draw(made).text((0, row // columns * side + 1), number, fill=WORDS, font=font(11))
    return made
