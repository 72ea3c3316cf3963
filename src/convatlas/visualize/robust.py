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
        size = x.shape[2:]
        if self.pad:
            x = F.pad(x, (self.pad,) * 4, value=GREY)
        x = _moved(x, self.jitter, draw)
        scale, angle = draw.choice(self.scales), draw.choice(self.angles)
        if (scale, angle) != (1, 0):
            x = _turned(x, scale, math.radians(angle))
        x = _moved(x, self.last_jitter, draw)
        if self.crop:
            low, right = (max(0, want - have) for have, want in zip(x.shape[2:], size))
            x = F.pad(x, (right // 2, right - right // 2, low // 2, low - low // 2), value=GREY)
            top, left = ((have - want) // 2 for have, want in zip(x.shape[2:], size))
            x = x[..., top : top + size[0], left : left + size[1]]
        return x


def _moved(x: Tensor, by: int, draw: random.Random) -> Tensor:
    if not by:
        return x
    top, left = draw.randint(0, by), draw.randint(0, by)
    height, width = x.shape[2:]
    return x[..., top : top + height - by, left : left + width - by]


def _turned(x: Tensor, scale: float, angle: float) -> Tensor:
    """Scaled and turned around its middle, in one interpolation; grey from outside."""
    height, width = (max(1, round(side * scale)) for side in x.shape[2:])
    cosine, sine = math.cos(angle), math.sin(angle)
    ratio = width / height
    turn = torch.tensor([[[cosine, -sine / ratio, 0], [sine * ratio, cosine, 0]]], dtype=x.dtype, device=x.device)
    grid = F.affine_grid(turn, [1, 1, height, width], align_corners=False).expand(len(x), -1, -1, -1)
    return F.grid_sample(x - GREY, grid, mode="bilinear", align_corners=False) + GREY


ROBUST = {
    "none": Robust(),
    # Olah, Mordvintsev and Schubert 2017, "Feature Visualization", appendix.
    "distill": Robust(16, 16, (1, 0.975, 1.025, 0.95, 1.05), tuple(range(-5, 6)), 8, crop=True),
    # lucid's standard_transforms.
    "lucid": Robust(12, 8, tuple(1 + (i - 5) / 50 for i in range(11)), (*range(-10, 11), *[0] * 5), 4),
}
