"""The same network with random weights: what is seen in it too, learning did not bring."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convatlas.graph.fold import copied
from convatlas.net import ConvNet
from convatlas.visualize.taps import seeded


def untrained(net: nn.Module, seed: int = 0, x: Tensor | None = None) -> tuple[nn.Module, list[str]]:
    """A copy with random weights, and the paths of the parameters that no module knows how to fill.

    A ConvNet is filled as its paper says, any other by its modules' ``reset_parameters``.
    x: (N, C, H, W), as the network reads it: batch norms take their statistics from it, as in a first training step;
    without them the activations of many a random network die away.  It takes at least 2 pictures.
    """
    copy = copied(net)
    unset = [f"{path}.{name}".removeprefix(".") for path, module in copy.named_modules()
             for name, _ in module.named_parameters(recurse=False)
             if module is copy or not hasattr(module, "reset_parameters")]  # fmt: skip
    modules: list[Any] = [copy] if isinstance(copy, ConvNet) else [m for m in copy.modules() if m is not copy]
    with seeded(net, seed):
        for module in modules:
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    norms = [m for m in copy.eval().modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if x is not None and len(x) > 1 and norms:
        for norm in norms:
            norm.momentum = None  # the mean over all it sees, which is this once
            norm.train()
        with seeded(net, seed), torch.no_grad():
            copy(x)
    return copy.eval(), unset
