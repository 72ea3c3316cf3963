"""The coefficients of compound scaling.  Tan and Le 2019, "EfficientNet" (arXiv 1905.11946), section 3.3.

    depth d = alpha ** phi, width w = beta ** phi, resolution r = gamma ** phi,
    alpha * beta ** 2 * gamma ** 2 = budget, each at least 1

A network's multiply-adds grow with d, w ** 2 and r ** 2, so that they grow about budget ** phi times.  About: channels
are rounded to multiples of 8 and repeats rounded up, and what a network truly costs says the cost pass.  No torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convatlas.errors import ConvatlasError

BUDGET, STEP, TOLERANCE = 2.0, 0.05, 0.1
"""The paper's: twice the compute; and the grid on which its alpha, beta and gamma lie."""
FINEST, LARGEST = 0.005, 64.0
DIGITS, EXACT = 10, 1e-9
"""Decimals that a step's multiples are rounded to: 1 + 4 * 0.05 is 1.2."""


@dataclass(frozen=True)
class Factors:
    """How many times as deep, as wide, and as large a picture."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    @property
    def product(self) -> float:
        """By what the formula says that multiply-adds grow."""
        return self.depth * self.width**2 * self.resolution**2


@dataclass(frozen=True)
class Coefficients:
    """alpha: of depth, beta: of width, gamma: of resolution.

    Raises ConvatlasError for one below 1: scaling up makes nothing smaller.
    """

    alpha: float
    beta: float
    gamma: float

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            value = getattr(self, name)
            if not 1 <= value < math.inf:
                raise ConvatlasError(f"{name} is at least 1, not {value:g}")

    @property
    def product(self) -> float:
        """alpha * beta ** 2 * gamma ** 2, the budget."""
        return self.alpha * self.beta**2 * self.gamma**2

    def at(self, phi: float) -> Factors:
        """Raises ConvatlasError for a phi below 0."""
        if not 0 <= phi < math.inf:
            raise ConvatlasError(f"phi is at least 0, not {phi:g}")
        return Factors(self.alpha**phi, self.beta**phi, self.gamma**phi)

    def __str__(self) -> str:
        return f"({self.alpha:g}, {self.beta:g}, {self.gamma:g})"


PAPER = Coefficients(1.2, 1.1, 1.15)
"""What the paper's grid search found for EfficientNet-B0."""


def grid(budget: float = BUDGET, step: float = STEP, tolerance: float = TOLERANCE) -> list[Coefficients]:
    """Every alpha, beta, gamma of at least 1, at multiples of ``step``, with a product that is near the budget.

    Near: within ``tolerance``.  In the order of alpha, beta, gamma.

    Raises ConvatlasError for a budget below 1, and where nothing on the grid meets the constraint: it names what comes
    nearest.
    """
    _check(budget, step, tolerance)
    found = [one for one in _near(budget + tolerance, step) if abs(one.product - budget) <= tolerance + EXACT]
    if not found:
        best = nearest(budget, step)
        raise ConvatlasError(f"nothing on a grid of {step:g} is within {tolerance:g} of {budget:g}; the nearest is "
                             f"alpha, beta, gamma = {best}, with {best.product:.4g}: a tolerance of "
                             f"{_up(abs(best.product - budget)):g}, or a finer step")  # fmt: skip
    return found


def below(most: float, step: float = STEP) -> list[Coefficients]:
    """Every alpha, beta, gamma of the grid with a product of at most so much.  Raises ConvatlasError as ``grid``."""
    _check(most, step, 0)
    return list(_near(most, step))


def nearest(budget: float, step: float = STEP) -> Coefficients:
    """What comes nearest to the budget on the grid."""
    under = max(_near(budget, step), key=lambda one: one.product)
    # What is just above lies one step from something that is below, or at it.
    above = [
        Coefficients(*(round(value + step * (place == i), DIGITS) for i, value in enumerate(_values(one))))
        for one in _near(budget, step)
        for place in range(3)
    ]
    over = min((one for one in above if one.product > budget), key=lambda one: one.product)
    return min((under, over), key=lambda one: abs(one.product - budget))


def thinned(found: list[Any], most: int) -> list[Any]:
    """At most so many of them, evenly from the first to the last.  Raises ConvatlasError for less than one."""
    if most < 1:
        raise ConvatlasError(f"at least 1 candidate is kept, not {most}")
    if len(found) <= most:
        return found
    if most == 1:
        return [found[len(found) // 2]]
    return [found[round(i * (len(found) - 1) / (most - 1))] for i in range(most)]


def _check(budget: float, step: float, tolerance: float) -> None:
    if not 1 <= budget <= LARGEST:
        raise ConvatlasError(f"a budget is between 1 and {LARGEST:g} times the compute, not {budget:g}")
    if not FINEST <= step <= 1:
        raise ConvatlasError(f"a step is between {FINEST:g} and 1, not {step:g}")
    if not 0 <= tolerance < math.inf:
        raise ConvatlasError(f"a tolerance is at least 0, not {tolerance:g}")


def _near(most: float, step: float) -> Iterator[Coefficients]:
    """All with a product of at most so much."""
    for alpha in _multiples(most, step):
        for beta in _multiples(math.sqrt(most / alpha), step):
            for gamma in _multiples(math.sqrt(most / alpha) / beta, step):
                yield Coefficients(alpha, beta, gamma)


def _multiples(most: float, step: float) -> Iterator[float]:
    """1, 1 + step … up to ``most``."""
    for i in range(math.floor((most - 1) / step + 1e-9) + 1):
        yield round(1 + i * step, DIGITS)


def _values(one: Coefficients) -> tuple[float, float, float]:
    return one.alpha, one.beta, one.gamma


def _up(value: float) -> float:
    """Two digits, rounded up."""
    scale = 10 ** (1 - math.floor(math.log10(value)))
    return math.ceil(round(value * scale, 6)) / scale
