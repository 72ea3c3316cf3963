"""quantize: a network in 8 bits, calibrated on pictures, tested beside itself in float, kept only where it gains."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from convatlas import carried
from convatlas.deploy import eightbit
from convatlas.deploy.eightbit import METHODS
from convatlas.deploy.load import between, checked_load, counters
from convatlas.deploy.samples import Samples, samples
from convatlas.deploy.sessions import checked_threads
from convatlas.deploy.trial import ENOUGH, Attempt, Comparison, Trial
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.files import refuse_unwritable, write_whole
from convatlas.numbers import counted
from convatlas.registry import data_of, record_of_run, refuse_missing

FASTER, SMALLER, NO_SLOWER = 1.05, 2.0, 0.8
"""A gain: so many times as fast on one picture; or so many times smaller, and at least so many times as fast."""
FEW = 20
"""Pictures for a calibration, or a test, that is more than a guess; on fewer test pictures nothing is decided."""


@dataclass(frozen=True)
class Figures:
    """accuracy: a part of 1, None where the pictures have no classes of the network's.  size: bytes of the file.
    latency: median seconds of one picture; rate: pictures a second, several at once."""

    accuracy: float | None
    size: int
    latency: float
    rate: float


@dataclass(frozen=True)
class Quantized:
    """What came of it.

    path: the file, None where none was written.  kept: whether it gains; reason: why, or why not.
    method: one of METHODS, said: in words; tried: each method that was tried, with its drop on the pictures by which
    one is chosen.  before, after: in float32 and in 8 bits, on ``tested`` pictures.
    judged_by: "accuracy", and drop is that of the accuracy in points; or, without classes and on fewer than
    ``trial.ENOUGH`` pictures, "agreement", and drop is what the network itself expects: the mean of the probability
    that it gives to the classes it no longer names.
    agreement: of how many pictures, as a part of 1, the first class is the same.  faster: how many times on one
    picture, by the medians of ``before`` and ``after``.  unread: what could not be read.
    """

    path: Path | None
    kept: bool
    reason: str
    method: str
    said: str
    tried: dict[str, float]
    weight_bits: int
    data: str
    calibrated: int
    calibrated_on: str
    tested: int
    tested_on: str
    judged_by: str
    drop: float
    agreement: float
    faster: float
    before: Figures
    after: Figures
    unread: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "path": None if self.path is None else str(self.path)}


def quantize(
    model: str | os.PathLike[str],
    data: str | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    weights: str | os.PathLike[str] = "default",
    method: str = "auto",
    pictures: int = 200,
    tested: int = 10_000,
    max_drop: float = 1.0,
    weight_bits: int | None = None,
    force: bool = False,
    threads: int | None = None,
    seed: int = 0,
    allow_busy: bool = False,
    watch: Callable[[str], None] = lambda doing: None,
) -> Quantized:
    """Write a network as ONNX with weights and maps of 8 bits, if it gains by it.

    model, weights: a name of the atlas with its weights, a run's folder, or an exported file (.onnx, .safetensors).
    data: as ``convatlas.data.load`` knows it, or folder:PATH of pictures without classes; of a run, and of a file
    exported from one, by default what it was trained on.  Training pictures calibrate, test pictures test.
    out: the file; by default NETWORK-int8.onnx, of a run and of a file beside it.
    method: one of METHODS, or "auto": the first of them that holds, tried on validation pictures.
    pictures: how many calibrate; tested: how many test, at most.
    max_drop: points of accuracy that may be lost.  It gains where that holds, and it is faster, or half as large and
    hardly slower.
    weight_bits: 7 for x86 processors without VNNI, where sums of 8 bits overflow; by default as this one asks.
    force: write it even where it does not gain.  seed: decides which pictures are taken.
    allow_busy: time and decide although other programs keep the machine busy.  watch: is told what is being done.

    Raises ConvatlasError, UnknownName for what cannot be quantized, for data that does not fit, and for a busy machine.
    """
    _check(method, pictures, tested, max_drop, weight_bits)
    number = checked_threads(threads)
    refuse_missing(model)
    path = _place(model, out)
    refuse_unwritable(path)
    spec = data or data_of(model) or data_of(weights)
    if spec is None:
        raise ConvatlasError(f"on which pictures? convatlas quantize {os.fspath(model)} --data folder:PATH")
    bits = weight_bits or (7 if eightbit.saturates() else 8)
    checked_load(number, allow_busy)  # before the minutes that it may take
    with tempfile.TemporaryDirectory(prefix="convatlas-") as scratch:
        watch("writing the network as ONNX")
        trial = Trial(Path(scratch), model, weights, number, bits)
        found = samples(spec, trial.record, model, trial.travelling.labels, pictures=pictures, tested=tested, seed=seed)
        made = trial.attempt(found, [*METHODS] if method == "auto" else [method], max_drop, watch)
        result = _result(trial, found, made, max_drop, bits, allow_busy, watch)
        if not result.kept and not force:
            return result
        told = {key: value for key, value in result.to_json().items() if key not in ("path", "unread")}
        eightbit.describe(
            made.file, {**trial.record, "quantized": {**told, "onnxruntime": metadata.version("onnxruntime")}}
        )
        write_whole(path, lambda beside: shutil.copyfile(made.file, beside))
    return replace(result, path=path)


def _result(
    trial: Trial,
    found: Samples,
    made: Attempt,
    max_drop: float,
    bits: int,
    allow_busy: bool,
    watch: Callable[[str], None],
) -> Quantized:
    """Tested and timed beside the network in float."""
    watch(f"testing on {len(found.test):,} pictures")
    seen = made.chosen_by if found.test is found.choose else trial.compare(made.file, found.test)
    watch("measuring, by turns")
    start = counters()
    times = trial.times(made.file, found.test)
    load = between(start, counters())
    sizes = {"float32": trial.file.stat().st_size, "int8": made.file.stat().st_size}
    before, after = (
        Figures(accuracy, sizes[name], times[name][0].median, times[name][1])
        for name, accuracy in (("float32", seen.before), ("int8", seen.after))
    )
    notes = [f"{note}: answers are compared" if found.test.order is None else note for note in found.notes]
    for count, doing in ((made.calibrated, "calibrate"), (seen.pictures, "test")):
        if count < FEW:
            notes.append(f"few pictures {doing}, {count}: with fewer than {FEW} the figures are a guess")
    if seen.before is not None and seen.judged_by == "agreement":
        notes.append(f"{counted(seen.pictures, 'test picture')} cannot tell a point of accuracy, {ENOUGH} can: answers "
                     "are compared")  # fmt: skip
    disturbed = load.too_busy(trial.threads)
    if disturbed:
        notes.append(f"{load} meanwhile: the times are disturbed")
    faster = before.latency / after.latency
    kept, reason = _verdict(seen, faster, sizes["float32"] / sizes["int8"], max_drop)
    if kept and disturbed and not allow_busy:
        kept, reason = False, "the machine was busy while it was timed: try again, or decide all the same with --busy"
    return Quantized(
        path=None,
        kept=kept,
        reason=reason,
        method=made.method,
        said=METHODS[made.method].said,
        tried=made.tried,
        weight_bits=bits,
        data=found.spec,
        calibrated=made.calibrated,
        calibrated_on=found.calibrate.title,
        tested=seen.pictures,
        tested_on=found.test.title,
        judged_by=seen.judged_by,
        drop=seen.drop,
        agreement=seen.agreement,
        faster=faster,
        before=before,
        after=after,
        unread=tuple(sorted(trial.unread)),
        notes=tuple(notes),
    )


def _verdict(seen: Comparison, faster: float, smaller: float, max_drop: float) -> tuple[bool, str]:
    """Whether it gains, and why, or why not.  faster: by how many times, on one picture."""
    speed = f"{faster:.2f} times as fast"
    if seen.drop > max_drop:
        what = "accuracy" if seen.judged_by == "accuracy" else "expected accuracy"
        return False, f"the {what} falls by {seen.drop:.2f} points, more than {max_drop:g}"
    if seen.pictures < FEW:
        return False, f"{counted(seen.pictures, 'test picture')} cannot show what it loses: {FEW} at least"
    if faster < FASTER and (smaller < SMALLER or faster < NO_SLOWER):
        return False, f"{speed} and {smaller:.2f} times smaller is no gain"
    return True, f"{speed}, {smaller:.2f} times smaller"


def _check(method: str, pictures: int, tested: int, max_drop: float, weight_bits: int | None) -> None:
    if method not in ("auto", *METHODS):
        raise UnknownName("method", method, ["auto", *METHODS])
    for option, value in (("pictures", pictures), ("tested", tested)):
        if value < 1:
            raise ConvatlasError(f"{option} is at least 1, not {value}")
    if not 0 <= max_drop <= 100 or math.isnan(max_drop):
        raise ConvatlasError(f"max-drop is a number of points of accuracy from 0 to 100, not {max_drop}")
    if weight_bits not in (None, 7, 8):
        raise ConvatlasError(f"weight-bits are 7 or 8, not {weight_bits}")


def _place(model: str | os.PathLike[str], out: str | os.PathLike[str] | None) -> Path:
    if out is not None:
        path = Path(out)
        if path.is_dir():
            raise ConvatlasError(f"{path} is a folder; name a file in it")
        if path.suffix.lower() != ".onnx":
            raise ConvatlasError(f"a quantized network is a file of ONNX: it ends in .onnx, not {path.name!r}")
        return path
    name = os.fspath(model)
    if record_of_run(name) is not None:
        return Path(name) / "model-int8.onnx"
    if Path(name).suffix.lower() in carried.SUFFIXES:
        return Path(name).with_name(f"{Path(name).stem}-int8.onnx")
    return Path(f"{Path(name.replace(':', '_')).name}-int8.onnx")
