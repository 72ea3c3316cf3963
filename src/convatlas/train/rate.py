"""The learning rate's course, as a pure function of the step; and the optimizers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from convatlas.errors import ConvatlasError
from convatlas.train.recipe import Recipe

PEAK = 0.25
"""Part of a one-cycle course in which the rate rises."""


def highest(recipe: Recipe, batch: int) -> float:
    """The recipe's learning rate for this batch: in proportion where it names the batch it is for.

    Goyal et al. 2017 (arXiv 1706.02677).
    """
    return recipe.learning_rate * (batch / recipe.reference_batch if recipe.reference_batch else 1)


def learning_rate(recipe: Recipe, batch: int, step: int, steps: int) -> float:
    """The rate at a step, counted from 0, with ``steps`` an epoch."""
    epoch, peak = step / steps, highest(recipe, batch)
    if epoch < recipe.warmup:
        return peak * (recipe.warmup_from + (1 - recipe.warmup_from) * epoch / recipe.warmup)
    if recipe.schedule == "steps":
        return peak * recipe.factor ** sum(epoch >= at for at in recipe.steps)
    if recipe.schedule == "exponential":
        return peak * float(recipe.factor ** math.floor(epoch / (recipe.every or 1)))  # counted from the first step
    done = (epoch - recipe.warmup) / max(recipe.epochs - recipe.warmup, 1 / steps)
    if recipe.schedule == "one_cycle":
        if recipe.warmup:  # which is its rise
            done = PEAK + (1 - PEAK) * done
        if done < PEAK:
            return peak * (0.04 + 0.96 * (1 - math.cos(math.pi * done / PEAK)) / 2)
        done = (done - PEAK) / (1 - PEAK)
    if recipe.schedule in ("cosine", "one_cycle"):
        return peak * (recipe.final + (1 - recipe.final) * (1 + math.cos(math.pi * min(done, 1))) / 2)
    if recipe.schedule == "linear":
        return peak * (recipe.final + (1 - recipe.final) * (1 - min(done, 1)))
    return peak


def optimizer(recipe: Recipe, net: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over the parameters that are to be trained.

    Raises ConvatlasError where none is, or where timm, which has RMSprop as TensorFlow counts it and LAMB, is missing.
    """
    trained = [p for p in net.parameters() if p.requires_grad]
    if not trained:
        raise ConvatlasError("nothing is left to train: every parameter is frozen")
    groups: list[dict[str, Any]] = [{"params": trained, "weight_decay": recipe.weight_decay}]
    if not recipe.decay_all:
        flat = [p for p in trained if p.dim() == 1]
        groups = [
            {"params": [p for p in trained if p.dim() != 1], "weight_decay": recipe.weight_decay},
            {"params": flat, "weight_decay": 0.0},
        ]
    rate, eps = recipe.learning_rate, recipe.eps
    with_eps: dict[str, Any] = {} if eps is None else {"eps": eps}
    kind = recipe.optimizer
    if kind in ("sgd", "nesterov"):
        return torch.optim.SGD(groups, rate, momentum=recipe.momentum, nesterov=kind == "nesterov", fused=True)
    if kind == "adam":
        return torch.optim.Adam(groups, rate, betas=(recipe.momentum, 0.999), fused=True, **with_eps)
    if kind == "adamw":
        return torch.optim.AdamW(groups, rate, betas=(recipe.momentum, 0.999), fused=True, **with_eps)
    if kind == "rmsprop":
        return torch.optim.RMSprop(groups, rate, alpha=recipe.decay, momentum=recipe.momentum, **with_eps)
    try:
        from timm.optim import RMSpropTF
        from timm.optim.lamb import Lamb
    except ImportError:
        raise ConvatlasError(f"the optimizer {kind} needs timm: pip install 'convatlas[timm]'") from None
    if kind == "rmsprop_tf":  # eps inside the root, the learning rate in the momentum
        made: torch.optim.Optimizer = RMSpropTF(groups, rate, alpha=recipe.decay, momentum=recipe.momentum, **with_eps)
        return made
    lamb: torch.optim.Optimizer = Lamb(groups, rate, betas=(recipe.momentum, 0.999), **with_eps)
    return lamb
