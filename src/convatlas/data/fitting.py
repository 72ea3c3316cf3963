"""Pictures in memory, as a network reads them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from convatlas.weights.preprocess import Preprocess

GREY = (19595, 38470, 7471)
"""What red, green and blue count in a grey picture, in parts of 65,536: ITU-R 601-2, as PIL has it."""

NEAR = 8
"""A picture this many pixels smaller than what the network reads is padded; any other is resized."""


def as_seen(images: Tensor, preprocess: Preprocess) -> Tensor:
    """(N, C, H, W) uint8 -> float32 of the size, in the colours and on the scale that a network reads."""
    pictures = fitted(coloured(images, preprocess.channels), preprocess.crop)
    if preprocess.order == "BGR":
        pictures = pictures.flip(1)
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1) * preprocess.scale for values in (preprocess.mean, preprocess.std)
    )
    return torch.sub(pictures, mean).div_(std)


def coloured(images: Tensor, channels: int) -> Tensor:
    """(N, C, H, W) uint8 with as many channels as the network reads: grey by PIL's weights, or grey in each."""
    if images.shape[1] <= channels:
        return images.expand(-1, channels, -1, -1)
    made = images.new_empty(len(images), 1, *images.shape[2:])
    for part, place in zip(images.split(1024), made.split(1024)):
        red, green, blue = (part[:, [channel]].int() * share for channel, share in enumerate(GREY))
        place.copy_((red + green + blue + 2**15) >> 16)
    return made


def is_padded(height: int, width: int, side: int) -> bool:
    """Whether pictures are so little smaller than what the network reads that they get a black border."""
    return 0 <= side - height <= NEAR and 0 <= side - width <= NEAR


def fitted(images: Tensor, side: int) -> Tensor:
    """(N, C, H, W) uint8 at another size: zeros around what is a little smaller, else resized."""
    height, width = images.shape[2:]
    if (height, width) == (side, side):
        return images
    if is_padded(height, width, side):
        top, left = (side - height) // 2, (side - width) // 2
        return F.pad(images, (left, side - width - left, top, side - height - top))
    made = images.new_empty(len(images), images.shape[1], side, side)
    for part, place in zip(images.split(1024), made.split(1024)):
        place.copy_(F.interpolate(part.float(), (side, side), mode="bilinear", antialias=True).round_().clamp_(0, 255))
    return made
