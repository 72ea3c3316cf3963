"""A table as data: what stands behind every figure, as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convatlas.errors import UnknownName
from convatlas.files import write_whole

Cell = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """key: in rows, JSON and CSV; title: for people; form: a value for people; number: stands to the right.

    wide: as words that may wrap; told: False leaves it to CSV and JSON; spare: goes where a terminal is narrow, the
    highest first.
    """

    key: str
    title: str
    form: Callable[[Any], str] = str
    number: bool = True
    wide: bool = False
    told: bool = True
    spare: int = 0

    def cell(self, row: Mapping[str, Cell]) -> str:
        """The value for people; an absent one is empty."""
        value = row.get(self.key)
        return "" if value is None else self.form(value)


def words(key: str, title: str, *, wide: bool = False, told: bool = True, spare: int = 0) -> Column:
    """A column of words."""
    return Column(key, title, number=False, wide=wide, told=told, spare=spare)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by column; notes: what must be said of them."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...] = ()

    def to_csv(self) -> str:
        """Every row and column in full, with a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.key for column in self.columns])
        writer.writerows([_plain(row.get(column.key)) for column in self.columns] for row in self.rows)
        return text.getvalue()

    def to_json(self) -> dict[str, Any]:
        """{"title", "rows": [{key: value}], "notes"}"""
        keys = [column.key for column in self.columns]
        return {"title": self.title, "rows": [{key: row.get(key) for key in keys} for row in self.rows],
                "notes": list(self.notes)}  # fmt: skip

    def to_markdown(self) -> str:
        """A Markdown table under its title, the notes below it."""
        shown = [column for column in self.columns if column.told]
        rule = ["---:" if column.number else "---" for column in shown]
        lines = [[column.title for column in shown], rule, *([c.cell(row) for c in shown] for row in self.rows)]
        table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
        return "\n\n".join([f"**{self.title}**", table, *self.notes]) + "\n"


def _plain(value: Cell) -> Cell:
    return "" if value is None else "yes" if value is True else "no" if value is False else value


TEXTS: dict[str, Callable[[Table], str]] = {
    ".csv": Table.to_csv,
    ".md": Table.to_markdown,
    ".json": lambda table: json.dumps(table.to_json(), indent=2, ensure_ascii=False) + "\n",
}
PICTURES = (".svg", ".png", ".pdf")


def kind_of(path: Path) -> str:
    """The suffix, where a file of this kind can be written.  Raises UnknownName for another."""
    suffix = path.suffix.lower()
    if suffix not in TEXTS and suffix not in PICTURES:
        raise UnknownName("kind of file", path.suffix or path.name, [*PICTURES, *TEXTS], [*PICTURES, *TEXTS])
    return suffix


def write_table(table: Table, path: Path) -> None:
    """As .csv, .md or .json, whole or not at all.  Raises ConvatlasError where it cannot be written."""
    text = TEXTS[kind_of(path)](table)
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
