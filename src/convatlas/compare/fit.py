"""A power law through points, and how far from it each kind of them lies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """y = factor * x ** exponent, fitted to the logarithms.

    correlation: of the logarithms, over the points fitted.  spread: the factor within which two thirds of them lie.
    """

    exponent: float
    factor: float
    correlation: float
    spread: float

    def at(self, x: float) -> float:
        return self.factor * float(x**self.exponent)


def power_law(points: Sequence[tuple[float, float]]) -> PowerLaw | None:
    """The least squares of the logarithms; None for fewer than three points, or for points of one x."""
    if len(points) < 3 or len({x for x, _ in points}) < 2 or len({y for _, y in points}) < 2:
        return None
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    line = statistics.linear_regression(xs, ys)
    rest = [y - line.slope * x - line.intercept for x, y in zip(xs, ys)]
    spread = math.exp(math.sqrt(sum(r * r for r in rest) / len(rest)))
    return PowerLaw(line.slope, math.exp(line.intercept), statistics.correlation(xs, ys), spread)


def offsets(law: PowerLaw, points: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, float]:
    """For each kind of points how many times the law's y they have, in the geometric mean."""
    return {
        kind: math.exp(statistics.fmean(math.log(y / law.at(x)) for x, y in own))
        for kind, own in points.items() if own
    }  # fmt: skip
