"""Random changes of a batch of pictures in memory, by index arithmetic; each picture's follow from its seed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from convatlas.train.order import uniform
from convatlas.train.recipe import Recipe

CROP, FLIP, SHIFT, ERASE = 1, 11, 21, 31
"""First draws of each change, so that they do not share their chance."""


def augment(pictures: Tensor, seeds: Tensor, recipe: Recipe) -> Tensor:
    """(N, C, H, W) uint8 and (N,) seeds -> the same shape: moved, cropped, flipped and erased as the recipe says."""
    if recipe.crop == "pad":
        pictures = moved(pictures, seeds, recipe.padding, CROP)
    if recipe.shift:
        pictures = moved(pictures, seeds, recipe.shift, SHIFT)
    if recipe.flip:
        turned = uniform(seeds, FLIP) < 0.5
        pictures = torch.where(turned[:, None, None, None], pictures.flip(3), pictures)
    if recipe.erase:
        pictures = erased(pictures, seeds, recipe.erase)
    return pictures


def moved(pictures: Tensor, seeds: Tensor, most: int, draw: int) -> Tensor:
    """Each picture moved by up to ``most`` pixels along each axis, zeros coming in: a random crop after padding."""
    count, _, height, width = pictures.shape
    padded = F.pad(pictures, (most,) * 4)
    top, left = ((uniform(seeds, draw + axis) * (2 * most + 1)).long() for axis in range(2))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # every crop, as a view
    return windows[torch.arange(count), :, top, left]


def erased(pictures: Tensor, seeds: Tensor, chance: float) -> Tensor:
    """A rectangle of 2 to 33 % of the area set to the mean of all pictures, with that chance.

    Zhong et al. 2017 (arXiv 1708.04896).
    """
    _, _, height, width = pictures.shape
    area = (0.02 + 0.31 * uniform(seeds, ERASE)) * height * width
    ratio = torch.exp((2 * uniform(seeds, ERASE + 1) - 1) * 1.2)
    tall = (area * ratio).sqrt().clamp(1, height).long()
    wide = (area / ratio).sqrt().clamp(1, width).long()
    top = (uniform(seeds, ERASE + 2) * (height - tall + 1)).long()
    left = (uniform(seeds, ERASE + 3) * (width - wide + 1)).long()
    rows, columns = torch.arange(height)[None], torch.arange(width)[None]
    inside = ((rows >= top[:, None]) & (rows < (top + tall)[:, None]))[:, :, None] & (
        (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    )[:, None, :]
    inside &= (uniform(seeds, ERASE + 4) < chance)[:, None, None]
    filling = pictures.float().mean((0, 2, 3), keepdim=True).to(pictures.dtype)
    return torch.where(inside[:, None], filling, pictures)
