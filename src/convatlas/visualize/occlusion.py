"""Occlusion: how far a score falls while a window hides a part of the picture.  It takes any network.

Zeiler and Fergus 2013 (arXiv 1311.2901), section 4.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convatlas.cost.field import Field, fields
from convatlas.errors import ConvatlasError
from convatlas.graph.source import graph_of
from convatlas.visualize.gradients import Watch
from convatlas.visualize.sights import field_of
from convatlas.visualize.taps import OUTPUT, Taps
from convatlas.visualize.targets import Aim

PART = 4
"""A window is at most this part of the picture's side: less would rarely hide a thing, more would hide the place."""

Sides = int | tuple[int, int] | None
"""(height, width) in pixels, or one for both."""


def occlusion(taps: Taps, aim: Aim, x: Tensor, window: tuple[int, int], stride: tuple[int, int], batch: int,
              watch: Watch | None = None) -> Tensor:  # fmt: skip
    """The fall of the score of x (1, C, H, W), averaged over the windows that cover a pixel: (H, W), signed.

    What is hidden becomes 0, the mean that the preprocessing takes away.  The last window of each row and column ends
    with the picture.
    """
    height, width = x.shape[2:]
    rows, columns = (_starts(n, w, s) for n, w, s in zip((height, width), window, stride))
    places = [(row, column) for row in rows for column in columns]
    fall, covered = torch.zeros(2, height, width, dtype=x.dtype)
    with torch.no_grad():
        score = aim.of(taps(x)[aim.layer])
        for first in range(0, len(places), batch):
            some = places[first : first + batch]
            hidden = x.repeat(len(some), 1, 1, 1)
            for one, (row, column) in zip(hidden, some):
                one[:, row : row + window[0], column : column + window[1]] = 0
            falls = (score - aim.of(taps(hidden)[aim.layer])).tolist()
            for (row, column), by in zip(some, falls):
                fall[row : row + window[0], column : column + window[1]] += by
                covered[row : row + window[0], column : column + window[1]] += 1
            if watch is not None:
                watch(first + len(some), len(places))
    return fall / covered


def windows(
    net: nn.Module, aim: Aim, x: Tensor, window: Sides, stride: Sides
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of the window and of the stride, in pixels.

    What is not given is chosen: the window is what a unit of the last map (of the layer, where a unit of it is
    explained) sees, and at most a quarter of the picture, but no less than its units are apart; the stride is how far
    they are apart, and at most half the window.  Where the field cannot be known, the limits are taken.

    Raises ConvatlasError for a window larger than the picture, and a stride that leaves pixels uncovered.
    """
    size: tuple[int, int] = (x.shape[2], x.shape[3])
    if window is None or stride is None:
        seen = _field(net, aim, x)
        own = [_chosen(axis, n, seen) for axis, n in enumerate(size)]
    else:
        own = []
    wide = _sides(window) or (own[0][0], own[1][0])
    far = _sides(stride)
    if far is None:
        far = (min(own[0][1], max(1, wide[0] // 2)), min(own[1][1], max(1, wide[1] // 2)))
    for n, w, s in zip(size, wide, far):
        if not 1 <= w <= n:
            raise ConvatlasError(f"a window measures 1 to {n} pixels on this picture, not {w}")
        if not 1 <= s <= w:
            raise ConvatlasError(f"a stride of 1 to {w}, the window's side, covers every pixel; {s} does not")
    return wide, far


def _starts(n: int, window: int, stride: int) -> list[int]:
    return sorted({*range(0, n - window + 1, stride), n - window})


def _sides(given: Sides) -> tuple[int, int] | None:
    return (given, given) if isinstance(given, int) else given


def _chosen(axis: int, n: int, seen: Field | None) -> tuple[int, int]:
    """The window and how far the units are apart, along one axis of n pixels."""
    most = max(1, n // PART)
    if seen is None or not seen.moves:
        return most, max(1, most // 2)
    size, jump = round(seen.size[axis]), max(1, round(seen.jump[axis]))
    return max(1, min(n, size, max(most, jump))), jump


def _field(net: nn.Module, aim: Aim, x: Tensor) -> Field | None:
    """What the units of the last map of more than one unit, or of the layer that is explained, see."""
    size = (x.shape[1], x.shape[2], x.shape[3])
    if aim.layer != OUTPUT:
        return field_of(net, aim.layer, size)
    try:
        graph = graph_of(net, size)
        shapes = graph.shapes(size)
    except ConvatlasError:  # a network that cannot be traced runs all the same
        return None
    maps = [i for i, s in enumerate(shapes) if len(s) == 4 and s[2] * s[3] > 1]
    return fields(graph, shapes)[maps[-1]]
