"""latency: how long a network takes on a machine that was calibrated, layer by layer, and what bounds it.

A roofline of four terms, each kind of operation with rates of its own, measured on small shapes and never on a network:

    seconds = per call + multiply-adds / arithmetic rate + bytes of maps / bandwidth + bytes of weights / bandwidth

The largest term is what bounds a layer: "overhead", "arithmetic" or "bandwidth".  Pure Python, no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from convatlas.cost.work import KINDS, Work, works
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.model import Graph
from convatlas.graph.source import InputSize, full_size, graph_of

ENGINES = ("onnxruntime", "eager")
VERSION = 1
"""Of the calibration's form: another one is measured anew."""


@dataclass(frozen=True)
class Rates:
    """Seconds: of a call of one operation, of a multiply-add, of a byte of maps, of a byte of weights."""

    call: float
    mac: float
    byte: float
    weight: float

    def terms(self, work: Work) -> tuple[float, float, float]:
        """(overhead, arithmetic, bandwidth) of one operation, in seconds."""
        return self.call, self.mac * work.macs, self.byte * work.moved + self.weight * work.weights


@dataclass(frozen=True)
class Ceilings:
    """What one engine reaches here.

    rates: of each kind of ``cost.work``.  call: seconds of a whole call of the engine, beside its operations'.
    block: channels that a convolution computes at once.  stream: seconds of a byte of weights out of memory.
    error: the median relative error of the rates on the shapes that they were fitted to.
    """

    rates: Mapping[str, Rates]
    call: float
    block: int
    stream: float
    error: float


@dataclass(frozen=True)
class Machine:
    """A calibrated machine.  processor, threads, versions: what the rates are of; cache: bytes of its last cache."""

    processor: str
    threads: int
    cache: int
    versions: Mapping[str, str]
    date: str
    engines: Mapping[str, Ceilings]
    note: str = ""
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Machine:
        """Raises KeyError and TypeError for what is no calibration of this form."""
        if data["version"] != VERSION:
            raise KeyError("version")
        engines = {
            name: Ceilings(**{**told, "rates": {kind: Rates(**rates) for kind, rates in told["rates"].items()}})
            for name, told in data["engines"].items()
        }
        if any(set(KINDS) - set(told.rates) for told in engines.values()):
            raise KeyError("rates")
        return cls(**{**data, "engines": engines})


@dataclass(frozen=True)
class LayerTime:
    """Seconds of one operation as it is run; what it took in is in ``names``.  bound: its largest term."""

    name: str
    seconds: float
    bound: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """An estimate.  seconds: of a call with one batch; rest: what is no layer's."""

    name: str
    engine: str
    seconds: float
    rest: float
    layers: tuple[LayerTime, ...] = field(repr=False)
    status: str = "estimate"

    def of_rows(self) -> dict[str, LayerTime]:
        """By the name of each of the graph's nodes; what was taken in elsewhere is not there."""
        return {layer.name: layer for layer in self.layers}

    def bounds(self) -> dict[str, float]:
        """Of each bound, the share of the seconds."""
        found = dict.fromkeys(("arithmetic", "bandwidth", "overhead"), 0.0)
        for layer in self.layers:
            found[layer.bound] += layer.seconds / self.seconds
        found["overhead"] += self.rest / self.seconds
        return found

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "bounds": self.bounds()}


def latency(
    model: str | Graph,
    machine: Machine,
    engine: str = "onnxruntime",
    *,
    input_size: InputSize = None,
    batch: int = 1,
) -> Latency:
    """How long one batch takes: an estimate, from the graph alone.

    Raises UnknownName for an engine, ConvatlasError where the machine was not calibrated for it, and what ``graph_of``
    does.
    """
    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    if engine not in machine.engines:
        raise ConvatlasError(f"this machine was not calibrated for {engine}: convatlas calibrate")
    graph = graph_of(model, input_size, batch)
    shapes = graph.shapes(full_size(input_size, graph.input_size), batch)
    found = machine.engines[engine]
    run = works(graph, shapes, fuses=engine == "onnxruntime", block=found.block)
    # What does not fit into the cache comes out of memory each time; what fits was measured there.
    streamed = sum(work.weights for work in run) > machine.cache
    layers = tuple(_layer(work, found, streamed) for work in run)
    return Latency(graph.name, engine, found.call + sum(layer.seconds for layer in layers), found.call, layers)


def _layer(work: Work, found: Ceilings, streamed: bool) -> LayerTime:
    overhead, arithmetic, bandwidth = found.rates[work.kind].terms(work)
    if streamed:
        bandwidth += max(0.0, found.stream - found.rates[work.kind].weight) * work.weights
    terms = {"arithmetic": arithmetic, "bandwidth": bandwidth, "overhead": overhead}
    return LayerTime(work.name, sum(terms.values()), max(terms, key=terms.__getitem__), work.names)


def calibrated(path: Path | None = None) -> Machine:
    """This machine's calibration.  Raises ConvatlasError where there is none, or it is another machine's or damaged."""
    from convatlas.cost.machine import place, processor

    path = path or place()
    again = "run convatlas calibrate"
    try:
        found = Machine.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConvatlasError(f"no calibration of this machine; {again}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ConvatlasError(f"the calibration in {path} is damaged, or of another version; {again}") from None
    if found.processor != processor():
        raise ConvatlasError(f"the calibration in {path} is of another processor, {found.processor}; {again}")
    return found
