"""A candidate's time, where this machine was calibrated."""

from __future__ import annotations

from dataclasses import dataclass

from convatlas.cost.latency import ENGINES, Machine, calibrated, doubts, latency
from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph
from convatlas.numbers import counted


@dataclass(frozen=True)
class Stopwatch:
    """Predicts times by this machine's calibration for one engine; where there is none, it knows nothing."""

    machine: Machine | None
    engine: str = ""

    def __call__(self, graph: Graph, side: int) -> float | None:
        """Seconds of one picture, predicted."""
        if self.machine is None:
            return None
        return latency(graph, self.machine, self.engine, input_size=side).seconds

    @property
    def notes(self) -> list[str]:
        """What must be said of the times."""
        if self.machine is None:
            return []
        threads = counted(self.machine.threads, "thread")
        return [f"Times are predicted, for {self.engine} on {threads}.", *doubts(self.machine, self.engine)]


def stopwatch(engine: str | None = None) -> Stopwatch:
    """engine: by default the first that was calibrated."""
    try:
        machine = calibrated()
    except ConvatlasError:
        return Stopwatch(None)
    known = [one for one in ENGINES if one in machine.engines and engine in (None, one)]
    return Stopwatch(machine, known[0]) if known else Stopwatch(None)
