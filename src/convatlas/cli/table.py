"""A report on the terminal, and in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convatlas.cli import output
from convatlas.cost import Report
from convatlas.cost.tables import columns, shown, title, totals
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.numbers import size

PREFIX = {"number": ">", "name": "!", "text": ""}
PICTURES = (".svg", ".png", ".pdf")
TEXTS = {
    ".csv": Report.to_csv,
    ".md": Report.to_markdown,
    ".html": Report._repr_html_,
    ".json": lambda report: json.dumps(report.to_json(), indent=1) + "\n",
}


def print_report(report: Report, *, depth: int | None = None, everything: bool = False, field: bool = False) -> None:
    """The report as a table for people, and what its figures mean."""
    picked = columns(report, depth=depth, field=field)
    # The share is to the right like a number, but may be left out.
    heads = [">share" if column.title == "share" else PREFIX[column.kind] + column.title for column in picked]
    lines = [[column.cell(row) for column in picked] for row in shown(report, depth=depth, everything=everything)]
    lines += [[], totals(report, picked)]
    rows = [dict(zip(heads, line)) for line in lines]
    head = f"[bold]{report.name}[/]  {title(report)}"
    output.print_table(rows, heads, spare=(">share", "operation", ">jump"), title=head)
    console = output.console()
    for figure, effect in (("macs", "The total is a lower bound"), ("saved_bytes", "What is saved is a lower bound")):
        if (names := report.unknown(figure)) and (figure == "macs" or report.training):
            console.print(f"No rule for: {', '.join(names)}. {effect}.")
    if report.training:
        print_step(report, console)
    if field:
        print_saturated(report, console)
    values = report.totals["activation_bytes"] // VALUE[report.dtype]
    console.print(
        "MACs: multiply-adds of convolutions, linear layers and matrix products. Memory: the maps of a forward pass, "
        f"each once, {values:,} values.",
        style="dim",
    )


VALUE = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


def print_step(report: Report, console: Any) -> None:
    """What a training step takes."""
    t = report.totals
    if "peak_training_bytes" not in t:
        return
    rows = [
        {"": "parameters and buffers", ">bytes": size(t["parameter_bytes"] + t["buffer_bytes"])},
        {"": "gradients", ">bytes": size(t["gradient_bytes"])},
        {"": f"optimizer's state ({report.training})", ">bytes": size(t["optimizer_bytes"])},
        {
            "": f"saved for backward{' without checkpointing' if report.checkpointing else ''}",
            ">bytes": size(t["saved_bytes"]),
        },
        {"": "peak of a training step", ">bytes": size(t["peak_training_bytes"])},
    ]
    output.print_table(rows, ["", ">bytes"])
    console.print(
        f"Forward {t['macs']:,} MACs, backward {t['macs_backward']:,} ({t['macs_backward'] / t['macs']:.2f} x). "
        "The peak is that of all tensors; a process takes some hundred MB beside them.",
        style="dim",
    )


def print_saturated(report: Report, console: Any) -> None:
    """The layers that can add no context."""
    spatial = [row.name for row in report.rows if _spatial(row.detail)]
    if report.saturated:
        first = report.saturated[0].removeprefix("trunk.")
        console.print(
            f"{len(report.saturated)} of {len(spatial)} layers with a spatial kernel can add no context at this input "
            f"size, from {first} on: what they read already sees all of the picture."
        )
    else:
        console.print("Every layer with a spatial kernel can add context at this input size.")


def _spatial(detail: str) -> bool:
    kernel = detail.partition(" ")[0]
    return "x" in kernel and any(side != "1" for side in kernel.split("x"))


def write_report(report: Report, path: Path) -> None:
    """Write a table or a figure, by the file's suffix.

    Raises UnknownName for any other, ConvatlasError where it cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in TEXTS and kind not in PICTURES:
        raise UnknownName("kind of file", path.suffix or path.name, [*TEXTS, *PICTURES])
    try:
        if kind in PICTURES:
            report.plot(path)
        else:
            path.write_text(TEXTS[kind](report), encoding="utf-8")
    except OSError as error:
        raise ConvatlasError(f"{path} cannot be written: {error.strerror}") from None
