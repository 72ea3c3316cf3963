"""Several reports of one network side by side: resolution, batch and width as questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from convatlas.cli import output
from convatlas.cost import Report
from convatlas.numbers import across, size

Figure = tuple[str, Callable[[Report], str]]


def figures(training: bool) -> list[Figure]:
    """The lines of the table: what is asked of every report."""
    lines: list[Figure] = [
        ("parameters", lambda r: f"{r.totals['params']:,}"),
        ("MACs", lambda r: f"{r.totals['macs']:,}"),
        ("MACs and all else", lambda r: f"{r.totals['macs_all']:,}"),
        ("MACs backward", lambda r: f"{r.totals['macs_backward']:,}"),
        ("maps of a forward pass", lambda r: size(r.totals["activation_bytes"])),
        ("traffic, at least", lambda r: size(r.totals["traffic_bytes"])),
        ("saved for backward", lambda r: size(r.totals["saved_bytes"])),
    ]
    if training:
        lines += [("peak of a training step", lambda r: size(r.totals["peak_training_bytes"]))]
    return [
        *lines,
        ("last map", last_map),
        ("last field", last_field),
        ("layers that add no context", lambda r: f"{len(r.saturated)}"),
    ]


def print_compared(reports: Sequence[Report]) -> None:
    """A table with one column for each report, named by what differs between them."""
    training = "peak_training_bytes" in reports[0].totals
    heads = [f">{head}" for head in headings(reports)]
    rows = [{"": name, **{h: cell(r) for h, r in zip(heads, reports)}} for name, cell in figures(training)]
    names = list(dict.fromkeys(report.name for report in reports))
    step = f"  training with {reports[0].training}" if training else ""
    output.print_table(rows, ["", *heads], title=f"[bold]{', '.join(names)}[/]{step}")


def headings(reports: Sequence[Report]) -> list[str]:
    """What tells the reports apart: "resnet50 x 0.5, 224, batch 8", without what they all share."""
    parts: list[list[str]] = [[r.name for r in reports], [side(r) for r in reports],
                              [f"batch {r.batch}" for r in reports]]  # fmt: skip
    telling = [part for part in parts if len(set(part)) > 1] or parts[1:2]
    return [", ".join(words) for words in zip(*telling)]


def side(report: Report) -> str:
    return across(report.input_size[1:])


def last_map(report: Report) -> str:
    """The last map that has more than one unit."""
    row = next((r for r in reversed(report.rows) if len(r.output_shape) == 4 and max(r.output_shape[2:]) > 1), None)
    return "" if row is None else across(row.output_shape[2:])


def last_field(report: Report) -> str:
    """What a unit of that map sees by its local path."""
    rows = [r for r in report.rows if r.receptive_field is not None and any(r.receptive_field.jump)]
    return across(rows[-1].receptive_field.size) if rows and rows[-1].receptive_field else ""


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
    output.console().print(
        "By the peak of all tensors; leave some hundred MB for the process and its kernels.", style="dim"
    )
