"""The inverted residual: MobileNetV2's block, and with a gate MnasNet's, MobileNetV3's and EfficientNet's MBConv."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from convatlas.blocks.attention import Gate
from convatlas.blocks.conv import Act, ConvNormAct, Norm, relu6
from convatlas.blocks.residual import DropPath


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise kernel, gate, linear 1x1 projection: (N, in, H, W) -> (N, out, H / stride, W / stride).

    expanded: channels between; equal to ``inputs``, there is no expansion layer.
    The shortcut is there where stride is 1 and channels are equal, unless ``skip`` forbids it.  Sandler et al. 2018
    (arXiv 1801.04381), Table 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        expanded: int,
        *,
        norm: Norm = nn.BatchNorm2d,
        act: Act = relu6,
        padding: str | None = None,
        se: Gate | None = None,
        drop: float = 0.0,
        skip: bool = True,
    ):
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expanded != inputs:
            layers["expand"] = ConvNormAct(inputs, expanded, 1, norm=norm, act=act)
        layers["depthwise"] = ConvNormAct(
            expanded, expanded, kernel, stride, groups=expanded, padding=padding, norm=norm, act=act
        )
        if se:
            layers["gate"] = se(expanded)
        layers["project"] = ConvNormAct(expanded, outputs, 1, norm=norm, act=None)
        self.residual = skip and stride == 1 and inputs == outputs
        if self.residual and drop:
            layers["drop"] = DropPath(drop)
        self.branch = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.residual else self.branch(x)


class PlainConv(nn.Module):
    """One convolution over all channels, norm, activation, gate: (N, in, H, W) -> (N, out, H / stride, W / stride).

    What stands in an inverted residual's place where a table says that nothing is expanded; with the same shortcut.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        *,
        norm: Norm = nn.BatchNorm2d,
        act: Act = relu6,
        se: Gate | None = None,
        drop: float = 0.0,
        skip: bool = True,
    ):
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = ConvNormAct(inputs, outputs, kernel, stride, norm=norm, act=act)
        if se:
            layers["gate"] = se(outputs)
        self.residual = skip and stride == 1 and inputs == outputs
        if self.residual and drop:
            layers["drop"] = DropPath(drop)
        self.branch = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.residual else self.branch(x)
