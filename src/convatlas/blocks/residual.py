"""What residual networks share: shortcuts and stochastic depth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convatlas.blocks.conv import ConvNormAct


class DropPath(nn.Module):
    """Stochastic depth: in training each sample's branch is dropped with probability ``p``, the others scaled up.

    (N, ...) -> same shape; the identity in evaluation.  Huang et al. 2016 (arXiv 1603.09382).
    """

    graph_op = "drop_path"

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"a drop probability lies in [0, 1), not {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = torch.empty(x.shape[0], *[1] * (x.dim() - 1), dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * keep.div_(1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p:.3g}"


def linear_decay(p: float, blocks: int) -> list[float]:
    """Each block's drop probability: p * index / blocks, so that the first block is always kept."""
    return [p * index / blocks for index in range(blocks)]


class PadChannels(nn.Module):
    """(N, C, H, W) -> (N, C + before + after, H, W), the new channels zero."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        return f"before={self.before}, after={self.after}"


def shortcut(
    option: str,
    inputs: int,
    outputs: int,
    stride: int,
    projection: Callable[..., nn.Module] | None = None,
) -> nn.Module:
    """The residual block's other path, by the options of He et al. 2015 (arXiv 1512.03385), section 3.3:

    A: identity, and where the shape changes every ``stride``-th pixel with zero channels, half before and half after;
    B: identity, and a 1x1 projection where the shape changes;
    C: a projection everywhere.
    """
    same = stride == 1 and inputs == outputs
    if option == "C" or (option == "B" and not same):
        return (projection or partial(ConvNormAct, act=None))(inputs, outputs, 1, stride)
    if same:
        return nn.Identity()
    if option != "A":
        raise ValueError(f"shortcut options are 'A', 'B' and 'C', not {option!r}")
    new = outputs - inputs
    return nn.Sequential(OrderedDict(subsample=nn.AvgPool2d(1, stride), zeros=PadChannels(new // 2, new - new // 2)))
