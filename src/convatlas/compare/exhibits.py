"""The figures of the literature, remade: each a table and a drawing of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas.compare import canziani as canziani_
from convatlas.compare import compute, growth, lineage, winners
from convatlas.compare.tables import Table
from convatlas.errors import ConvatlasError, UnknownName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXHIBITS = {
    "canziani": "accuracy, operations, parameters and time, after arXiv 1605.07678",
    "ilsvrc": "the winners of ImageNet's challenge, 2010 to 2017",
    "efficientnet": "accuracy against parameters and multiply-adds by family, after arXiv 1905.11946",
    "compute": "the training that reaches AlexNet's accuracy over the years, after arXiv 2005.04305",
    "lineage": "which paper brought which idea",
}


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One figure: the table behind it, and how it is drawn (from the table, or from ``found``)."""

    name: str
    table: Table
    draw: Callable[[], Figure]

    @property
    def people(self) -> Table:
        return self.table

    @property
    def notes(self) -> tuple[str, ...]:
        return self.table.notes

    def to_csv(self) -> str:
        """The table, with a header."""
        return self.table.to_csv()

    def to_json(self) -> dict[str, Any]:
        """{"figure", "title", "rows", "notes"}"""
        return {"figure": self.name, **self.table.to_json()}

    def to_markdown(self) -> str:
        return self.table.to_markdown()

    def plot(self, path: str | Path | None = None) -> Figure:
        """A matplotlib figure, saved to ``path`` where one is given (.svg, .png, .pdf)."""
        from convatlas.compare.drawing.style import save

        return save(self.draw(), path)


def exhibit(
    name: str,
    patterns: Sequence[str] = (),
    *,
    accuracy: str | None = None,
    measured: bool = False,
    allow_busy: bool = False,
) -> Exhibit:
    """A figure of the literature by its name in ``EXHIBITS``.

    patterns: the networks, for canziani alone.  accuracy: whose, for canziani ("single" by default) and efficientnet
    ("paper").  measured: for canziani, measure the times that were not measured yet; allow_busy: although other
    programs keep the machine busy.

    Raises UnknownName for another name or source, ConvatlasError for an option that the figure does not have.
    """
    if name not in EXHIBITS:
        raise UnknownName("figure", name, EXHIBITS, [*EXHIBITS])
    if patterns and name != "canziani":
        raise ConvatlasError(f"the figure {name} has its own networks: no patterns with it")
    if accuracy is not None and name not in ("canziani", "efficientnet"):
        raise ConvatlasError(f"the figure {name} has its own accuracies: no --accuracy with it")
    if measured and name != "canziani":
        raise ConvatlasError(f"the figure {name} has no times: no --measured with it")
    if name == "canziani":
        found = canziani_.canziani(patterns, accuracy or "single", measured=measured, allow_busy=allow_busy)
        return Exhibit(name, canziani_.table(found), lambda: _drawing("canziani").draw(found))
    if name == "efficientnet":
        source = accuracy or "paper"
        return Exhibit(name, growth.table(source), lambda: _drawing("growth").draw(source))
    table = {"ilsvrc": winners, "compute": compute, "lineage": lineage}[name].table()
    return Exhibit(name, table, lambda: _drawing({"ilsvrc": "winners"}.get(name, name)).draw(table))


def _drawing(module: str) -> Any:
    """What draws it, and so matplotlib, is imported when it is wanted."""
    import importlib

    return importlib.import_module(f"convatlas.compare.drawing.{module}")
