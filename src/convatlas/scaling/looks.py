"""What a study's figures share: a look for each kind of candidate, which accuracies a scale must hold, words."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from convatlas.cost.plots import INK
from convatlas.scaling.results import Candidate, Result
from convatlas.train.curves import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {
    "base": (INK, "o"), "compound": ("#b8431f", "o"), "depth": ("#3b7cc4", "^"), "width": ("#d9a521", "s"),
    "resolution": ("#4b2a78", "D"), "searched": ("#2d6cb4", "o"),
}  # fmt: skip
"""Colour and marker of each kind, told apart by the colour-blind too; of other kinds those of "searched"."""
FAR = 2.5
"""An accuracy counts as outlying below so many times the better half's range."""
ACCURACY = "accuracy on the validation pictures"


def full(found: Result) -> list[Candidate]:
    """The candidates that were trained to the end, and came out with an accuracy that means something."""
    return [one for one in found.candidates if one.accuracy is not None and not one.diverged]


def look(kind: str) -> tuple[str, str]:
    return LOOKS.get(kind, LOOKS["searched"])


def floor(values: Sequence[float]) -> float:
    """The accuracy below which a candidate would only squash the others; of all values the least where none does."""
    if len(values) < 4:
        return min(values, default=0.0)
    middle, top = statistics.median(values), max(values)
    least = middle - FAR * max(top - middle, 0.002)
    return min(value for value in values if value >= least)


def in_percent(panel: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")


def spelt(choice: str) -> str:
    """ "stage2.kernel" -> "stage 2, kernel"."""
    choice = literal(choice)
    stage, _, name = choice.partition(".")
    number = stage.removeprefix("stage")
    return f"stage {number}, {name}" if name and number.isdigit() else choice


def rounded(text: str) -> str:
    """ "50.0 M" -> "50 M": ticks are round."""
    number, _, unit = text.partition(" ")
    return f"{float(number.replace(',', '')):g} {unit}".strip()


def literal(text: str) -> str:
    """As matplotlib is to draw it: nothing in it is mathematics."""
    return plain(text).replace("$", r"\$")
