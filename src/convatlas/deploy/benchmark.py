"""benchmark: how long networks take for a picture, by any engine, all by turns in one run."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convatlas import registry
from convatlas.deploy.engine import KINDS, Engine, engine
from convatlas.deploy.load import Load, between, checked_load, counters, machine
from convatlas.deploy.sessions import checked_threads
from convatlas.deploy.timing import ROUNDS, Ratio, Timing, checked_rounds, interleaved, ratio
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.source import InputSize
from convatlas.numbers import counted

if TYPE_CHECKING:
    from torch import nn

MOST = 64
"""So many are timed in one run at most: all are in memory at once."""


@dataclass(frozen=True)
class Row:
    """One network by one engine.  batch: pictures of a call; input_size: (C, H, W); timing: seconds of a call;
    ratio: how many times as long as the first row it takes."""

    network: str
    engine: str
    batch: int
    threads: int
    input_size: tuple[int, int, int]
    timing: Timing
    ratio: Ratio

    @property
    def pictures_per_second(self) -> float:
        return self.batch / self.timing.median

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "input_size": list(self.input_size),
            "timing": self.timing.to_json(),
            "pictures_per_second": self.pictures_per_second,
        }


@dataclass(frozen=True)
class Benchmark:
    """rows: in the order asked.  machine: its processor, cores and versions.  before, during: what other processes
    took.  notes: what a reader of the times has to know."""

    rows: tuple[Row, ...]
    machine: dict[str, Any]
    before: Load
    during: Load
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; times in seconds."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "machine": self.machine,
            "load": {"before": self.before.to_json(), "during": self.during.to_json()},
            "notes": list(self.notes),
        }

    def to_csv(self) -> str:
        """A line for each row, with a header; times in seconds."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["network", "engine", "batch", "threads", "input_size", "median", "low", "high", "least",
                         "rounds", "calls", "pictures_per_second", "ratio", "ratio_low", "ratio_high"])  # fmt: skip
        for row in self.rows:
            t, r = row.timing, row.ratio
            writer.writerow([row.network, row.engine, row.batch, row.threads, "x".join(map(str, row.input_size)),
                             t.median, t.low, t.high, t.least, t.rounds, t.calls, row.pictures_per_second, r.median,
                             r.low, r.high])  # fmt: skip
        return text.getvalue()


def benchmark(
    models: str | os.PathLike[str] | nn.Module | Sequence[str | os.PathLike[str] | nn.Module],
    *,
    batch: int = 1,
    engines: Sequence[str] = ("auto",),
    threads: int | None = None,
    weights: str = "none",
    input_size: InputSize = None,
    rounds: int = ROUNDS,
    allow_busy: bool = False,
    watch: Callable[[str], object] = lambda doing: None,
) -> Benchmark:
    """Time every model by every engine, all by turns.

    models: what ``engine`` takes; a name may be a pattern ("resnet*").  batch: pictures of a call.
    weights: of plain names; times do not depend on them.  A run's folder and an exported file have their own.
    input_size: a side in pixels, (H, W) or (C, H, W); by default each network's own.  Pictures are noise.
    threads: of one operation on the CPU; by default the cores that this process may use.
    allow_busy: measure beside other processes too, and note it.  watch: is told what is being done.

    Raises UnknownName for an engine or a network; ConvatlasError for what cannot be timed, and on a busy machine.
    """
    listed, number = expanded(models), checked_threads(threads)
    kinds = [engines] if isinstance(engines, str) else list(engines)
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownName("engine", kind, KINDS)
    if batch < 1:
        raise ConvatlasError(f"a batch has at least 1 picture, not {batch}")
    if not kinds or len(listed) * len(kinds) > MOST:
        raise ConvatlasError(f"{len(listed) * len(kinds)} to time; between 1 and {MOST} are timed by turns")
    checked_rounds(rounds)
    checked_load(number, allow_busy)  # before the minutes that making engines may take
    made: list[Engine] = []
    for model in listed:
        for kind in kinds:
            watch(f"making {called(model)}, {kind}")
            own = weights_of(model, weights)
            made.append(engine(model, kind, weights=own, threads=threads, input_size=input_size))
    watch(f"timing {len(made)} by turns")
    before, start = checked_load(number, allow_busy), counters()
    subjects = {str(place): _call(one, batch) for place, one in enumerate(made)}
    times = [*interleaved(subjects, rounds=rounds).values()]
    during = between(start, counters())
    rows = tuple(
        Row(called(one.name), one.kind, batch, one.threads, one.input_size, timing, ratio(timing, times[0]))
        for one, timing in zip(made, times)
    )
    unsteady = [(f"{row.network} by {row.engine}", row.timing) for row in rows]
    return Benchmark(rows, machine(), before, during, notes_of(before, during, number, unsteady))


def expanded(models: Any) -> list[Any]:
    """One model or several as a list, patterns as the names that fit.  Raises UnknownName, ConvatlasError for none."""
    single = isinstance(models, str | os.PathLike) or hasattr(models, "named_modules")
    listed: list[Any] = []
    for model in [models] if single else list(models):
        pattern = isinstance(model, str) and plain(model) and any(sign in model for sign in "*?[")
        if not pattern:
            if isinstance(model, str | os.PathLike):
                registry.refuse_missing(model)
            listed.append(model)
        elif found := registry.find(model):
            listed += [card.name for card in found]
        else:
            raise ConvatlasError(f"no network of the atlas fits {model!r}")
    if not listed:
        raise ConvatlasError("which network? convatlas benchmark resnet50")
    return listed


def plain(model: Any) -> bool:
    """Whether it is a name, not something on the disk that has weights of its own, and no module."""
    if isinstance(model, os.PathLike):
        return False
    return isinstance(model, str) and not model.lower().endswith(".onnx") and registry.record_of(model) is None


def weights_of(model: Any, weights: str) -> str:
    """What ``engine`` is told."""
    return weights if plain(model) or weights != "none" else "default"


def called(model: Any) -> str:
    """What a model is called in a table."""
    return os.fspath(model) if isinstance(model, str | os.PathLike) else getattr(model, "name", type(model).__name__)


def noise(batch: int, input_size: tuple[int, int, int]) -> NDArray[np.float32]:
    """Pictures (N, C, H, W), the same ones each time."""
    return np.random.default_rng(0).standard_normal((batch, *input_size), dtype=np.float32)


def notes_of(before: Load, during: Load, threads: int, timings: Sequence[tuple[str, Timing]]) -> tuple[str, ...]:
    """What a reader of the times has to know."""
    notes = []
    if before.too_busy(threads):
        notes.append(f"BUSY: measured beside other processes: {before}; the times are not the machine's own")
    elif during.too_busy(threads):
        notes.append(f"BUSY: others came while it was measured: {during}; measure again")
    if threads > before.cores:
        notes.append(f"{counted(threads, 'thread')} on {counted(before.cores, 'core')}: they wait for each other")
    for name, timing in timings:
        if timing.unsteady:
            notes.append(f"unsteady: {name}, whose quartiles are {timing.spread:.0%} of the median apart")
    return tuple(notes)


def _call(made: Engine, batch: int) -> Callable[[], object]:
    pictures = noise(batch, made.input_size)
    return lambda: made(pictures)
