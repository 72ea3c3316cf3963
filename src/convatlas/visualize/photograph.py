"""A photograph as the beginning or as the aim: DeepDream and feature inversion."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from convatlas.errors import ConvatlasError
from convatlas.graph.fold import folded
from convatlas.graph.source import own_size
from convatlas.heap import kept
from convatlas.visualize import objectives
from convatlas.visualize.objectives import Objective
from convatlas.visualize.optimize import NotFinite, Visualization, Watch, visualize
from convatlas.visualize.sheets import image, tensor
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import Taps, aside, path_of
from convatlas.weights.preprocess import Preprocess

LARGEST, SMALLEST = 768, 64
"""Of a dream: longer side of the photograph at most, shorter side of the first octave at least; in pixels."""
SMOOTH = 0.05
"""How much total variation counts in an inversion."""


@dataclass(frozen=True)
class Dream:
    """picture: (C, H, W) in [0, 1].  values: of the objective in the last step of each octave."""

    picture: Tensor = field(repr=False)
    values: tuple[float, ...]
    interrupted: bool = False

    @property
    def image(self) -> Image.Image:
        return image(self.picture)


def dream(
    net: nn.Module,
    photograph: Image.Image,
    objective: Objective,
    *,
    octaves: int = 4,
    scale: float = 1.4,
    steps: int = 10,
    rate: float = 0.01,
    jitter: int = 16,
    largest: int = LARGEST,
    seed: int = 0,
    preprocess: Preprocess | None = None,
    watch: Watch | None = None,
) -> Dream:
    """DeepDream: what a layer sees in a photograph, drawn into it, from coarse to fine.

    Mordvintsev, Olah and Tyka 2015, "Inceptionism".  At each octave, ``scale`` times larger than the last, the details
    that are there so far are added to the photograph and climb ``steps`` steps of ``rate``, in units of the gradient's
    mean size, while the picture is shifted by up to ``jitter`` pixels around its edge.

    objective: ``objectives.layer("stage4")`` is DeepDream's own; any other of a layer goes too.
    largest: a larger photograph is made smaller.  watch: called after every step; at KeyboardInterrupt what there is
    then is returned.
    Raises ConvatlasError where the network does not run on pictures of such sizes, and NotFinite, with the picture so
    far, where a value is not finite.
    """
    if octaves < 1 or steps < 1 or scale <= 1 or largest < SMALLEST:
        raise ConvatlasError(f"a dream needs at least 1 octave, 1 step, {SMALLEST} pixels and a scale above 1")
    photograph = photograph.convert("L" if own_size(net)[0] == 1 else "RGB")
    photograph.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    whole = tensor(photograph, own_size(net)[0])[None]
    sizes = [[max(1, round(side / scale**n)) for side in whole.shape[2:]] for n in reversed(range(octaves))]
    sizes = [size for size in sizes if min(size) >= SMALLEST] or [list(whole.shape[2:])]
    chance, values, done = random.Random(seed), [], 0
    shown = Shown(net, preprocess)
    details = torch.zeros(1, whole.shape[1], *sizes[0])
    with aside(net, seed), kept():
        paths = [path_of(net, layer) for layer in objective.layers]
        fast = folded(net, size=(whole.shape[1], sizes[0][0], sizes[0][1]), keep=paths)
        fast.to(memory_format=torch.channels_last)
        try:
            for size in sizes:
                base, details = _resized(whole, size), _resized(details, size)
                taps = Taps(fast, objective.layers, shown(base))
                for step in range(steps):
                    climbed, value = _climbed(base, details, objective, taps, shown, rate, jitter, chance)
                    if climbed is None:
                        good = Visualization(objective.title, (base + details).clamp(0, 1), (), (False,), done)
                        raise NotFinite(f"{objective.title} is no finite number in step {step + 1} at {size[0]} x "
                                        f"{size[1]} pixels", good)  # fmt: skip
                    details = climbed
                    done += 1
                    if watch is not None:
                        watch(done, [value], (base + details).clamp(0, 1))
                values.append(value)
        except KeyboardInterrupt:
            if not done:
                raise
    return Dream((base + details)[0].clamp(0, 1), tuple(values), len(values) < len(sizes))


def _climbed(
    base: Tensor,
    details: Tensor,
    objective: Objective,
    taps: Taps,
    shown: Shown,
    rate: float,
    jitter: int,
    chance: random.Random,
) -> tuple[Tensor | None, float]:
    """The details after one step, None where a value is not finite, and the objective's value before it."""
    by = chance.randint(-jitter, jitter), chance.randint(-jitter, jitter)
    picture = (base + details).clamp(0, 1).requires_grad_()
    moved = picture.roll(by, (2, 3))
    seen = {**taps(shown(moved).contiguous(memory_format=torch.channels_last)), objectives.PICTURE: moved}
    worth = objective.value(seen).sum()
    if not worth.requires_grad:
        raise ConvatlasError(f"no gradient of {objective.title} arrives: its network cuts it off")
    (gradient,) = torch.autograd.grad(worth, picture)
    size = gradient.abs().mean()
    if not bool(torch.isfinite(worth) & torch.isfinite(size)):
        return None, worth.item()
    return (picture.detach() + rate * gradient / size.clamp(min=1e-12)).clamp(0, 1) - base, worth.item()


def _resized(picture: Tensor, size: list[int]) -> Tensor:
    if list(picture.shape[2:]) == size:
        return picture
    return F.interpolate(picture, size, mode="bicubic", antialias=True, align_corners=False)


def invert(
    net: nn.Module,
    photograph: Image.Image,
    layer: str,
    *,
    steps: int = 256,
    seed: int = 0,
    smooth: float = SMOOTH,
    preprocess: Preprocess | None = None,
    watch: Watch | None = None,
) -> Visualization:
    """A picture that gives the same activations at a layer as a photograph: what the layer still knows of it.

    Mahendran and Vedaldi 2014 (arXiv 1412.0035), with a picture made of waves.  smooth: how much total variation is
    taken away; deep layers, which fix little, need it.  The value is minus the relative squared distance, less that.
    """
    shown = Shown(net, preprocess)
    seen = shown.seen(photograph)
    with aside(net, seed), torch.no_grad():
        target = Taps(net, [layer], shown(seen))(shown(seen))[layer]
    height, width = seen.shape[2:]
    return visualize(net, objectives.inversion(layer, target) - smooth * objectives.total_variation(), steps=steps,
                     size=(height, width), seed=seed, robust="none", preprocess=preprocess, uncapped=False,
                     watch=watch)  # fmt: skip
