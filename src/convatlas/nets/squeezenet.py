"""SqueezeNet.  Iandola et al. 2016 (arXiv 1602.07360), Table 1; 1.1 is the authors' later, cheaper release."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import init

from convatlas.blocks import ConvNormAct, gate, scale_width
from convatlas.blocks.attention import Gate
from convatlas.blocks.init import caffe_xavier
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE, network


class Fire(nn.Module):
    """A 1x1 squeezes the channels, a 1x1 and a 3x3 side by side expand them: (N, in, H, W) -> (N, 2 expand, H, W).

    Figure 1.
    """

    def __init__(self, inputs: int, squeeze: int, expand: int, *, se: Gate | None):
        super().__init__()
        self.squeeze = ConvNormAct(inputs, squeeze, 1, norm=None)
        self.expand1x1 = ConvNormAct(squeeze, expand, 1, norm=None)
        self.expand3x3 = ConvNormAct(squeeze, expand, 3, norm=None)
        self.gate = se(2 * expand) if se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return self.gate(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


#         squeeze expand
FIRES = {"fire2": (16, 64), "fire3": (16, 64), "fire4": (32, 128), "fire5": (32, 128), "fire6": (48, 192),
         "fire7": (48, 192), "fire8": (64, 256), "fire9": (64, 256)}

VARIANTS = {
    #                      first convolution    a pool follows
    "squeezenet1_0": dict(first=96, kernel=7, pools=("conv1", "fire4", "fire8")),
    "squeezenet1_1": dict(first=64, kernel=3, pools=("conv1", "fire3", "fire5")),
}


@network(VARIANTS)
def squeezenet(
    *,
    first: int,
    kernel: int,
    pools: tuple[str, ...],
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 224,
    attention: str | None = None,
    width: float = 1.0,
    dropout: float = 0.5,
) -> ConvNet:
    """A convolution and eight Fire modules; conv10 gives one map a class, and their averages are the logits."""
    scaled = partial(scale_width, width=width)
    small, inputs = input_size < SMALL_PICTURE, scaled(first)
    stem = ConvNormAct(channels, inputs, kernel, 1 if small else 2, padding=None if small else 0, norm=None)
    stages = OrderedDict(conv1=stem)
    for name, (squeeze, expand) in FIRES.items():
        stages[name] = Fire(inputs, scaled(squeeze), scaled(expand), se=gate(attention))
        inputs = 2 * scaled(expand)
    trunk = OrderedDict()
    for name, stage in stages.items():
        trunk[name] = stage
        if name in pools and not (small and name == "conv1"):
            trunk[f"pool{name.strip('convfire')}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    head = OrderedDict(
        dropout=nn.Dropout(dropout),
        classifier=nn.Conv2d(inputs, classes, 1),
        relu=nn.ReLU(inplace=True),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
    )
    return ConvNet(trunk, head, input_size=(channels, input_size, input_size), init=xavier_and_gaussian)


def xavier_and_gaussian(path: str, layer: nn.Module) -> None:
    """The released training files: Caffe's "xavier" everywhere, N(0, 0.01) in conv10."""
    if path.endswith("classifier"):
        init.normal_(layer.weight, 0.0, 0.01)
    else:
        caffe_xavier(layer)
    init.zeros_(layer.bias)
