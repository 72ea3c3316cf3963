"""A report on the terminal, and in files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from convatlas.cli import output
from convatlas.cost import Report
from convatlas.cost.latency import Latency
from convatlas.cost.memory import DTYPES
from convatlas.cost.tables import columns, label, mark, shown, title, totals
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.numbers import counted, percent, size

PREFIX = {"number": ">", "name": "!", "text": ""}
PICTURES = (".svg", ".png", ".pdf")
TEXTS = {
    ".csv": Report.to_csv,
    ".md": Report.to_markdown,
    ".html": Report._repr_html_,
    ".json": lambda report: json.dumps(report.to_json(), indent=1) + "\n",
}


def print_report(report: Report, *, everything: bool = False, field: bool = False, plain: Report | None = None) -> None:
    """The report as a table for people, and what its figures mean.

    plain: the same without activation checkpointing, to compare.
    """
    picked = columns(report, field=field)
    # The share is to the right like a number, but may be left out.
    heads = [">share" if column.title == "share" else PREFIX[column.kind] + column.title for column in picked]
    lines = [[column.cell(row) for column in picked] for row in shown(report, everything=everything)]
    lines += [[], totals(report, picked)]
    rows = [dict(zip(heads, line)) for line in lines]
    head = f"[bold]{report.name}[/]  {title(report)}"
    output.print_table(rows, heads, spare=(">share", "operation", ">jump", ">backward", "of time"), title=head)
    console = output.console()
    for figure, effect in (("macs", "The total is a lower bound"), ("saved_bytes", "What is saved is a lower bound")):
        if figure == "macs" or report.training:
            print_unknown(report, figure, effect, console)
    if report.training:
        print_step(report, plain, console)
    if report.latency is not None:
        print_latency(report.latency, console)
    if field:
        print_saturated(report, console)
    print_note(report, console)
    values = report.totals["activation_bytes"] // DTYPES[report.dtype]
    console.print(
        "MACs: multiply-adds of convolutions, linear layers and matrix products. Memory: the maps of a forward pass, "
        f"each once, {values:,} values.",
        style="dim",
    )


def print_note(report: Report, console: Any) -> None:
    if report.note:
        console.print(report.note, style="yellow")


def print_latency(latency: Latency, console: Any) -> None:
    """The whole call, what bounds it, and how good such an estimate is."""
    shares = ", ".join(f"{percent(share)} by {bound}" for bound, share in latency.bounds().items())
    worth = " ".join(latency.notes) or (
        "An estimate: whole networks were mostly found within a fifth of it, the worst within two thirds "
        "(docs/latency.md)."
    )
    threads = counted(latency.threads, "thread")
    console.print(
        f"About {1e3 * latency.seconds:.2f} ms a call by {latency.engine} on {threads}: bound {shares}. {worth}"
    )


def print_unknown(report: Report, figure: str, effect: str, console: Any) -> None:
    """The operations that have no rule, each kind once."""
    unknown = set(report.unknown(figure))
    kinds = Counter(row.op or row.name for row in report.rows if row.name in unknown)
    if kinds:
        words = [f"{op}, {count} times" if count > 1 else op for op, count in kinds.items()]
        console.print(f"No rule for: {'; '.join(words)}. {effect}.")


def print_step(report: Report, plain: Report | None, console: Any) -> None:
    """What a training step takes."""
    t = report.totals
    if "peak_training_bytes" not in t:
        return

    def line(name: str, figure: str, of: Report = report) -> dict[str, str]:
        return {"!": name, ">bytes": f"{mark(of, figure)}{size(of.totals[figure])}"}

    rows = [
        {"!": "parameters and buffers", ">bytes": size(t["parameter_bytes"] + t["buffer_bytes"])},
        line("gradients", "gradient_bytes"),
        line(f"optimizer's state ({report.training})", "optimizer_bytes"),
        *([] if plain else [line("saved for backward", "saved_bytes")]),
        *([line("peak of a training step without checkpointing", "peak_training_bytes", plain)] if plain else []),
        line(f"peak of a training step{' with it' if plain else ''}", "peak_training_bytes"),
    ]
    output.print_table(rows, ["!", ">bytes"])
    again = " Checkpointing computes its blocks' forward pass twice." if plain else ""
    ratio = f" ({t['macs_backward'] / t['macs']:.2f} x)" if t["macs"] else ""
    console.print(
        f"Forward {t['macs']:,} MACs, backward {t['macs_backward']:,}{ratio}.{again} "
        "The peak is that of all tensors; a process takes some hundred MB beside them.",
        style="dim",
    )


def print_saturated(report: Report, console: Any) -> None:
    """The layers that can add no context."""
    spatial = [row for row in report.rows if _spatial(row.detail)]
    unknown = sum(row.receptive_field is None or row.receptive_field.status != "exact" for row in spatial)
    if report.saturated:
        first = label(report.saturated[0])
        console.print(
            f"{len(report.saturated)} of {len(spatial)} layers with a spatial kernel can add no context at this input "
            f"size, from {first} on: what they read already sees all of the picture."
        )
    elif not unknown:
        console.print("Every layer with a spatial kernel can add context at this input size.")
    if unknown:
        console.print(f"Of {unknown} layers with a spatial kernel the field is not known exactly.")


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
    output.console(stderr=True).print(f"wrote {path}", style="dim")
