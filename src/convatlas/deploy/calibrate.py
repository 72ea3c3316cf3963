"""calibrate: what this machine reaches, by small pieces of networks, in about half a minute an engine."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from convatlas.cost import machine
from convatlas.cost.latency import ENGINES, Ceilings, Machine, Rates
from convatlas.cost.work import CURVES, KINDS, Work, works
from convatlas.deploy.eager import Eager
from convatlas.deploy.micro import FEW, MANY, Piece, pieces, repeated
from convatlas.deploy.onnxing import plain_bytes
from convatlas.deploy.sessions import Session, checked_threads, installed, opened
from convatlas.errors import UnknownName
from convatlas.files import write_whole
from convatlas.graph.capture import capture

SPENT, ROUNDS = 0.12, 9
"""Seconds that a piece is measured, and rounds at most."""
LEAST = 2e-6
"""Seconds that can be told from nothing."""
LIKE = {"gelu": "silu", "scaled_tanh": "tanh", "hardsigmoid": "hardswish", "local_response_norm": "tanh"}
"""What has no piece of its own goes by another's rates."""
STREAMED = 8192
"""A linear layer whose weights fit into no cache."""

Watch = Callable[[str, int, int], None]
Call = Callable[[NDArray[np.float32]], object]
Measured = list[tuple[list[Work], float]]
"""Each piece's operations, and its seconds."""


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
    note: what is to be said of the circumstances.  watch: is told of every piece.

    Written whole when all is measured, so that one that is cut short changes nothing.
    Raises UnknownName for an engine, ConvatlasError where it cannot be written.
    """
    wanted = list(engines or (name for name in ENGINES if name != "onnxruntime" or installed()))
    for name in wanted:
        if name not in ENGINES:
            raise UnknownName("engine", name, ENGINES)
    number, measured = checked_threads(threads), list(chosen if chosen is not None else pieces())
    found = {name: _ceilings(name, measured, number, watch) for name in wanted}
    versions = {name: metadata.version(name) for name in ("torch", "onnxruntime") if _has(name)}
    made = Machine(machine.processor(), number, machine.last_cache(), versions, str(date.today()), found, note)
    path = out or machine.place()
    text = json.dumps(made.to_json(), indent=1)
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    return made


def _has(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _ceilings(engine: str, chosen: Sequence[Piece], threads: int, watch: Watch) -> Ceilings:
    rates, error = fitted(measure(engine, threads, chosen, watch))
    empty = _callable(nn.Sequential(nn.ReLU()).eval(), engine, Piece("", nn.ReLU, (4, 1, 1)), threads)
    call = _alone(empty, np.zeros((1, 4, 1, 1), np.float32))
    return Ceilings(rates, call, block_of(engine), _stream(engine, threads), error)


def measure(
    engine: str,
    threads: int,
    chosen: Sequence[Piece] | None = None,
    watch: Watch = lambda engine, done, total: None,
) -> Measured:
    """Every piece's operations and seconds; what was lost in what else the machine does is left out."""
    every = list(chosen if chosen is not None else pieces())
    rows: Measured = []
    for place, piece in enumerate(every):
        watch(engine, place, len(every))
        nets = [repeated(piece, times) for times in (FEW, MANY)]
        calls = [_callable(net, engine, piece, threads) for net in nets]
        seconds = _difference(calls, np.random.default_rng(0).standard_normal((1, *piece.shape)).astype(np.float32))
        if seconds > LEAST:
            rows.append((_works(nets, piece, engine, block_of(engine)), seconds))
    watch(engine, len(every), len(every))
    return rows


def block_of(engine: str) -> int:
    """Channels that a convolution computes at once."""
    if engine == "eager":
        return 16 if "avx512f" in machine.flags() else 8
    return 16 if "avx512f" in machine.flags() else 8 if "avx" in machine.flags() else 4


def _callable(net: nn.Module, engine: str, piece: Piece, threads: int) -> Call:
    size: Any = piece.shape
    if engine == "eager":
        return Eager(net, size, None, threads, folded=len(size) == 3)
    return Session(opened(plain_bytes(net, size), threads))


def _works(nets: Sequence[nn.Module], piece: Piece, engine: str, block: int) -> list[Work]:
    """Those of many less those of few: as many as there are pieces between them."""
    size: Any = piece.shape if len(piece.shape) == 3 else (*piece.shape, 1, 1)
    counted = []
    for net in nets:
        graph = capture(net if len(piece.shape) == 3 else nn.Sequential(nn.Flatten(), net), input_size=size)
        counted.append(works(graph, graph.shapes(), fuses=engine == "onnxruntime", block=block))
    few, many = counted
    return many[len(few) :] if len(many) > len(few) else many


def _difference(calls: Sequence[Call], pictures: NDArray[np.float32]) -> float:
    """Seconds that many take longer than few, by turns."""
    times: list[list[float]] = [[], []]
    for call in calls:
        call(pictures)
    start = time.perf_counter()
    while len(times[0]) < ROUNDS and (len(times[0]) < 4 or time.perf_counter() - start < SPENT):
        for series, call in zip(times, calls):
            series.append(_once(call, pictures))
    few, many = (sorted(series)[len(series) // 4] for series in times)
    return many - few


def _once(call: Call, pictures: NDArray[np.float32]) -> float:
    """Of one call, or the mean of a few short ones, after one that wakes the threads."""
    call(pictures)
    start = time.perf_counter()
    call(pictures)
    taken = time.perf_counter() - start
    count = min(10, int(5e-4 / taken))
    if count > 1:
        start = time.perf_counter()
        for _ in range(count):
            call(pictures)
        taken = (time.perf_counter() - start) / count
    return taken


def _alone(call: Call, pictures: NDArray[np.float32]) -> float:
    return statistics.median(_once(call, pictures) for _ in range(ROUNDS))


def _stream(engine: str, threads: int) -> float:
    """Seconds of a byte of weights that come out of memory each time."""
    net = nn.Sequential(nn.Linear(STREAMED, STREAMED // 2)).eval()
    call = _callable(net, engine, Piece("", nn.Identity, (STREAMED,)), threads)
    seconds = _alone(call, np.zeros((1, STREAMED), np.float32))
    return seconds / (4 * STREAMED * STREAMED // 2)


def fitted(rows: Measured) -> tuple[dict[str, Rates], float]:
    """The rates of every kind by non-negative least squares of relative errors, and the median error that is left."""
    from scipy.optimize import nnls

    present = sorted({work.kind for row, _ in rows for work in row})
    columns = {kind: 4 * place for place, kind in enumerate(present)}
    matrix = np.zeros((len(rows), 4 * len(present)))
    for line, (row, seconds) in zip(matrix, rows):
        for work in row:
            at = columns[work.kind]
            line[at : at + 4] += np.array([1, work.macs, work.moved, work.weights]) / seconds
    scale = np.maximum(np.abs(matrix).max(0), 1e-30)
    solved, _ = nnls(matrix / scale, np.ones(len(rows)))
    error = float(np.median(np.abs(matrix / scale @ solved - 1)))
    values = solved / scale
    rates = {kind: Rates(*map(float, values[at : at + 4])) for kind, at in columns.items()}
    usual = rates.get("map") or next(iter(rates.values()))
    for kind in KINDS:
        if kind not in rates:
            rates[kind] = rates.get(LIKE.get(kind, "map" if kind not in CURVES else "silu"), usual)
    return rates, error


def summary(found: Machine) -> dict[str, Any]:
    """For people and programs: of each engine the arithmetic rates in GMAC/s, bandwidth in GB/s and overhead in us."""
    shown: dict[str, Any] = {key: value for key, value in asdict(found).items() if key != "engines"}
    shown["engines"] = {
        name: {
            "call_us": 1e6 * told.call,
            "stream_GBs": 1e-9 / told.stream if told.stream else None,
            "fit_error": told.error,
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
