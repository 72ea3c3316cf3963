"""Channel attention: the squeeze-and-excitation gate that any block can carry."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from convatlas.blocks.conv import Act, relu
from convatlas.errors import UnknownName

Gate = Callable[[int], nn.Module]


class SqueezeExcite(nn.Module):
    """Channel gate: (N, C, H, W) -> same shape, each channel scaled by a value in (0, 1).

    Raises ValueError if squeeze < 1.  Hu et al. 2017 (arXiv 1709.01507), section 3.
    """

    def __init__(self, channels: int, squeeze: int, act: Act = relu, gate: Act = nn.Sigmoid):
        super().__init__()
        if squeeze < 1:
            raise ValueError(f"squeeze-and-excitation needs at least 1 squeezed channel, not {squeeze}")
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.act = act()
        self.expand = nn.Conv2d(squeeze, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))


def gate(kind: str | None) -> Gate | None:
    """The gate by its name: "se" is squeeze-and-excitation with ratio 16; None and "none" are no gate.

    Raises UnknownName for any other.
    """
    if kind in (None, "none"):
        return None
    if kind == "se":
        return lambda channels: SqueezeExcite(channels, max(1, channels // 16))
    raise UnknownName("attention", str(kind), ["se", "none"])
