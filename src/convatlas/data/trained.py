"""Data as a network knows it: divided as when it was trained, its classes in the network's order.  No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convatlas.data.loading import load
from convatlas.data.splits import Data
from convatlas.errors import ConvatlasError, few
from convatlas.weights.labels import Label


def as_trained(told: Mapping[str, Any] | None, spec: str, origin: str | os.PathLike[str]) -> Data | None:
    """The data of a run, divided as it was then; None where ``spec`` is other data.

    told: what the run's folder, or a file that was exported from it, says of itself; origin: that folder or file.
    Raises ConvatlasError where the data has changed since: divided anew, a test would have pictures of the training.
    """
    told = (told or {}).get("run") or told or {}
    setup = told.get("setup")
    if setup is None or _place(setup["data"]) != _place(spec):
        return None
    chosen = {name: setup[name] for name in ("seed", "holdout", "bad_images")}
    opened = load(setup["data"], **chosen)
    if opened.fingerprint != told["data"]["fingerprint"]:
        raise ConvatlasError(f"{spec} is no longer what {os.fspath(origin)} was trained on; divided anew, a test would "
                             "have pictures of the training in it. Test on a folder of other pictures")  # fmt: skip
    return opened


def _place(spec: str) -> tuple[str, str]:
    """A data set's kind, and where it is, however it is written."""
    kind, _, where = spec.partition(":")
    return kind, str(Path(where).expanduser().resolve()) if where else ""


def matched(data: Data, labels: Sequence[Label]) -> NDArray[np.int64]:
    """For each class of the data its place among the network's: by synset or name, else by order.

    Raises ConvatlasError where they do not match.
    """
    known = {label.name: place for place, label in enumerate(labels)}
    known |= {label.wnid: place for place, label in enumerate(labels) if label.wnid is not None}
    wanted = data.wnids or data.classes
    strange = [name for name in wanted if name not in known]
    if not strange:
        return np.array([known[name] for name in wanted])
    if len(wanted) != len(labels):
        raise ConvatlasError(f"{data.spec} has {len(wanted)} classes, the network {len(labels)}, and not "
                             f"{few(strange)}")  # fmt: skip
    if any(not label.name.startswith("class ") for label in labels):
        raise ConvatlasError(f"{data.spec} has classes that the network does not know: {few(strange)}")
    return np.arange(len(labels))
