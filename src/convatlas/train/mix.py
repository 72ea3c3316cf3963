"""Mixup and cutmix: two pictures in one, and their labels in proportion."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from convatlas.train.recipe import Recipe


def mixed_up(
    pictures: Tensor, labels: Tensor, recipe: Recipe, classes: int, seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) and (N,) -> mixed pictures and (N, classes) targets; as they are where the recipe mixes none.

    Each picture meets its neighbour in the batch; the share is one for the batch, by (seed, step).  With both, each
    step takes one of them.  Zhang et al. 2017 (arXiv 1710.09412), Yun et al. 2019 (arXiv 1905.04899).
    """
    if not recipe.mixup and not recipe.cutmix:
        return pictures, labels
    chance = np.random.default_rng((seed, step))
    cut = recipe.cutmix > 0 and (recipe.mixup == 0 or chance.random() < 0.5)
    alpha = recipe.cutmix if cut else recipe.mixup
    share = float(chance.beta(alpha, alpha))
    other = pictures.roll(1, 0)
    if cut:
        height, width = pictures.shape[2:]
        tall, wide = (round(side * (1 - share) ** 0.5) for side in (height, width))
        top, left = int(chance.integers(height - tall + 1)), int(chance.integers(width - wide + 1))
        pictures = pictures.clone()
        pictures[:, :, top : top + tall, left : left + wide] = other[:, :, top : top + tall, left : left + wide]
        share = 1 - tall * wide / (height * width)
    else:
        pictures = torch.lerp(other, pictures, share)
    targets = F.one_hot(labels, classes).to(pictures.dtype)
    return pictures, torch.lerp(targets.roll(1, 0), targets, share)
