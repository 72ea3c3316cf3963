"""Between pictures and what a network reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convatlas.errors import ConvatlasError
from convatlas.graph.source import own_size
from convatlas.visualize.taps import name_of
from convatlas.weights.preprocess import Preprocess


class Shown:
    """From pictures (N, C, H, W) in [0, 1], in RGB, to what a network reads, with gradients."""

    def __init__(self, net: nn.Module, preprocess: Preprocess | None = None):
        channels = own_size(net)[0]
        travelling = getattr(getattr(net, "weights", None), "preprocess", None)
        self.preprocess: Preprocess = preprocess or travelling or Preprocess.for_input(own_size(net)[1], channels)
        if self.preprocess.channels != channels:
            raise ConvatlasError(f"{name_of(net)} reads {channels} channels, its preprocessing gives "
                                 f"{self.preprocess.channels}")  # fmt: skip
        like = next(net.parameters(), torch.empty(0))
        shape = (1, channels, 1, 1)
        self.mean = torch.tensor(self.preprocess.mean).view(shape).to(like)
        self.std = torch.tensor(self.preprocess.std).view(shape).to(like)
        self.like = like

    def __call__(self, pictures: Tensor) -> Tensor:
        x = pictures.to(self.like)
        if self.preprocess.order == "BGR":
            x = x.flip(1)
        return (x * (255 / self.preprocess.scale) - self.mean) / self.std

    def back(self, x: Tensor) -> Tensor:
        """From what a network reads to pictures in [0, 1]."""
        pictures = (x * self.std + self.mean) * (self.preprocess.scale / 255)
        return (pictures.flip(1) if self.preprocess.order == "BGR" else pictures).clamp(0, 1)
