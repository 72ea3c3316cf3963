"""The curves of a training run: its loss, its accuracy, its learning rate.

Read from ``run.json`` and ``metrics.jsonl``, at any moment of the run.  matplotlib is imported inside functions only.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convatlas.cost.plots import COLOURS, INK, QUIET_INK
from convatlas.errors import ConvatlasError
from convatlas.files import write_whole
from convatlas.page import LINE
from convatlas.train.log import METRICS, rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, VALIDATION, TEST, RATE = (COLOURS[name] for name in ("macs", "params", "activation_bytes", "saved_bytes"))
FIGURES = ("epoch", "step", "loss", "accuracy", "learning_rate")
GOOD = 0.9
"""From this accuracy on the error is drawn, on a logarithmic scale."""
SPREAD = 30
"""A loss that falls by more than this factor is drawn on a logarithmic scale."""
STRETCHES = 400
"""So many stretches of steps are drawn apart."""
WINDOWS = 50
"""The moving average is over this part of the steps."""

Course = dict[str, dict[str, np.ndarray]]


def record(run: Path) -> dict[str, Any]:
    """What ``run.json`` says; {} where there is none yet.  Raises ConvatlasError where it is no JSON object."""
    path = run / "run.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ConvatlasError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConvatlasError(f"{path} holds no JSON object; is {run} the folder of a run?")
    return found


def course(run: Path) -> Course:
    """{"train" | "validation" | "test": {figure: float64 (rows,)}} of ``metrics.jsonl``, in the order of the steps.

    What a row does not have is NaN.  Of two rows for one step, as a resumed run may leave them, the later counts.
    """
    found: dict[str, dict[float, list[float]]] = {"train": {}, "validation": {}, "test": {}}
    for row in rows(run / METRICS) if (run / METRICS).exists() else []:
        if row.get("split") in found:
            values = [_number(row.get(name)) for name in FIGURES]
            found[row["split"]][values[1]] = values
    tables = {
        split: np.array([by[step] for step in sorted(by)]).reshape(-1, len(FIGURES)) for split, by in found.items()
    }
    return {split: dict(zip(FIGURES, table.T)) for split, table in tables.items()}


def best_epoch(record: dict[str, Any], course: Course) -> float | None:
    """The epoch of the kept weights: the run's own word, else that of the highest validation accuracy."""
    told = _number((record.get("best") or {}).get("epoch"))
    accuracy = course["validation"]["accuracy"]
    if math.isfinite(told) or not np.isfinite(accuracy).any():
        return told if math.isfinite(told) else None
    return float(course["validation"]["epoch"][np.nanargmax(accuracy)])


def curves(run: Path) -> Figure:
    """Loss, accuracy (or error) and learning rate along the epochs, one panel each."""
    from matplotlib.figure import Figure

    told, seen = record(run), course(run)
    made = Figure(figsize=(9, 8))
    _margins(made, top=0.65, gap=0.42)
    panels = made.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1.6])
    for draw, panel in zip(PANELS.values(), panels):
        draw(panel, told, seen)
        panel.label_outer()
    words = plain(str(told.get("title") or told.get("network") or run.name))
    title = made.suptitle(words, x=0.01, y=0.985, ha="left", va="top", color=INK)
    title.set_parse_math(False)
    return made


def panel(name: str, told: dict[str, Any], seen: Course) -> Figure:
    """One of the PANELS by itself, of a width that a telephone can show.  told, seen: the run's record and course."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(4.4, 3.1))
    _margins(made)
    PANELS[name](made.subplots(), told, seen)
    return made


def _margins(made: Figure, *, top: float = 0.32, gap: float = 0) -> None:
    """Room for ticks and titles, in inches.  (The constrained layout finds it by drawing everything once more.)"""
    wide, tall = made.get_size_inches()
    made.subplots_adjust(left=0.65 / wide, right=1 - 0.15 / wide, bottom=0.45 / tall, top=1 - top / tall,
                         hspace=3 * gap / tall)  # fmt: skip


def write_curves(run: Path) -> list[Path]:
    """Write ``curves.svg`` and ``curves.png`` into the run's folder."""
    from matplotlib import rc_context

    made, written = curves(run), [run / "curves.svg", run / "curves.png"]
    with rc_context({"svg.hashsalt": "convatlas"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a title in a script that the font lacks
        for path in written:
            kind = path.suffix[1:]
            undated = {"Date": None} if kind == "svg" else None
            write_whole(path, lambda to: made.savefig(to, format=kind, dpi=150, metadata=undated))  # noqa: B023
    return written


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the finite values among the ``window`` around each; (n,) -> (n,), NaN where there are none."""
    finite = np.isfinite(values)
    sums = np.concatenate([[0], np.cumsum(np.where(finite, values, 0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    places = np.arange(len(values))
    low, high = np.maximum(places - window // 2, 0), np.minimum(places + window // 2 + 1, len(values))
    with np.errstate(invalid="ignore"):
        return (sums[high] - sums[low]) / (counts[high] - counts[low])


def window(steps: int) -> int:
    """Steps that the moving average is over."""
    return max(1, steps // WINDOWS)


def _loss(panel: Axes, told: dict[str, Any], seen: Course) -> None:
    values = {split: figures["loss"] for split, figures in seen.items()}
    drawn = _lines(panel, told, seen, values)
    lowest, highest = min(drawn, default=1), max(drawn, default=1)
    if lowest > 0 and highest > SPREAD * lowest:
        _logarithmic(panel, lowest, highest, lambda value: f"{value:g}")
    elif drawn:
        panel.set_ylim(0 if lowest >= 0 else 1.05 * lowest, max(1.08 * highest, 1e-6))
    _test(panel, values["test"], lambda value: f"{value:.3g}")
    _dress(panel, "loss", len(seen["train"]["loss"]))


def _accuracy(panel: Axes, told: dict[str, Any], seen: Course) -> None:
    judged = np.concatenate([seen[split]["accuracy"] for split in ("validation", "test")])
    good = bool((judged > GOOD).any())
    values = {split: (1 - f["accuracy"] if good else f["accuracy"]) * 100 for split, f in seen.items()}
    drawn = _lines(panel, told, seen, values)
    if good:
        # The training error may come arbitrarily near to 0; the scale ends at a tenth of what the others have.
        held = 100 * (1 - judged[judged < 1 - 1e-6])
        lowest = max(min((value for value in drawn if value > 1e-6), default=1), min(held, default=1) / 10)
        _logarithmic(panel, lowest, max(*drawn, lowest), lambda value: f"{value:g} %")
    elif drawn:
        panel.set_ylim(0, min(1.08 * max(*drawn, 1e-3), 101))
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    _test(panel, values["test"], lambda value: f"{value:.2f} %")
    _dress(panel, "error" if good else "accuracy", len(seen["train"]["loss"]))


def _rate(panel: Axes, told: dict[str, Any], seen: Course) -> None:
    epochs, rates = seen["train"]["epoch"], seen["train"]["learning_rate"]
    panel.plot(*_thinned(epochs, rates), color=RATE, linewidth=1.4)
    usable = rates[np.isfinite(rates)]
    if len(usable):
        panel.set_ylim(0, 1.08 * max(usable.max(), 1e-12))
    _dress(panel, "learning rate", len(usable))


PANELS: dict[str, Callable[[Axes, dict[str, Any], Course], None]] = {
    "loss": _loss, "accuracy": _accuracy, "learning rate": _rate,
}  # fmt: skip


def _lines(panel: Axes, told: dict[str, Any], seen: Course, values: dict[str, np.ndarray]) -> list[float]:
    """Draw training and validation, and mark the best epoch; the finite values that the scale must hold.

    Those of single training steps are not among them.
    """
    epochs, raw = seen["train"]["epoch"], values["train"]
    mean = smoothed(raw, window(len(raw)))
    if len(raw) >= 2 * WINDOWS:
        panel.plot(*_thinned(epochs, raw), color=TRAIN, alpha=0.25, linewidth=0.6)
    panel.plot(*_thinned(epochs, mean), color=TRAIN, linewidth=1.5, label="training")
    at, checked = seen["validation"]["epoch"], values["validation"]
    dots = "o" if len(at) <= 40 else ""
    panel.plot(at, checked, color=VALIDATION, linewidth=1.5, marker=dots, markersize=3, label="validation")
    best = best_epoch(told, seen)
    if best is not None:
        panel.axvline(best, color=QUIET_INK, linewidth=0.8, linestyle=":")
        for value in checked[at == best]:
            panel.plot([best], [value], "o", color=VALIDATION, markersize=6.5, markerfacecolor="none")
        late = best > 0.5 * np.nanmax(np.concatenate([epochs, at, [1e-9]]))
        panel.annotate(f"best: epoch {best:g}", (best, 1), xycoords=("data", "axes fraction"), fontsize=8, color=INK,
                       xytext=(-4 if late else 4, -3), textcoords="offset points", ha="right" if late else "left",
                       va="top")  # fmt: skip
    every = np.concatenate([mean, checked, values["test"][-1:]])
    return [float(value) for value in every[np.isfinite(every)]]


def _test(panel: Axes, values: np.ndarray, word: Callable[[float], str]) -> None:
    """A line at the last value, on the lower edge of a logarithmic scale where that is 0."""
    for value in values[-1:][np.isfinite(values[-1:])]:
        height = max(value, panel.get_ylim()[0])
        panel.axhline(height, color=TEST, linewidth=1.1, linestyle="--", label=f"test {word(value)}")


def _logarithmic(panel: Axes, lowest: float, highest: float, word: Callable[[float], str]) -> None:
    """A logarithmic scale; what is 0 lies on its lower edge."""
    from matplotlib.ticker import LogLocator

    panel.set_yscale("log", nonpositive="clip")
    panel.set_ylim(lowest / 1.5, highest * 1.5)
    for line in panel.lines:
        if line.get_transform() == panel.transData:
            line.set_ydata(np.maximum(line.get_ydata(), lowest / 1.5))
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < 300 * lowest else (1,), numticks=12))
    panel.yaxis.set_major_formatter(lambda value, _: word(value))
    panel.yaxis.minorticks_off()


def _dress(panel: Axes, title: str, rows: int) -> None:
    panel.set_title(title, loc="left", fontsize=10, color=INK)
    panel.set_xlabel("epoch", fontsize=8.5, color=INK)
    panel.margins(x=0.01)
    panel.set_xlim(left=0)
    panel.grid(axis="y", color=LINE, linewidth=0.6)
    if not rows:
        panel.text(0.5, 0.5, "nothing yet", transform=panel.transAxes, ha="center", color=QUIET_INK)
    elif len(panel.get_legend_handles_labels()[0]):
        panel.legend(fontsize=8, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 0.99), borderpad=0,
                     labelcolor=INK, handlelength=1.4, columnspacing=1.2)  # fmt: skip
    bare(panel)


def bare(panel: Axes) -> None:
    """Without a frame above and to the right."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(QUIET_INK)
    panel.tick_params(which="both", colors=INK, labelsize=8)
    panel.set_axisbelow(True)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each stretch of steps the lowest and the highest value only, so that no peak is lost."""
    if len(x) <= 2 * STRETCHES:
        return x, y
    finite, kept = np.isfinite(y), set()
    for part in np.array_split(np.arange(len(x)), STRETCHES):
        if finite[part].any():
            kept.add(part[np.argmin(np.where(finite[part], y[part], np.inf))])
            kept.add(part[np.argmax(np.where(finite[part], y[part], -np.inf))])
    places = np.array(sorted(kept), dtype=int)
    return x[places], y[places]


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def plain(text: str) -> str:
    """Without what neither a font nor XML can have."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
