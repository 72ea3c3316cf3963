"""Timing that one can trust: by turns, so that what disturbs the machine disturbs all that is compared.  No torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from convatlas.errors import ConvatlasError

ROUNDS = 15
LEAST = 0.005
"""Seconds of one measurement at least: the clock and the interpreter are nothing beside it."""
SETTLE = 0.06
"""Seconds in which a thread pool comes to rest: ONNX Runtime's threads spin for 40 ms (measured), OpenMP's for 10."""
WARM, ENOUGH = 4, 0.5
"""Calls of each before the first round, two at least and no more than take so many seconds; the fastest says how many
calls make a measurement."""
UNSTEADY = 0.15
"""Quartiles that are farther apart than this part of the median: something else went on."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, over all rounds.

    median; low and high: the quartiles; least; rounds: measurements, each the mean of so many calls; series: each
    round's, in order.
    """

    median: float
    low: float
    high: float
    least: float
    rounds: int
    calls: int
    series: tuple[float, ...]

    @classmethod
    def of(cls, series: Sequence[float], calls: int = 1) -> Timing:
        """Of seconds a call, one for each round."""
        low, high = quartiles(series)
        return cls(median(series), low, high, min(series), len(series), calls, tuple(series))

    @property
    def spread(self) -> float:
        """How far the quartiles are apart, in parts of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0

    @property
    def unsteady(self) -> bool:
        return self.spread > UNSTEADY

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "series": list(self.series)}


@dataclass(frozen=True)
class Ratio:
    """median, and low and high, the quartiles, of the rounds' ratios."""

    median: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def ratio(a: Timing, b: Timing) -> Ratio:
    """How many times as long a takes as b, of two that were timed by turns: the rounds' own ratios.

    Raises ConvatlasError for timings that are not of the same rounds.
    """
    if a.rounds != b.rounds:
        raise ConvatlasError(f"a ratio is of two timed by turns, not of {a.rounds} and {b.rounds} rounds")
    each = [mine / other for mine, other in zip(a.series, b.series)]
    return Ratio(median(each), *quartiles(each))


def quartiles(series: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper one, between the neighbours where none of the series is it."""
    ordered = sorted(series)

    def at(part: float) -> float:
        place = part * (len(ordered) - 1)
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        return low + (high - low) * (place % 1)

    return at(0.25), at(0.75)


def interleaved(
    subjects: Mapping[str, Callable[[], object]],
    *,
    rounds: int = ROUNDS,
    seconds: float = LEAST,
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Time several calls by turns.

    Each is warmed up.  Then in every round each in turn has a pause, in which the threads of the one before come to
    rest; a call that wakes its own; and so many timed calls that they take ``seconds`` at least.
    clock: of what runs in this thread alone, ``time.thread_time`` counts the time that others take for nothing.

    Raises ConvatlasError without subjects, for less than one round, and for a measurement of no length.
    """
    if not subjects:
        raise ConvatlasError("nothing to time")
    checked_rounds(rounds)
    clock = clock or time.perf_counter
    if not 0 < seconds < math.inf:
        raise ConvatlasError(f"a measurement takes some seconds, not {seconds}")
    calls = {name: max(1, math.ceil(seconds / max(_warmed(call), 1e-7))) for name, call in subjects.items()}
    series: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, call in subjects.items():
            time.sleep(SETTLE)
            call()
            start = clock()
            for _ in range(calls[name]):
                call()
            series[name].append((clock() - start) / calls[name])
    return {name: Timing.of(each, calls[name]) for name, each in series.items()}


def checked_rounds(rounds: int) -> int:
    """Raises ConvatlasError for less than one."""
    if rounds < 1:
        raise ConvatlasError(f"rounds is at least 1, not {rounds}")
    return rounds


def _warmed(call: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls."""
    took: list[float] = []
    while len(took) < 2 or (len(took) < WARM and sum(took) < ENOUGH):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return min(took)
