"""Projections to the picture: Zeiler and Fergus's deconvnet with its switches, and guided backpropagation.

Both keep one activation, take all others of its layer for zero, and go backward: through a convolution with its filters
transposed, through a max pool to where the maximum was, through a rectifier by their rule (``rules``).  Where pools
overlap, what comes back to one place is added up.  Local response normalisation divides by what it divided by; its
divisor is taken for a constant.  Without max pools there are no switches, and a deconvnet shows next to nothing of the
picture (Springenberg et al., section 3.4): guided backpropagation does.  A network with anything else that bends
gradients is refused: see ``bends``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convatlas.errors import ConvatlasError, UnknownName
from convatlas.visualize.bends import refuse_what_bends
from convatlas.visualize.gradients import back
from convatlas.visualize.rules import Rectifiers, Rule, deconvnet, guided
from convatlas.visualize.sheets import image
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import OUTPUT, Taps, aside
from convatlas.visualize.targets import Aim, Place, unit_aim

if TYPE_CHECKING:
    from PIL import Image

RULES: dict[str, Rule] = {"deconvnet": deconvnet, "guided": guided}
GREY = 0.5
"""Of a signal that is zero, in its picture."""


def project(
    net: nn.Module,
    x: Tensor,
    layer: str,
    unit: int,
    at: Place | Sequence[Place] | None = None,
    rule: str = "deconvnet",
) -> Tensor:
    """What in each picture a unit answers to: (N, C, H, W) of the size of x, signed, its channels in that order.

    x: (N, C, H, W), as the network reads it.  layer: the path of a submodule, or its last words.  unit: its channel.
    at: the place (row, column) on its map, or one for each picture; by default where the channel is largest.
    rule: "deconvnet", which starts with the activation itself, or "guided", which starts with 1.  A unit that is silent
    (at or below 0) projects to zeros.

    Raises UnknownName for a layer or rule that does not exist; ConvatlasError for a unit or place that the layer does
    not have, and for a network that the rule is not defined for, with the reason.
    """
    if rule not in RULES:
        raise UnknownName("rule", rule, RULES)
    like = next(net.parameters(), torch.empty(0))
    with aside(net):
        leaf = x.detach().clone().to(like).requires_grad_()
        taps = Taps(net, [layer], leaf[:1])
        with torch.no_grad():
            aim = unit_aim(layer, taps(leaf)[layer], unit, at)
        answer, found = signal(taps, aim, leaf, leaf, rule)
    if not bool(torch.isfinite(answer).all()):
        raise ConvatlasError(f"{aim.label} is no finite number")
    return found.cpu()


def signal(taps: Taps, aim: Aim, leaf: Tensor, x: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    """What ``aim`` gives, (N,), and its projection to ``leaf``, of which ``x``, what the network reads, is made."""
    name = "deconvnet" if rule == "deconvnet" else "guided backpropagation"
    with Rectifiers(RULES[rule], fixed=True) as rectifiers:
        answer = aim.of(taps(x)[aim.layer])
        refuse_what_bends(answer, name, rectifiers.hidden)
        own = answer.detach()
        if aim.layer == OUTPUT:  # a logit has no zero of its own: below it there is as much to show
            start = own.abs()
        else:
            start = own.clamp(min=0)
        if rule == "guided":
            start = torch.ones_like(own) if aim.layer == OUTPUT else (start > 0).to(own)
        return own, back(answer, leaf, aim.label, start)


def in_rgb(signal: Tensor, shown: Shown) -> Tensor:
    """What a network reads, (N, C, H, W) -> its colours in the order RGB."""
    return signal.flip(1) if shown.preprocess.order == "BGR" else signal


def in_grey(signal: Tensor, limit: float) -> Image.Image:
    """(C, H, W) -> a picture where zero is grey, and magnitudes from ``limit`` on black or white in their colour."""
    return image(GREY + signal / (2 * limit))
