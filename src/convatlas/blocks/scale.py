"""Width and depth multipliers, the w and d of Tan and Le 2019, "EfficientNet" (arXiv 1905.11946), for any network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from convatlas.blocks.conv import make_divisible


def scale_width(channels: int, width: float, divisor: int = 8) -> int:
    """``channels`` times ``width``, rounded as ``make_divisible`` does; a width of 1 rounds nothing."""
    return channels if width == 1 else make_divisible(channels * width, divisor)


def scale_depth(repeat: int, depth: float) -> int:
    """``repeat`` blocks times ``depth``, rounded up as in the released code of EfficientNet: at least 1."""
    return max(1, math.ceil(round(repeat * depth, 6)))  # rounded first: 25 * 2.2 is 55 and a little more


def deepen(rows: Sequence[tuple], depth: float) -> list[tuple]:
    """The rows of one stage, a block each and its stride last, times ``depth``: fewer of them, or the last again.

    What is added keeps the map's size: its stride is 1.
    """
    repeat = scale_depth(len(rows), depth)
    *block, _ = rows[-1]
    return [*rows[:repeat], *[(*block, 1)] * (repeat - len(rows))]
