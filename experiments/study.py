"""A study: several training runs, a few at a time; started again, it goes on where it was.

Each run is ``convatlas train`` with a folder of its own under the study's, so that whatever kills the study, or a run,
costs nothing: what is finished is left alone, what was begun is resumed, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Trial:
    """One run: what it belongs to, its seed, and the command line's words after ``convatlas train``."""

    group: str
    seed: int
    words: Sequence[str]

    @property
    def name(self) -> str:
        return f"{self.group}-{self.seed}".replace(" ", "_")


@dataclass(frozen=True)
class Outcome:
    """A finished run.  rows: of metrics.jsonl; told: run.json."""

    trial: Trial
    rows: list[dict[str, Any]]
    told: dict[str, Any]

    @property
    def test(self) -> float:
        """Accuracy on the test pictures, of the best in validation."""
        return float(self.told["test"]["accuracy"])

    def training(self, split: str = "train", figure: str = "accuracy") -> list[float]:
        """For each epoch the mean of a figure, over its steps."""
        found: dict[int, list[float]] = {}
        for row in self.rows:
            if row["split"] == split:
                epoch = int(row["epoch"]) if split == "train" else int(row["epoch"]) - 1
                found.setdefault(epoch, []).append(row[figure])
        return [statistics.fmean(found[epoch]) for epoch in sorted(found)]


class Study:
    """Runs trials.  folder: where their runs are; jobs: how many at once, sharing the cores."""

    def __init__(self, folder: Path, jobs: int):
        self.folder, self.jobs = folder, jobs
        self.running: set[subprocess.Popen[bytes]] = set()
        self.lock, self.stopping = threading.Lock(), False

    def run(self, trials: Iterable[Trial]) -> list[Outcome]:
        """Every trial to its end; leaves by SystemExit(75) where it is asked to stop."""
        trials = list(trials)
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with ThreadPoolExecutor(self.jobs) as pool:
                failed = [name for name in pool.map(self._one, trials) if name]
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.stopping:
            raise SystemExit(75)
        if failed:
            raise SystemExit(f"failed, see their .log in {self.folder}: {', '.join(failed)}")
        return [self.outcome(trial) for trial in trials]

    def outcome(self, trial: Trial) -> Outcome:
        folder = self.folder / trial.name
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return Outcome(trial, rows, self._told(folder))

    def _one(self, trial: Trial) -> str | None:
        """Run one trial; its name where it fails."""
        folder = self.folder / trial.name
        told = self._told(folder)
        words = [*trial.words, "--seed", str(trial.seed), "--out", str(folder)]
        before = told.get("command", ["train", *words])
        if "--resume" not in before and before != ["train", *words]:
            print(f"{trial.name} was begun as convatlas {' '.join(before)}; remove {folder} to run it anew")
            return trial.name
        if self.stopping or told.get("state") == "finished":
            return None
        words = ["--resume", str(folder)] if told else words
        cores = os.cpu_count() or 1
        environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores // self.jobs))}
        self.folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        with folder.with_name(f"{folder.name}.log").open("ab") as log:
            run = subprocess.Popen([sys.executable, "-m", "convatlas", "train", *words], env=environment, stderr=log,
                                   stdout=log)  # fmt: skip
            with self.lock:
                self.running.add(run)
            if self.stopping:  # asked just now
                run.send_signal(signal.SIGTERM)
            status = run.wait()
            with self.lock:
                self.running.discard(run)
        print(f"{trial.name}: {'finished' if status == 0 else f'status {status}'} in "
              f"{(time.perf_counter() - start) / 60:.1f} min", flush=True)  # fmt: skip
        return None if status == 0 or (status == 75 and self.stopping) else trial.name

    def _stop(self, number: int, frame: Any) -> None:
        """The runs save where they are."""
        self.stopping = True
        for run in list(self.running):
            run.send_signal(signal.SIGTERM)

    def _told(self, folder: Path) -> dict[str, Any]:
        path = folder / "run.json"
        return json.loads(path.read_text()) if path.exists() else {}


# ---- what is written ----------------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> str:
    """Percentages: mean ± standard deviation, and every value."""
    shown = ", ".join(f"{100 * value:.2f}" for value in values)
    if len(values) < 2:
        return f"{shown} %"
    return f"{100 * statistics.fmean(values):.2f} ± {100 * statistics.stdev(values):.2f} % ({shown})"


def by_group(outcomes: Sequence[Outcome], figure: Callable[[Outcome], float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.trial.group, []).append(figure(outcome))
    return found


def memory(outcomes: Sequence[Outcome]) -> list[str]:
    """For each group the tensors' peak in a training step, measured and predicted."""
    lines = []
    for group, last in {outcome.trial.group: outcome for outcome in outcomes}.items():
        measured, predicted = last.told.get("measured_peak_bytes"), last.told["predicted_peak_bytes"]
        if measured:
            lines.append(f"{group}: {measured / 2**20:.1f} MiB measured, {predicted / 2**20:.1f} MiB predicted, "
                         f"{100 * (predicted / measured - 1):+.2f} %")  # fmt: skip
    return lines


def write(name: str, title: str, outcomes: Sequence[Outcome], findings: Sequence[str]) -> None:
    """results/NAME.txt: machine, what was run, what was found, memory, and the commands."""
    hours = sum(outcome.told["seconds"] for outcome in outcomes) / 3600
    counts = outcomes[0].told["data"]["counts"]
    lines = [
        describe(), "", title, f"{len(outcomes)} runs, {hours:.2f} hours of training in all; "
        f"{outcomes[0].told['data']['spec'].partition(':')[0]} with {counts['train']:,} training, "
        f"{counts['validation']:,} validation and {counts['test']:,} test pictures (the first run's)", "",
        *findings, "",
        "Peak of a training step's tensors", *memory(outcomes), "", "Runs",
        *(f"{outcome.trial.name}: convatlas train {' '.join(map(str, outcome.told['command'][1:]))}"
          for outcome in outcomes),
    ]  # fmt: skip
    text = re.sub(r"(?<=[ :=])/\S*/", "", "\n".join(lines)) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(text, encoding="utf-8")
    print(text)


def options(about: str | None, name: str) -> argparse.ArgumentParser:
    """The arguments that every study has."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs") / name, help="where the runs are")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--seeds", type=int, default=3)
    return parser
