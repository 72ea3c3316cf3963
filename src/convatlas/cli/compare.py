"""convatlas compare"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from convatlas.compare import Choice, Comparison
    from convatlas.compare.exhibits import Exhibit
    from convatlas.compare.tables import Table

Flag = Annotated[bool, Parameter(negative=())]


def compare(
    *patterns: str,
    x: str | None = None,
    y: str = "top1",
    size: str | None = None,
    also: str | None = None,
    accuracy: str | None = None,
    max_latency: str | None = None,
    measured: Flag = False,
    busy: Flag = False,
    max_size: str | None = None,
    max_memory: str | None = None,
    max_params: str | None = None,
    max_macs: str | None = None,
    min_top1: float | None = None,
    figure: str | None = None,
    out: output.Out = None,
    json: Flag = False,
) -> None:
    """Compare networks: published accuracies against computed costs, and the best one within limits.

    Examples:

    `convatlas compare`

    `convatlas compare 'resnet*' 'efficientnet_b?' mobilenet_v2_x1_0 --x macs --size params --out figure.svg`

    `convatlas compare --accuracy torchvision --x activation --also training,depth`

    `convatlas compare '*' --y top1:timm --x top1:torchvision --size none`

    `convatlas compare --max-latency 20ms --max-size 30MB`

    `convatlas compare --max-params 5M --max-macs 400M --json`

    `convatlas compare --figure lineage --out lineage.svg`

    Parameters
    ----------
    patterns
        Names, with * and ? as wildcards; any may match; by default all networks.
    x
        The cost: macs (the default), params, size, activation, training, latency, measured, input, year, depth, field;
        or an accuracy.
    y
        What is to be good: top1 (the default), top5, density; with a source top1:torchvision.
    size
        What the blobs of a figure show: params (the default) or another axis; none: all alike.
    also
        Further columns, with commas between them.
    accuracy
        Whose accuracies: paper (the default), torchvision, torchvision_v2 or timm; single (crops, whosesoever) and any
        mix them, and every row says which.
    max_latency
        The best network on y within limits: at most so much time for one picture on this machine, 20ms, as predicted.
    measured
        Let --max-latency hold the measured time; or draw --figure canziani by measured times.
    busy
        Measure times although other programs keep this machine busy; such times are not remembered.
    max_size
        At most so many bytes of parameters in float32: 30MB or 30M, a million bytes each; 30MiB are 2^20 each.
    max_memory
        At most so many bytes of a forward pass' maps: 50MB, with the units of --max-size.
    max_params
        At most so many parameters: 5M.
    max_macs
        At most so many multiply-adds: 400M.
    min_top1
        At least this top-1 accuracy in per cent, where --y is another axis.
    figure
        A figure of the literature, remade: canziani, ilsvrc, efficientnet, compute or lineage.
    out
        Write to a file: a figure to .svg, .png or .pdf, the table behind it to .csv, .md or .json.
    json
        Print everything as JSON.
    """
    from convatlas import compare as library

    output.one_answer(json, out)
    limits: dict[str, float] = {}
    if max_latency is not None:
        limits["measured" if measured else "latency"] = seconds(max_latency)
    for key, text in (("size", max_size), ("activation", max_memory)):
        if text is not None:
            limits[key] = output.memory(text)
    for key, text in (("params", max_params), ("macs", max_macs)):
        if text is not None:
            limits[key] = output.count(text)
    if min_top1 is not None:
        limits["top1"] = min_top1
    if measured and max_latency is None and figure is None:
        raise ConvatlasError(
            "--measured goes with --max-latency or --figure; a column of measured times is --also measured"
        )

    if figure is not None:
        from convatlas.compare.exhibits import exhibit

        if limits or x or also or size or y != "top1":
            raise ConvatlasError("--figure has its own axes and no limits")
        deliver(exhibit(figure, patterns, accuracy=accuracy, measured=measured, allow_busy=busy), out, json)
    elif limits:
        if x or also or size:
            raise ConvatlasError("limits choose the best on --y: no --x, --size or --also with them")
        deliver(library.best(limits, patterns or "*", by=y, accuracy=accuracy or "paper", allow_busy=busy), out, json)
    else:
        blobs = None if size == "none" else size or "params"
        columns = output.several(also) if also else []
        found = library.compare(patterns or "*", x=x or "macs", y=y, size=blobs, also=columns,
                                accuracy=accuracy or "paper", allow_busy=busy)  # fmt: skip
        deliver(found, out, json)


def deliver(found: Comparison | Choice | Exhibit, out: Path | None, json: bool) -> None:
    """Write to a file, or print for programs or for people."""
    from convatlas.compare.tables import PICTURES, kind_of, write_table

    if json:
        output.print_json(found.to_json())
    elif out is None:
        print_found(found.people, found.notes)
    else:
        if kind_of(out) in PICTURES:
            found.plot(out)
        else:
            write_table(found.table, out)
        output.console(stderr=True).print(f"wrote {out}", style="dim")


def print_found(table: Table, notes: list[str] | tuple[str, ...]) -> None:
    """A table for people, and what must be said of it."""
    heads = {column.key: ("" if column.wide else ">" if column.number else "!") + column.title
             for column in table.columns if column.told}  # fmt: skip
    rows = [
        {heads[c.key]: f"[bold]{c.cell(row)}[/]" if row.get("front") or row.get("place") == "best" else c.cell(row)
         for c in table.columns if c.told}
        for row in table.rows
    ]  # fmt: skip
    ranked = sorted((c for c in table.columns if c.told and c.spare), key=lambda c: -c.spare)
    spare = [heads[column.key] for column in ranked]
    output.print_table(rows, list(heads.values()), spare=spare, title=f"[bold]{table.title}[/]")
    for note in notes:
        output.console().print(note, style="dim", soft_wrap=False)


def seconds(text: str) -> float:
    """ "20ms", "0.5s" -> seconds.  Raises ConvatlasError for anything else."""
    for unit, factor in (("µs", 1e-6), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        number = text.strip().lower().removesuffix(unit)
        if number != text.strip().lower():
            try:
                if (value := float(number)) > 0:
                    return value * factor
            except ValueError:
                pass
            break
    raise ConvatlasError(f"{text!r} is no time; write 20ms or 0.5s")


WHOLE = 40
"""Characters of a bar of 100 %."""
TOUR = ("resnet*", "vgg*", "efficientnet_b?", "mobilenet*", "densenet*", "googlenet", "alexnet", "inception*")


def print_tour_figure(console: Any, folder: Path) -> None:
    """For the tour: the networks that nothing beats, and the figure of all of them in a file of its own."""
    from convatlas.compare import compare as compared

    console.print("[bold cyan]Which network, at what cost?[/]")
    start = time.perf_counter()
    found = compared(TOUR)
    path = folder / "comparison.png"
    found.plot(path)
    for row in found.front[::-1]:
        accuracy, macs = row.values[found.y.name], row.values[found.x.name]
        bar = "█" * round(WHOLE * accuracy / 100)
        console.print(f"  {row.name:24} {accuracy:.1f} %  {bar:{WHOLE}} {found.x.form(macs):>6} multiply-adds")
    console.print(f"  of {len(found.rows)} networks these are beaten by none in both; {path}, in "
                  f"{time.perf_counter() - start:.1f} s", style="dim", soft_wrap=True)  # fmt: skip
