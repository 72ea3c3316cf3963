"""What is optimised: a picture as pixels, or as the waves it is made of, in colours that do not hang together.

Olah, Mordvintsev and Schubert 2017, "Feature Visualization", appendix "Preconditioning"; constants as in lucid.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from convatlas.errors import ConvatlasError

IMAGENET = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""The square root of the covariance of ImageNet's colours: a column for each uncorrelated colour."""

DEVIATION = 0.01
"""Of the first coefficients."""


def colours(covariance_root: Tensor) -> Tensor:
    """A root of the colours' covariance, (C, C), with its longest column of length 1."""
    return covariance_root / covariance_root.norm(dim=0).max()


def imagenets_colours(channels: int = 3) -> Tensor:
    """(3, 3) from ImageNet's pictures; (C, C) that changes nothing for another number of channels."""
    return colours(torch.tensor(IMAGENET)) if channels == 3 else torch.eye(channels)


def colours_of(pictures: Iterable[Tensor]) -> Tensor:
    """From one's own pictures, (C, H, W) or (N, C, H, W) with any one range: the principal axes of their pixels."""
    count, total, squares = 0, None, None
    for picture in pictures:
        pixels = picture.double().movedim(-3, 0).flatten(1)
        count += pixels.shape[1]
        total = pixels.sum(1) if total is None else total + pixels.sum(1)
        squares = pixels @ pixels.T if squares is None else squares + pixels @ pixels.T
    if total is None or squares is None:
        raise ConvatlasError("no pictures to take the colours from")
    mean = total / count
    values, vectors = torch.linalg.eigh(squares / count - mean.outer(mean))
    root = (vectors * values.clamp(min=1e-12).sqrt()).flip(1)
    return colours(root * root.sum(0).sign().where(root.sum(0) != 0, torch.tensor(1.0))).float()


class Canvas(nn.Module):
    """N pictures that can be optimised; called, it gives them as (N, C, H, W) in (0, 1).

    colours: (C, C), from uncorrelated colours to the picture's own.
    """

    colours: Tensor

    def __init__(self, values: Tensor, colours: Tensor):
        super().__init__()
        self.values = nn.Parameter(values)
        self.register_buffer("colours", colours)

    def forward(self) -> Tensor:
        return torch.einsum("dc,nchw->ndhw", self.colours, self.uncorrelated()).sigmoid()

    def uncorrelated(self) -> Tensor:
        return self.values


class Pixels(Canvas):
    """Every pixel for itself."""

    def __init__(self, count: int, channels: int, size: tuple[int, int], colours: Tensor, draw: torch.Generator):
        super().__init__(DEVIATION * torch.randn(count, channels, *size, generator=draw), colours)

    @torch.no_grad()
    def fill(self, pictures: Tensor) -> None:
        """Begin with pictures (N, C, H, W) in [0, 1]."""
        self.values.copy_(_uncorrelated(pictures, self.colours))


class Fourier(Canvas):
    """The coefficients of waves, each scaled as natural pictures have them: by the inverse of its frequency.

    A step of the optimiser then moves all waves alike, where one on pixels favours the fine ones.  decay: the power of
    the frequency.
    """

    scale: Tensor

    def __init__(self, count: int, channels: int, size: tuple[int, int], colours: Tensor, draw: torch.Generator,
                 decay: float = 1.0):  # fmt: skip
        height, width = size
        super().__init__(DEVIATION * torch.randn(count, channels, height, width // 2 + 1, 2, generator=draw), colours)
        frequency = torch.fft.fftfreq(height)[:, None].hypot(torch.fft.rfftfreq(width)[None])
        self.register_buffer("scale", frequency.clamp(min=1 / max(size)) ** -decay / 4)
        self.size = size

    def uncorrelated(self) -> Tensor:
        waves = torch.view_as_complex(self.values) * self.scale
        return torch.fft.irfft2(waves, s=self.size, norm="ortho")

    @torch.no_grad()
    def fill(self, pictures: Tensor) -> None:
        """Begin with pictures (N, C, H, W) in [0, 1]."""
        waves = torch.fft.rfft2(_uncorrelated(pictures, self.colours), norm="ortho") / self.scale
        self.values.copy_(torch.view_as_real(waves))


def _uncorrelated(pictures: Tensor, colours: Tensor) -> Tensor:
    values = pictures.clamp(0.01, 0.99).logit()
    return torch.einsum("dc,nchw->ndhw", torch.linalg.inv(colours), values)


CANVASES = {"fourier": Fourier, "pixels": Pixels}
