"""What the report shows of the test pictures: confusion, classes, mistakes, calibration; their figures and tables.

matplotlib is imported inside functions only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from convatlas import page
from convatlas.cost.plots import INK, QUIET_INK
from convatlas.numbers import percent
from convatlas.train.curves import LINE, TRAIN, VALIDATION, bare, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from convatlas.train.answers import Answers

COUNTED = 20
"""With more classes than these the confusion matrix is a map, without its counts."""
CELLS = 250
"""Side of the heat map at most; with more classes each of its cells stands for several."""
PAIRS, WORST, OPEN = 20, 24, 25


class Calibration(NamedTuple):
    """Bins of equal width over the probability of the answer: (bins,) each; NaN where a bin is empty.

    Guo et al. 2017 (arXiv 1706.04599), section 2.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float
    """Expected calibration error: mean of |accuracy - confidence|, each bin by its count."""


def confusion(tested: Answers) -> str:
    """The confusion matrix, as counts or as a map, and the pairs that are confused most."""
    matrix, names = tested.matrix, tested.names
    if tested.classes <= COUNTED:
        picture = confusion_picture(matrix, names)
        wide = f"min-width:{28 * tested.classes + 80}px;max-width:{44 * tested.classes + 100}px"
        body = f'<figure class="scroll"><div style="{wide}">{page.svg(picture, "confusion matrix")}</div></figure>'
        note = "Rows are the true classes, columns the answers; the stronger, the larger a part of its row."
        return f'<div class="beside">{body}<div>{_pairs(matrix, names, 8)}</div></div><p class="note">{note}</p>'
    picture = confusion_map(matrix, names)
    note = "Mistakes only: rows are the true classes, columns the answers; the stronger, the larger a part of its row."
    several = math.ceil(tested.classes / CELLS)
    note += f" Each cell stands for {several} by {several} classes." * (several > 1)
    body = f"<figure>{page.svg(picture, 'map of the mistakes')}</figure><div>{_pairs(matrix, names, PAIRS)}</div>"
    return f'<div class="beside">{body}</div><p class="note">{note}</p>'


def _pairs(matrix: np.ndarray, names: Sequence[str], most: int) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(i, j) for i, j in zip(*np.unravel_index(order, wrong.shape)) if wrong[i, j]]
    lines = [[names[i], names[j], f"{wrong[i, j]:,}", percent(wrong[i, j] / matrix[i].sum())] for i, j in pairs]
    return page.table(["true", "taken for", "times", "of its class"], lines) if lines else "<p>No mistake at all.</p>"


def classes(tested: Answers) -> str:
    """A table with the worst class first; classes without a test picture last."""
    matrix, support = tested.matrix, np.bincount(tested.labels, minlength=tested.classes)
    hits, guessed = np.diag(matrix), matrix.sum(0)
    with np.errstate(invalid="ignore"):
        recall, precision = hits / support, hits / guessed
        f1 = 2 * hits / (support + guessed)
    wrong = matrix - np.diag(hits)
    order = np.lexsort((np.arange(tested.classes), -support, np.where(support, recall, 2)))
    head = ["class", "pictures", "accuracy (recall)", "precision", "F1", "mostly taken for"]
    lines = []
    for place in order:
        other = int(wrong[place].argmax())
        taken = f"{tested.names[other]} ({wrong[place, other]:,})" if wrong[place, other] else ""
        shares = [percent(v) if np.isfinite(v) else "–" for v in (recall[place], precision[place], f1[place])]
        lines.append([tested.names[place], f"{support[place]:,}", *shares, taken])
    bars = {2: [float(np.nan_to_num(recall[place])) for place in order]}
    if len(lines) <= OPEN + 5:
        return page.table(head, lines, bars)
    rest = {2: bars[2][OPEN:]}
    return (f"{page.table(head, lines[:OPEN], bars)}<details><summary>the other {len(lines) - OPEN:,} classes</summary>"
            f"{page.table(head, lines[OPEN:], rest)}</details>")  # fmt: skip


def mistakes(tested: Answers, picture: Callable[[int], np.ndarray] | None, name: Callable[[int], str] | None) -> str:
    """The wrong answers with the highest loss; picture, name: as ``write_report`` has them."""
    worst = [int(index) for index in tested.mistakes(WORST)]
    if not worst:
        return "<p>No mistake at all.</p>"
    cards = []
    for index in worst:
        whole = escape(name(index) if name else f"test picture {index}", quote=True)
        called = escape("/".join(Path(name(index)).parts[-2:])) if name else whole
        true, guessed = tested.labels[index], tested.predicted[index]
        shown = page.picture(picture(index), called) if picture else ""
        cards.append(
            f"<figure>{shown}<figcaption><b>{escape(tested.names[guessed])}</b> {_chance(tested, index, guessed)}<br>"
            f'is <b class="true">{escape(tested.names[true])}</b> {_chance(tested, index, true)}'
            f'<br><small title="{whole}">{called}</small></figcaption></figure>'
        )
    wrong = int((~tested.right).sum())
    note = f"{len(worst)} of {wrong:,} mistakes, those with the highest loss: the answer, what it is, and how probable."
    return f'<div class="cards">{"".join(cards)}</div><p class="note">{note}</p>'


def _chance(tested: Answers, index: int, place: int) -> str:
    share = float(tested.probabilities[index, place])
    return (percent(share) if share >= 0.001 else "&lt; 0.1 %").replace(" ", "&nbsp;")


def certainty(tested: Answers, found: Calibration) -> str:
    """How sure the answers are, and how often they are right."""
    bins = len(found.counts)
    lines = [
        [f"{100 * k / bins:.0f} to {100 * (k + 1) / bins:.0f} %", f"{found.counts[k]:,}", percent(found.confidence[k]),
         percent(found.accuracy[k])] for k in range(bins) if found.counts[k]
    ]  # fmt: skip
    table = page.table(["probability", "pictures", "mean", "right"], lines)
    mean = float(np.nanmean(tested.confidence)) if tested.answered.any() else math.nan
    facts = page.facts([("expected calibration error", f"{100 * found.error:.2f} %"),
                        ("mean probability", page.exact(mean)),
                        ("accuracy", page.exact(float(tested.right.mean())))])  # fmt: skip
    note = f"{bins} bins of equal width. Of answers given with 80 %, 80 % should be right: the dashed line."
    drawn = page.svg(reliability(found), "reliability")
    body = f'<figure style="max-width:480px">{drawn}</figure><div>{facts}{table}</div>'
    return f'<div class="beside">{body}</div><p class="note">{note}</p>'


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
        bare(part)
    return made


def _label(name: str) -> str:
    """A class' name for an axis: one line, not too long."""
    word = plain(name)
    return word if len(word) <= 18 else f"{word[:17]}…"
