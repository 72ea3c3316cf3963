"""The figures of a training run: its curves, its confusion matrix, how sure its answers were.

Read from ``run.json`` and ``metrics.jsonl``, at any moment of the run.  matplotlib is imported inside functions only.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from convatlas.cost.plots import COLOURS, INK, QUIET_INK
from convatlas.errors import ConvatlasError
from convatlas.train.checkpoint import write_whole
from convatlas.train.log import METRICS, rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE = "#d8d9dd"
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
CELLS = 250
"""Side of the heat map at most; with more classes each of its cells stands for several."""

Course = dict[str, dict[str, np.ndarray]]


class Calibration(NamedTuple):
    """Bins of equal width over the probability of the answer: (bins,) each; NaN where a bin is empty.

    Guo et al. 2017 (arXiv 1706.04599), section 2.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float
    """Expected calibration error: mean of |accuracy - confidence|, each bin by its count."""


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
    made = Figure(figsize=(9, 8), layout="constrained")
    panels = made.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1.6])
    for draw, panel in zip(PANELS.values(), panels):
        draw(panel, told, seen)
        panel.label_outer()
    words = _plain(str(told.get("title") or told.get("network") or run.name))
    title = made.suptitle(words, x=0.01, ha="left", color=INK)
    title.set_parse_math(False)
    return made


def panel(name: str, told: dict[str, Any], seen: Course) -> Figure:
    """One of the PANELS by itself, of a width that a telephone can show.  told, seen: the run's record and course."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(4.4, 3.1), layout="constrained")
    PANELS[name](made.subplots(), told, seen)
    return made


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
    _bare(panel)


def _bare(panel: Axes) -> None:
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


# ---- the test pictures --------------------------------------------------------------------------------------


def confusion_picture(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """The counts of a confusion matrix, rows the true classes: (C, C) whole numbers, C at most 20 or so."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    count, words = len(matrix), [_label(name) for name in names]
    room = 0.075 * max(map(len, words))
    side = max(0.36 * count, 1.2)
    made = Figure(figsize=(side + room + 0.3, side + room + 0.3), layout="constrained")
    panel = made.subplots()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    for true, guessed in np.argwhere(matrix):
        share = shares[true, guessed]
        colour, alpha = (TRAIN, 0.5 * share) if true == guessed else (VALIDATION, 0.04 + 0.7 * math.sqrt(share))
        panel.add_patch(Rectangle((guessed - 0.5, true - 0.5), 1, 1, color=colour, alpha=alpha, linewidth=0))
        figure = f"{matrix[true, guessed]}"
        panel.text(guessed, true, figure, ha="center", va="center", fontsize=8 if len(figure) < 4 else 6.5, color=INK)
    _class_axes(panel, range(count), words, count)
    return made


def confusion_map(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """Where the mistakes lie among many classes: darker for a larger part of the true class."""
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    count = len(matrix)
    wrong = matrix.astype(float)
    np.fill_diagonal(wrong, 0)
    block = math.ceil(count / CELLS)
    starts = np.arange(0, count, block)
    sums = np.add.reduceat(np.add.reduceat(wrong, starts, 0), starts, 1)
    shares = sums / np.maximum(np.add.reduceat(matrix.sum(1), starts), 1)[:, None]
    picture = np.zeros((*shares.shape, 4))
    picture[..., :3] = to_rgb(VALIDATION)
    picture[..., 3] = np.where(shares > 0, 0.12 + 0.88 * np.sqrt(shares / max(shares.max(), 1e-9)), 0)
    made = Figure(figsize=(6.4, 6.4), layout="constrained")
    panel = made.subplots()
    panel.imshow(picture, interpolation="none", extent=(-0.5, count - 0.5, count - 0.5, -0.5))
    panel.plot([-0.5, count - 0.5], [-0.5, count - 0.5], color=QUIET_INK, linewidth=0.5)
    every = range(0, count, math.ceil(count / 20))
    _class_axes(panel, every, [_label(names[place]) for place in every], count)
    return made


def _class_axes(panel: Axes, places: Sequence[int], words: Sequence[str], count: int) -> None:
    panel.set_xlim(-0.5, count - 0.5)
    panel.set_ylim(count - 0.5, -0.5)
    panel.set_aspect("equal")
    panel.xaxis.tick_top()
    panel.set_xticks(places, words, rotation=90)
    panel.set_yticks(places, words)
    panel.tick_params(length=0, labelsize=8, colors=INK)
    panel.spines[:].set_color(LINE)
    for label in (*panel.get_xticklabels(), *panel.get_yticklabels()):
        label.set_parse_math(False)
    panel.set_ylabel("true", fontsize=8.5, color=QUIET_INK)
    panel.set_xlabel("predicted", fontsize=8.5, color=QUIET_INK)


def reliability(found: Calibration) -> Figure:
    """How often answers of a probability are right, and how many there are of it."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(4.4, 4.6), layout="constrained")
    panel, below = made.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = 1 / len(found.counts)
    middles = (np.arange(len(found.counts)) + 0.5) * width
    there = found.counts > 0
    panel.bar(middles[there], found.accuracy[there], 0.92 * width, color=TRAIN, alpha=0.55, label="right")
    panel.hlines(found.confidence[there], middles[there] - 0.46 * width, middles[there] + 0.46 * width,
                 color=VALIDATION, linewidth=2, label="mean probability")  # fmt: skip
    panel.plot([0, 1], [0, 1], color=QUIET_INK, linewidth=0.9, linestyle="--")
    panel.legend(fontsize=8, frameon=False, loc="upper left", labelcolor=INK)
    panel.set_ylim(0, 1.02)
    panel.set_title("share that is right", loc="left", fontsize=10, color=INK)
    panel.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    below.bar(middles[there], found.counts[there], 0.92 * width, color=QUIET_INK, alpha=0.7)
    below.set_yscale("log")
    below.set_ylim(bottom=0.7)
    below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    below.minorticks_off()
    below.set_title("pictures", loc="left", fontsize=10, color=INK)
    below.set_xlabel("probability of the answer", fontsize=8.5, color=INK)
    below.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    for part in (panel, below):
        part.set_xlim(0, 1)
        part.grid(axis="y", color=LINE, linewidth=0.6)
        _bare(part)
    return made


def _label(name: str) -> str:
    """A class' name for an axis: one line, not too long."""
    word = _plain(name)
    return word if len(word) <= 18 else f"{word[:17]}…"


def _plain(text: str) -> str:
    """Without what neither a font nor XML can have."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
