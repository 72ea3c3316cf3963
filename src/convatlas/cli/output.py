"""What the verbs share: how numbers are read and written, tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from convatlas.errors import ConvatlasError

NARROW, WORD = 16, 20
"""Cells: what a column that wraps has at least, where it has words enough, and the longest word that is kept whole."""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


def count(text: str) -> float:
    """ "30M" -> 30e6: a number with K, M, G or B behind it.  Raises ConvatlasError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([kmgb]?)", text.strip().lower().replace("_", ""))
    if match is None:
        raise ConvatlasError(f"{text!r} is no number; write 30M, 4.1G or 500000")
    return float(match[1]) * UNITS[match[2]]


def years(text: str) -> tuple[int, int]:
    """ "2015" or "2014-2016" -> the first and the last year."""
    match = re.fullmatch(r"(\d{4})(?:-(\d{4}))?", text.strip())
    if match is None:
        raise ConvatlasError(f"{text!r} is no year; write 2015 or 2014-2016")
    return int(match[1]), int(match[2] or match[1])


def size(text: str) -> tuple[int, ...]:
    """ "288", "224x320" or "1x28x28" -> a side, (H, W) or (C, H, W)."""
    match = re.fullmatch(r"\d+(x\d+){0,2}", text.strip().lower())
    if match is None:
        raise ConvatlasError(f"{text!r} is no input size; write 288, 224x320 (H x W) or 1x28x28 (C x H x W)")
    return tuple(map(int, match[0].split("x")))


def several(text: str) -> list[str]:
    """ "128,160,224" -> its parts.  Raises ConvatlasError for an empty one."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ConvatlasError(f"{text!r} has an empty part")
    return parts


def whole_number(text: str, what: str) -> int:
    """ "32" -> 32.  Raises ConvatlasError for anything that is no whole number."""
    if not re.fullmatch(r"[+-]?\d+", text.strip()):
        raise ConvatlasError(f"{what}: {text!r} is no whole number")
    return int(text)


def factor(text: str, what: str) -> float:
    """ "0.75" -> 0.75.  Raises ConvatlasError for anything that is no positive number."""
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text.strip()) or not float(text):
        raise ConvatlasError(f"{what}: {text!r} is no positive number")
    return float(text)


def memory(text: str) -> float:
    """ "500MB", "500M" (the same), "8GiB" -> bytes: powers of 1000, with an i of 1024.

    Raises ConvatlasError for anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([kmgt])(i?)b?", text.strip().lower())
    if match is None:
        raise ConvatlasError(f"{text!r} is no amount of memory; write 500MB or 8GiB")
    power = "kmgt".index(match[2]) + 1
    return float(match[1]) * float(1024 if match[3] else 1000) ** power


def print_json(data: Any) -> None:
    """JSON on standard output; indented for a person's terminal only."""
    print(json.dumps(data, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def console(stderr: bool = False) -> Any:
    """rich's console; where the output is no terminal, lines are not cut at 80 columns, unless COLUMNS says so."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        made = Console(stderr=stderr, highlight=False, width=200)
    return made


def print_table(
    rows: Iterable[Mapping[str, str]], columns: Sequence[str], spare: Sequence[str] = (), title: str | None = None
) -> None:
    """Rows as a table: {column: cell}; a row without cells is a line.

    A column named ">…" holds numbers, on the right, "!…" names: neither is ever cut; the others wrap between words.
    In a narrow terminal the ``spare`` columns go, one after the other; what is still too wide runs over the edge.
    """
    shown, screen, rows = list(columns), console(), list(rows)
    for dropped in (None, *spare):
        shown = [column for column in shown if column != dropped]
        made = _table(rows, shown, title)
        needed = screen.measure(made, options=screen.options.update(max_width=10_000)).minimum
        if needed <= screen.width:
            break
    if needed > screen.width:
        made.width = needed  # or else columns that wrap would be squeezed to nothing
    screen.print(made, crop=False, no_wrap=True, overflow="ignore")


def _table(rows: Sequence[Mapping[str, str]], columns: Sequence[str], title: str | None) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="", pad_edge=False)
    made.collapse_padding = True
    for column in columns:
        justify: Any = "right" if column.startswith(">") else "left"
        header, whole = column.lstrip(">!"), column[:1] in (">", "!")
        cells = [Text.from_markup(text) for text in (header, *(row.get(column, "") for row in rows))]
        width = max(cell.cell_len for cell in cells)
        if not whole:  # a word is broken only where it is longer than WORD
            longest = max((len(word) for cell in cells for word in cell.plain.split()), default=0)
            width = min(width, max(NARROW, min(longest, WORD)))
        made.add_column(header, justify=justify, no_wrap=whole, min_width=width, overflow="fold")
    for row in rows:
        if row:
            made.add_row(*(row.get(column, "") for column in columns))
        else:
            made.add_section()
    return made


def whole(kind: Any, tokens: Any) -> int:
    """A whole number from the command line: "1.5" is none."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?\d+", text.strip()):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def writable(kind: Any, path: Path | None) -> None:
    """Raises ConvatlasError, before any work is done, for a file that could not be written after it."""
    if path is not None:
        from convatlas.files import refuse_unwritable

        refuse_unwritable(path)


def one_answer(json: bool, out: Path | None) -> None:
    """Raises ConvatlasError where an answer is to be printed and written."""
    if json and out is not None:
        raise ConvatlasError("--json prints, --out writes: one of them")


Out = Annotated[Path | None, Parameter(validator=writable)]
Whole = Annotated[int, Parameter(converter=whole)]
