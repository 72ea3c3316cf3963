"""calibrate: what this machine reaches, by small graphs of a few operations, in about half a minute an engine."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convatlas.cost import machine
from convatlas.cost.latency import ENGINES, Ceilings, Machine, Point, Rates, calibrated, position
from convatlas.cost.work import KINDS, Work, works
from convatlas.deploy.load import between, counters
from convatlas.deploy.micro import Piece
from convatlas.deploy.pieces import pieces
from convatlas.deploy.sessions import Session, checked_threads, installed, opened
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.files import write_whole
from convatlas.numbers import percent

SPENT, VISITS, FEWEST = 0.05, 2, 4
"""Seconds that a piece is measured on a visit, how often all are visited, and runs at least."""
ROUNDS = 12
"""Visits of those that are run twice on each."""
TERMS = tuple(field.name for field in fields(Rates))
TURNS, USUAL_ERROR = 12, 0.03
WORST_ERROR = 0.2
"""Of the rates on their own pieces, as a median: what fits worse tells nothing of the machine."""
MOST = 0.6
"""Of a piece's time, for which one kind must stand if the piece is to say something of it."""
LIKE = {"relu6": "relu", "tanh": "sigmoid", "hardsigmoid": "hardswish", "hardswish": "silu", "sigmoid": "silu",
        "silu": "relu", "local_response_norm": "tanh", "grouped": "conv", "plain": "conv", "stem": "conv",
        "pointwise": "conv", "depthwise": "conv", "slice": "cat", "pad": "cat", "shuffle": "cat", "mean": "pool",
        "scale": "add", "norm": "add", "relu": "add", "cat": "add", "reorder": "add"}  # fmt: skip
"""What has no piece of its own goes by another's rates."""

Watch = Callable[[str, int, int], None]
Measured = list[tuple[list[Work], float]]
"""Of each piece the works that it is, and its seconds."""


def calibrate(
    engines: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    out: Path | None = None,
    chosen: Sequence[Piece] | None = None,
    note: str = "",
    watch: Watch = lambda engine, done, total: None,
) -> Machine:
    """Measure this machine's rates for engines, and keep them for ``latency``.

    engines: of ENGINES; by default all that are installed.  chosen: the pieces; by default all.
    note: what is to be said of the circumstances: "measured on a busy machine".  watch: is told of every piece.

    Written whole when all is measured, so that one that is cut short changes nothing.
    Raises UnknownName for an engine, ConvatlasError where it cannot be written, or where what was measured does not go
    together: other programs took the machine meanwhile.
    """
    wanted = list(engines or (name for name in ENGINES if name != "onnxruntime" or installed()))
    for name in wanted:
        if name not in ENGINES:
            raise UnknownName("engine", name, ENGINES)
    number = checked_threads(threads)
    start = counters()
    found = {name: replace(_ceilings(name, chosen, number, watch), note=note) for name in wanted}
    during = between(start, counters())
    if during.too_busy(number) and not note:
        found = {name: replace(told, note=f"measured while others came: {during}") for name, told in found.items()}
    for name, told in found.items():
        if told.error > WORST_ERROR:
            raise ConvatlasError(
                f"the pieces that were measured by {name} do not go together, half of them are off by more than "
                f"{percent(told.error)}: other programs took the machine meanwhile. Nothing is kept; calibrate when it "
                "is quiet"
            )
    of = {"eager": "torch", "onnxruntime": "onnxruntime"}
    versions = {of[name]: machine.version_of(of[name]) or "" for name in wanted}
    made = Machine(machine.processor(), number, machine.last_cache(), versions, str(date.today()), found,
                   near=machine.own_cache() * number)  # fmt: skip
    path = out or machine.place()
    made = _beside(path, made)
    text = json.dumps(made.to_json(), indent=1)
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    return made


def _beside(path: Path, made: Machine) -> Machine:
    """With what was measured before of other engines, where it holds still."""
    try:
        before = calibrated(path)
    except ConvatlasError:  # none, or of another machine
        return made
    if before.threads != made.threads:
        return made
    versions, engines = {**before.versions, **made.versions}, {**before.engines, **made.engines}
    return replace(made, versions=versions, engines=engines)


def _ceilings(engine: str, chosen: Sequence[Piece] | None, threads: int, watch: Watch) -> Ceilings:
    counted, cold, warm = _measured(engine, threads, chosen, watch)
    sizes = block_of(engine), machine.own_cache() * threads, machine.last_cache()
    found = fitted(list(zip(counted, cold)), *sizes)
    return replace(found, warm=fitted(list(zip(counted, warm)), *sizes)) if warm != cold else found


def measure(
    engine: str,
    threads: int,
    chosen: Sequence[Piece] | None = None,
    watch: Watch = lambda engine, done, total: None,
) -> Measured:
    """Every piece's operations and seconds."""
    counted, cold, _ = _measured(engine, threads, chosen, watch)
    return list(zip(counted, cold))


def _measured(
    engine: str, threads: int, chosen: Sequence[Piece] | None, watch: Watch
) -> tuple[list[list[Work]], list[float], list[float]]:
    every, block = list(chosen if chosen is not None else pieces(engine)), block_of(engine)
    counted = [works(piece.graph, piece.graph.shapes(batch=piece.batch), engine, block) for piece in every]
    return counted, *seconds(engine, every, threads, watch)


def block_of(engine: str) -> int:
    """Channels that a convolution computes at once."""
    flags = machine.flags()
    if engine == "eager":
        return 16 if "avx512f" in flags else 8
    return 16 if "avx512f" in flags else 8 if "avx" in flags else 1


# ---- the stopwatch ----------------------------------------------------------------------------------------


def seconds(
    engine: str, measured: Sequence[Piece], threads: int, watch: Watch = lambda engine, done, total: None
) -> tuple[list[float], list[float]]:
    """Of each piece, the quickest of its runs: what the machine reaches when nothing disturbs it.

    First of those after other pieces, which find the caches filled by these as a layer of a network does; then of
    those that follow upon themselves.  All are visited by turns, so that what disturbs one visit is over at the next.
    """
    # Of one thread the processor's own time, which nobody else can take.
    clock = time.thread_time if threads == 1 else time.perf_counter
    # Sessions of ONNX Runtime have threads of their own, which first must wake: they only follow upon themselves.
    shared = engine == "eager" or threads == 1
    calls = [_callable(piece, engine, threads) for piece in measured] if shared else []
    cold: list[float] = [math.inf] * len(measured)
    warm = list(cold)
    visits = ROUNDS if shared else VISITS
    for visit in range(visits):
        for i, piece in enumerate(measured):
            watch(engine, visit * len(measured) + i, visits * len(measured))
            first, *more = _timed(calls[i] if shared else _callable(piece, engine, threads), piece, clock, shared)
            cold[i], warm[i] = min(cold[i], first), min(warm[i], *more)
    watch(engine, visits * len(measured), visits * len(measured))
    return (cold if shared else warm), warm


def _callable(piece: Piece, engine: str, threads: int) -> Callable[[NDArray[np.float32]], object]:
    if engine == "eager":
        from convatlas.deploy.micro_torch import TorchPiece

        return TorchPiece(piece.graph, threads)
    from convatlas.deploy.micro_onnx import onnx_bytes

    return Session(opened(onnx_bytes(piece.graph), threads))


def _timed(
    call: Callable[[NDArray[np.float32]], object], piece: Piece, clock: Callable[[], float], twice: bool
) -> list[float]:
    """Seconds of two runs; or of several, after two that warm up."""
    pictures = np.random.default_rng(0).standard_normal((piece.batch, *piece.graph.input_size)).astype(np.float32)
    if not twice:
        call(pictures)
        call(pictures)
    found: list[float] = []
    start = time.perf_counter()
    while len(found) < (2 if twice else FEWEST) or (not twice and time.perf_counter() - start < SPENT):
        began = clock()
        call(pictures)
        found.append(clock() - began)
    return found


# ---- the rates --------------------------------------------------------------------------------------------


def fitted(rows: Measured, block: int, near: int, cache: int) -> Ceilings:
    """The rates of every kind by non-negative least squares, so weighted that they meet the times' logarithms.

    near, cache: bytes of the caches of the cores, and of the last one.
    """
    present = sorted({work.kind for row, _ in rows for work in row})
    columns = {kind: len(TERMS) * place for place, kind in enumerate(present)}
    matrix, taken = np.zeros((len(rows), len(TERMS) * len(present) + 2)), np.array([took for _, took in rows])
    for line, (row, _) in zip(matrix, rows):
        for work in row:
            at = columns[work.kind]
            line[at : at + len(TERMS)] += work.terms(near)
        weights = sum(work.weights for work in row)
        line[-2:] = 1, weights if weights > cache else 0
    values = _solved(matrix, taken)
    rates = {kind: Rates(*map(float, values[at : at + len(TERMS)])) for kind, at in columns.items()}
    points = _points(rows, rates, matrix @ values, near)
    usual = next(iter(rates.values()))
    for kind in KINDS:
        like = kind
        while like not in rates and like in LIKE:
            like = LIKE[like]
        rates.setdefault(kind, rates.get(like, usual))
    error = float(np.median(np.abs(matrix @ values / taken - 1)))
    return Ceilings(rates, points, float(values[-2]), block, float(values[-1]), error)


def _points(
    rows: Measured, rates: dict[str, Rates], predicted: NDArray[np.float64], near: int
) -> dict[str, tuple[Point, ...]]:
    """Of each kind the shapes of the pieces that are mostly of it, and how much longer than predicted they took."""
    found: dict[str, list[Point]] = {}
    for (row, took), whole in zip(rows, predicted):
        parts: dict[str, list[tuple[float, Work]]] = {}
        for work in row:
            parts.setdefault(work.kind, []).append((sum(rates[work.kind].terms(work, near)), work))
        for kind, each in parts.items():
            if whole and sum(seconds for seconds, _ in each) > MOST * whole:
                middle = np.mean([position(work) for _, work in each], 0)
                a, b, c = map(float, middle)
                found.setdefault(kind, []).append((a, b, c, float(np.log(took / whole))))
    return {kind: tuple(points) for kind, points in found.items()}


def _solved(matrix: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """None below nothing.  Errors count by the time's logarithm, too much as too little; a large one counts less than
    by its square, for a piece that was disturbed says nothing."""
    from scipy.optimize import nnls

    values, predicted = np.zeros(matrix.shape[1]), taken
    for _ in range(TURNS):
        off = np.maximum(np.abs(np.log(predicted / taken)), USUAL_ERROR)
        weight = 1 / np.sqrt(predicted * taken * off)
        weighted = matrix * weight[:, None]
        scale = np.maximum(weighted.max(0), 1e-30)
        solved, _ = nnls(weighted / scale, taken * weight, maxiter=100 * matrix.shape[1])
        values = solved / scale
        predicted = np.maximum(matrix @ values, 0.01 * taken)
    return values


def summary(found: Machine) -> dict[str, Any]:
    """For people and programs: of each engine the arithmetic rates in GMAC/s, bandwidth in GB/s and overhead in us."""
    shown: dict[str, Any] = {key: value for key, value in asdict(found).items() if key != "engines"}
    shown["engines"] = {
        name: {
            "call_us": 1e6 * told.call,
            "stream_GBs": 1e-9 / told.stream if told.stream else None,
            "fit_error": told.error,
            "note": told.note,
            "kinds": {
                kind: {
                    "call_us": 1e6 * rates.call,
                    "GMACs": 1e-9 / rates.mac if rates.mac else None,
                    "GBs": 1e-9 / rates.byte if rates.byte else None,
                }
                for kind, rates in told.rates.items()
            },
        }
        for name, told in found.engines.items()
    }
    return shown
