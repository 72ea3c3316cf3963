"""The Pareto front: what nothing else beats."""

from __future__ import annotations

from collections.abc import Sequence

from convatlas.compare.axes import HIGHER, LOWER
from convatlas.errors import ConvatlasError


def front(points: Sequence[Sequence[float]], better: Sequence[str]) -> list[bool]:
    """For each point whether it is on the front: no other is as good on every axis and better on one.

    better: for each axis LOWER or HIGHER.  Points that are equal on all axes are on it together, or not at all.

    Raises ConvatlasError where a point has another number of values, or an axis has no better end.
    """
    if strange := set(better) - {LOWER, HIGHER}:
        raise ConvatlasError(f"an axis is better {LOWER} or {HIGHER}, not {min(map(str, strange))}")
    if any(len(point) != len(better) for point in points):
        raise ConvatlasError(f"each point has {len(better)} values, one an axis")
    costs = [tuple(value if way == LOWER else -value for value, way in zip(point, better)) for point in points]
    # In this order whatever dominates a point stands before it, and only the front so far can be what does.
    found: list[tuple[float, ...]] = []
    for cost in sorted(set(costs)):
        if not any(all(a <= b for a, b in zip(other, cost)) for other in found):
            found.append(cost)
    on = set(found)
    return [cost in on for cost in costs]
