"""Field: what the units of a map see; what becomes of it under even windows, uneven ones and where branches meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from convatlas.graph.ops import TRANSPOSED, Attrs, Shape

Reads = list[range]
"""Along one axis, for each unit of an output the units of the input that it reads, not clipped to those there are."""


class Field(NamedTuple):
    """What the units of one node see, by axis of the picture (H, W), in pixels.

    size, jump, offset: the unit i sees offset + i * jump ... offset + i * jump + size - 1, unclipped.  Whole numbers,
    except behind upsampling, and pools to a size that does not divide the map's.
    whole:  the whole picture reaches every unit, beside the local path or (jump 0) without one.
    status: "exact", or "bound" where size is an upper bound.
    """

    size: tuple[float, ...]
    jump: tuple[float, ...]
    offset: tuple[float, ...]
    whole: bool = False
    status: str = "exact"

    @property
    def moves(self) -> bool:
        """Whether units at different places see different windows; if not, there is no local path."""
        return any(self.jump)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers: {"size", "jump", "offset", "global"}."""
        return {"size": list(self.size), "jump": list(self.jump), "offset": list(self.offset), "global": self.whole}


# ---- even windows ---------------------------------------------------------------------------------------------


def windowed(
    field: Field, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Field:
    """What the units of a convolution or a pool see."""
    size, jump, offset = [], [], []
    for s, j, o, k, step, p, d in zip(field.size, field.jump, field.offset, kernel, stride, padding, dilation):
        size.append(s + d * (k - 1) * j)
        jump.append(j * step)
        offset.append(o - p * j)
    return Field(tuple(size), tuple(jump), tuple(offset), field.whole, field.status)


def cut(field: Field, starts: Iterable[int], steps: Iterable[int] | None = None) -> Field:
    """The map from its unit ``start`` on (below 0: padded), every ``step``-th."""
    offset = tuple([o + a * j for o, a, j in zip(field.offset, starts, field.jump)])
    jump = tuple([j * s for j, s in zip(field.jump, steps)]) if steps else field.jump
    return Field(field.size, jump, offset, field.whole, field.status)


def everything(field: Field, spatial: Sequence[int]) -> Field:
    """One window: the hull over all units of a map that measures ``spatial``."""
    size = tuple([s + (n - 1) * j for s, n, j in zip(field.size, spatial, field.jump)])
    return Field(size, (0,) * len(size), field.offset, True, field.status)


# ---- uneven ones ----------------------------------------------------------------------------------------------


def spread(field: Field, windows: Iterable[Reads], ratios: Iterable[float]) -> Field:
    """By axis the narrowest even windows, ``ratio`` units of the old map apart, that hold what is read."""
    size, jump, offset, exact = zip(*map(_even, field.size, field.jump, field.offset, windows, ratios))
    return Field(size, jump, offset, field.whole, field.status if all(exact) else "bound")


def _even(size: float, old: float, offset: float, windows: Reads, ratio: float) -> tuple[float, float, float, bool]:
    jump = _number(old * ratio)
    starts = [offset + r[0] * old - i * jump for i, r in enumerate(windows) if r]
    ends = [offset + r[-1] * old + size - i * jump for i, r in enumerate(windows) if r]
    if not starts:
        return 0, jump, offset, True
    exact = len(starts) == len(windows) and len({*starts}) == len({*ends}) == 1
    return _number(max(ends) - min(starts)), jump, _number(min(starts)), exact


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def adaptive_reads(n: int, m: int) -> Reads:
    """A pool of n units to m."""
    return [range(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def nearest_reads(n: int, m: int, scale: float | None) -> Reads:
    """Nearest-neighbour upsampling of n units to m, by a scale or to a size."""
    places = [i * n // m if scale is None or m == n * scale else int(i / scale) for i in range(m)]
    return [range(min(a, n - 1), min(a, n - 1) + 1) for a in places]


def transposed_reads(m: int, kernel: int, stride: int, padding: int, dilation: int) -> Reads:
    """A transposed convolution to m units: the input's unit a is spread over a * stride - padding + tap * dilation.

    Between the units that a window reads there may be holes, always alike; it may also read none.
    """
    found = []
    for place in range(padding, padding + m):
        read = [(place - tap) // stride for tap in range(0, kernel * dilation, dilation) if (place - tap) % stride == 0]
        step = read[0] - read[1] if len(read) > 1 else 1
        found.append(range(read[-1], read[0] + 1, step) if read else range(0))
    return found


def uneven_reads(op: str, attrs: Attrs, x: Shape, shape: Shape) -> list[Reads] | None:
    """By axis, for a map ``x``: a pool to a given size, a transposed convolution, upsampling.  None: not known."""
    if op in TRANSPOSED:
        each = zip(shape[2:], attrs["kernel"], attrs["stride"], attrs["padding"], attrs["dilation"])
        return [transposed_reads(*axis) for axis in each]
    if op == "upsample":
        if attrs["mode"] != "nearest":
            return None
        scales = (attrs.get("scale") if attrs.get("size") is None else None) or [None] * len(x[2:])
        return [nearest_reads(*axis) for axis in zip(x[2:], shape[2:], scales)]
    return [adaptive_reads(n, m) for n, m in zip(x[2:], shape[2:])]


# ---- where branches meet --------------------------------------------------------------------------------------


def hull(fields: Sequence[Field], spatial: Sequence[int], whole: bool) -> Field:
    """What the units of several maps that measure ``spatial`` see together; ``whole``: some field is whole."""
    size, jump, offset = [], [], []
    exact = True
    jumps = fields[0].jump
    if [f.jump for f in fields].count(jumps) == len(fields):  # the usual case
        for axis in range(len(jumps)):
            first = min([f.offset[axis] for f in fields])
            size.append(max([f.offset[axis] + f.size[axis] for f in fields]) - first)
            offset.append(first)
        exact = [f.status for f in fields].count("exact") == len(fields)
        return Field(tuple(size), jumps, tuple(offset), whole, "exact" if exact else "bound")
    for axis in range(len(fields[0].size)):
        j = max([f.jump[axis] for f in fields])
        starts, ends = [], []
        for f in fields:
            start = f.offset[axis]
            end = start + f.size[axis]
            if f.jump[axis] != j and axis < len(spatial) and spatial[axis] > 1:
                exact = False
                lag = (spatial[axis] - 1) * (j - f.jump[axis])  # of the last unit's window behind where it should be
                start -= lag
            starts.append(start)
            ends.append(end)
        size.append(max(ends) - min(starts))
        jump.append(j)
        offset.append(min(starts))
    exact = exact and all(f.status == "exact" for f in fields)
    return Field(tuple(size), tuple(jump), tuple(offset), whole, "exact" if exact else "bound")
