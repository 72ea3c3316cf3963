"""Which pictures of a data set make the channels of a layer large, small and middling: one pass for all channels."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from convatlas.data import Arrays, Files, Split
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.fold import folded
from convatlas.heap import kept
from convatlas.visualize.shown import Shown
from convatlas.visualize.streamed import Ends, Plan, State, resumed, source, with_batch
from convatlas.visualize.taps import Taps, aside, path_of
from convatlas.weights.pictures import in_folder, read_picture
from convatlas.weights.preprocess import Preprocess

MOST, SAMPLE = 9, 2048
EVERY = 1024
"""Pictures between two savings."""

Pictures = Split | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Watch = Callable[[int, int], None]
"""Called with how many pictures of how many are done."""


@dataclass(frozen=True)
class Example:
    """One activation: its value, the picture's number in the data set, and the place on the map."""

    value: float
    picture: int
    row: int
    column: int


@dataclass(frozen=True, eq=False)
class Examples:
    """What was found.

    layer: the module's path.  shape: (C, H, W) of its map; of a layer without one, (C, 1, 1).
    pictures: the data set.  preprocess: how the network wants them.
    highest, lowest: of every channel.  sample: (C, S), the channels at S random places of all pictures, the same for
    every channel: sampled says which, as picture * H * W + place.  NaN where the picture cannot be read.
    unreadable: (name, reason) of the pictures that were left out.
    """

    layer: str
    shape: tuple[int, int, int]
    pictures: Split = field(repr=False)
    preprocess: Preprocess = field(repr=False)
    highest: Ends = field(repr=False)
    lowest: Ends = field(repr=False)
    sample: Tensor = field(repr=False)
    sampled: tuple[int, ...] = field(repr=False)
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def count(self) -> int:
        """Pictures that were read."""
        return len(self.pictures) - len(self.unreadable)

    def top(self, channel: int) -> list[Example]:
        """The highest of a channel, the highest first."""
        return self._listed(self.highest, channel)

    def bottom(self, channel: int) -> list[Example]:
        """The lowest of a channel, the lowest first."""
        return self._listed(self.lowest, channel)

    def middle(self, channel: int, count: int = 3) -> list[Example]:
        """Some of the sample, at evenly spread quantiles, the lowest first; from different pictures as far as it goes.

        Where more than half are the lowest value, as of a rectifier, the quantiles are of the others.
        """
        values, where = self._sample(channel)
        if len(values) and float((values == values[0]).mean()) > 0.5:
            where, values = where[values > values[0]], values[values > values[0]]
        height, width = self.shape[1:]
        found: list[Example] = []
        for number in range(min(count, len(values))):
            middle = (2 * number + 1) * len(values) // (2 * min(count, len(values)))
            near = sorted(range(len(values)), key=lambda i: abs(i - middle))
            used = {one.picture for one in found}
            chosen = next((i for i in near if self.sampled[where[i]] // (height * width) not in used), middle)
            picture, place = divmod(self.sampled[where[chosen]], height * width)
            found.append(Example(float(values[chosen]), picture, *divmod(place, width)))
        return sorted(found, key=lambda one: one.value)

    def values(self, channel: int) -> NDArray[np.float32]:
        """A channel's sample, sorted."""
        return self._sample(channel)[0]

    def constant(self, channel: int) -> bool:
        """Whether a channel has one value on everything it was shown: a dead unit."""
        return bool(self.highest.values[channel, 0] == self.lowest.values[channel, 0])

    def name(self, picture: int) -> str:
        """What a picture is called: its file's name, or its number in its set."""
        name = self.pictures.names(picture)
        return Path(name).name if isinstance(self.pictures, Files) else name

    def picture(self, number: int) -> Image.Image:
        """A picture in RGB or grey, cut as the network sees it."""
        found = read_picture(source(self.pictures, number))
        return self.preprocess.picture(found.convert("L") if self.preprocess.order == "L" else found)

    def check(self, channel: int) -> None:
        """Raise ConvatlasError where there is no such channel."""
        if not 0 <= channel < self.shape[0]:
            raise ConvatlasError(f"{self.layer} has channels 0 to {self.shape[0] - 1}, no {channel}")

    def _listed(self, ends: Ends, channel: int) -> list[Example]:
        self.check(channel)
        rows = zip(*(part[channel].tolist() for part in (ends.values, ends.pictures, ends.places)))
        return [Example(value, picture, *divmod(place, self.shape[2])) for value, picture, place in rows]

    def _sample(self, channel: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The values, sorted, and which of the sample they are."""
        self.check(channel)
        values = self.sample[channel].numpy()
        order = np.argsort(values, kind="stable")[: int(np.isfinite(values).sum())]
        return values[order], order


def examples(
    net: nn.Module,
    layer: str,
    pictures: Pictures,
    *,
    most: int = MOST,
    sample: int = SAMPLE,
    batch: int = 32,
    preprocess: Preprocess | None = None,
    bad_images: Literal["stop", "skip"] | str = "skip",
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    every: int = EVERY,
    watch: Watch | None = None,
) -> Examples:
    """Find every channel's highest and lowest activations over a data set, and a sample of all of them.

    net: any module that takes (N, C, H, W); it stays as it is.  layer: one that gives a map or a vector.
    pictures: a split of ``convatlas.data``, or a folder (all pictures in it and below), or files.
    most: of each end, for each channel.  sample: places, drawn by the seed.  batch: pictures at once; it decides
    nothing but the speed, and the last bits of the values.  preprocess: by default what came with the weights.
    bad_images: "skip" leaves pictures out that cannot be read, and names them; "stop" raises.
    folder: where the state is saved after every ``every`` pictures and whenever the pass stops; the same call goes on
    from there.  Other weights, pictures or options begin anew.

    Raises UnknownName for a layer that does not exist, and ConvatlasError where it gives neither map nor vector, where
    no picture can be read, and where an activation is not finite.
    """
    if bad_images not in ("stop", "skip"):
        raise UnknownName("treatment of bad images", bad_images, ["stop", "skip"])
    for option, least, value in (("most", 1, most), ("sample", 1, sample), ("batch", 1, batch), ("every", 1, every)):
        if value < least:
            raise ConvatlasError(f"{option} is at least {least}, not {value}")
    split, shown, path = listed(pictures), Shown(net, preprocess), path_of(net, layer)
    with aside(net, seed), kept(), torch.no_grad(), warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # PIL's; threads cannot each set the filters aside
        shape = shape_at(net, layer, shown)
        places = len(split) * shape[1] * shape[2]
        sampled = tuple(sorted(random.Random(seed).sample(range(places), min(sample, places))))
        plan = Plan(split, shown.preprocess, path, shape, most, sampled, bad_images)
        state, file = State.new(shape[0], len(sampled)), None
        if folder is not None:
            file = Path(folder) / f"{path.removeprefix('trunk.') or 'output'}-{plan.key(net)[:16]}.safetensors"
            state = resumed(file) or state
        grey = _grey(shown)
        fast = folded(net, size=(grey.shape[1], grey.shape[2], grey.shape[3]), keep=[path])
        fast.to(memory_format=torch.channels_last)
        taps, saved = Taps(fast, [path], shown(grey)), state.done

        def look(x: NDArray[np.float32]) -> Tensor:
            return taps(torch.from_numpy(x).to(shown.like).contiguous(memory_format=torch.channels_last))[path]

        try:
            for numbers, read in plan.batches(state.done, batch, pool):
                state = with_batch(state, plan, numbers, read, look)
                if file and state.done - saved >= every:
                    state.save(file)
                    saved = state.done
                if watch is not None:
                    watch(state.done, len(split))
        finally:
            if file and state.done > saved:
                state.save(file)
    if len(state.unreadable) == len(split):
        raise ConvatlasError(f"none of the {len(split)} pictures can be read: {state.unreadable[0][1]}")
    return Examples(path, shape, split, shown.preprocess, state.highest, state.lowest, state.sample, sampled,
                    state.unreadable)  # fmt: skip


def listed(pictures: Pictures) -> Split:
    """A split of a data set as it is; a folder's pictures, or files, as one without classes.

    Raises ConvatlasError where there are no pictures.
    """
    if isinstance(pictures, Arrays | Files):
        found: Split = pictures
    else:
        one = isinstance(pictures, str | os.PathLike)
        given = [str(pictures).removeprefix("folder:")] if one else list(pictures)  # type: ignore[arg-type]
        paths = [Path(path).expanduser() for path in given]
        if one and paths[0].is_dir():
            paths = in_folder(paths[0])
        found = Files(paths, torch.zeros(len(paths), dtype=torch.int64))
    if not len(found):
        where = pictures if isinstance(pictures, str | os.PathLike) else "the data set"
        raise ConvatlasError(f"no pictures in {where}")
    return found


def shape_at(net: nn.Module, layer: str, shown: Shown | None = None) -> tuple[int, int, int]:
    """(C, H, W) that a layer gives for a picture; (C, 1, 1) where it gives a vector.

    shown: by default with the preprocessing that came with the weights.
    Raises ConvatlasError for anything else, and for a layer that does not run.
    """
    shown = shown or Shown(net)
    with aside(net):
        shape = Taps(net, [layer], shown(_grey(shown))).shapes[layer][1:]  # of a scalar too: ()
    if len(shape) not in (1, 3):
        raise ConvatlasError(f"{layer or 'the output'} gives {tuple(shape)}: neither a map (C, H, W) nor a vector (C,)")
    channels, height, width = shape if len(shape) == 3 else (*shape, 1, 1)
    return channels, height, width


def _grey(shown: Shown) -> Tensor:
    preprocess = shown.preprocess
    return torch.full((1, preprocess.channels, preprocess.crop, preprocess.crop), 0.5)
