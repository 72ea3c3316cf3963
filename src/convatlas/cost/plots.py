"""A report as a figure: where parameters, multiply-adds and memory sit along the depth, and a training step's memory.

matplotlib is imported here and nowhere below.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convatlas.cost.memory import Step
from convatlas.cost.report import Report, Row
from convatlas.cost.tables import title
from convatlas.numbers import short, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET_INK = "#2b2d33", "#8a8d94"
COLOURS = {"params": "#b4552d", "macs": "#2d6cb4", "activation_bytes": "#3a8f6b", "saved_bytes": "#8b5fb0"}
NAMES = {"params": "parameters", "macs": "multiply-adds", "activation_bytes": "maps", "saved_bytes": "saved"}
PHASES = {"forward": "#3a8f6b", "loss": "#8a8d94", "recompute": "#d0a020", "backward": "#2d6cb4", "step": "#b4552d"}


def plot(report: Report, path: str | Path | None = None) -> Figure:
    """One panel for each figure along the depth, and below them the training step where one was asked for.

    Saved to ``path`` where one is given; the suffix says how (.svg, .png, .pdf).
    """
    from matplotlib.figure import Figure

    figures = ["params", "macs", "activation_bytes", *(["saved_bytes"] if report.training else [])]
    rows = [row for row in report.rows if any(getattr(row, name) for name in figures)]
    panels = len(figures) + bool(report.step)
    made = Figure(figsize=(10, 1.5 * len(figures) + (3.2 if report.step else 0.7) + 0.6), layout="constrained")
    heights = [1.0] * len(figures) + ([1.7] if report.step else [])
    axes = made.subplots(panels, 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    made.suptitle(f"{report.name}   {title(report)}", x=0.01, ha="left", fontsize=12, color=INK)
    for name, panel in zip(figures, axes):
        _along_depth(panel, report, rows, name)
    _stages(axes[len(figures) - 1], rows)
    for panel in axes[: len(figures) - 1]:
        panel.set_xticks([])
    if report.step:
        _course(axes[-1], report, report.step)
    if path is not None:
        undated = {"Date": None} if str(path).lower().endswith(".svg") else None
        made.savefig(path, dpi=150, metadata=undated)
    return made


def _bare(panel: Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(QUIET_INK)
    panel.tick_params(colors=INK, labelsize=8)


def _along_depth(panel: Axes, report: Report, rows: list[Row], name: str) -> None:
    """A bar for each operation that has any of the figures."""
    values = [getattr(row, name) or 0 for row in rows]
    panel.bar(range(len(rows)), values, width=1.0 if len(rows) > 80 else 0.85, color=COLOURS[name])
    form = size if name.endswith("bytes") else short
    panel.yaxis.set_major_formatter(lambda value, _: _round(form(value)))
    panel.locator_params(axis="y", nbins=4)
    plain = " without checkpointing" if name == "saved_bytes" and report.checkpointing else ""
    panel.set_title(f"{NAMES[name]}{plain}, {form(report.totals[name])} in all", loc="left", fontsize=9, color=INK)
    panel.set_xlim(-0.6, len(rows) - 0.4)
    _bare(panel)


def _stages(panel: Axes, rows: list[Row]) -> None:
    """The stages' names where they begin, as many as there is room for."""
    starts: dict[str, int] = {}
    for place, row in enumerate(rows):
        if row.op != "input":
            starts.setdefault(row.name.removeprefix("trunk.").partition(".")[0], place)
    room = len(rows) / 40
    ends = [*list(starts.values())[1:], len(rows)]
    long = dict(zip(starts.values(), (end - start for start, end in zip(starts.values(), ends))))
    places: list[int] = []  # the longest stages first
    for place in sorted(long, key=lambda place: -long[place]):
        if all(abs(place - other) >= room for other in places):
            places.append(place)
    words = {place: word for word, place in starts.items()}
    panel.set_xticks([place - 0.5 for place in places], [words[place] for place in places], rotation=45, ha="left",
                     va="top", rotation_mode="anchor", fontsize=8)  # fmt: skip
    for label in panel.get_xticklabels():
        label.set_rotation(-35)


def _course(panel: Axes, report: Report, step: Step) -> None:
    """The bytes that live, moment by moment, coloured by phase; what is always there as a base."""
    t = report.totals
    base = t["parameter_bytes"] + t["buffer_bytes"] + t["optimizer_bytes"]
    sliver = max(1, len(step.moments) // 50)  # the last moment, the optimizer's, is made wide enough to be seen
    moments, heights = [*step.moments, *step.moments[-1:] * sliver], [*step.heights, *step.heights[-1:] * sliver]
    for phase, colour in PHASES.items():
        inside = [moment.phase == phase for moment in moments]
        if any(inside):
            panel.fill_between(range(len(moments)), heights, base, where=_widened(inside), step="mid", color=colour,
                               alpha=0.75, linewidth=0, label=phase)  # fmt: skip
    panel.fill_between([0, len(moments) - 1], base, color="#d8d9dd", linewidth=0,
                       label="parameters, buffers, optimizer's state")  # fmt: skip
    top = max(range(len(moments)), key=heights.__getitem__)
    late = top > 0.6 * len(moments)
    panel.annotate(f"peak {size(heights[top])}", (top, heights[top]), xytext=(-6 if late else 6, 4),
                   textcoords="offset points", ha="right" if late else "left", fontsize=8, color=INK)  # fmt: skip
    panel.set_ylim(0, 1.18 * heights[top])
    panel.set_xlim(0, len(moments) - 1)
    panel.set_xticks([])
    panel.yaxis.set_major_formatter(lambda value, _: _round(size(value)))
    panel.set_title(f"memory over a training step with {report.training}", loc="left", fontsize=9, color=INK)
    panel.legend(fontsize=7.5, frameon=False, ncols=6, loc="upper left", bbox_to_anchor=(0, -0.03))
    _bare(panel)


def _round(text: str) -> str:
    """ "20.00 MB" -> "20 MB": an axis' ticks are round."""
    number, _, unit = text.partition(" ")
    return "0" if float(number.replace(",", "")) == 0 else f"{float(number.replace(',', '')):g} {unit}".strip()


def _widened(inside: list[bool]) -> list[bool]:
    """Each run a moment longer, so that neighbours touch and a single moment has a width."""
    return [here or before for here, before in zip(inside, [False, *inside])]
