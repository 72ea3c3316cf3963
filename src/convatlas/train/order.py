"""Which pictures each process takes at each step, and chance by the picture: pure functions of the seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from convatlas.errors import ConvatlasError

GOLDEN = -7046029254386353131  # 2^64 / golden ratio, as a signed number
SPREAD = 2654435761  # 2^32 / golden ratio
MIXES = ((30, -4658895280553007687), (27, -7723592293110705685), (31, 1))


@dataclass(frozen=True)
class Order:
    """Order of ``samples`` pictures in steps of ``batch``, over all ``world`` processes, of which this is ``rank``.

    An epoch's order follows from (seed, epoch) alone; each step's pictures are the same however many processes share
    them, and each process takes a run of them.  What does not fill a step is left out, other pictures each epoch.
    Raises ConvatlasError where a step is not to be shared out evenly, or there are fewer pictures than it takes.
    """

    samples: int
    batch: int
    seed: int = 0
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch > self.samples:
            raise ConvatlasError(
                f"{self.samples} training pictures do not fill one batch of {self.batch}; a smaller --batch may do"
            )
        if self.batch % self.world:
            raise ConvatlasError(f"a batch of {self.batch} cannot be shared evenly by {self.world} processes")

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return self.samples // self.batch

    def take(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """The pictures of this process at one step of an epoch, and a seed for each: two (N,) int64 tensors."""
        share = self.batch // self.world
        start = step * self.batch + self.rank * share
        indices = _permutation(self.samples, self.seed, epoch)[start : start + share]
        return indices, mixed(indices + _whole(self.seed, epoch))


@lru_cache(maxsize=2)
def _permutation(samples: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(samples, generator=torch.Generator().manual_seed(_whole(seed, epoch)))


@lru_cache
def _whole(seed: int, epoch: int) -> int:
    """One positive number from two."""
    value = int(mixed(mixed(torch.tensor([seed])) + epoch)[0])
    return value & 0x7FFF_FFFF_FFFF


def mixed(values: Tensor) -> Tensor:
    """Whole numbers -> whole numbers that look random: splitmix64.  Steele, Lea and Flood 2014."""
    values = values + GOLDEN
    for shift, factor in MIXES:
        values = (values ^ ((values >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return values


def uniform(seeds: Tensor, draw: int, count: int = 0) -> Tensor:
    """(N,) seeds -> (N,) float32 in [0, 1): each picture's ``draw``-th random number.

    count: so many from the ``draw``-th on, (count, N).
    """
    if count:
        seeds = seeds ^ torch.arange(draw, draw + count, device=seeds.device)[:, None] * SPREAD
    else:
        seeds = seeds ^ (draw * SPREAD)
    return ((mixed(seeds) >> 24) & 0xFF_FFFF).to(torch.float32) / 0x100_0000
