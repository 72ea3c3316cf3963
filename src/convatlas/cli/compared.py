"""Several reports of one network side by side: resolution, batch and width as questions."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from convatlas.cli import output
from convatlas.cli.table import print_note
from convatlas.cost import Report, Row
from convatlas.cost.tables import field_text, mark
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.numbers import across, size

Figure = tuple[str, Callable[[Report], str]]


def figures(training: bool, timed: bool = False) -> list[Figure]:
    """The lines of the table: what is asked of every report."""
    lines: list[Figure] = [
        ("parameters", lambda r: f"{r.totals['params']:,}"),
        ("MACs", lambda r: f"{mark(r, 'macs')}{r.totals['macs']:,}"),
        ("MACs and all else", lambda r: f"{r.totals['macs_all']:,}"),
        ("MACs backward", lambda r: f"{r.totals['macs_backward']:,}"),
        ("maps of a forward pass", lambda r: size(r.totals["activation_bytes"])),
        ("traffic, at least", lambda r: size(r.totals["traffic_bytes"])),
        ("saved for backward", lambda r: mark(r, "saved_bytes") + size(r.totals["saved_bytes"])),
    ]
    if training:
        lines += [
            (
                "peak of a training step",
                lambda r: mark(r, "peak_training_bytes") + size(r.totals["peak_training_bytes"]),
            )
        ]
    if timed:
        lines += [("predicted time", lambda r: "" if r.latency is None else f"{1e3 * r.latency.seconds:.2f} ms")]
    return [
        *lines,
        ("last map", last_map),
        ("last field", last_field),
        ("layers that add no context", lambda r: f"{len(r.saturated)}"),
    ]


def print_compared(reports: Sequence[Report]) -> None:
    """A table with one column for each report, named by what differs between them."""
    training, timed = "peak_training_bytes" in reports[0].totals, reports[0].latency is not None
    heads = [f">{head}" for head in headings(reports)]
    rows = [{"!": name, **{h: cell(r) for h, r in zip(heads, reports)}} for name, cell in figures(training, timed)]
    names = list(dict.fromkeys(report.name for report in reports))
    step = f"  training with {reports[0].training}" if training else ""
    output.print_table(rows, ["!", *heads], title=f"[bold]{', '.join(names)}[/]{step}")
    print_note(reports[0], output.console())


def headings(reports: Sequence[Report]) -> list[str]:
    """What tells the reports apart: "resnet50 x 0.5, 224, batch 8", without what they all share."""
    parts: list[list[str]] = [[r.name for r in reports], [side(r) for r in reports],
                              [f"batch {r.batch}" for r in reports]]  # fmt: skip
    telling = [part for part in parts if len(set(part)) > 1] or parts[1:2]
    return [", ".join(words) for words in zip(*telling)]


def side(report: Report) -> str:
    return across(report.input_size[1:])


def last(report: Report) -> Row | None:
    """The last row whose units see different parts of the picture, in front of pools to a given size."""
    found = None
    for row in report.rows:
        seen = row.receptive_field
        if seen is not None and any(seen.jump) and not row.op.startswith("adaptive") and len(row.output_shape) == 4:
            found = row if seen.status == "exact" or found is None else found
    return found


def last_map(report: Report) -> str:
    row = last(report)
    return "?" if row is None else across(row.output_shape[2:])


def last_field(report: Report) -> str:
    """What a unit of that map sees by its local path."""
    row = last(report)
    return "?" if row is None else field_text(row)


def write_compared(reports: Sequence[Report], path: Path) -> None:
    """The totals of every report, a line each, as CSV.  Raises UnknownName for another kind of file."""
    if path.suffix.lower() != ".csv":
        raise UnknownName("kind of file for several reports", path.suffix or path.name, [".csv"])
    heads = ["name", "channels", "height", "width", "batch", "dtype", *reports[0].totals]
    lines = [[r.name, *r.input_size, r.batch, r.dtype, *r.totals.values()] for r in reports]
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([heads, *lines])
    except OSError as error:
        raise ConvatlasError(f"{path} cannot be written: {error.strerror}") from None
    output.console(stderr=True).print(f"wrote {path}", style="dim")


def print_fits(fits: Mapping[tuple[str, tuple[int, ...] | None], int], where: str, json: bool) -> None:
    """The largest batch of each network and input size."""
    if json:
        output.print_json([{"name": n, "input_size": s, "largest_batch": b} for (n, s), b in fits.items()])
        return
    rows = [
        {"network": name, ">input": across(size[-2:]) if size else "its own", ">largest batch": f"{batch:,}"}
        for (name, size), batch in fits.items()
    ]
    output.print_table(rows, ["network", ">input", ">largest batch"], title=f"The largest batch in {where}")
    if 0 in fits.values():
        output.console().print("0: not one picture fits beside parameters, gradients and the optimizer's state.")
    output.console().print(
        "By the peak of all tensors; leave some hundred MB for the process and its kernels.", style="dim"
    )
