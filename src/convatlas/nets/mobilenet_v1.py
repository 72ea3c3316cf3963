"""MobileNet.  Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(arXiv 1704.04861), Table 1; ReLU6 and initialisation as in the released code (TF-slim)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from convatlas.blocks import ConvNormAct, deepen, gate, pooled_head, scale_width
from convatlas.blocks.attention import Gate
from convatlas.blocks.conv import relu6
from convatlas.blocks.init import initialiser, truncated
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network

#           (width, stride) of each depthwise separable layer      Table 1, its rows gathered by the map's size
TABLE = [[(64, 1)],
         [(128, 2), (128, 1)],
         [(256, 2), (256, 1)],
         [(512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)],
         [(1024, 2), (1024, 1)]]

VARIANTS = {
    "mobilenet_v1_x0_25": dict(width=0.25),
    "mobilenet_v1_x0_5":  dict(width=0.5),
    "mobilenet_v1_x0_75": dict(width=0.75),
    "mobilenet_v1_x1_0":  dict(width=1.0),
    "se_mobilenet_v1":    dict(width=1.0, attention="se"),
}


class DepthwiseSeparable(nn.Module):
    """A 3x3 for each channel, then a 1x1 over the channels: (N, in, H, W) -> (N, out, H / stride, W / stride).

    Section 3.1; the gate weighs the outputs.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, se: Gate | None):
        super().__init__()
        self.depthwise = ConvNormAct(inputs, inputs, 3, stride, groups=inputs, act=relu6)
        self.pointwise = ConvNormAct(inputs, outputs, 1, act=relu6)
        self.gate = se(outputs) if se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.pointwise(self.depthwise(x)))


@network(VARIANTS)
def mobilenet_v1(
    *,
    width: float,
    depth: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
) -> ConvNet:
    """``width`` is the paper's alpha; its rho is the input's size.  The last stage has one stride of 2 (Table 1 prints
    two, which its own map sizes contradict)."""
    scaled = partial(scale_width, width=width)
    inputs = scaled(32)
    trunk = OrderedDict(stem=ConvNormAct(channels, inputs, 3, 1 if input_size < SMALL_PICTURE else 2, act=relu6))
    for number, rows in enumerate(TABLE, 1):
        blocks = []
        for out, stride in deepen(rows, depth):
            blocks.append(DepthwiseSeparable(inputs, scaled(out), stride, se=gate(attention)))
            inputs = scaled(out)
        trunk[f"stage{number}"] = nn.Sequential(*blocks)
    return ConvNet(
        trunk,
        pooled_head(inputs, classes),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=truncated(0.09), linear=truncated(0.09)),
    )
