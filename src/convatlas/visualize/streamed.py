"""A pass over a data set: pictures read ahead, what was found so far, and its file."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from convatlas.data import Files, Split
from convatlas.errors import ConvatlasError
from convatlas.files import write_whole
from convatlas.weights.pictures import read_picture
from convatlas.weights.preprocess import Preprocess

VERSION = 1
"""Of what a file of a pass holds."""


@dataclass(frozen=True)
class Ends:
    """Of each channel the highest or the lowest: values, numbers of the pictures and places (row * W + column), each
    (C, most).  A picture is there once, at its own highest or lowest place; of equal ones the earlier is first."""

    values: Tensor
    pictures: Tensor
    places: Tensor


@dataclass(frozen=True, eq=False)
class Plan:
    """What a pass is to do.

    pictures, preprocess: what is shown.  path, shape: the layer, and the (C, H, W) that it gives for one picture.
    most: how many of each end.  sampled: sorted, picture * H * W + place.  bad_images: "stop" or "skip".
    """

    pictures: Split
    preprocess: Preprocess
    path: str
    shape: tuple[int, int, int]
    most: int
    sampled: tuple[int, ...]
    bad_images: str

    @property
    def area(self) -> int:
        return self.shape[1] * self.shape[2]

    def read(self, number: int) -> NDArray[np.float32] | str:
        """What the network reads, or why there is none."""
        try:
            return self.preprocess(read_picture(source(self.pictures, number)))
        except ConvatlasError as error:
            return str(error)

    def batches(self, start: int, size: int, pool: ThreadPoolExecutor) -> Iterator[tuple[range, list[Any]]]:
        """The numbers of pictures, each with what ``read`` gives; the next batch is read while one is worked on."""
        numbers = range(start, len(self.pictures))
        parts = [numbers[first : first + size] for first in range(0, len(numbers), size)]
        ahead: Any = pool.map(self.read, parts[0]) if parts else ()
        for place, part in enumerate(parts):
            found = list(ahead)
            if place + 1 < len(parts):
                ahead = pool.map(self.read, parts[place + 1])
            yield part, found

    def key(self, net: nn.Module) -> str:
        """A hash of all that decides what is found: the network and its weights, the pictures, the options."""
        digest = hashlib.blake2b(digest_size=16)
        told = [VERSION, self.preprocess, self.path, self.shape, self.most, self.sampled, self.bad_images, net]
        digest.update(repr(told).encode())
        for name, value in net.state_dict().items():
            if torch.is_tensor(value):
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        if isinstance(self.pictures, Files):
            for path in self.pictures.paths:
                stat = path.stat() if path.exists() else None
                about = f"{path} {stat and (stat.st_size, stat.st_mtime_ns)}\n"
                digest.update(about.encode("utf-8", "surrogateescape"))
        else:
            digest.update(f"{tuple(self.pictures.images.shape)}".encode())
            digest.update(self.pictures.images.contiguous().numpy().data)
        return digest.hexdigest()


def source(pictures: Split, number: int) -> Any:
    """A picture as ``read_picture`` takes it."""
    return pictures.paths[number] if isinstance(pictures, Files) else pictures.picture(number)


# ---- what there is so far ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class State:
    """What was found in the first ``done`` pictures.  Only ``sample`` is written over; twice does no harm."""

    done: int
    highest: Ends
    lowest: Ends
    sample: Tensor
    unreadable: tuple[tuple[str, str], ...] = ()

    @classmethod
    def new(cls, channels: int, sample: int) -> State:
        none = torch.zeros(channels, 0, dtype=torch.int64)
        ends = Ends(none.float(), none, none)
        return cls(0, ends, ends, torch.full((channels, sample), torch.nan))

    def save(self, file: Path) -> None:
        tensors = {f"{end}.{part}": tensor.contiguous()
                   for end in ("highest", "lowest") for part, tensor in vars(getattr(self, end)).items()}  # fmt: skip
        told = {"done": str(self.done), "unreadable": json.dumps(self.unreadable)}
        write_whole(file, lambda beside: save_file({**tensors, "sample": self.sample}, beside, told))


def resumed(file: Path) -> State | None:
    """The state in a file; None where there is none, or it is not whole."""
    try:
        with safe_open(file, "pt") as stored:
            told = stored.metadata() or {}
            highest, lowest = (
                Ends(*(stored.get_tensor(f"{end}.{part}") for part in ("values", "pictures", "places")))
                for end in ("highest", "lowest")
            )
            bad = tuple((name, reason) for name, reason in json.loads(told["unreadable"]))
            return State(int(told["done"]), highest, lowest, stored.get_tensor("sample"), bad)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def with_batch(
    state: State, plan: Plan, numbers: range, read: list[Any], look: Callable[[NDArray[np.float32]], Tensor]
) -> State:
    """The state after a batch of what ``plan.read`` gave; look: from (N, C, H, W) to the layer's (N, C, …)."""
    name = plan.pictures.names
    bad = [(name(number), one) for number, one in zip(numbers, read) if isinstance(one, str)]
    if bad and plan.bad_images == "stop":
        raise ConvatlasError(bad[0][1])
    good = [number for number, one in zip(numbers, read) if not isinstance(one, str)]
    state = replace(state, done=numbers.stop, unreadable=(*state.unreadable, *bad))
    if not good:
        return state
    maps = look(np.stack([one for one in read if not isinstance(one, str)])).float()
    maps = maps.reshape(len(good), -1, plan.area)
    (high, top), (low, bottom) = maps.max(2), maps.min(2)
    finite = (high.isfinite() & low.isfinite()).all(1)
    if not finite.all():
        raise ConvatlasError(f"the activations are not finite on {name(good[int(finite.int().argmin())])}")
    rows = {number: row for row, number in enumerate(good)}
    first, last = (bisect_left(plan.sampled, number * plan.area) for number in (numbers.start, numbers.stop))
    for which in range(first, last):
        number, place = divmod(plan.sampled[which], plan.area)
        if number in rows:
            state.sample[:, which] = maps[rows[number], :, place].cpu()
    pictures = torch.tensor(good)
    return replace(state, highest=_merged(state.highest, high, top, pictures, plan.most, highest=True),
                   lowest=_merged(state.lowest, low, bottom, pictures, plan.most, highest=False))  # fmt: skip


def _merged(ends: Ends, values: Tensor, places: Tensor, pictures: Tensor, most: int, highest: bool) -> Ends:
    """With a batch's (N, C), which comes after what there is: of equal ones the earlier stays first."""
    every = torch.cat([ends.values, values.T.cpu()], 1)
    order = every.argsort(dim=1, descending=highest, stable=True)[:, :most]
    return Ends(
        every.gather(1, order),
        torch.cat([ends.pictures, pictures.expand(values.shape[1], -1)], 1).gather(1, order),
        torch.cat([ends.places, places.T.cpu()], 1).gather(1, order),
    )
