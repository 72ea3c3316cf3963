"""Times of the networks on this machine: the one place where the comparison asks for them.

What was measured is remembered beside the fetched weights, by network, input size, engine and processor.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convatlas.errors import ConvatlasError
from convatlas.files import write_whole

logger = logging.getLogger(__name__)

NO_CALIBRATION = "no calibration of this machine; run convatlas calibrate"

ENGINE = "eager"
"""What runs the networks: PyTorch with batch norms folded."""

WARM, LEAST, LONG = 2, 7, 0.5
"""Calls that are not timed, calls that are at least, and seconds after which no more are made."""


def predicted(name: str, input_size: int) -> float:
    """Seconds for one picture, predicted from the network's graph and this machine's calibration.

    Raises ConvatlasError where the machine was not calibrated.
    """
    raise ConvatlasError(NO_CALIBRATION)


def measured(inputs: Mapping[str, int]) -> dict[str, float]:
    """Seconds for one picture of each network at its input size, measured on this machine now or remembered.

    The weights are random: they do not change the time.  Raises what making an engine does.
    """
    known = _kept()
    found = {}
    for name, side in inputs.items():
        key = _key(name, side)
        if key not in known:
            known[key] = _measure(name, side)
            _keep(key, known[key])
        found[name] = known[key]
    return found


def remembered(inputs: Mapping[str, int]) -> dict[str, float]:
    """Of these networks at these input sizes, those that were measured on this machine; nothing is measured."""
    known = _kept()
    return {name: known[key] for name, side in inputs.items() if (key := _key(name, side)) in known}


def _measure(name: str, side: int) -> float:
    import numpy as np

    from convatlas import registry
    from convatlas.deploy.engine import engine

    run = engine(registry.create(name).eval(), ENGINE, weights="none", input_size=side, cache=False)
    pictures = np.random.default_rng(0).random((1, *run.input_size), dtype=np.float32)
    for _ in range(WARM):
        run(pictures)
    times: list[float] = []
    while len(times) < LEAST or sum(times) < LONG:
        start = time.perf_counter()
        run(pictures)
        times.append(time.perf_counter() - start)
    return min(times)  # whatever else the machine did only made the others longer


def _key(name: str, side: int) -> str:
    from convatlas.deploy.store import form, processor

    return f"{name} {side} {ENGINE} {processor()} {form(name)}"


def _file() -> Path:
    from convatlas.weights import cache_dir

    return cache_dir() / "times.json"


def _kept() -> dict[str, float]:
    try:
        found: Any = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: measured again
        return {}
    return {key: float(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _keep(key: str, seconds: float) -> None:
    """For the next time.  Where it cannot be written a warning says so."""
    from filelock import FileLock

    path = _file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            text = json.dumps({**_kept(), key: seconds}, indent=1)
            write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    except (OSError, ConvatlasError) as error:
        logger.warning("the time is not kept for the next time: %s", error)
