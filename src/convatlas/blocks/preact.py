"""Pre-activation: normalisation and activation before the convolution."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


class NormActConv(nn.Sequential):
    """norm -> ReLU [-> dropout] -> conv without bias: (N, in, H, W) -> (N, out, H / stride, W / stride).

    He et al. 2016 (arXiv 1603.05027), Figure 4(e); DenseNet's composite function.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, dropout: float = 0.0):
        layers: OrderedDict[str, nn.Module] = OrderedDict(norm=nn.BatchNorm2d(inputs), act=nn.ReLU(inplace=True))
        if dropout:
            layers["dropout"] = nn.Dropout(dropout)
        layers["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        super().__init__(layers)


class NormAct(nn.Sequential):
    """norm -> ReLU, after the last block of a pre-activation network."""

    def __init__(self, channels: int):
        super().__init__(OrderedDict(norm=nn.BatchNorm2d(channels), act=nn.ReLU(inplace=True)))
