"""A report as a table: the columns that people read, as Markdown and HTML; every figure as CSV."""

from __future__ import annotations

import csv
import html as markup
import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

from convatlas.cost.report import COUNTS, Report, Row
from convatlas.graph.ops import VIEWS, Shape
from convatlas.numbers import across, percent, size

QUIET = VIEWS | {"dropout", "drop_path", "relu", "relu6", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "gelu"}
"""Operations that neither cost anything nor change what a person wants to see, unless they have parameters."""


class Column(NamedTuple):
    """kind: "name" and "number" are never cut, "text" may be left out or folded where there is no room."""

    title: str
    kind: str
    cell: Callable[[Row], str]


def columns(report: Report, *, field: bool = False) -> list[Column]:
    """The table's columns: for a training step also what it takes, with ``field`` also what a unit sees."""
    total = report.totals["macs"]
    picked = [
        Column("layer", "name", lambda row: label(row.name)),
        *([Column("operation", "text", operation)] if any(row.op for row in report.rows) else []),
        Column("output", "number", lambda row: shape_text(row.output_shape)),
        Column("params", "number", lambda row: f"{row.params:,}" if row.params else ""),
        Column("MACs", "number", lambda row: _count(row.macs)),
        Column("share", "text", lambda row: percent(row.macs / total) if row.macs and total else ""),
        Column("memory", "number", lambda row: size(row.activation_bytes) if row.activation_bytes else ""),
    ]
    if report.training:
        picked += [
            Column("backward", "number", lambda row: _count(row.macs_backward)),
            Column("saved", "number", lambda row: "" if row.saved_bytes == 0 else size(row.saved_bytes)),
        ]
    if report.latency is not None:
        whole = report.latency.seconds
        picked += [
            Column("time", "number", lambda row: "" if row.seconds is None else f"{1e3 * row.seconds:.3f} ms"),
            Column("of time", "text", lambda row: "" if row.seconds is None else percent(row.seconds / whole)),
            Column("bound by", "text", lambda row: row.bound),
        ]
    if field:
        picked += [
            Column("field", "number", field_text),
            Column("jump", "number", lambda row: across(row.receptive_field.jump) if row.receptive_field else "?"),
        ]
    return picked


def shown(report: Report, *, everything: bool = False) -> list[Row]:
    """The rows that people see.

    Unless ``everything``, activations, dropout, views and what has no figure are left out, and the memory that they
    take is added to the row before them, so that the columns add up.
    """
    rows: list[Row] = []
    for row in report.rows:
        if everything or not row.op or row.params or (row.op not in QUIET and _matters(row)) or not rows:
            rows.append(row)
        else:
            last = rows[-1]
            kept = None if last.saved_bytes is None or row.saved_bytes is None else last.saved_bytes + row.saved_bytes
            taken = None if last.seconds is row.seconds is None else (last.seconds or 0) + (row.seconds or 0)
            rows[-1] = last._replace(
                activation_bytes=last.activation_bytes + row.activation_bytes, saved_bytes=kept, seconds=taken,
                bound=last.bound or row.bound,
            )  # fmt: skip
    return rows


def _matters(row: Row) -> bool:
    """Whether the row has any figure: a pool from a size to itself, say, has none."""
    return row.macs != 0 or row.activation_bytes > 0


def totals(report: Report, columns: Sequence[Column]) -> list[str]:
    """The cells of the last line."""
    cells = {
        "layer": "total",
        "params": f"{report.totals['params']:,}",
        "MACs": f"{mark(report, 'macs')}{report.totals['macs']:,}",
        "memory": size(report.totals["activation_bytes"]),
        "backward": f"{mark(report, 'macs_backward')}{report.totals['macs_backward']:,}",
        "saved": f"{mark(report, 'saved_bytes')}{size(report.totals['saved_bytes'])}",
        "time": "" if report.latency is None else f"{1e3 * sum(row.seconds or 0 for row in report.rows):.3f} ms",
    }
    return [cells.get(column.title, "") for column in columns]


def mark(report: Report, figure: str) -> str:
    """What stands before a total that is not exact."""
    return {"bound": "at least ", "estimate": "about "}.get(report.status[figure], "")


def title(report: Report) -> str:
    """ "input 3 x 224 x 224, batch 32, float16, training with adam"."""
    words = ["input " + " x ".join(map(str, report.input_size))]
    words += [f"batch {report.batch}"] if report.batch > 1 else []
    words += [report.dtype] if report.dtype != "float32" else []
    words += [f"training with {report.training}"] if report.training else []
    words += ["checkpointed"] if report.checkpointing else []
    return ", ".join(words)


def label(name: str) -> str:
    """A row's name for people: the path inside the network, without "trunk", and a brick's name for its convolution."""
    return name.removeprefix("trunk.").removesuffix(".conv")


def operation(row: Row) -> str:
    """What a row does, in short: "conv 3x3 /2 g32"."""
    return f"{row.op.replace('adaptive_avg_pool', 'adaptive_pool').removesuffix('2d')} {row.detail}".strip()


def shape_text(shape: Shape) -> str:
    """ "64 x 112 x 112", with the batch before it where that is not 1; several tensors joined by +."""
    if shape and isinstance(shape[0], tuple):
        return " + ".join(shape_text(piece) for piece in shape)
    return " x ".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape))


def field_text(row: Row) -> str:
    """ "212"; "11 +all" where the whole picture reaches the unit beside its local path; "all" where it alone does."""
    seen = row.receptive_field
    if seen is None:
        return "?"
    local = ("≤ " if seen.status == "bound" else "") + across(seen.size)
    return local if not seen.whole else f"{local} +all" if any(seen.jump) else "all"


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}" if number else ""


def cells(report: Report) -> tuple[list[Column], list[list[str]]]:
    """Columns and lines of the whole table, the totals last."""
    picked = columns(report)
    lines = [[column.cell(row) for column in picked] for row in shown(report)]
    return picked, [*lines, totals(report, picked)]


def markdown(report: Report) -> str:
    """A Markdown table under its title."""
    picked, lines = cells(report)
    rule = ["---:" if column.kind == "number" else "---" for column in picked]
    table = [[column.title for column in picked], rule, *lines]
    head = f"**{report.name}**, {title(report)}\n\n" + (f"{report.note}\n\n" if report.note else "")
    return head + "\n".join(f"| {' | '.join(line)} |" for line in table) + "\n"


def html(report: Report) -> str:
    """An HTML table, its numbers to the right."""
    picked, lines = cells(report)
    align = ["right" if column.kind == "number" else "left" for column in picked]
    head = "".join(f'<th style="text-align:{a}">{column.title}</th>' for a, column in zip(align, picked))
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:{a}">{markup.escape(cell)}</td>' for a, cell in zip(align, line))
        + "</tr>" for line in lines
    )  # fmt: skip
    note = f"<br>{markup.escape(report.note)}" if report.note else ""
    caption = f"<b>{markup.escape(report.name)}</b>, {title(report)}{note}"
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def csv_text(report: Report) -> str:
    """Every row and figure, with a header; a field's size, jump and offset in columns of their own, by axis."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    axes = "hw" if len(report.input_size) == 3 else ""
    parts = ("size", "jump", "offset")
    timed = ["seconds", "bound"] if report.latency is not None else []
    fields = (f"field_{p}_{a}" for p in parts for a in axes)
    writer.writerow(["name", "op", "output_shape", *COUNTS, *fields, "global", *timed])
    for row in report.rows:
        seen = row.receptive_field
        known = seen is not None and len(seen.size) == len(axes)
        field = [value for part in parts for value in getattr(seen, part)] if known else [""] * (len(parts) * len(axes))
        counts = ["" if (value := getattr(row, count)) is None else value for count in COUNTS]
        pieces = (
            row.output_shape if row.output_shape and isinstance(row.output_shape[0], tuple) else (row.output_shape,)
        )
        shape = "+".join("x".join(map(str, piece)) for piece in pieces)
        times = ["" if row.seconds is None else row.seconds, row.bound] if timed else []
        writer.writerow([row.name, row.op, shape, *counts, *field, seen.whole if seen is not None else "", *times])
    return text.getvalue()
