"""A study's figures: those of accuracy against cost, and all of them by their names.

matplotlib is imported inside functions only.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas.compare.axes import time
from convatlas.compare.drawing.labels import Label, place
from convatlas.compare.drawing.scatter import along
from convatlas.compare.drawing.style import bare, darker, headed, named, noted, save, sheet
from convatlas.cost.plots import INK, QUIET_INK
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.numbers import counted, percent, short
from convatlas.scaling.course import history, importance
from convatlas.scaling.looks import ACCURACY, floor, full, in_percent, literal, look, rounded
from convatlas.scaling.results import Candidate, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SINGLE = ("depth", "width", "resolution")
"""Kinds that are scaled in one dimension, each a line from the base."""
COMPARED = (*SINGLE, "compound")
NAMES = {"depth": "depth alone", "width": "width alone", "resolution": "resolution alone"}

WIDE = 4.0
"""Costs that differ by more than this factor are drawn on a logarithmic scale."""
NAMED, CROWD = 12, 24
"""So many candidates may all be named; of more than so many that no line joins each is faint."""
BESIDE = 0.42
"""A target in this part of the width has its word below the title, not beside it."""
LETTERS = 10
"""Of a title, to an inch."""
APART = 0.06
"""Where not all are named, the names' points are apart by this part of the width."""


def cost(found: Result) -> Figure:
    """Accuracy against multiply-adds."""
    return _against(found, "macs", "multiply-adds of a picture", short)


def speed(found: Result) -> Figure:
    """Accuracy against predicted time."""
    return _against(found, "latency", "predicted time of a picture", time)


# ---- accuracy against cost ----------------------------------------------------------------------------------


def _against(found: Result, key: str, title: str, form: Callable[[float], str]) -> Figure:
    drawn = [one for one in full(found) if getattr(one, key) is not None]
    made = sheet(9.6, 5.4)
    panel = made.subplots()
    headed(panel, ACCURACY)
    lowest = floor([one.accuracy or 0.0 for one in drawn])
    kept = [one for one in drawn if (one.accuracy or 0.0) >= lowest]
    x, y = (lambda one: float(getattr(one, key))), (lambda one: 100 * (one.accuracy or 0.0))
    target = found.target.get(key)
    _scaled(panel, [x(one) for one in drawn], [(y(one), 100 * (one.spread or 0.0)) for one in kept], target, form)
    joined = _lines(drawn, x)
    lines = [[(x(one), y(one)) for one in line] for line in joined]
    for line, kind in zip(lines, [line[-1].kind for line in joined]):
        panel.plot(*zip(*line), color=look(kind)[0], linewidth=1.1, alpha=0.75, zorder=2)
    front = [(x(one), y(one)) for one in found.front(key) if one in kept]
    if len(front) > 1:
        panel.plot(*zip(*front), color=QUIET_INK, linewidth=2.6, alpha=0.4, zorder=1, solid_capstyle="round")
    crowd = {one.name for one in drawn} - {one.name for line in joined for one in line} - {found.best}
    for kind in dict.fromkeys(one.kind for one in kept):
        of = [one for one in kept if one.kind == kind]
        _marks(panel, [one for one in of if one.name in crowd], x, y, len(crowd) > CROWD)
        _marks(panel, [one for one in of if one.name not in crowd], x, y)
    _marks(panel, [one for one in kept if one.name == found.best], x, y, best=True)
    below = [one for one in drawn if one not in kept]
    for one in below:
        panel.plot([x(one)], [panel.get_ylim()[0]], color=look(one.kind)[0], marker=11, markersize=6, clip_on=False)
    if target is not None:
        if _across(panel, target) < BESIDE:
            panel.set_title(ACCURACY, loc="left", fontsize=10.5, color=INK, pad=20)
        panel.axvline(target, color=QUIET_INK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        panel.annotate(f"target {rounded(form(target))}", (target, 1), xytext=(0, 3), textcoords="offset points",
                       xycoords=("data", "axes fraction"), ha="center", fontsize=8, color=QUIET_INK)  # fmt: skip
    panel.set_xlabel(title, fontsize=9, color=INK)
    bare(panel)
    taken = [spot for line in [front, *lines] for spot in along(panel, line)]
    taken += along(panel, [(target, end) for end in panel.get_ylim()]) if target is not None else []
    taken += [spot for one in kept if one.spread for spot in _bar(panel, x(one), y(one), 100 * one.spread)]
    taken += [(x(one), y(one), 3.6) for one in kept]
    place(panel, list(_labels(panel, found, kept, x, y, {one[0] for one in front})), size=8, taken=taken)
    words = ["The grey line joins those that none beats in both."] * (len(front) > 1)
    words += ["Bars: one standard deviation over the seeds, up and down."] * any(one.spread for one in kept)
    words += [f"{counted(len(below), 'candidate')} below {percent(lowest)} at the lower edge."] * bool(below)
    noted(made, [" ".join(words)], 170)
    return made


def _lines(drawn: Sequence[Candidate], x: Callable[[Candidate], float]) -> list[list[Candidate]]:
    """Those that belong together, each a line from the base: a dimension alone; the same coefficients."""
    base = [one for one in drawn if one.kind == "base"]
    groups: dict[Any, list[Candidate]] = {}
    for one in drawn:
        if one.kind in SINGLE:
            groups.setdefault(one.kind, []).append(one)
        elif one.kind == "compound":
            groups.setdefault(tuple(one.choices.get(name) for name in ("alpha", "beta", "gamma")), []).append(one)
    found = [sorted([*base[:1], *group], key=x) for key, group in groups.items() if key in SINGLE or len(group) > 1]
    return [line for line in found if len(line) > 1]


def _marks(
    panel: Axes,
    some: Sequence[Candidate],
    x: Callable[[Candidate], float],
    y: Callable[[Candidate], float],
    faint: bool = False,
    best: bool = False,
) -> None:
    """Candidates of one kind, with error bars where they have several seeds."""
    if not some:
        return
    colour, marker = look(some[0].kind)
    with_bars = [one for one in some if one.spread] if not best else []
    if with_bars:
        panel.errorbar(list(map(x, with_bars)), list(map(y, with_bars)),
                       yerr=[100 * (one.spread or 0.0) for one in with_bars], color=colour, linestyle="",
                       elinewidth=1.0, alpha=0.12 if faint else 0.6, capsize=0 if faint else 2.5, zorder=2)  # fmt: skip
    panel.scatter(list(map(x, some)), list(map(y, some)), s=96 if best else 26 if faint else 40, color=colour,
                  marker=marker, linewidth=1.4 if best else 0.7, edgecolor=INK if best else "#ffffff",
                  alpha=0.75 if faint else 1.0, zorder=4 if best else 3)  # fmt: skip


def _labels(
    panel: Axes,
    found: Result,
    drawn: Sequence[Candidate],
    x: Callable[[Candidate], float],
    y: Callable[[Candidate], float],
    front: set[float],
) -> Iterator[Label]:
    """The winner, what stands for its kind, the base, then the others where they are few, or on the front and apart."""
    stands = {one.kind: one for one in sorted(drawn, key=x) if one.kind in SINGLE}
    stands |= {one.kind: one for one in sorted(drawn, key=y) if one.kind == "compound"}

    def rank(one: Candidate) -> int:
        if one.name == found.best:
            return 0
        if one is stands.get(one.kind):
            return 1
        return 2 if one.kind == "base" else 3 if x(one) in front else 4

    named: list[float] = []
    for one in sorted(drawn, key=lambda one: (rank(one), -y(one))):
        across = _across(panel, x(one))
        crowded = rank(one) > 2 and any(abs(across - other) < APART for other in named)
        if len(drawn) > NAMED and (rank(one) == 4 or crowded):
            continue
        named.append(across)
        text = NAMES[one.kind] if rank(one) == 1 and one.kind in NAMES else one.name
        if rank(one) < 2 and one.kind in COMPARED and one.kind not in text:
            text += f", {one.kind}"
        yield Label(literal(text), x(one), y(one), 5.6 if rank(one) == 0 else 3.6,
                    darker(look(one.kind)[0]), rank(one) < 2, rank(one) < 3)  # fmt: skip


def _across(panel: Axes, value: float) -> float:
    """Where a cost lies, as a part of the panel's width."""
    return float(panel.transAxes.inverted().transform(panel.transData.transform((value, panel.get_ylim()[0])))[0])


def _scaled(
    panel: Axes, costs: list[float], heights: list[tuple[float, float]], target: float | None, form: Any
) -> None:
    """Limits with room around the data, and ticks in the axes' own units."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

    across = [*costs, *([target] if target else [])]
    low, high = min(across, default=1.0), max(across, default=1.0)
    if high > WIDE * low > 0:
        panel.set_xscale("log")
        room = (high / low) ** 0.08
        panel.set_xlim(low / room, high * room)
        subs = (
            (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high < 12 * low else (1.0, 2.0, 5.0) if high < 100 * low else (1.0, 3.0)
        )
        panel.xaxis.set_major_locator(LogLocator(10, subs=subs, numticks=30))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.xaxis.set_minor_locator(NullLocator())
    else:
        room = 0.08 * (high - low) or 0.2 * high
        panel.set_xlim(low - room, high + room)
        panel.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    panel.xaxis.set_major_formatter(lambda value, _: rounded(form(value)))
    bottom, top = min((h - s for h, s in heights), default=0.0), max((h + s for h, s in heights), default=100.0)
    room = 0.1 * (top - bottom) or 2.0
    panel.set_ylim(max(bottom - room, -2), min(top + room, 102))
    in_percent(panel)


def _bar(panel: Axes, x: float, y: float, half: float) -> list[tuple[float, float, float]]:
    """An error bar, as points that labels are not to cover."""
    return [*along(panel, [(x, y - half), (x, y + half)]), (x, y - half, 2.0), (x, y + half, 2.0)]


# ---- one of them --------------------------------------------------------------------------------------------

FIGURES: dict[str, Callable[[Result], Figure]] = {
    "cost": cost, "time": speed, "history": history, "importance": importance,
}  # fmt: skip


def has(found: Result, kind: str) -> bool:
    """Whether the study has what the figure shows."""
    if kind == "time":
        return any(one.latency is not None for one in full(found))
    if kind == "importance":
        return bool(found.importance)
    return bool(full(found)) if kind == "cost" else bool(found.candidates)


def figure(found: Result, kind: str, path: str | Path | None = None) -> Figure:
    """One of FIGURES under the study's title, written as .svg, .png or .pdf where a path is given.

    Raises UnknownName, and ConvatlasError where the study has no such figures, or the file cannot be written.
    """
    if kind not in FIGURES:
        raise UnknownName("figure", kind, FIGURES)
    if not has(found, kind):
        raise ConvatlasError(f"this study has nothing for the figure {kind}; it has: "
                             f"{', '.join(name for name in FIGURES if has(found, name))}")  # fmt: skip
    made = FIGURES[kind](found)
    named(made, textwrap.fill(literal(found.title), int(LETTERS * made.get_figwidth())))
    return save(made, path)
