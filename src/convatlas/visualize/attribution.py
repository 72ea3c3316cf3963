"""Attribution: which pixels of a picture a network's answer rests on, by six methods.

saliency, smoothgrad, grad-cam and occlusion take any network; guided and deconvnet are rules for rectifiers, and refuse
a network where something else would let its plain gradient pass for them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from convatlas.errors import ConvatlasError, UnknownName
from convatlas.visualize.gradients import Watch, grad_cam, last_map, saliency, smoothgrad, strongest
from convatlas.visualize.occlusion import Sides, occlusion, windows
from convatlas.visualize.projection import RULES, in_grey, in_rgb, project, signal
from convatlas.visualize.sheets import Scale, enlarged, framed, grid, image, number, scale_bar
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import OUTPUT, Taps, aside, name_of
from convatlas.visualize.targets import Aim, Place, class_aim, class_of, unit_aim
from convatlas.weights.preprocess import Preprocess

__all__ = ["METHODS", "Attribution", "attribute", "class_of", "project"]

METHODS: dict[str, tuple[str, ...]] = {
    "saliency": ("unit", "at"),
    "smoothgrad": ("unit", "at", "samples", "noise"),
    "grad-cam": (),
    "occlusion": ("unit", "at", "window", "stride"),
    "guided": ("unit", "at"),
    "deconvnet": ("unit", "at"),
}
"""The methods, and which options each of them has beside the class and the layer."""

SAMPLES, NOISE = 50, 0.15
SIDE = 224
"""Pixels: on a sheet, smaller pictures are enlarged to about that."""
BEYOND = {"grad-cam": 0.0, "occlusion": 0.0}
"""Share of a map that may lie beyond its scale; of the others, whose pixels stand each for itself, a hundredth."""
OPAQUE = 0.85
"""How much of the picture the strongest colour hides."""


@dataclass(frozen=True)
class Attribution:
    """Which pixels an answer rests on.

    map: (H, W) in the score's units, signed by occlusion, guided and deconvnet.  score: the logit, or the activation.
    layer: of grad-cam the layer whose map was weighed, of a unit its own; "" of a class otherwise.
    scale: from values to colours; its peak is the map's largest magnitude.  picture: what of it the network saw.
    signal: (C, H, W) in RGB, of which guided and deconvnet made the map; else None.
    """

    map: Tensor = field(repr=False)
    method: str
    label: str
    score: float
    layer: str
    scale: Scale
    picture: Image.Image = field(repr=False)
    signal: Tensor | None = field(default=None, repr=False)

    def over(self, picture: Image.Image | Tensor | None = None, *, limit: float | None = None) -> Image.Image:
        """The map in colours over the picture in grey: the stronger, the less of the picture shows.

        picture: another one of the map's size.  limit: the magnitude of the strongest colour, to compare several maps;
        by default this one's scale.
        """
        below = self.picture if picture is None else image(picture) if isinstance(picture, Tensor) else picture
        if (below.height, below.width) != tuple(self.map.shape):
            raise ConvatlasError(f"the map measures {' x '.join(map(str, self.map.shape))}, the picture {below.height} "
                                 f"x {below.width}: give what the network saw of it")  # fmt: skip
        scale = self.scale if limit is None else Scale(limit, self.scale.peak, self.scale.signed)
        grey = np.asarray(below.convert("L"), np.float32)[..., None]
        share = OPAQUE * (self.map.abs().float() / scale.limit).clamp(max=1).sqrt()[..., None].numpy()
        mixed = (grey * 0.6 + 255 * 0.4) * (1 - share) + scale.colours(self.map) * share
        return Image.fromarray(mixed.round().astype(np.uint8))

    @property
    def image(self) -> Image.Image:
        """A sheet: the picture, the map (or its signal in colours), the map over the picture, and the scale."""
        times = max(1, SIDE // max(self.map.shape))
        alone = self.scale.image(self.map) if self.signal is None else in_grey(self.signal, self.scale.limit)
        three = [enlarged(one.convert("RGB"), times) for one in (self.picture, alone, self.over())]
        bar, ends = scale_bar(self.scale)
        note = f"score {number(self.score)}" + (f"   maps of {self.layer}" if self.method == "grad-cam" else "")
        if self.scale.peak > self.scale.limit:
            note += f"   stronger than {number(self.scale.limit)} as there, up to {number(self.scale.peak)}"
        return framed(grid(three, 3, gap=4), f"{self.method}   {self.label}", note, bar, ends)


def attribute(
    net: nn.Module,
    picture: str | os.PathLike[str] | Image.Image | Tensor,
    *,
    method: str,
    target: int | str | None = None,
    layer: str | None = None,
    unit: int | None = None,
    at: Place | None = None,
    samples: int | None = None,
    noise: float | None = None,
    window: Sides = None,
    stride: Sides = None,
    batch: int = 16,
    seed: int = 0,
    preprocess: Preprocess | None = None,
    watch: Watch | None = None,
) -> Attribution:
    """Which pixels of a picture a network's answer rests on.

    picture: a file or a PIL image, of which the network sees what its preprocessing leaves; or a tensor (C, H, W) in
    [0, 1], in RGB, as large as the network is to see it.
    method: one of ``METHODS``.  target: the class whose logit is explained, as ``class_of`` takes it; by default the
    likeliest.  layer: of grad-cam the layer whose map is weighed, by default the last of more than one unit; of every
    other method that of ``unit``, the channel that is explained instead of a class, at the place ``at`` (row, column)
    of its map, by default where it is largest.
    samples, noise: of smoothgrad, by default 50 copies, with noise of 0.15 of the picture's range, drawn by ``seed``.
    window, stride: of occlusion, in pixels; by default chosen by what a unit of the last map sees.
    batch: pictures that run at once.  watch: called with what is done, and of how many.

    The gradients are by the picture in [0, 1]; deconvnet's reconstruction is of what the network reads, and starts with
    the activation itself, of a class with its logit's magnitude; guided starts with 1.
    The network stays as it was, and so do torch's random numbers.
    Raises UnknownName for a method, layer or class that does not exist; ConvatlasError for what the method cannot
    explain, with the reason, a picture that the network does not run on, and a score that is no finite number.
    """
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    given = dict(unit=unit, at=at, samples=samples, noise=noise, window=window, stride=stride)
    for option, value in given.items():
        if value is not None and option not in METHODS[method]:
            raise ConvatlasError(f"{method} has no option {option}")
    if method != "grad-cam" and (layer is None) != (unit is None):
        raise ConvatlasError("a layer and a unit of it are explained together; without them, a class is")
    if unit is not None and target is not None:
        raise ConvatlasError(f"either a class or a unit is explained, not {target!r} and channel {unit} of {layer}")
    if at is not None and unit is None:
        raise ConvatlasError("a place is that of a unit: name its layer and channel")
    if batch < 1:
        raise ConvatlasError(f"at least 1 picture runs at once, not {batch}")
    with aside(net, seed):
        shown = Shown(net, preprocess)
        pixels = shown.seen(picture)
        x = shown(pixels).detach()
        if method == "grad-cam" and layer is None:
            layer = last_map(net, x)
        layers = [OUTPUT] if layer is None else [layer, OUTPUT] if method == "grad-cam" else [layer]
        taps = Taps(net, layers, x)
        aim, score = _aimed(net, taps, x, target, layers[-1], unit, at)
        made: Tensor | None = None
        if method == "saliency":
            values = saliency(taps, aim, shown, pixels)
        elif method == "smoothgrad":
            values = smoothgrad(taps, aim, shown, pixels, SAMPLES if samples is None else samples,
                                NOISE if noise is None else noise, seed, batch, watch)  # fmt: skip
        elif method == "grad-cam":
            values = grad_cam(taps, aim, shown, pixels, layers[0])
        elif method == "occlusion":
            wide, far = windows(net, aim, x, window, stride)
            values = occlusion(taps, aim, x, wide, far, batch, watch)
        else:
            made = _projected(taps, aim, shown, pixels, method)
            values = strongest(made)
    values = values.detach().cpu()
    scale = Scale.of(values, f"{method} of {aim.label}", BEYOND.get(method, 0.01))
    where = (layer or "").removeprefix("trunk.")
    return Attribution(values, method, aim.label, score, where, scale, image(pixels[0]), made)


def _projected(taps: Taps, aim: Aim, shown: Shown, pixels: Tensor, rule: str) -> Tensor:
    """(C, H, W), in RGB."""
    assert rule in RULES
    if rule == "guided":
        leaf = pixels.detach().requires_grad_()
        answer, found = signal(taps, aim, leaf, shown(leaf), rule)
    else:
        leaf = shown(pixels).detach().requires_grad_()
        answer, found = signal(taps, aim, leaf, leaf, rule)
        found = in_rgb(found, shown)
    if aim.layer != OUTPUT and float(answer) <= 0:
        raise ConvatlasError(f"{aim.label} is silent for this picture: there is nothing to project")
    return found[0].cpu()


def _aimed(net: nn.Module, taps: Taps, x: Tensor, target: int | str | None, layer: str, unit: int | None,
           at: Place | None) -> tuple[Aim, float]:  # fmt: skip
    with torch.no_grad():
        out = taps(x)[layer]
        aim = class_aim(net, out, target) if unit is None else unit_aim(layer, out, unit, at)
        score = float(aim.of(out))
    if not np.isfinite(score):
        raise ConvatlasError(f"{name_of(net)} gives {score} for {aim.label} on this picture: its weights or the "
                             "preprocessing are not right")  # fmt: skip
    return aim, score
