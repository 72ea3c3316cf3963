"""How long things take, by turns: what else the machine does then strikes all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def by_turns(
    runs: Mapping[str, Callable[[], object]], *, rounds: int = 25, seconds: float = 2.0, least: int = 3
) -> dict[str, float]:
    """The median seconds of each.

    rounds: turns at most; after ``seconds`` there are no more, but ``least`` there are.  Each runs twice at its turn,
    and the second run counts: then the threads of the one before have come to rest.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    for turn in range(rounds):
        for name, run in runs.items():
            run()
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
        if turn + 1 >= least and time.perf_counter() - start > seconds:
            break
    return {name: statistics.median(taken) for name, taken in times.items()}
