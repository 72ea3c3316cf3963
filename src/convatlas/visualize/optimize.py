"""Feature visualization: a picture that makes an objective large, by gradient ascent.

Olah, Mordvintsev and Schubert 2017, "Feature Visualization" (distill.pub/2017/feature-visualization).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
from convatlas.visualize.taps import Taps, aside, path_of
from convatlas.weights.preprocess import Preprocess

if TYPE_CHECKING:
    from PIL import Image

SIZE, STEPS, RATE = 128, 256, 0.05
SMOOTHING = 0.2
"""What a step's value counts in the average by which the best picture so far is known."""
PREVIEW = 16
"""A preview is shown every so many steps."""

Watch = Callable[[int, list[float], Tensor], None]
"""Called with the steps that are done, each picture's value in the last, and the pictures (N, C, H, W) in [0, 1]."""


@dataclass(frozen=True)
class Visualization:
    """What was made.

    pictures: (N, C, H, W) float32 in [0, 1].  values: what each is worth in the end to the network as it is, at rest.
    dead: pictures of whose objective no gradient ever came through.
    steps: how many were done.  interrupted: whether a KeyboardInterrupt ended it.
    """

    objective: str
    pictures: Tensor = field(repr=False)
    values: tuple[float, ...]
    dead: tuple[bool, ...]
    steps: int
    interrupted: bool = False

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
    uncapped: where a layer ends in a ReLU6, or an ``nn.Hardtanh`` from 0, count beyond the limit, at which its pictures
    would else stop, pale; a limit that is no module (``F.relu6``, a clamp) stays.
    watch: is called every 16 steps, and may raise KeyboardInterrupt: the best until then is returned.

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
    channels, height, width = size_of(net, size)
    if min(height, width) < 8:
        raise ConvatlasError(f"a picture measures at least 8 pixels each way, not {height} x {width}")
    robust = robust.at(min(height, width))
    with aside(net, seed), kept():
        shown = Shown(net, preprocess)
        draw, chance = torch.Generator().manual_seed(seed), random.Random(seed)
        own_colours = imagenets_colours(channels) if colours is None else colours
        if own_colours.shape != (channels, channels):
            raise ConvatlasError(f"colours are {channels} x {channels} here, not {tuple(own_colours.shape)}")
        made = CANVASES[canvas](count, channels, (height, width), own_colours, draw)
        if begin is not None:
            if begin.shape != (count, channels, height, width):
                raise ConvatlasError(f"to begin with, {count} x {channels} x {height} x {width} values are needed, "
                                     f"not {' x '.join(map(str, begin.shape))}")  # fmt: skip
            made.fill(begin)
        made.to(shown.like.device)
        paths = [path_of(net, layer) for layer in objective.layers]
        x = shown(made().detach())
        fast = folded(net, size=(channels, height, width), keep=paths, uncap=paths if uncapped else ())
        fast.to(memory_format=torch.channels_last)
        taps, side = tapped(fast, objective.layers, x, own_size(net)[1:])
        if side is not None:
            robust = replace(robust, crop=True)  # else what is made to fit would undo the scale
        ascent = _Ascent(objective, made, taps, shown, robust, side, rate, chance)
        found = ascent.run(steps, max(1, steps // 2) if waking is None else waking, watch)
        return replace(found, values=ascent.worth_at_rest(net))


def size_of(net: nn.Module, size: int | tuple[int, int] | None = None) -> tuple[int, int, int]:
    """(C, H, W) of the pictures that ``visualize`` makes.  size: as it takes it."""
    channels, *own = own_size(net)
    height, width = (size, size) if isinstance(size, int) else size or [min(SIZE, side) for side in own]
    return channels, height, width


def tapped(
    net: nn.Module, layers: Sequence[str], x: Tensor, own: tuple[int, int]
) -> tuple[Taps | None, tuple[int, int] | None]:
    """Taps on layers for pictures of the size of x; and the one size at which the network runs, where it runs on no
    other: that of x or, where it does not run at that, its own."""
    if not layers:
        return None, None
    try:
        taps = Taps(net, layers, x)
    except UnknownName:
        raise
    except ConvatlasError:
        return Taps(net, layers, _sized(x, own)), own
    try:
        with torch.no_grad():
            taps(F.pad(x[:1], (0, 5, 0, 5)))
    except ConvatlasError:
        return taps, (x.shape[2], x.shape[3])
    return taps, None


class _Ascent:
    """moved: for each picture, whether a gradient of the objective ever came through by itself."""

    def __init__(
        self,
        objective: Objective,
        canvas: Any,
        taps: Taps | None,
        shown: Shown,
        robust: Robust,
        side: tuple[int, int] | None,
        rate: float,
        chance: random.Random,
    ):
        self.objective, self.canvas, self.taps, self.shown = objective, canvas, taps, shown
        self.robust, self.side, self.chance = robust, side, chance
        self.optimizer = torch.optim.Adam(canvas.parameters(), rate, maximize=True)
        self.moved = torch.zeros(len(canvas.values), dtype=torch.bool, device=canvas.values.device)
        self.done, self.interrupted, self.silent = 0, False, False
        self.recent: Tensor | None = None
        self.highest = torch.full(self.moved.shape, -torch.inf, device=self.moved.device)
        self.best = canvas.values.detach().clone()

    def run(self, steps: int, waking: int, watch: Watch | None) -> Visualization:
        values, good = self.canvas.values, self.canvas.values.detach().clone()
        try:
            for step in range(steps):
                worth = self.climb(step < waking)
                if not bool(torch.isfinite(worth).all() & torch.isfinite(values.grad).all()):
                    with torch.no_grad():
                        values.copy_(good)
                    title = self.objective.title
                    hint = "; a lower rate may help" if step else ""
                    raise NotFinite(f"{title} is no finite number in step {step + 1}{hint}", self.made())
                good.copy_(values.detach())
                self.done = step + 1
                self.keep_best(worth)
                if step >= waking and not self.moved.any():
                    self.silent = True
                    break
                self.optimizer.step()
                if watch is not None and (self.done % PREVIEW == 0 or self.done == steps):
                    with torch.no_grad():
                        watch(self.done, worth.tolist(), self.canvas().cpu())
        except KeyboardInterrupt:
            if not self.done:
                raise
            self.interrupted = True
            with torch.no_grad():
                values.copy_(self.best)
        return self.made()

    def keep_best(self, worth: Tensor) -> None:
        """Keep each picture where it is worth most: on average over steps, since random changes move single ones."""
        self.recent = worth if self.recent is None else self.recent.lerp(worth, SMOOTHING)
        better = self.recent > self.highest
        self.highest = torch.where(better, self.recent, self.highest)
        kept = better.view(-1, *[1] * (self.best.dim() - 1))
        self.best = torch.where(kept, self.canvas.values.detach(), self.best)

    def made(self) -> Visualization:
        """What there is now."""
        with torch.no_grad():
            pictures = self.canvas().cpu()
        tried = self.silent or self.done >= PREVIEW
        dead = [tried and not moved for moved in self.moved.tolist()]
        return Visualization(self.objective.title, pictures, (), tuple(dead), self.done, self.interrupted)

    def climb(self, wake: bool) -> Tensor:
        """The gradient of the pictures' worth, which is returned.  wake: lead that of silent ones around rectifiers."""
        before = self.chance.getstate()
        worth, awake = self.gradient()
        self.moved |= awake
        if wake and not awake.all():
            own = self.canvas.values.grad.clone()
            self.chance.setstate(before)
            with Rectifiers(redirect):
                worth, _ = self.gradient()
            led = self.canvas.values.grad
            led.copy_(torch.where(awake.view(-1, *[1] * (own.dim() - 1)), own, led))
        return worth

    def gradient(self) -> tuple[Tensor, Tensor]:
        """What each picture is worth, and whether a gradient of that comes through the network."""
        self.optimizer.zero_grad()
        picture = self.canvas()
        awake = torch.ones_like(self.moved)
        seen = {PICTURE: picture}
        if self.taps is not None:
            moved, where = self.robust.followed(picture, self.chance)
            x = _sized(self.shown(moved), self.side).contiguous(memory_format=torch.channels_last)
            x.retain_grad()
            for layer, given in self.taps(x).items():
                seen[layer] = _led_back(given, self.taps.shapes[layer], where) if self.objective.placed else given
        worth = self.objective.value(seen)
        if not worth.requires_grad:
            raise ConvatlasError(f"no gradient of {self.objective.title} arrives: its network cuts it off")
        worth.sum().backward()
        if self.taps is not None:
            awake = awake & False if x.grad is None else x.grad.flatten(1).any(1)
        return worth.detach(), awake

    @torch.no_grad()
    def worth_at_rest(self, net: nn.Module) -> tuple[float, ...]:
        """What the pictures are worth to the network as it is."""
        picture = self.canvas()
        seen = {PICTURE: picture}
        if self.taps is not None:
            x = _sized(self.shown(picture), self.side)
            seen |= Taps(net, self.objective.layers, x)(x)
        return tuple(self.objective.value(seen).tolist())


class NotFinite(ConvatlasError):
    """A value is NaN or infinite.  good: what there was before."""

    def __init__(self, message: str, good: Visualization):
        super().__init__(message)
        self.good = good


def _led_back(maps: Tensor, shape: Sequence[int], where: Tensor) -> Tensor:
    """Maps (N, C, H, W) of moved pictures -> of the shape at rest, each unit the nearest to where its place went.

    where: as ``Robust.followed`` has it.
    """
    if maps.dim() != 4:
        return maps
    grid = F.affine_grid(where[None, :2].to(maps), [1, 1, *shape[2:]], align_corners=False)
    return F.grid_sample(maps, grid.expand(len(maps), -1, -1, -1), mode="nearest", padding_mode="border",
                         align_corners=False)  # fmt: skip


def _sized(x: Tensor, side: Sequence[int] | None) -> Tensor:
    """At the one size that a network reads, where there is one."""
    if side is None or tuple(x.shape[2:]) == tuple(side):
        return x
    return F.interpolate(x, tuple(side), mode="bilinear", align_corners=False)
