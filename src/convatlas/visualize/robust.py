"""Small random changes between the steps, so that what is found is no accident of single pixels."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = 0.5
"""What is around the picture."""
FULL = 96
"""At sides below so many pixels the distances shrink in proportion: 8 pixels are a third of a digit."""


@dataclass(frozen=True)
class Robust:
    """Pad with grey, move, scale and turn, move again; all amounts at random, the same for the pictures of a batch.

    pad: pixels on each side.  jitter, last_jitter: a window so many pixels smaller is cut out, anywhere.
    scales: factors; angles: degrees.  crop: in the end the middle of the picture's own size.
    """

    pad: int = 0
    jitter: int = 0
    scales: tuple[float, ...] = (1.0,)
    angles: tuple[float, ...] = (0.0,)
    last_jitter: int = 0
    crop: bool = False

    def at(self, side: int) -> Robust:
        """The same for small pictures."""
        if side >= FULL:
            return self
        part = side / FULL
        return Robust(round(self.pad * part), round(self.jitter * part), self.scales, self.angles,
                      round(self.last_jitter * part), self.crop)  # fmt: skip

    def __call__(self, x: Tensor, draw: random.Random) -> Tensor:
        """(N, C, H, W) in [0, 1] -> the same, and of another size where the scale or the crops make it so."""
        return self.followed(x, draw)[0]

    def followed(self, x: Tensor, draw: random.Random) -> tuple[Tensor, Tensor]:
        """As called, and where each of the picture's points is in it: (3, 3), from (x, y, 1) to (x, y, 1).

        x and y go from -1, the one edge, to 1, the other, as in ``F.affine_grid``.
        """
        height, width = x.shape[2:]
        x, where = _window(x, -self.pad, -self.pad, height + 2 * self.pad, width + 2 * self.pad)
        x, step = _moved(x, self.jitter, draw)
        where = step @ where
        scale, angle = draw.choice(self.scales), draw.choice(self.angles)
        if (scale, angle) != (1, 0):
            x, step = _turned(x, scale, math.radians(angle))
            where = step @ where
        x, step = _moved(x, self.last_jitter, draw)
        where = step @ where
        if self.crop:
            top, left = ((have - want) // 2 for have, want in zip(x.shape[2:], (height, width)))
            x, step = _window(x, top, left, height, width)
            where = step @ where
        return x, where


def _moved(x: Tensor, by: int, draw: random.Random) -> tuple[Tensor, Tensor]:
    top, left = (draw.randint(0, by), draw.randint(0, by)) if by else (0, 0)
    return _window(x, top, left, x.shape[2] - by, x.shape[3] - by)


def _window(x: Tensor, top: int, left: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A part, with grey where it goes beyond the edge; and where its points are."""
    down, across = x.shape[2:]
    if (top, left, height, width) != (0, 0, down, across):
        x = F.pad(x, (-left, left + width - across, -top, top + height - down), value=GREY)
    return x, torch.tensor([[across / width, 0, (across - 2 * left) / width - 1],
                            [0, down / height, (down - 2 * top) / height - 1], [0, 0, 1]])  # fmt: skip


def _turned(x: Tensor, scale: float, angle: float) -> tuple[Tensor, Tensor]:
    """Scaled and turned around its middle, in one interpolation; grey from outside.  And where its points are."""
    height, width = (max(1, round(side * scale)) for side in x.shape[2:])
    cosine, sine = math.cos(angle), math.sin(angle)
    ratio = width / height
    turn = torch.tensor([[[cosine, -sine / ratio, 0], [sine * ratio, cosine, 0]]], dtype=x.dtype, device=x.device)
    grid = F.affine_grid(turn, [1, 1, height, width], align_corners=False).expand(len(x), -1, -1, -1)
    turned = F.grid_sample(x - GREY, grid, mode="bilinear", align_corners=False) + GREY
    return turned, torch.tensor([[cosine, sine / ratio, 0], [-sine * ratio, cosine, 0], [0, 0, 1]])


ROBUST = {
    "none": Robust(),
    # Olah, Mordvintsev and Schubert 2017, "Feature Visualization", appendix.
    "distill": Robust(16, 16, (1, 0.975, 1.025, 0.95, 1.05), tuple(range(-5, 6)), 8, crop=True),
    # lucid's standard_transforms.
    "lucid": Robust(12, 8, tuple(1 + (i - 5) / 50 for i in range(11)), (*range(-10, 11), *[0] * 5), 4),
}
