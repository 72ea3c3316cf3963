"""The axes along which networks are compared: what each means, which way is better, how its figures are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convatlas.compare.accuracy import SOURCES
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.numbers import short, size

LOWER, HIGHER = "lower", "higher"


def time(seconds: float) -> str:
    """0.0123 -> "12.3 ms": three significant digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}" if seconds / factor < 1000 else f"{seconds / factor:.0f} {unit}"
    return f"{seconds / 1e-6:.0f} µs"


def _percent(value: float) -> str:
    return f"{value:.1f} %"


def _three(value: float) -> str:
    return f"{value:.3g}"


def _whole(value: float) -> str:
    return f"{value:.0f}"


@dataclass(frozen=True, slots=True)
class Axis:
    """One figure of every network.

    key: how it is asked for; title: in tables; label: in figures; means: in a sentence.
    better: LOWER, HIGHER, or None where neither is.  form: a figure for people.  scale: "log" or "linear".
    source: of an accuracy, whose figures: a word of ``SOURCES``.
    """

    key: str
    title: str
    label: str
    means: str
    better: str | None
    form: Callable[[float], str]
    scale: str
    source: str = ""

    @property
    def name(self) -> str:
        """How it is asked for in full: "top1:torchvision"."""
        return f"{self.key}:{self.source}" if self.source else self.key


_ROWS = (
    # key, title in tables, label in figures, better, form, scale; what it means
    ("top1", "top-1", "top-1 accuracy", HIGHER, _percent, "linear",
     "published top-1 accuracy"),
    ("top5", "top-5", "top-5 accuracy", HIGHER, _percent, "linear",
     "published top-5 accuracy"),
    ("params", "params", "parameters", LOWER, short, "log",
     "trainable parameters"),
    ("size", "size", "size in float32", LOWER, size, "log",
     "bytes of the parameters in float32"),
    ("macs", "MACs", "multiply-adds", LOWER, short, "log",
     "multiply-adds of convolutions and linear layers, one picture"),
    ("activation", "maps", "maps of a forward pass", LOWER, size, "log",
     "bytes of a forward pass' maps in float32, one picture"),
    ("training", "training", "peak of a training step", LOWER, size, "log",
     "bytes at the peak of a training step with momentum, one picture"),
    ("latency", "predicted", "predicted time of a picture", LOWER, time, "log",
     "predicted seconds for one picture on this machine"),
    ("measured", "measured", "measured time of a picture", LOWER, time, "log",
     "measured seconds for one picture on this machine"),
    ("input", "input", "side of the picture", None, _whole, "linear",
     "side of the square picture in pixels"),
    ("year", "year", "year", None, _whole, "linear",
     "year of publication"),
    ("depth", "depth", "layers with weights", None, _whole, "log",
     "layers with weights on the longest path, gates left out"),
    ("density", "%/M", "top-1 accuracy per million parameters", HIGHER, _three, "log",
     "per cent of top-1 accuracy per million parameters"),
    ("field", "field", "receptive field", None, _whole, "log",
     "side of what a unit of the last map sees by its local path, in pixels"),
)  # fmt: skip

AXES = {
    key: Axis(key, title, label, means, better, form, scale) for key, title, label, better, form, scale, means in _ROWS
}
"""By key.  What is computed is at the input size at which a row's accuracy was measured."""

ACCURACIES = {"top1": 1, "top5": 5, "density": 1}
"""The axes that rest on a published accuracy, and which."""


def axis(asked: str, source: str = "paper") -> Axis:
    """ "macs", "top1" or "top1:torchvision" -> the axis.  source: of an accuracy that names none.

    Raises UnknownName for another axis or source, ConvatlasError for a source of what is computed.
    """
    key, colon, own = asked.partition(":")
    if key not in AXES:
        raise UnknownName("axis", key, AXES, ["top1", "params", "macs", "size", "activation", "latency", "year"])
    found = AXES[key]
    if key not in ACCURACIES:
        if colon:
            raise ConvatlasError(f"{key} is computed, it has no source; write {key}")
        return found
    source = own if colon else source
    if source not in SOURCES:
        raise UnknownName("source of accuracies", source, SOURCES)
    by = {"any": "mixed sources", "single": "single crop"}.get(source, source)
    return Axis(key, f"{found.title} ({by})", f"{found.label} {SOURCES[source]}", f"{found.means} {SOURCES[source]}",
                found.better, found.form, found.scale, source)  # fmt: skip
