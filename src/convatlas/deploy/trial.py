"""A network in float, and attempts at it in 8 bits: made, compared, timed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convatlas import carried
from convatlas.deploy import eightbit
from convatlas.deploy.eightbit import METHODS
from convatlas.deploy.predict import softmax
from convatlas.deploy.samples import Sample, Samples
from convatlas.deploy.sessions import Session, opened
from convatlas.deploy.timing import Timing, interleaved
from convatlas.errors import ConvatlasError
from convatlas.weights.labels import named
from convatlas.weights.loading import of_file

SEEN, MOST = 4 * 224 * 224, 64
"""Pixels of a batch, all of whose maps are in memory where ranges are by entropy, and pictures at most."""
HISTOGRAMS = 64
"""Pictures by which ranges are found by entropy, at most: it takes ten times as long."""
MARGIN = 0.5
"""A method holds where it loses no more than this part of what may be lost: the test's pictures are others."""
ENOUGH = 100
"""Test pictures by whose accuracy something is decided: one of them is a point."""
FEW_ROUNDS = 7
"""Of several pictures at once, which take longer."""


@dataclass(frozen=True)
class Comparison:
    """Float and 8 bits on the same pictures.

    before, after: accuracy, a part of 1; None where the pictures have no classes.  agreement: of how many the first
    class is the same, a part of 1.  drop: points of accuracy that are lost; judged by agreement those that the network
    in float expects to lose: the mean of p(its first class) - p(the first class in 8 bits), both its own probabilities.
    """

    pictures: int
    agreement: float
    drop: float
    before: float | None = None
    after: float | None = None

    @property
    def judged_by(self) -> str:
        return _judged_by(self.before is not None, self.pictures)


def _judged_by(classes: bool, pictures: int) -> str:
    """What a drop is of: the accuracy, where enough pictures have classes, or else the answers' agreement."""
    return "accuracy" if classes and pictures >= ENOUGH else "agreement"


@dataclass(frozen=True)
class Attempt:
    """A file in 8 bits.  calibrated: pictures; tried: of each method its drop on the pictures that choose."""

    file: Path
    method: str
    calibrated: int
    chosen_by: Comparison
    tried: dict[str, float]


class Trial:
    """MODEL as a file of ONNX in a folder, with what it says of itself."""

    def __init__(
        self,
        folder: Path,
        model: str | os.PathLike[str],
        weights: str | os.PathLike[str],
        threads: int,
        weight_bits: int,
    ):
        self._folder, self.threads, self._bits = folder, threads, weight_bits
        self.file = folder / "float.onnx"
        self.record = _as_onnx(os.fspath(model), weights, self.file)
        self.travelling = of_file(self.file, self.record)
        self.unread: set[str] = set()
        self._plain = Session(opened(self.file, threads))
        if not self.travelling.labels:
            self.travelling = replace(self.travelling, labels=named(None, self._width))
        side = self.travelling.preprocess.crop
        self._batch = max(1, min(MOST, SEEN // side**2))
        self._answers: dict[int, tuple[NDArray[np.float32], NDArray[np.int64] | None]] = {}

    @property
    def _width(self) -> int:
        return self._plain(np.zeros((1, *self.record["input_size"]), np.float32)).shape[1]

    @cached_property
    def _prepared(self) -> Path:
        out = self._folder / "prepared.onnx"
        eightbit.prepare(self.file, out)
        return out

    # ---- making -----------------------------------------------------------------------------------------

    def attempt(self, found: Samples, methods: Sequence[str], max_drop: float, watch: Callable[[str], None]) -> Attempt:
        """The first method that holds on the pictures that choose; where none does, the one that loses least."""
        best: Attempt | None = None
        tried: dict[str, float] = {}
        for name in methods:
            watch(f"calibrating: {METHODS[name].said}")
            file = self._folder / f"{name}.onnx"
            calibrated = self._quantize(file, name, found.calibrate)
            watch(f"comparing: {METHODS[name].said}")
            seen = self.compare(file, found.choose)
            tried[name] = seen.drop
            if best is None or seen.drop < best.chosen_by.drop:
                best = Attempt(file, name, calibrated, seen, tried)
            if seen.drop <= MARGIN * max_drop:
                break
        assert best is not None
        return best

    def _quantize(self, file: Path, name: str, sample: Sample) -> int:
        method = METHODS[name]
        if method.ranges != "MinMax":
            sample = replace(sample, places=sample.places[:: -(-len(sample) // HISTOGRAMS)])
        total = -(-len(sample) // self._batch)
        return eightbit.quantize_file(self._prepared, file, method, self._pictures(sample), total, self._bits)

    def _pictures(self, sample: Sample) -> Iterator[NDArray[np.float32]]:
        for pictures, _ in sample.batches(self.travelling.preprocess, self._batch, self.unread):
            yield pictures

    # ---- comparing --------------------------------------------------------------------------------------

    def compare(self, file: Path, sample: Sample) -> Comparison:
        """Both on the same pictures.  Raises ConvatlasError where none can be read."""
        if id(sample) not in self._answers:
            self._answers[id(sample)] = self._run(self._plain, sample)
        wanted, labels = self._answers[id(sample)]
        logits, _ = self._run(Session(opened(file, self.threads)), sample)
        before, after = wanted.argmax(1), logits.argmax(1)
        agreement = float((before == after).mean())
        right = [] if labels is None else [float((guess == labels).mean()) for guess in (before, after)]
        if _judged_by(labels is not None, len(wanted)) == "accuracy":
            drop = right[0] - right[1]
        else:
            odds, rows = softmax(wanted), np.arange(len(wanted))
            drop = float((odds[rows, before] - odds[rows, after]).mean(dtype=np.float64))
        return Comparison(len(wanted), agreement, 100 * drop, *right)

    def _run(self, session: Session, sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        logits, labels = [], []
        for pictures, truth in sample.batches(self.travelling.preprocess, self._batch, self.unread):
            logits.append(session(pictures))
            labels.append(truth)
        if not logits:
            raise ConvatlasError(f"none of the {sample.title} pictures can be read")
        known = None if labels[0] is None else np.concatenate([truth for truth in labels if truth is not None])
        return np.concatenate(logits), known

    # ---- timing -----------------------------------------------------------------------------------------

    def times(self, file: Path, sample: Sample) -> dict[str, tuple[Timing, float]]:
        """{"float32", "int8"}: one picture, timed by turns; and pictures a second, several at once."""
        batch = next(self._pictures(sample))
        both = {"float32": self._plain, "int8": Session(opened(file, self.threads))}
        one = interleaved({name: _runs(run, batch[:1]) for name, run in both.items()})
        many = interleaved({name: _runs(run, batch) for name, run in both.items()}, rounds=FEW_ROUNDS)
        return {name: (one[name], len(batch) / many[name].median) for name in both}


def _runs(run: Session, pictures: NDArray[np.float32]) -> Callable[[], object]:
    return lambda: run(pictures)


# ---- the network in float -----------------------------------------------------------------------------------

RANDOM = "has random weights: it has no answers that could be kept in 8 bits"


def _as_onnx(model: str, weights: str | os.PathLike[str], out: Path) -> dict[str, Any]:
    """Write MODEL as ONNX in float, and return what it says of itself.

    Raises ConvatlasError for random weights, 8 bits, and a file that does not say how pictures are prepared for it.
    """
    if weights == "none":
        raise ConvatlasError(f"{model} {RANDOM}")
    if model.lower().endswith(".onnx"):
        if not Path(model).is_file():
            raise ConvatlasError(f"no file {model}")
        if weights != "default":
            raise ConvatlasError(f"{model} has weights of its own; name its network for others")
        record = carried.read(model)
        if record is None:
            raise ConvatlasError(f"{model} does not say how pictures are prepared for it, as convatlas export has it")
        shutil.copyfile(model, out)
        if "quantized" in record or eightbit.is_quantized(out):
            raise ConvatlasError(f"{model} is in 8 bits already")
    else:
        from convatlas.deploy.export import export

        export(model, "onnx", out, weights=weights)
        record = carried.read(out)
        assert record is not None
    if not record["weights"] and not record["run"] and not record["network"].startswith("module:"):
        raise ConvatlasError(f"{model} {RANDOM}")
    return record
