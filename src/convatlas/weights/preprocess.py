"""From a picture to what a network reads: PIL and numpy, no torch.

The preprocessing belongs to the weights, not to the network: one network's weights may expect another scale, another
order of the channels, another crop than the next one's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convatlas.registry import SMALL_PICTURE

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LONGEST = 8
"""A picture longer than this many times its width is first cut down to it, around its middle."""

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop the middle, scale, normalise: a picture -> float32 (C, crop, crop).

    crop: side of the square that the network sees, in pixels.
    resize: the size the picture is brought to before that; None leaves it as it is.
    mode: "shorter" makes the shorter side ``resize``, "squash" makes both.
    scale, mean, std: a pixel's value v in 0 … 255 becomes (v / scale - mean) / std; mean and std in the order given.
    order: "RGB", "BGR", or "L" for one grey channel.
    """

    crop: int = 224
    resize: int | None = 256
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    scale: float = 255.0
    order: Literal["RGB", "BGR", "L"] = "RGB"
    mode: Literal["shorter", "squash"] = "shorter"

    def __post_init__(self) -> None:
        if self.crop < 1 or (self.resize is not None and self.resize < 1):
            raise ValueError(f"resize and crop are at least 1 pixel, not {self.resize} and {self.crop}")
        if not len(self.mean) == len(self.std) == len(self.order):
            raise ValueError(f"{self.order} needs {len(self.order)} means and deviations")

    @classmethod
    def for_input(cls, size: int, channels: int = 3) -> Preprocess:
        """What ImageNet's networks are usually shown: the middle 7/8, normalised with ImageNet's mean and deviation."""
        made = cls().at(size)
        return made if channels == 3 else made.grey()

    def grey(self) -> Preprocess:
        """The same for a network that reads one grey channel: the mean of the means and of the deviations."""
        means, deviations = sum(self.mean) / len(self.mean), sum(self.std) / len(self.std)
        return replace(self, order="L", mean=(means,), std=(deviations,))

    def at(self, size: int) -> Preprocess:
        """The same for pictures of another size; small ones are not cropped."""
        resize = size if size < SMALL_PICTURE or self.resize is None else round(self.resize * size / self.crop)
        return replace(self, crop=size, resize=resize)

    @property
    def channels(self) -> int:
        return len(self.order)

    def picture(self, picture: Image.Image) -> Image.Image:
        """The part of a picture that the network sees, crop x crop pixels, in colours as they were."""
        return self._cropped(self._resized(picture))

    def __call__(self, picture: Image.Image) -> NDArray[np.float32]:
        """A picture (any mode that PIL converts) -> (C, crop, crop) float32."""
        pixels = np.asarray(self.picture(picture.convert("L" if self.order == "L" else "RGB")))
        planes = pixels[None] if self.order == "L" else pixels.transpose(2, 0, 1)
        if self.order == "BGR":
            planes = planes[::-1]
        values = planes.astype(np.float32, order="C")
        values /= np.float32(self.scale)
        values -= _planes(self.mean)
        values /= _planes(self.std)
        return values

    def _resized(self, picture: Image.Image) -> Image.Image:
        if self.resize is None:
            return picture
        if self.mode == "squash":
            size = (self.resize, self.resize)
        else:
            picture = _not_too_long(picture)
            width, height = picture.size
            shorter = min(width, height)
            size = (self.resize * width // shorter, self.resize * height // shorter)
        if size == picture.size:
            return picture
        return picture.resize(size, getattr(Image.Resampling, self.interpolation.upper()))

    def _cropped(self, picture: Image.Image) -> Image.Image:
        """The middle, with black around it where the picture is smaller."""
        width, height = picture.size
        left, top = _middle(width, self.crop), _middle(height, self.crop)
        if (left, top, width, height) == (0, 0, self.crop, self.crop):
            return picture
        return picture.crop((left, top, left + self.crop, top + self.crop))


def _middle(side: int, crop: int) -> int:
    return -((crop - side) // 2) if side < crop else round((side - crop) / 2)


def _not_too_long(picture: Image.Image) -> Image.Image:
    """A strip of 1 x 10,000 pixels would become 256 x 2,560,000, of which only the middle is looked at."""
    width, height = picture.size
    longest = LONGEST * min(width, height)
    if max(width, height) <= longest:
        return picture
    keep_width, keep_height = min(width, longest), min(height, longest)
    left, top = (width - keep_width) // 2, (height - keep_height) // 2
    return picture.crop((left, top, left + keep_width, top + keep_height))


def _planes(values: tuple[float, ...]) -> NDArray[Any]:
    return np.asarray(values, np.float32)[:, None, None]
