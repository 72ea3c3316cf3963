"""Inception-ResNet.  Szegedy et al. 2016, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (arXiv 1602.07261), Figures 10 to 15, v2 as in the released code, which is deeper than the paper's figure and
has Inception-v3's stem; and with squeeze-and-excitation, Hu et al. 2017 (arXiv 1709.01507), Table 2."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from convatlas.blocks import ConvNormAct, Gate, gate, pooled_head, scale_depth
from convatlas.blocks.inception import AVG_INSIDE, SHRINK, Conv, Inception, V, tower, widen
from convatlas.blocks.init import initialiser, xavier
from convatlas.net import ConvNet
from convatlas.registry import network


class Residual(nn.Module):
    """Towers, a linear 1x1 back to the input's width, scaled down before the addition: (N, C, H, W) -> same shape.

    The gate weighs what the 1x1 gives: the branch that is not the identity, as the SENet paper has it (section 3.3).
    bare: neither scaled nor with a ReLU after the addition.  Figures 10, 11, 13, 16, 17, 19, and 20 for the scale.
    """

    def __init__(self, inputs: int, towers: list, scale: float, *, conv: Conv, se: Gate | None, bare: bool = False):
        super().__init__()
        self.scale = 1.0 if bare else scale
        self.mixed = Inception(inputs, towers, conv=conv)
        self.expand = ConvNormAct(self.mixed.outputs, inputs, 1, norm=None, act=None)
        self.gate = se(inputs) if se else nn.Identity()
        self.act = nn.Identity() if bare else nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.scale * self.gate(self.expand(self.mixed(x))))


STEM = [(32, 3, 2, V), (32, 3, 1, V), (64, 3), SHRINK, (80, 1), (192, 3, 1, V)]
SCALE = dict(a=0.17, b=0.10, c=0.20)                                  # the released code's, within section 3.3's range

V1 = {                                                                # Figure 15
    "stem":                [*STEM, (256, 3, 2, V)],                   # Figure 14
    "inception_resnet_a":  dict(repeat=5, scale=SCALE["a"], towers=[  # Figure 10
        [(32, 1)],
        [(32, 1), (32, 3)],
        [(32, 1), (32, 3), (32, 3)]]),
    "reduction_a":         [[                                         # Figure 7, with the row of Table 1
        [(384, 3, 2, V)],
        [(192, 1), (192, 3), (256, 3, 2, V)],
        [SHRINK]]],
    "inception_resnet_b":  dict(repeat=10, scale=SCALE["b"], towers=[  # Figure 11
        [(128, 1)],
        [(128, 1), (128, (1, 7)), (128, (7, 1))]]),
    "reduction_b":         [[                                         # Figure 12
        [(256, 1), (384, 3, 2, V)],
        [(256, 1), (256, 3, 2, V)],
        [(256, 1), (256, 3), (256, 3, 2, V)],
        [SHRINK]]],
    "inception_resnet_c":  dict(repeat=5, scale=SCALE["c"], towers=[  # Figure 13
        [(192, 1)],
        [(192, 1), (192, (1, 3)), (192, (3, 1))]]),
}
V2 = {
    "stem":                [*STEM, SHRINK],
    "inception_a":         [[
        [(96, 1)],
        [(48, 1), (64, 5)],
        [(64, 1), (96, 3), (96, 3)],
        [AVG_INSIDE, (64, 1)]]],
    "inception_resnet_a":  dict(repeat=10, scale=SCALE["a"], towers=[  # Figure 16
        [(32, 1)],
        [(32, 1), (32, 3)],
        [(32, 1), (48, 3), (64, 3)]]),
    "reduction_a":         [[                                         # Figure 7, with the row of Table 1
        [(384, 3, 2, V)],
        [(256, 1), (256, 3), (384, 3, 2, V)],
        [SHRINK]]],
    "inception_resnet_b":  dict(repeat=20, scale=SCALE["b"], towers=[  # Figure 17
        [(192, 1)],
        [(128, 1), (160, (1, 7)), (192, (7, 1))]]),
    "reduction_b":         [[                                         # Figure 18
        [(256, 1), (384, 3, 2, V)],
        [(256, 1), (288, 3, 2, V)],
        [(256, 1), (288, 3), (320, 3, 2, V)],
        [SHRINK]]],
    "inception_resnet_c":  dict(repeat=10, scale=SCALE["c"], bare_end=True, towers=[    # Figure 19
        [(192, 1)],
        [(192, 1), (224, (1, 3)), (256, (3, 1))]]),
    "conv7b":              [(1536, 1)],
}

VARIANTS = {
    "inception_resnet_v1":    dict(plan=V1),
    "inception_resnet_v2":    dict(plan=V2),
    "se_inception_resnet_v2": dict(plan=V2, attention="se"),
}


@network(VARIANTS)
def inception_resnet(
    *,
    plan: Mapping[str, list | dict],
    classes: int = 1000,
    channels: int = 3,
    input_size: int = 299,
    attention: str | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.2,
) -> ConvNet:
    """Figure 15.  A gate stands at the end of each residual branch, each reduction and v2's first module."""
    conv = partial(ConvNormAct, norm=partial(nn.BatchNorm2d, eps=1e-3))
    se = gate(attention)
    trunk, features = OrderedDict(), channels
    for name, rows in plan.items():
        if isinstance(rows, dict):
            scaled = dict(repeat=scale_depth(rows["repeat"], depth), towers=widen(rows["towers"], width))
            trunk[name] = residuals(features, **rows | scaled, conv=conv, se=se)
        else:
            trunk[name], features = tower(features, [widen(row, width) for row in rows], conv=conv, se=se)
    return ConvNet(
        trunk,
        pooled_head(features, classes, dropout),
        input_size=(channels, input_size, input_size),
        init=initialiser(conv=xavier, linear=xavier),
    )


def residuals(
    width: int, *, repeat: int, scale: float, towers: list, conv: Conv, se: Gate | None, bare_end: bool = False
) -> nn.Module:
    """Equal blocks in a row; bare_end: the last one of them is bare."""
    bare = [False] * (repeat - 1) + [bare_end]
    return nn.Sequential(*[Residual(width, towers, scale, conv=conv, se=se, bare=b) for b in bare])
