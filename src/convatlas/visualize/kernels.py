"""Filters: the kernels of a convolution as pictures, all on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from convatlas.errors import ConvatlasError
from convatlas.graph.source import own_size
from convatlas.visualize.sheets import Scale, enlarged, framed, grid, image, number, roomy, scale_bar, tagged
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import name_of, path_of

if TYPE_CHECKING:
    from PIL import Image

BEYOND = 0.001
"""Share of a deeper layer's weights that may lie beyond the scale: a few that stand out would leave the rest pale."""
KERNEL, LARGEST, MATRIX = 48, 128, 900
"""Pixels: a kernel's longer side at least and at most, and about that of a matrix; each value is a whole square."""

Kind = Literal["pictures", "kernels", "matrix"]


@dataclass(frozen=True)
class Filters:
    """The kernels of one convolution, as the network has them.

    weights: (out, in / groups, height, width), all of them.
    kind: what is drawn of them.
    * "pictures": (out, 1 or 3, height, width), of a layer that reads the picture; in RGB, whatever the network reads.
    * "kernels": (n, height, width), of a depthwise layer, or those of one unit by the channels that it reads.
    * "matrix": (out, in / groups), each kernel's L2 norm; of a 1 x 1 convolution the weights themselves.
    scale: symmetric around zero, one for the whole layer.
    """

    network: str
    layer: str
    weights: Tensor = field(repr=False)
    kind: Kind
    unit: int | None
    drawn: Tensor = field(repr=False)
    scale: Scale

    @property
    def images(self) -> list[Image.Image]:
        """The kernels, a pixel for each weight; of a matrix that, its longer side across."""
        if self.kind == "pictures":
            return [image(0.5 + kernel / (2 * self.scale.limit)) for kernel in self.drawn]
        if self.kind == "matrix":
            return [self.scale.image(self.drawn.T if len(self.drawn) > self.drawn.shape[1] else self.drawn)]
        return [self.scale.image(kernel) for kernel in self.drawn]

    @property
    def image(self) -> Image.Image:
        """A sheet of them, enlarged without smoothing, with the scale's numbers."""
        out, per, height, width = self.weights.shape
        bar, ends = scale_bar(self.scale)
        if self.kind == "matrix":
            what = "weights" if height == width == 1 else "L2 norms of the kernels"
            gives, reads = ("across", "down") if out > per else ("down", "across")
            note = f"{what}; {gives}: the channels that it gives, {reads}: those that each of them reads"
            body = enlarged(self.images[0], max(1, min(24, round(MATRIX / max(out, per)))))
        else:
            columns = math.ceil(math.sqrt(1.3 * len(self.drawn)))
            times = max(1, round(roomy(columns, KERNEL, LARGEST) / max(height, width)))
            body = grid([tagged(enlarged(one, times), str(n)) for n, one in enumerate(self.images)], columns, gap=4)
            note = self.scale.words
        if self.kind == "pictures":
            bar, ends = image(torch.linspace(0, 1, 200).expand(9, 200)), [number(-self.scale.limit), "0", ends[-1]]
            note = f"{'weights as colours: ' if per == 3 else ''}mid grey is 0; {self.scale.words}"
        unit = "" if self.unit is None else f"   unit {self.unit}, by the channels that it reads"
        title = f"{self.network}   {self.layer}   {out} x {per} x {height} x {width}{unit}"
        return framed(body, title, note, bar, ends)


def filters(net: nn.Module, layer: str | None = None, *, unit: int | None = None) -> Filters:
    """The kernels of a convolution: of the first one as pictures, of a deeper one how strongly it reads each channel.

    layer: the path of a Conv2d, its last words, or a module that holds one only; by default the first of the network.
    unit: only the kernels of this channel, one for each channel that it reads.

    Raises UnknownName for a layer that does not exist; ConvatlasError for one that is no convolution or holds several,
    for a unit that it does not have, and for weights that are not finite.
    """
    convolutions = [path for path, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise ConvatlasError(f"{name_of(net)} has no 2-d convolution")
    path = convolutions[0] if layer is None else _convolution(net, layer, convolutions)
    module = net.get_submodule(path)
    assert isinstance(module, nn.Conv2d)
    weights = module.weight.detach().float().cpu().clone()
    out, per, height, width = weights.shape
    if unit is not None and not 0 <= unit < out:
        raise ConvatlasError(f"{path} of {name_of(net)} has units 0 to {out - 1}, not {unit}")

    kind: Kind = "kernels" if unit is not None or per == 1 else "matrix"
    drawn, scaled = weights[:, 0] if unit is None else weights[unit], weights
    if path == convolutions[0] and unit is None and per == own_size(net)[0] and per in (1, 3):
        kind = "pictures"
        drawn = weights.flip(1) if Shown(net).preprocess.order == "BGR" else weights
    elif kind == "matrix":
        drawn = scaled = weights[:, :, 0, 0] if height == width == 1 else weights.flatten(2).norm(dim=2)
    name = path.removeprefix("trunk.") or type(module).__name__
    scale = Scale.of(scaled, f"{name} of {name_of(net)}", 0.0 if kind == "pictures" else BEYOND)
    return Filters(name_of(net), name, weights, kind, unit, drawn, scale)


def _convolution(net: nn.Module, layer: str, known: Sequence[str]) -> str:
    """The path of the one convolution that a layer is or holds."""
    path = path_of(net, layer)
    held = [one for one in known if one == path or not path or one.startswith(f"{path}.")]
    if len(held) == 1:
        return held[0]
    if not held:
        kind = type(net.get_submodule(path)).__name__
        raise ConvatlasError(f"{layer} of {name_of(net)} is a {kind} without a 2-d convolution: it has no kernels")
    some = ", ".join(one.removeprefix("trunk.") for one in held[:4])
    more = f" and {len(held) - 4} more" if len(held) > 4 else ""
    raise ConvatlasError(f"{layer} of {name_of(net)} holds several convolutions: {some}{more}")
