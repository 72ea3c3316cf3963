"""layers: how long each layer of a network takes, beside what it computes."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas.cost import Report, Row, analyze
from convatlas.cost.tables import operation
from convatlas.deploy.benchmark import called, expanded, noise, notes_of, plain, weights_of
from convatlas.deploy.building import Building
from convatlas.deploy.engine import KINDS, Engine, engine
from convatlas.deploy.load import Load, between, checked_load, counters, machine
from convatlas.deploy.origins import OTHER, REORDER
from convatlas.deploy.profiling import Call, EagerProfile, OnnxProfile
from convatlas.deploy.sessions import checked_threads
from convatlas.deploy.timing import ROUNDS, Timing, checked_rounds, interleaved
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.source import InputSize

if TYPE_CHECKING:
    from torch import nn

BETWEEN = "between layers"
"""What is no layer's: the interpreter, additions that are no module, the profiler itself."""
SPECIAL = (REORDER, OTHER, BETWEEN)


@dataclass(frozen=True)
class Layer:
    """name: of a row of our report, or "reorder", "other", "between layers"; operation: in short, "conv 3x3 /2".
    seconds: of a call; macs: of that call, None where no report says them."""

    name: str
    operation: str
    seconds: float
    macs: int | None

    @property
    def macs_per_second(self) -> float | None:
        return self.macs / self.seconds if self.macs and self.seconds else None


@dataclass(frozen=True)
class Layers:
    """layers: in the network's order.  whole: seconds of a call that is not profiled, profiled: of one that is.
    The others as in ``Benchmark``."""

    network: str
    engine: str
    batch: int
    threads: int
    input_size: tuple[int, int, int]
    layers: tuple[Layer, ...]
    whole: Timing
    profiled: Timing
    machine: dict[str, Any]
    before: Load
    during: Load
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """The layers' sum."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs or 0 for layer in self.layers)

    def share(self, layer: Layer) -> float:
        """Of the sum's time; all layers' add up to 1."""
        return layer.seconds / self.seconds if self.seconds else 0.0

    def macs_share(self, layer: Layer) -> float:
        return (layer.macs or 0) / self.macs if self.macs else 0.0

    def summed(self, depth: int) -> Layers:
        """With one row for each stage (depth 1), block (2) …"""
        groups: dict[str, list[Layer]] = {}
        for layer in self.layers:
            groups.setdefault(".".join(layer.name.removeprefix("trunk.").split(".")[:depth]), []).append(layer)
        made = [
            Layer(name, "", sum(each.seconds for each in members),
                  None if all(each.macs is None for each in members) else sum(each.macs or 0 for each in members))
            for name, members in groups.items()
        ]  # fmt: skip
        return replace(self, layers=tuple(made))

    def to_json(self) -> dict[str, Any]:
        """Plain values; times in seconds."""
        return {
            "network": self.network,
            "engine": self.engine,
            "batch": self.batch,
            "threads": self.threads,
            "input_size": list(self.input_size),
            "seconds": self.seconds,
            "macs": self.macs,
            "whole": self.whole.to_json(),
            "profiled": self.profiled.to_json(),
            "layers": [
                {**asdict(each), "share": self.share(each), "macs_share": self.macs_share(each),
                 "macs_per_second": each.macs_per_second} for each in self.layers
            ],
            "machine": self.machine,
            "load": {"before": self.before.to_json(), "during": self.during.to_json()},
            "notes": list(self.notes),
        }  # fmt: skip

    def to_csv(self) -> str:
        """A line for each layer, with a header; times in seconds."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["layer", "operation", "seconds", "share", "macs", "macs_share", "macs_per_second"])
        for each in self.layers:
            cells = [
                "" if value is None else value for value in (each.macs, self.macs_share(each), each.macs_per_second)
            ]
            writer.writerow([each.name, each.operation, each.seconds, self.share(each), *cells])
        return text.getvalue()


def layers(
    model: str | os.PathLike[str] | nn.Module,
    kind: str = "auto",
    *,
    batch: int = 1,
    threads: int | None = None,
    weights: str = "none",
    input_size: InputSize = None,
    rounds: int = ROUNDS,
    allow_busy: bool = False,
    watch: Callable[[str], object] = lambda doing: None,
) -> Layers:
    """Time every layer of one model, by ONNX Runtime's profiler or PyTorch's modules.

    The arguments are ``benchmark``'s.  The whole network is timed without the profiler too, by turns: profiling costs.
    A layer's time is its mean over the middle half of the calls, by how long they took.  What an engine has fused (an
    activation, a batch norm, an addition) is in the time of the layer that it was fused into.

    Raises what ``benchmark`` does, and ConvatlasError for an engine whose layers cannot be timed.
    """
    if kind not in KINDS:
        raise UnknownName("engine", kind, KINDS)
    if batch < 1:
        raise ConvatlasError(f"a batch has at least 1 picture, not {batch}")
    found, number = expanded(model), checked_threads(threads)
    if len(found) != 1:
        raise ConvatlasError(f"layers are those of one network, not of {len(found)}")
    checked_rounds(rounds)
    checked_load(number, allow_busy)
    watch(f"making {called(found[0])}, {kind}")
    with tempfile.TemporaryDirectory(prefix="convatlas-") as folder:
        made, profile, report = _profiled(found[0], kind, weights, number, input_size, batch, Path(folder))
        pictures = noise(batch, made.input_size)
        watch(f"timing {called(made.name)} and its layers")
        before, start = checked_load(number, allow_busy), counters()
        subjects = {"whole": lambda: made(pictures), "profiled": lambda: profile(pictures)}
        times = interleaved(subjects, rounds=rounds)
        during = between(start, counters())
        calls = profile.finish()
    each, missing = _rows(calls, report)
    notes = notes_of(before, during, number, [(made.name, times["whole"])])
    if missing:
        notes = (*notes, f"not timed on their own: {', '.join(missing)}")
    return Layers(called(made.name), made.kind, batch, number, made.input_size, each, times["whole"],
                  times["profiled"], machine(), before, during, notes)  # fmt: skip


def _profiled(
    model: Any, kind: str, weights: str, threads: int, input_size: InputSize, batch: int, folder: Path
) -> tuple[Engine, OnnxProfile | EagerProfile, Report | None]:
    """The engine, the same with a profiler, and what the network computes, where that is known."""
    own = weights_of(model, weights)
    if not hasattr(model, "named_modules") and os.fspath(model).lower().endswith(".onnx"):
        made = engine(model, kind, weights=own, threads=threads, input_size=input_size)
        try:
            report = analyze(os.fspath(model), input_size=made.input_size, batch=batch)
        except ConvatlasError:  # a file that is not ours
            report = None
        beside = folder / "net.onnx"
        beside.symlink_to(Path(model).resolve())
        return made, OnnxProfile(beside, threads, names(report)), report
    asked = Building(model, own, threads, input_size, None, cache=True)
    chosen = asked.chosen(kind)
    if chosen not in ("eager", "onnxruntime"):
        raise ConvatlasError(f"layers are timed by eager or onnxruntime, not by {chosen}")
    report = analyze(asked.model if plain(asked.model) else asked.net, input_size=asked.input_size, batch=batch)
    if chosen == "eager":
        from convatlas.deploy.eager import Eager

        eager = Eager(asked.net, asked.input_size, "cpu", threads)
        return asked.torch("eager"), EagerProfile(eager, names(report)), report
    from convatlas.deploy.onnxing import to_onnx

    made = asked.onnxruntime()
    to_onnx(asked.net, folder / "net.onnx", input_size=made.input_size, origins=True)
    return made, OnnxProfile(folder / "net.onnx", threads, names(report)), report


def names(report: Report | None) -> list[str]:
    """Its rows'."""
    return [row.name for row in report.rows] if report is not None else []


def _rows(calls: Sequence[Call], report: Report | None) -> tuple[tuple[Layer, ...], list[str]]:
    """The layers in the network's order, and the names of those that compute and have no time of their own."""
    seen = list(dict.fromkeys(name for _, each in calls for name in each))
    kept = _middle(calls)
    seconds = {name: sum(each.get(name, 0.0) for _, each in kept) / len(kept) for name in seen}
    groups: dict[str, list[Row]] = {}
    for row in report.rows if report is not None else ():
        name = next((path for path in _paths(row.name) if path in seconds), row.name)
        if name in seconds or row.macs:
            groups.setdefault(name, []).append(row)
    made = []
    for name, members in groups.items():
        known = [row.macs for row in members if row.macs is not None]
        said = operation(members[0]) if len(members) == 1 else ""
        made.append(Layer(name, said, seconds.get(name, 0.0), sum(known) if known else None))
    made += [Layer(name, "", seconds[name], None) for name in seen if name not in groups and name not in SPECIAL]
    made += [Layer(name, "", seconds[name], None) for name in (REORDER, OTHER) if name in seconds]
    rest = sum(whole - sum(each.values()) for whole, each in kept) / len(kept)
    made.append(Layer(BETWEEN, "", max(0.0, rest), None))
    return tuple(made), [name for name in groups if name not in seconds]


def _paths(name: str) -> list[str]:
    """A row's name, and the paths of the modules that it is in, the innermost first: PyTorch may have timed one of
    them, where the row is an operation without a module of its own."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _middle(calls: Sequence[Call]) -> Sequence[Call]:
    """The half of the calls that took neither long nor short: their layers add up, and none was disturbed alone."""
    ordered = sorted(calls, key=lambda call: call[0])
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut]
