"""What a study gives: its candidates with their costs and accuracies, the best, and what must be said of them."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from convatlas.compare.pareto import front
from convatlas.files import write_whole

TABLE, RESULT, REPORT = "table.csv", "result.json", "report.html"
"""The files that a study writes into its folder."""


@dataclass(frozen=True)
class Candidate:
    """One network of a study.

    kind: "compound", "depth", "width", "resolution", "base"; or of a search "searched".
    choices: what tells it apart: alpha, beta, gamma; or of each stage kernel, width …  options: of ``registry.create``.
    accuracies: on the validation pictures, one a seed, None where it was halved; seconds: of its trainings together.
    latency: seconds of a picture, predicted for this machine, where it was asked for.
    order: the number of the task that finished it, from 1.  reward: what a search ranks by.
    """

    name: str
    kind: str
    network: str
    options: Mapping[str, Any]
    choices: Mapping[str, Any]
    macs: int
    params: int
    accuracies: tuple[float, ...]
    seconds: float
    order: int
    latency: float | None = None
    reward: float | None = None
    halved_at: float | None = None
    """The accuracy at which successive halving ended it."""
    diverged: bool = False

    @property
    def accuracy(self) -> float | None:
        """The mean over the seeds; None of what was halved."""
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds; None of a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "accuracy": self.accuracy, "spread": self.spread}


@dataclass(frozen=True)
class Result:
    """A finished study.

    title: a line.  about: what was done, in sentences.  candidates: in the order of their tasks.  best: the winner's
    name.  importance: of each choice, a share; empty where it is not known.  counts: of the trials.
    notes: what must be said.
    """

    title: str
    about: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    best: str
    counts: Mapping[str, int]
    importance: Mapping[str, float] = field(default_factory=dict)
    target: Mapping[str, float] = field(default_factory=dict)
    """{"macs": …} or {"latency": seconds}: drawn as a line."""
    notes: tuple[str, ...] = ()
    cost: Literal["macs", "latency"] = "macs"
    """What accuracy is held against."""

    @property
    def winner(self) -> Candidate:
        return next(one for one in self.candidates if one.name == self.best)

    def front(self, cost: str = "") -> tuple[Candidate, ...]:
        """The candidates that none beats in both accuracy and cost ("macs" or "latency"), the cheapest first."""
        cost = cost or self.cost
        full = [one for one in self.candidates if one.accuracy is not None and getattr(one, cost) is not None]
        if not full:
            return ()
        on = front([[one.accuracy or 0.0, getattr(one, cost)] for one in full], ["higher", "lower"])
        return tuple(sorted((one for one, best in zip(full, on) if best), key=lambda one: float(getattr(one, cost))))

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title, "about": list(self.about), "best": self.best, "counts": dict(self.counts),
            "candidates": [one.to_json() for one in self.candidates], "front": [one.name for one in self.front()],
            "importance": dict(self.importance), "target": dict(self.target), "notes": list(self.notes),
        }  # fmt: skip

    def to_csv(self) -> str:
        """A line for each candidate, with a header; the front marked."""
        choices = list(dict.fromkeys(name for one in self.candidates for name in one.choices))
        on = {one.name for one in self.front()}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "kind", "network", "macs", "params", "latency", "accuracy", "spread", "accuracies",
                         "reward", "halved_at", "seconds", "order", "front", *choices, "options"])  # fmt: skip
        for one in self.candidates:
            writer.writerow([
                one.name, one.kind, one.network, one.macs, one.params, _plain(one.latency), _plain(one.accuracy),
                _plain(one.spread), " ".join(map(str, one.accuracies)), _plain(one.reward), _plain(one.halved_at),
                one.seconds, one.order, one.name in on, *(one.choices.get(name, "") for name in choices),
                json.dumps(one.options),
            ])  # fmt: skip
        return text.getvalue()

    def write(self, folder: Path) -> None:
        """The table, the result and the report, each whole.  Raises ConvatlasError where that cannot be done."""
        from convatlas.scaling.report import report

        texts = {TABLE: self.to_csv(), RESULT: json.dumps(self.to_json(), indent=1), REPORT: report(self)}
        for name, text in texts.items():
            write_whole(folder / name, lambda beside, text=text: beside.write_text(text, encoding="utf-8"))  # type: ignore[misc]


def _plain(value: Any) -> Any:
    return "" if value is None else value


def mean_and_spread(one: Candidate) -> str:
    """ "81.2 ± 0.4 %" """
    if one.accuracy is None:
        return f"halved at {100 * (one.halved_at or 0):.1f} %"
    spread = f" ± {100 * one.spread:.2f}" if one.spread is not None else ""
    return f"{100 * one.accuracy:.2f}{spread} %"


def ordered(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The most accurate first, what was halved last."""
    return sorted(candidates, key=lambda one: (one.accuracy is None, -(one.accuracy or one.halved_at or 0.0), one.macs))
