"""Random changes of a batch of pictures in memory, by index arithmetic; each picture's follow from its seed."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convatlas.train.order import uniform
from convatlas.train.recipe import Recipe

CROP, FLIP, SHIFT, ERASE, COLOUR = 1, 11, 21, 31, 41
"""First draws of each change, so that they do not share their chance."""


def augment(pictures: Tensor, seeds: Tensor, recipe: Recipe) -> Tensor:
    """(N, C, H, W) uint8 and (N,) seeds -> the same shape: changed in every way that the recipe names."""
    seeds = seeds.to(pictures.device)
    if recipe.crop == "pad":
        pictures = moved(pictures, seeds, recipe.padding, CROP)
    elif recipe.crop == "resized":
        pictures = zoomed(pictures, seeds, recipe.scale, recipe.ratio)
    elif recipe.crop == "random":
        pictures = zoomed(pictures, seeds, (recipe.test_crop**2,) * 2, (1.0, 1.0))
    if recipe.shift:
        pictures = moved(pictures, seeds, recipe.shift, SHIFT)
    if recipe.flip:
        turned = uniform(seeds, FLIP) < 0.5
        pictures = torch.where(turned[:, None, None, None], pictures.flip(3), pictures)
    for place, step in enumerate(by_picture(recipe)):  # each with chance of its own
        pictures = torch.stack([seeded(step, one, seed + place) for one, seed in zip(pictures, seeds.tolist())])
    if recipe.colour == "pca" and pictures.shape[1] == 3:
        pictures = tinted(pictures, seeds)
    if recipe.erase:
        pictures = erased(pictures, seeds, recipe.erase)
    return pictures


def zoomed(pictures: Tensor, seeds: Tensor, scale: tuple[float, float], ratio: tuple[float, float]) -> Tensor:
    """Each picture a part of itself, brought to its size: a part of the area, and a ratio of width to height, between
    the two given; uniform, the ratio in its logarithm.  What would reach over an edge is cut to it."""
    area = scale[0] + (scale[1] - scale[0]) * uniform(seeds, CROP)
    low, high = map(math.log, ratio)
    aspect = torch.exp((low + (high - low) * uniform(seeds, CROP + 1)) / 2)
    root = area.sqrt()
    wide, tall = (root * aspect).clamp(max=1), (root / aspect).clamp(max=1)  # of the picture's sides
    left, top = (2 * uniform(seeds, CROP + 2, 2) - 1) * (1 - torch.stack([wide, tall]))
    still = torch.zeros_like(wide)
    rows = torch.stack([wide, still, left, still, tall, top], 1).view(-1, 2, 3)
    grid = F.affine_grid(rows, list(pictures.shape), align_corners=False)
    found = F.grid_sample(pictures.float(), grid, padding_mode="border", align_corners=False)
    return found.round_().clamp_(0, 255).to(pictures.dtype)


PCA_VALUES = (0.2175, 0.0188, 0.0045)
PCA_VECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Of ImageNet's colours in [0, 1], as fb.resnet.torch has them."""


def tinted(pictures: Tensor, seeds: Tensor) -> Tensor:
    """Pictures in AlexNet's change of colour."""
    first, second = uniform(seeds, COLOUR, 6).view(2, 3, -1).transpose(1, 2)
    normal = (-2 * torch.log1p(-first)).sqrt() * torch.cos(2 * math.pi * second)  # Box and Muller 1958
    return (pictures + 255 * tint(normal)).round_().clamp_(0, 255).to(pictures.dtype)


def tint(normal: Tensor) -> Tensor:
    """AlexNet's change of colour: (N, 3) normal deviates -> (N, 3, 1, 1), what is added to values in [0, 1]: along the
    principal components, by a deviate of 0.1 times their size."""
    change = (normal * 0.1 * normal.new_tensor(PCA_VALUES)) @ normal.new_tensor(PCA_VECTORS).T
    return change[:, :, None, None]


def by_picture(recipe: Recipe) -> list[Any]:
    """The transforms of torchvision that are made for one picture: of a batch they would change all alike."""
    if recipe.policy == "none" and recipe.colour != "jitter":
        return []
    from torchvision.transforms import v2

    policies = {"trivial": v2.TrivialAugmentWide, "autoaugment": v2.AutoAugment, "randaugment": v2.RandAugment}
    steps: list[Any] = [policies[recipe.policy]()] if recipe.policy != "none" else []
    return [*steps, v2.ColorJitter(0.4, 0.4, 0.4)] if recipe.colour == "jitter" else steps


def seeded(change: Any, picture: Any, seed: int) -> Any:
    """``change(picture)`` with torch's chance from the seed, and as it was afterwards."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a hundred times as long
    try:
        return change(picture)
    finally:
        torch.set_rng_state(state)


def moved(pictures: Tensor, seeds: Tensor, most: int, draw: int) -> Tensor:
    """Each picture moved by up to ``most`` pixels along each axis, zeros coming in: a random crop after padding."""
    count, _, height, width = pictures.shape
    padded = F.pad(pictures, (most,) * 4)
    top, left = (uniform(seeds, draw, 2) * (2 * most + 1)).long()
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # every crop, as a view
    return windows[torch.arange(count, device=seeds.device), :, top, left]


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
    rows, columns = (torch.arange(side, device=seeds.device)[None] for side in (height, width))
    inside = ((rows >= top[:, None]) & (rows < (top + tall)[:, None]))[:, :, None] & (
        (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    )[:, None, :]
    inside &= (uniform(seeds, ERASE + 4) < chance)[:, None, None]
    filling = pictures.float().mean((0, 2, 3), keepdim=True).to(pictures.dtype)
    return torch.where(inside[:, None], filling, pictures)
