"""latency: how long a network takes on a machine that was calibrated, layer by layer, and what bounds it.

A roofline of four terms, each kind of operation with rates of its own, measured on small shapes and never on a network:

    seconds = per call + multiply-adds / arithmetic rate + bytes of maps / bandwidth + bytes of weights / bandwidth

with three corrections, of multiply-adds at a map's sides, of those with few outputs, and of maps larger than the cores'
caches; then by what measured shapes like it took longer than that.  The largest term is what bounds a layer:
"overhead", "arithmetic" or "bandwidth".  Pure Python, no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from convatlas.cost.work import KINDS, Work, works
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.model import Graph
from convatlas.graph.source import InputSize, full_size, graph_of
from convatlas.numbers import counted

ENGINES = ("onnxruntime", "eager")
BOUNDS = ("arithmetic", "bandwidth", "overhead")
Point = tuple[float, float, float, float]
REACH, DOUBT = 0.8, 0.1
"""How far a piece says something of others, in powers of e; and how many near ones weigh as much as the rates."""
VERSION = 3
"""Of the calibration's form: another one is measured anew."""


@dataclass(frozen=True)
class Rates:
    """Seconds: of a call of one operation; of a multiply-add, and what one at a map's side, and one of few outputs,
    takes longer; of a byte of maps, and what one that does not fit into the cores' caches takes longer; of a byte of
    weights."""

    call: float
    mac: float
    edge: float
    narrow: float
    byte: float
    far: float
    weight: float

    def terms(self, work: Work, near: int) -> tuple[float, float, float]:
        """(overhead, arithmetic, bandwidth) of one operation, in seconds."""
        calls, macs, edge, narrow, byte, far, weights = work.terms(near)
        return (
            self.call * calls,
            self.mac * macs + self.edge * edge + self.narrow * narrow,
            self.byte * byte + self.far * far + self.weight * weights,
        )


@dataclass(frozen=True)
class Ceilings:
    """What one engine reaches here.

    rates: of each kind of ``cost.work``.
    pieces: of each kind the shapes that were measured, and the logarithm of the factor by which they took longer than
    the rates say.
    call: seconds of a whole call of the engine, beside its operations'.
    block: channels that a convolution computes at once.  stream: what a byte of weights takes longer that
    comes out of memory.
    error: the median relative error of the rates on the shapes that they were fitted to.
    warm: of networks that fit into the cores' caches as a whole; None where that was not told apart.
    note: what must be said of the circumstances in which it was measured.
    """

    rates: Mapping[str, Rates]
    pieces: Mapping[str, tuple[Point, ...]]
    call: float
    block: int
    stream: float
    error: float
    warm: Ceilings | None = None
    note: str = ""

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Ceilings:
        """Raises KeyError and TypeError for what is none."""
        rates = {kind: Rates(**each) for kind, each in told["rates"].items()}
        if set(KINDS) - set(rates):
            raise KeyError("rates")
        points = {kind: tuple((a, b, c, d) for a, b, c, d in each) for kind, each in told["pieces"].items()}
        warm = None if told["warm"] is None else cls.from_json(told["warm"])
        return cls(**{**told, "rates": rates, "pieces": points, "warm": warm})

    def factor(self, work: Work) -> float:
        """How much longer than the rates say a work takes: what its kind's pieces did, the more the nearer they are."""
        here, off, total = position(work), 0.0, DOUBT
        for *there, logarithm in self.pieces.get(work.kind, ()):
            weight = math.exp(-sum((a - b) ** 2 for a, b in zip(here, there)) / (2 * REACH**2))
            off, total = off + weight * logarithm, total + weight
        return math.exp(off / total)


def position(work: Work) -> tuple[float, float, float]:
    """Where a work's shape lies among others, by powers of e: multiply-adds, bytes of maps, bytes of weights."""
    return math.log(work.macs + 1), math.log(work.moved + 1), math.log(work.weights + 1)


@dataclass(frozen=True)
class Machine:
    """A calibrated machine.  processor, threads, versions: what the rates are of.

    cache, near: bytes of its last cache, and of those of the cores that are used.
    """

    processor: str
    threads: int
    cache: int
    versions: Mapping[str, str]
    date: str
    engines: Mapping[str, Ceilings]
    near: int = 1 << 20
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Machine:
        """Raises KeyError and TypeError for what is no calibration of this form."""
        if data["version"] != VERSION:
            raise KeyError("version")
        engines = {name: Ceilings.from_json(told) for name, told in data["engines"].items()}
        return cls(**{**data, "engines": engines})


@dataclass(frozen=True)
class LayerTime:
    """Seconds of one node of the graph; what it took in is in ``names``.  bound: its largest term.

    Copies between layouts are of the node that needs them.
    """

    name: str
    seconds: float
    bound: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """An estimate.  seconds: of a call with one batch; rest: what is no layer's.

    threads: that the calibration had.  notes: what makes the estimate doubtful; none where nothing does.
    """

    name: str
    engine: str
    seconds: float
    rest: float
    layers: tuple[LayerTime, ...] = field(repr=False)
    threads: int = 1
    notes: tuple[str, ...] = ()
    status: str = "estimate"

    def of_rows(self) -> dict[str, LayerTime]:
        """By the name of each of the graph's nodes; what was taken in elsewhere is not there."""
        return {layer.name: layer for layer in self.layers}

    def bounds(self) -> dict[str, float]:
        """Of each bound, the share of the seconds."""
        found = dict.fromkeys(BOUNDS, 0.0)
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
    found, notes = machine.engines[engine], doubts(machine, engine)
    run = works(graph, shapes, engine, found.block)
    # What does not fit into a cache comes from farther away each time.
    weights, most = sum(work.weights for work in run), max((work.moved for work in run), default=0)
    if found.warm is not None and weights + most <= machine.near:
        found = found.warm
    layers = tuple(_layers(run, found, machine.near, found.stream if weights > machine.cache else 0.0))
    whole = found.call + sum(layer.seconds for layer in layers)
    return Latency(graph.name, engine, whole, found.call, layers, machine.threads, notes)


def doubts(machine: Machine, engine: str) -> tuple[str, ...]:
    """What makes an engine's predictions doubtful: a calibration on a busy machine, or for other threads than would
    run."""
    from convatlas.cost.machine import default_threads

    found = []
    if note := machine.engines[engine].note:
        found.append(f"The calibration was {note}: times may be several times off. Calibrate again when it is quiet.")
    if (number := default_threads()) != machine.threads:
        found.append(
            f"The calibration is for {counted(machine.threads, 'thread')}, and {number} would run: "
            f"convatlas calibrate --threads {number}."
        )
    return tuple(found)


def _layers(run: Sequence[Work], found: Ceilings, near: int, stream: float) -> Iterator[LayerTime]:
    """One for each node: its own work, and the copies that it needs."""
    terms: dict[str, list[float]] = {}
    names: dict[str, dict[str, None]] = {}
    for work in run:
        overhead, arithmetic, bandwidth = found.rates[work.kind].terms(work, near)
        so_far, factor = terms.setdefault(work.name, [0.0, 0.0, 0.0]), found.factor(work)
        for i, term in enumerate((arithmetic * factor, bandwidth * factor + stream * work.weights, overhead * factor)):
            so_far[i] += term
        names.setdefault(work.name, {}).update(dict.fromkeys(work.names))
    for name, each in terms.items():
        yield LayerTime(name, sum(each), BOUNDS[each.index(max(each))], tuple(names[name]))


def calibrated(path: Path | None = None) -> Machine:
    """This machine's calibration.

    Raises ConvatlasError where there is none, and for one of another machine or other versions, or a damaged one.
    """
    from convatlas.cost import machine

    path = path or machine.place()
    again = "run convatlas calibrate"
    try:
        found = Machine.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConvatlasError(f"no calibration of this machine; {again}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ConvatlasError(f"the calibration in {path} is damaged, or of another version; {again}") from None
    if found.processor != machine.processor():
        raise ConvatlasError(f"the calibration in {path} is of another processor, {found.processor}; {again}")
    for name, version in found.versions.items():
        if version != machine.version_of(name):
            raise ConvatlasError(f"the calibration in {path} is of {name} {version}; {again}")
    return found
