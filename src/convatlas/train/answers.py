"""The answers to the test pictures, as ``test.npz`` holds them: labels (N,) and probabilities (N, C)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convatlas.errors import ConvatlasError
from convatlas.train.findings import Calibration

Z = 1.959963984540054
"""Of a normal distribution 95 % lie within this many standard deviations."""
BINS = 15


class Answers:
    """The answers to the test pictures.  One whose probabilities are not finite is none, and counts as wrong."""

    def __init__(self, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str] = ()):
        """labels: (N,) whole numbers; probabilities: (N, C).  Raises ConvatlasError where a label is not below C."""
        self.classes = probabilities.shape[1]
        if len(labels) != len(probabilities) or (len(labels) and not 0 <= labels.min() <= labels.max() < self.classes):
            raise ConvatlasError(f"test.npz: labels do not fit to probabilities of shape {probabilities.shape}")
        self.labels, self.probabilities = labels, probabilities
        self.names = [*names[: self.classes], *map(str, range(len(names), self.classes))]
        self.answered = np.isfinite(probabilities).all(1)
        self.predicted = np.where(self.answered, probabilities.argmax(1), -1)
        self.right = self.predicted == labels
        self.confidence = np.where(self.answered, probabilities.max(1), np.nan).astype(float)
        told = probabilities[np.arange(len(labels)), labels].astype(float)
        self.losses = -np.log(np.maximum(told, np.finfo(np.float32).tiny))

    @property
    def matrix(self) -> np.ndarray:
        """Confusion matrix, (C, C) int64: rows are the true classes, columns the predicted ones."""
        pairs = self.labels[self.answered] * self.classes + self.predicted[self.answered]
        return np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    def top(self, count: int) -> float:
        """Part of the pictures whose class is among the ``count`` most probable."""
        higher = (self.probabilities > self.probabilities[np.arange(len(self.labels)), self.labels][:, None]).sum(1)
        return float(((higher < count) & self.answered).mean())

    def mistakes(self, most: int) -> np.ndarray:
        """The wrong answers with the highest loss, the worst first."""
        wrong = np.flatnonzero(self.answered & ~self.right)
        return wrong[np.argsort(-self.losses[wrong], kind="stable")][:most]


def answers(run: Path, names: Sequence[str] = ()) -> Answers | None:
    """Those of ``test.npz``; None where there is none, or no picture in it."""
    if not (run / "test.npz").exists():
        return None
    with np.load(run / "test.npz") as stored:
        labels, probabilities = stored["labels"], stored["probabilities"]
    return Answers(labels, probabilities, names) if len(labels) else None


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share that ``count`` trials gave.  Wilson 1927, JASA 22, 209-212."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Calibration:
    """How right the answers of each probability are: both (N,), NaN for a picture that is left out."""
    there = np.isfinite(confidence)
    confidence, right = confidence[there], right[there]
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # a bin holds its upper edge
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        told, found = (np.bincount(place, values, minlength=bins) / counts for values in (confidence, right))
    gaps = np.abs(found - told)[counts > 0] * counts[counts > 0]
    return Calibration(counts, told, found, float(gaps.sum() / max(len(confidence), 1)))
