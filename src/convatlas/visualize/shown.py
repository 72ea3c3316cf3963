"""Between pictures and what a network reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convatlas.errors import ConvatlasError
from convatlas.graph.source import own_size
from convatlas.visualize.sheets import tensor
from convatlas.visualize.taps import name_of
from convatlas.weights.pictures import read_picture
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
        self.like, self.name = like, name_of(net)

    def seen(self, picture: Any) -> Tensor:
        """What of a picture the network sees, (1, C, H, W) in [0, 1], in RGB, before it is normalised.

        picture: what ``read_picture`` takes, which is resized and cropped; or a tensor (C, H, W) in [0, 1], in RGB, of
        the size that the network is to see.  Raises ConvatlasError for any other tensor, and what is no picture.
        """
        channels = self.preprocess.channels
        if not isinstance(picture, Tensor):
            cut = self.preprocess.picture(read_picture(picture).convert("L" if channels == 1 else "RGB"))
            return tensor(cut, channels)[None].to(self.like.dtype)
        if picture.dim() != 3 or len(picture) != channels or not picture.numel():
            raise ConvatlasError(f"a picture for {self.name} is a tensor ({channels}, H, W) in [0, 1], not "
                                 f"{tuple(picture.shape)}")  # fmt: skip
        if not bool(((picture >= 0) & (picture <= 1)).all()):
            raise ConvatlasError("a picture's values lie in [0, 1]; the network's preprocessing is applied to them")
        return picture.detach().clone().cpu()[None].to(self.like.dtype)  # a copy has gradients in any mode

    def __call__(self, pictures: Tensor) -> Tensor:
        x = pictures.to(self.like)
        if self.preprocess.order == "BGR":
            x = x.flip(1)
        return (x * (255 / self.preprocess.scale) - self.mean) / self.std
