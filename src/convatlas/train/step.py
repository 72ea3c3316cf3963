"""What a training step computes: the logits, those of the auxiliary heads, the loss; and what memory it takes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convatlas.net import ConvNet
from convatlas.train.rate import optimizer
from convatlas.train.recipe import Recipe
from convatlas.train.watermark import Watermark


class Answering(nn.Module):
    """What is trained: a network that gives its logits and those of its auxiliary heads, so that several processes see
    the gradients of both."""

    def __init__(self, net: ConvNet, recipe: Recipe):
        super().__init__()
        self.net, self.with_aux = net, bool(net.aux) and recipe.aux_weight > 0

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.net.with_aux(x) if self.with_aux else (self.net(x), {})


def loss_of(recipe: Recipe, net: nn.Module, pictures: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The loss that the recipe minimises, and the logits.  net: an ``Answering``; targets: (N,) or (N, classes)."""
    logits, aux = net(pictures)

    def loss(answer: Tensor) -> Tensor:
        return F.cross_entropy(answer.float(), targets, label_smoothing=recipe.smoothing)

    return sum((recipe.aux_weight * loss(a) for a in aux.values()), loss(logits)), logits


def rehearsed(
    net: ConvNet, recipe: Recipe, pictures: Tensor, labels: Tensor, autocast: Callable[[], AbstractContextManager[None]]
) -> int:
    """Most bytes of tensors in the second step of a copy of the network: to count them takes another way through
    torch, and changes gradients in the last bit."""
    copy = deepcopy(net)
    answers, made = Answering(copy, recipe), optimizer(recipe, copy)
    pictures, labels = (part.chunk(recipe.accumulate)[0].contiguous() for part in (pictures, labels))
    pictures = pictures.contiguous(
        memory_format=torch.channels_last if recipe.channels_last else torch.contiguous_format
    )

    def step() -> None:
        with autocast():
            loss, _ = loss_of(recipe, answers, pictures, labels)
        loss.backward()
        made.step()
        made.zero_grad()

    devices = [pictures.device] if pictures.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        step()
        state = [value for kept in made.state.values() for value in kept.values() if isinstance(value, Tensor)]
        with Watermark([*copy.parameters(), *copy.buffers(), *state, pictures, labels]) as watermark:
            step()
    return watermark.most
