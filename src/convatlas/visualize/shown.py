"""Between pictures and what a network reads."""

from __future__ import annotations

from typing import Any, cast, get_args

import torch
from PIL import ImageOps
from torch import Tensor, nn

from convatlas.errors import ConvatlasError
from convatlas.graph.source import own_size
from convatlas.visualize.sheets import tensor
from convatlas.visualize.taps import name_of
from convatlas.weights.pictures import read_picture
from convatlas.weights.preprocess import Interpolation, Preprocess


class Shown:
    """From pictures (N, C, H, W) in [0, 1], in RGB, to what a network reads, with gradients."""

    def __init__(self, net: nn.Module, preprocess: Preprocess | None = None):
        channels, *size = own_size(net)
        known = preprocess or getattr(getattr(net, "weights", None), "preprocess", None)
        if known is None and channels not in (1, 3):
            raise ConvatlasError(f"{name_of(net)} reads {channels} channels, and pictures have 1 or 3: wrap it in a "
                                 f"module that makes the {channels} of these")  # fmt: skip
        self.preprocess: Preprocess = known or _timms(net, channels) or Preprocess.for_input(size[0], channels)
        self.size = None if known or size[0] == size[1] else (size[0], size[1])
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

        picture: what ``read_picture`` takes, which is resized and cropped, to the network's own size where that is no
        square; or a tensor (C, H, W) in [0, 1], in RGB, of the size that the network is to see.
        Raises ConvatlasError for any other tensor, and what is no picture.
        """
        channels = self.preprocess.channels
        if not isinstance(picture, Tensor):
            whole = read_picture(picture).convert("L" if channels == 1 else "RGB")
            cut = ImageOps.fit(whole, self.size[::-1]) if self.size else self.preprocess.picture(whole)
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


def _timms(net: nn.Module, channels: int) -> Preprocess | None:
    """What timm says of a network's weights; None of any other network."""
    config = getattr(net, "pretrained_cfg", None) or {}
    mean, std, part = (config.get(key) for key in ("mean", "std", "crop_pct"))
    if not (mean and std and part and len(mean) == len(std) == 3):
        return None
    side, how = own_size(net)[1], cast(Interpolation, config.get("interpolation"))
    made = Preprocess(
        crop=side,
        resize=int(side / part),
        interpolation=how if how in get_args(Interpolation) else "bilinear",
        mean=tuple(mean),
        std=tuple(std),
        mode="squash" if config.get("crop_mode") == "squash" else "shorter",
    )
    return made if channels == 3 else made.grey()
