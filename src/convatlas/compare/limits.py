"""The best network within limits, who comes next, and why others fell out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas.compare.axes import HIGHER, Axis, axis
from convatlas.compare.comparison import TOLD, doubts, ranked
from convatlas.compare.rows import LeftOut, Row, gather, names_of
from convatlas.compare.tables import Column, Table, words
from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUNNERS = 5


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so much, or of what is better when higher, at least."""

    axis: Axis
    value: float

    def holds(self, row: Row) -> bool:
        own = row.values[self.axis.name]
        return own >= self.value if self.axis.better == HIGHER else own <= self.value

    def excess(self, row: Row) -> float:
        """How many times too much, or too little."""
        own = row.values[self.axis.name]
        return self.value / own if self.axis.better == HIGHER else own / self.value

    @property
    def word(self) -> str:
        """The axis' short name: "params"."""
        return self.axis.title.split(" (")[0]

    @property
    def said(self) -> str:
        """ "size in float32 at most 30.00 MB" """
        return f"{self.axis.label} at {'least' if self.axis.better == HIGHER else 'most'} {self.axis.form(self.value)}"


@dataclass(frozen=True, slots=True)
class Choice:
    """by: what is to be best.  fitting: all networks within the limits, the best first.  fallen: all others, the best
    first, and what each exceeds.  left_out: without a figure."""

    by: Axis
    limits: tuple[Limit, ...]
    fitting: tuple[Row, ...]
    fallen: tuple[tuple[Row, tuple[Limit, ...]], ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def winner(self) -> Row | None:
        return self.fitting[0] if self.fitting else None

    @property
    def better(self) -> list[tuple[Row, tuple[Limit, ...]]]:
        """Who would be better than the winner, but for a limit; the nearest miss first."""
        near = sorted(self.fallen, key=lambda one: max(limit.excess(one[0]) for limit in one[1]))
        if self.winner is None:
            return near
        sign = 1 if self.by.better == HIGHER else -1
        best = sign * self.winner.values[self.by.name]
        return [(row, limits) for row, limits in near if sign * row.values[self.by.name] > best]

    @property
    def table(self) -> Table:
        """The winner, the runners-up, and who would be better but for a limit."""
        axes = [self.by, *(limit.axis for limit in self.limits)]
        columns = [words("place", ""), words("network", "network"), *(Column(a.name, a.title, a.form) for a in axes),
                   words("where", "where", wide=True, spare=1), words("exceeds", "but for", wide=True)]  # fmt: skip

        def line(row: Row, place: str, over: tuple[Limit, ...] = ()) -> dict[str, Any]:
            known = row.accuracies.get(self.by.name)
            why = ", ".join(limit.word for limit in over)
            return {"place": place, "network": row.name, **{a.name: row.values.get(a.name) for a in axes},
                    "where": known.described if known else "", "exceeds": why}  # fmt: skip

        rows = [line(row, "best" if n == 0 else str(n + 1)) for n, row in enumerate(self.fitting)]
        better = self.better
        rows += [line(row, "", over) for row, over in [*better, *(one for one in self.fallen if one not in better)]]
        return Table(self.title, tuple(columns), tuple(rows), tuple(self.notes))

    @property
    def people(self) -> Table:
        """The winner, the next RUNNERS, and the first few that would be better but for a limit."""
        whole, shown = self.table, min(len(self.fitting), RUNNERS + 1)
        better = len(self.better[:RUNNERS])
        first = len(self.fitting)
        return replace(whole, rows=(*whole.rows[:shown], *whole.rows[first : first + better]))

    @property
    def title(self) -> str:
        return f"The best {self.by.label}, with {' and '.join(limit.said for limit in self.limits)}"

    @property
    def notes(self) -> list[str]:
        counts = [
            f"{sum(limit in over for _, over in self.fallen)} networks do not keep to {limit.axis.label} of "
            f"{limit.axis.form(limit.value)}" for limit in self.limits
        ]  # fmt: skip
        axes = [self.by, *(limit.axis for limit in self.limits)]
        found = [self.none_fits] if self.winner is None else []
        left = (one.said() for one in self.left_out)
        return [*found, f"{'; '.join(counts)}.", TOLD, *doubts(axes), *left]

    @property
    def none_fits(self) -> str:
        """That no network keeps to the limits, and which comes nearest."""
        row, over = self.better[0]
        own = " and ".join(f"{limit.axis.label} of {limit.axis.form(row.values[limit.axis.name])}" for limit in over)
        return f"No network fits; the nearest is {row.name}, with {own}."

    def to_csv(self) -> str:
        """Every network with the figures, and what it exceeds."""
        return self.table.to_csv()

    def plot(self, path: str | Path | None = None) -> Figure:
        """The networks along the first limit, what it shuts out shaded: a matplotlib figure, saved to ``path`` where
        one is given (.svg, .png, .pdf)."""
        from convatlas.compare.drawing.scatter import limited

        return limited(self, path)

    def to_json(self) -> dict[str, Any]:
        """{"by", "limits", "winner", "fitting": […], "fallen": [… with "exceeds"], "left_out", "notes"}"""

        def plain(row: Row) -> dict[str, Any]:
            return {"name": row.name, "input": row.input, "values": dict(row.values),
                    "accuracies": {key: known.to_json() for key, known in row.accuracies.items()}}  # fmt: skip

        return {
            "by": self.by.name,
            "limits": {limit.axis.name: limit.value for limit in self.limits},
            "winner": self.winner.name if self.winner else None,
            "fitting": [plain(row) for row in self.fitting],
            "fallen": [{**plain(row), "exceeds": [one.axis.name for one in over]} for row, over in self.fallen],
            "left_out": {left.axis.name: list(left.names) for left in self.left_out},
            "notes": self.notes,
        }


def best(
    limits: Mapping[str, float],
    patterns: str | Iterable[str] = "*",
    *,
    by: str = "top1",
    accuracy: str = "paper",
    allow_busy: bool = False,
) -> Choice:
    """The network that is best on the axis ``by`` within limits; of equals, the one with least of the first limit.

    allow_busy: measure times although other programs keep the machine busy.
    limits: by axis; a figure that is better when lower is at most so much, one that is better when higher at least.

    Raises what ``compare`` does, ConvatlasError for an axis that has no better end or where no network has the figures.
    """
    up = axis(by, accuracy)
    if up.better is None:
        raise ConvatlasError(f"no network is best in {up.key}: it has no better end")
    asked = tuple(Limit(axis(key, accuracy), value) for key, value in limits.items())
    if not asked:
        raise ConvatlasError("the best within which limits? none is given")
    for limit in asked:
        if limit.axis.better is None:
            raise ConvatlasError(f"{limit.axis.key} has no better end, so it is no limit")
    rows, left_out = gather(names_of(patterns), [up, *(limit.axis for limit in asked)], allow_busy=allow_busy)
    if not rows:
        raise ConvatlasError(f"no network has the figures; {'; '.join(left.said(3) for left in left_out)}")
    rows = ranked(ranked(rows, asked[0].axis), up)
    over = [(row, tuple(limit for limit in asked if not limit.holds(row))) for row in rows]
    return Choice(
        up, asked, tuple(row for row, limits in over if not limits),
        tuple((row, limits) for row, limits in over if limits), tuple(left_out),
    )  # fmt: skip
