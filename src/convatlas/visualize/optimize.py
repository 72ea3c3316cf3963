"""Feature visualization: a picture that makes an objective large, by gradient ascent.

Olah, Mordvintsev and Schubert 2017, "Feature Visualization" (distill.pub/2017/feature-visualization).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.fold import folded
from convatlas.graph.source import own_size
from convatlas.heap import kept
from convatlas.visualize.canvas import CANVASES, imagenets_colours
from convatlas.visualize.objectives import PICTURE, Objective
from convatlas.visualize.robust import ROBUST, Robust
from convatlas.visualize.rules import Rectifiers, redirect
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import Taps, evaluating, path_of
from convatlas.weights.preprocess import Preprocess

if TYPE_CHECKING:
    from PIL import Image

SIZE, STEPS, RATE = 128, 256, 0.05
PREVIEW = 16
"""A preview is shown every so many steps."""

Watch = Callable[[int, list[float], Tensor], None]
"""Called with the steps that are done, each picture's value in the last, and the pictures (N, C, H, W) in [0, 1]."""


@dataclass(frozen=True)
class Visualization:
    """What was made.

    pictures: (N, C, H, W) float32 in [0, 1].  values: of the last step, for each picture, as the network saw it then,
    moved and turned.  dead: pictures that nothing could change, since no gradient came through.
    steps: how many were done; fewer than were asked for where it was interrupted.
    """

    objective: str
    pictures: Tensor = field(repr=False)
    values: tuple[float, ...]
    dead: tuple[bool, ...]
    steps: int

    @property
    def images(self) -> list[Image.Image]:
        """The pictures; one that is dead says so."""
        from convatlas.visualize.sheets import image, labelled

        return [labelled("dead", tuple(picture.shape[-2:])) if dead else image(picture)
                for picture, dead in zip(self.pictures, self.dead)]  # fmt: skip


def visualize(
    net: nn.Module,
    objective: Objective,
    *,
    count: int = 1,
    size: int | tuple[int, int] | None = None,
    steps: int = STEPS,
    rate: float = RATE,
    seed: int = 0,
    canvas: str = "fourier",
    robust: str | Robust = "lucid",
    colours: Tensor | None = None,
    preprocess: Preprocess | None = None,
    begin: Tensor | None = None,
    waking: int | None = None,
    uncapped: bool = True,
    watch: Watch | None = None,
) -> Visualization:
    """Make pictures that make an objective large.

    net: any module that takes (N, C, H, W); it stays as it is.  count: pictures, made in one batch.
    size: side or (height, width) in pixels; by default 128, or the network's own where that is smaller.
    canvas: what is optimised: "fourier" or "pixels".  robust: "lucid", "distill", "none", or a ``Robust``.
    colours: (C, C), of uncorrelated colours; by default ImageNet's (``colours_of`` takes them from your pictures).
    preprocess: how the network wants a picture's values; by default what came with its weights, else ImageNet's mean
    and deviation.  begin: pictures (count, C, H, W) in [0, 1] to begin with.
    waking: steps in which the gradient of a silent unit is led around the rectifiers; by default half of all.
    uncapped: where a layer ends in a ReLU6 count beyond the 6, at which its pictures would else stop, pale.
    watch: is called every 16 steps, and may raise KeyboardInterrupt: what there is then is returned.

    The same seed and the same number of threads give the same picture, bit for bit.
    Raises UnknownName for a layer, canvas or schedule that does not exist, ConvatlasError for an objective that does
    not fit the network, and where a value is not finite.
    """
    if canvas not in CANVASES:
        raise UnknownName("canvas", canvas, CANVASES)
    if isinstance(robust, str):
        if robust not in ROBUST:
            raise UnknownName("schedule", robust, ROBUST)
        robust = ROBUST[robust]
    if count < 1 or steps < 1:
        raise ConvatlasError(f"at least 1 picture and 1 step are needed, not {count} and {steps}")
    channels, *own = own_size(net)
    height, width = (size, size) if isinstance(size, int) else size or [min(SIZE, side) for side in own]
    if min(height, width) < 8:
        raise ConvatlasError(f"a picture measures at least 8 pixels each way, not {height} x {width}")
    robust = robust.at(min(height, width))
    shown = Shown(net, preprocess)
    draw, chance = torch.Generator().manual_seed(seed), random.Random(seed)
    made = CANVASES[canvas](count, channels, (height, width), imagenets_colours(channels) if colours is None
                            else colours, draw)  # fmt: skip
    if begin is not None:
        made.fill(begin)
    with evaluating(net), kept():
        fast = folded(net, keep=[path_of(net, layer) for layer in objective.layers])
        fast.to(memory_format=torch.channels_last)
        if uncapped:
            _uncap(fast, objective.layers)
        side = None if takes_any_size(fast, shown, (height, width)) else tuple(own)
        taps = Taps(fast, objective.layers, _sized(shown(made().detach()), side)) if objective.layers else None
        return _ascend(objective, made, taps, shown, robust, side, steps, rate,
                       steps // 2 if waking is None else waking, chance, watch)  # fmt: skip


def _ascend(
    objective: Objective,
    canvas: Any,
    taps: Taps | None,
    shown: Shown,
    robust: Robust,
    side: tuple[int, ...] | None,
    steps: int,
    rate: float,
    waking: int,
    chance: random.Random,
    watch: Watch | None,
) -> Visualization:
    optimizer = torch.optim.Adam(canvas.parameters(), rate, maximize=True)
    moved = torch.zeros(len(canvas.values), dtype=torch.bool)
    good, values, done = canvas.values.detach().clone(), torch.zeros(len(canvas.values)), 0

    def climb() -> Tensor:
        optimizer.zero_grad()
        picture = canvas()
        x = _sized(shown(robust(picture, chance)), side).contiguous(memory_format=torch.channels_last)
        worth = objective.value({**(taps(x) if taps else {}), PICTURE: picture})
        worth.sum().backward()
        return worth.detach()

    try:
        for step in range(steps):
            before = chance.getstate()
            worth = climb()
            awake = canvas.values.grad.flatten(1).any(1)
            moved |= awake
            if step < waking and not awake.all():
                chance.setstate(before)
                with Rectifiers(redirect):
                    worth = climb()
            if not bool(torch.isfinite(worth).all() & torch.isfinite(canvas.values.grad).all()):
                raise NotFinite(step, canvas, good, objective, values)
            good.copy_(canvas.values.detach())
            values, done = worth, step + 1
            if step >= waking and not moved.any():
                break
            optimizer.step()
            if watch is not None and (done % PREVIEW == 0 or done == steps):
                with torch.no_grad():
                    watch(done, values.tolist(), canvas())
    except KeyboardInterrupt:
        if not done:
            raise
    with torch.no_grad():
        return Visualization(objective.title, canvas(), tuple(values.tolist()), tuple((~moved).tolist()), done)


class NotFinite(ConvatlasError):
    """A value is NaN or infinite.  good: what there was before."""

    def __init__(self, step: int, canvas: Any, last: Tensor, objective: Objective, values: Tensor):
        super().__init__(f"{objective.title} is no finite number in step {step + 1}; a lower rate may help")
        with torch.no_grad():
            canvas.values.copy_(last)
            self.good = Visualization(objective.title, canvas(), tuple(values.tolist()),
                                      (False,) * len(values), step)  # fmt: skip


def _uncap(net: nn.Module, layers: Sequence[str]) -> None:
    """Put a ReLU in place of the ReLU6 that a layer ends in."""
    for layer in layers:
        path = path_of(net, layer)
        leaves = [name for name, m in net.get_submodule(path).named_modules() if next(m.children(), None) is None]
        last = ".".join(filter(None, (path, leaves[-1])))
        if last and type(net.get_submodule(last)) is nn.ReLU6:
            parent, _, leaf = last.rpartition(".")
            setattr(net.get_submodule(parent), leaf, nn.ReLU(inplace=True))


def takes_any_size(net: nn.Module, shown: Shown, size: tuple[int, int]) -> bool:
    """Whether a network runs on pictures of a size, and of one near by."""
    channels = len(shown.preprocess.order)
    try:
        with torch.no_grad():
            for height, width in (size, (size[0] + 5, size[1] + 5)):
                net(shown(torch.full((1, channels, height, width), 0.5)))
    except RuntimeError:
        return False
    return True


def _sized(x: Tensor, side: Sequence[int] | None) -> Tensor:
    """At the one size that a network reads, where there is one."""
    if side is None or tuple(x.shape[2:]) == tuple(side):
        return x
    return F.interpolate(x, tuple(side), mode="bilinear", align_corners=False)
