"""A study's course, task by task, and what each choice counted for.  matplotlib is imported inside functions only."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from convatlas.compare.drawing.style import bare, headed, noted, sheet
from convatlas.cost.plots import INK, QUIET_INK
from convatlas.numbers import counted, percent
from convatlas.scaling.looks import ACCURACY, floor, full, in_percent, look, spelt
from convatlas.scaling.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS = 16
"""So many choices have a bar."""
FEW = 4
"""Where fewer were trained to the end, the scale holds all that were halved."""


def history(found: Result) -> Figure:
    """Accuracy task by task, and the best so far."""
    from matplotlib.ticker import MaxNLocator

    made = sheet(5.6, 3.9)
    panel = made.subplots()
    headed(panel, ACCURACY)
    done = sorted(full(found), key=lambda one: one.order)
    early = [one for one in found.candidates if one.accuracy is None and one.halved_at is not None]
    broken = [one for one in found.candidates if one.diverged]
    heights = [100 * (one.accuracy or 0.0) for one in done]
    ends = [100 * (one.halved_at or 0.0) for one in early]
    low, high = _limits(heights, ends)
    last = max((one.order for one in found.candidates), default=0)
    panel.set_xlim(-0.03 * last - 0.5, 1.03 * last + 0.5)
    panel.set_ylim(low, high)
    panel.scatter([one.order for one in early], [max(end, low) for end in ends], s=13, facecolor="none",
                  edgecolor=QUIET_INK, linewidth=0.8, clip_on=False, zorder=2)  # fmt: skip
    for one, height in zip(done, heights):
        best = one.name == found.best
        colour, marker = look(one.kind)
        panel.scatter([one.order], [max(height, low)], s=72 if best else 24, color=colour, marker=marker,
                      linewidth=1.3 if best else 0.6, edgecolor=INK if best else "#ffffff", clip_on=False,
                      zorder=4 if best else 3)  # fmt: skip
    panel.scatter([one.order for one in broken], [low] * len(broken), s=26, color=QUIET_INK, marker="x", linewidth=1.1,
                  clip_on=False, zorder=3)  # fmt: skip
    if len(done) > 1:
        panel.step([*(one.order for one in done), last], [*accumulate(heights, max), max(heights)], where="post",
                   color=QUIET_INK, linewidth=1.2, zorder=1)  # fmt: skip
    in_percent(panel)
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    panel.set_xlabel("task", fontsize=9, color=INK)
    bare(panel, "y")
    under = sum(value < low for value in [*heights, *ends])
    words = ["Line: the best so far."] * (len(done) > 1) + ["Hollow: halved, at the accuracy it then had."] * bool(
        early
    )
    words += ["Cross: diverged."] * bool(broken)
    words += [f"{counted(under, 'mark')} below {low:.1f} % on the lower edge."] * bool(under)
    noted(made, [" ".join(words)], 88)
    return made


def _limits(heights: list[float], ends: list[float]) -> tuple[float, float]:
    """In per cent: holds what was trained to the end, but for what lies far below; of what was halved as much as leaves
    that half the height."""
    if not heights and not ends:
        return 0.0, 100.0
    low, high = 100 * floor([value / 100 for value in heights or ends]), max([*heights, *ends])
    span = max(high - low, 1.0)
    least = min([low, *ends])
    low = least if len(heights) < FEW else min(low, max(least, low - span))
    room = 0.08 * max(high - low, 5.0)
    return max(low - room, -2.0), min(high + room, 102.0)


# ---- what each choice counted for ---------------------------------------------------------------------------


def importance(found: Result) -> Figure:
    """A bar for each choice, the largest first."""
    shares = sorted(found.importance.items(), key=lambda pair: -pair[1])
    shown, rest = shares[:BARS], shares[BARS:]
    made = sheet(5.6, max(1.6, 0.2 * len(shown) + 0.95))
    panel = made.subplots()
    headed(panel, "what tells the best from the rest")
    places = range(len(shown))
    panel.barh(places, [share for _, share in shown], height=0.62, color=look("searched")[0])
    for height, (_, share) in zip(places, shown):
        panel.annotate(percent(share), (share, height), xytext=(4, 0), textcoords="offset points", va="center",
                       fontsize=8, color=INK)  # fmt: skip
    panel.set_yticks(places, [spelt(name) for name, _ in shown])
    panel.set_ylim(len(shown) - 0.4, -0.6)
    panel.set_xlim(0, 1.12 * max((share for _, share in shown), default=1.0) or 1.0)
    bare(panel, "x")
    panel.grid(False)
    panel.set_xticks([])
    panel.spines["bottom"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    words = "Each choice's share in what tells the best tenth, by reward, from the others (PED-ANOVA)."
    if rest:
        words += f" {counted(len(rest), 'other choice')} together: {percent(sum(share for _, share in rest))}."
    noted(made, [words], 88)
    return made
