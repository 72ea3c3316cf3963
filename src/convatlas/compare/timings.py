"""Times of the networks on this machine: the one place where the comparison asks for them.

Predicted ones come from this machine's calibration; measured ones are remembered beside the fetched weights, by
network, input size, engine, threads and processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from convatlas import files
from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from convatlas.cost.latency import Machine

ENGINES = ("onnxruntime", "eager")
"""By which networks are run, the first that is installed."""

_disturbed: set[str] = set()
ROUNDS = 7
"""Of a measurement."""


def predicted(name: str, input_size: int) -> float:
    """Seconds for one picture, predicted from the network's graph and this machine's calibration.

    Raises ConvatlasError where the machine was not calibrated.
    """
    from convatlas.claims.networks import graph
    from convatlas.cost.latency import latency

    return latency(graph(name), _machine(), _calibrated(), input_size=input_size).seconds


def doubts() -> tuple[str, ...]:
    """What makes predicted times doubtful here.  Raises ConvatlasError where the machine was not calibrated."""
    from convatlas.cost import latency

    return latency.doubts(_machine(), _calibrated())


def disturbed() -> tuple[str, ...]:
    """That times were measured beside other programs, where they were."""
    if not _disturbed:
        return ()
    return (f"Measured on a busy machine, and not remembered: {', '.join(sorted(_disturbed))}.",)


def _calibrated() -> str:
    """The engine by whose rates times are predicted."""
    return next((one for one in ENGINES if one in _machine().engines), ENGINES[0])


@cache
def _machine() -> Machine:
    from convatlas.cost.latency import calibrated

    return calibrated()


def measured(inputs: Mapping[str, int], *, allow_busy: bool = False) -> dict[str, float]:
    """Seconds for one picture of each network at its input size, measured on this machine now or remembered.

    The weights are random: they do not change the time.  Raises ConvatlasError where the machine is too busy, unless
    that is allowed (what is measured then is not remembered), and what ``benchmark`` does.
    """
    known = _kept()
    found = {}
    for name, side in inputs.items():
        key = _key(name, side)
        if key not in known:
            known[key] = _measure(name, side, allow_busy)
            if not allow_busy:
                files.remember(_file(), key, known[key])
        found[name] = known[key]
    return found


def remembered(inputs: Mapping[str, int]) -> dict[str, float]:
    """Of these networks at these input sizes, those that were measured on this machine; nothing is measured."""
    known = _kept()
    return {name: known[key] for name, side in inputs.items() if (key := _key(name, side)) in known}


def _engine() -> str:
    return next(one for one in ENGINES if one == "eager" or find_spec(one))


def _measure(name: str, side: int, allow_busy: bool) -> float:
    from convatlas.deploy.benchmark import benchmark

    done = benchmark(name, engines=(_engine(),), input_size=side, rounds=ROUNDS, allow_busy=allow_busy)
    if done.during.too_busy(done.rows[0].threads):
        if not allow_busy:
            raise ConvatlasError(f"others came while {name} was measured: {done.during}; measure again, or with --busy")
        _disturbed.add(name)
    return done.rows[0].timing.median


def _key(name: str, side: int) -> str:
    from convatlas.cost.machine import default_threads, version_of
    from convatlas.deploy.store import form, processor

    engine = _engine()
    version = version_of({"eager": "torch"}.get(engine, engine))
    return f"{name} {side} {engine} {version} {default_threads()} {processor()} {form(name)}"


def _file() -> Path:
    return files.cache_dir() / "times.json"


def _kept() -> dict[str, float]:
    return {key: value for key, value in files.remembered(_file()).items() if isinstance(value, float)}
