"""Normalisations whose constants mean different things in different frameworks."""

from __future__ import annotations

from torch import nn


def local_response_norm(size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> nn.Module:
    """Local response normalisation across channels with the paper's constants: (N, C, H, W) -> same shape.

    The paper sums alpha * a^2 over ``size`` neighbours; torch averages, so alpha is multiplied by ``size``.
    Krizhevsky et al. 2012, section 3.3.
    """
    return nn.LocalResponseNorm(size, alpha=size * alpha, beta=beta, k=k)
