"""convatlas show"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.cost import Report, Row, analyze
from convatlas.errors import ConvatlasError
from convatlas.graph.ops import VIEWS, Shape

QUIET = VIEWS | {"dropout", "drop_path", "relu", "relu6", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "gelu"}
"""Operations that neither cost anything nor change what a person wants to see; --all shows them."""


def show(
    model: str,
    /,
    *,
    input: str | None = None,
    batch: output.Whole = 1,
    depth: output.Whole | None = None,
    all: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Show what each layer of a network gives and costs.

    Examples:

    `convatlas show vgg16`

    `convatlas show resnet50 --input 320 --batch 32`

    `convatlas show efficientnet_b0 --depth 1`

    `convatlas show timm:convnext_tiny --input 288`

    `convatlas show mine.py:Net --input 1x28x28`

    Parameters
    ----------
    model
        A name from `convatlas list` (with +aux: with its auxiliary heads), timm:NAME, torchvision:NAME, or
        file.py:Class for a module of your own.
    input
        Input size: 288, 224x320 (H x W) or 1x28x28 (C x H x W); by default the network's own.
    batch
        Pictures in a batch.
    depth
        Sum the layers up: 1 gives a row for each stage, 2 one for each block.
    all
        Also show activations, dropout and what only rearranges data.
    json
        Print everything as JSON.
    """
    if depth is not None and depth < 1:
        raise ConvatlasError(f"--depth is at least 1, not {depth}")
    report = analyze(model, input_size=None if input is None else output.size(input), batch=batch)
    if json:
        output.print_json(report.to_json())
    else:
        print_report(report, depth, all)


def print_report(report: Report, depth: int | None = None, everything: bool = False) -> None:
    """The report as a table for people."""
    channels, height, width = report.input_size
    batch = f", batch {report.batch}" if report.batch > 1 else ""
    total = report.totals["macs"]
    rows: list[dict[str, str]] = [
        {
            "!layer": row.name if depth else label(row.name),
            "!operation": operation(row),
            ">output": _shape(row.output_shape),
            ">params": f"{row.params:,}" if row.params else "",
            ">MACs": "?" if row.macs is None else f"{row.macs:,}" if row.macs else "",
            ">share": output.percent(row.macs / total) if row.macs and total else "",
        }
        for row in (grouped(report.rows, depth) if depth else report.rows)
        if depth or everything or _loud(row)
    ]
    at_least = "at least " if report.status["macs"] == "bound" else ""
    totals = {"!layer": "total", ">params": f"{report.totals['params']:,}", ">MACs": f"{at_least}{total:,}"}
    columns = ["!layer", *([] if depth else ["!operation"]), ">output", ">params", ">MACs", ">share"]
    title = f"[bold]{report.name}[/]  input {channels} x {height} x {width}{batch}"
    output.print_table([*rows, {}, totals], columns, spare=(">share", "!operation"), title=title)
    console = output.console()
    unknown = [row.name for row in report.rows if row.macs is None]
    if unknown:
        console.print(f"No rule for: {', '.join(unknown)}. The total is a lower bound.")
    console.print("MACs: multiply-adds of convolutions, linear layers and matrix products.")


def grouped(rows: Iterable[Row], depth: int) -> list[Row]:
    """The rows summed up by the first ``depth`` words of their names, without "trunk"; shapes are the last one's."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(".".join(row.name.removeprefix("trunk.").split(".")[:depth]), []).append(row)
    return [
        Row(
            name,
            "",
            members[-1].output_shape,
            sum(r.params for r in members),
            None if any(r.macs is None for r in members) else sum(r.macs or 0 for r in members),
        )
        for name, members in groups.items()
    ]


def label(name: str) -> str:
    """A row's name for people: the path inside the network, without "trunk", and a brick's name for its convolution."""
    return name.removeprefix("trunk.").removesuffix(".conv")


def operation(row: Row) -> str:
    """What a row does, in short: "conv 3x3 /2 g32"."""
    return f"{row.op.replace('adaptive_avg_pool', 'adaptive_pool').removesuffix('2d')} {row.detail}".strip()


def _loud(row: Row) -> bool:
    return row.op not in QUIET or row.params > 0


def _shape(shape: Shape) -> str:
    if shape and isinstance(shape[0], tuple):
        return " + ".join(_shape(piece) for piece in shape)
    return " x ".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape))
