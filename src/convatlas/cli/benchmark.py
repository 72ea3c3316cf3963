"""convatlas benchmark"""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.numbers import counted, percent, short

if TYPE_CHECKING:
    from convatlas.deploy.benchmark import Benchmark
    from convatlas.deploy.layers import Layers

Flag = Annotated[bool, Parameter(negative=())]
KINDS = (".csv", ".json")


def benchmark(
    *models: str,
    batch: output.Whole = 1,
    engine: str = "auto",
    threads: output.Whole | None = None,
    input: str | None = None,
    weights: str = "none",
    rounds: output.Whole = 15,
    layers: Flag = False,
    depth: output.Whole | None = None,
    busy: Flag = False,
    out: output.Out = None,
    json: Flag = False,
) -> None:
    """Time networks: by turns, on a quiet machine, with the spread beside the median.

    Examples:

    `convatlas benchmark resnet50`

    `convatlas benchmark 'mobilenet_v3*' efficientnet_b0 --engine eager,onnxruntime`

    `convatlas benchmark runs/flowers runs/flowers/model.onnx --batch 8 --threads 1`

    `convatlas benchmark resnet50 --layers --depth 2`

    Parameters
    ----------
    models
        Names from `convatlas list`, with * and ? as wildcards, runs' folders, exported files, timm:NAME,
        torchvision:NAME or file.py:Class. Each is also compared with the first.
    batch
        How many pictures a network sees at once.
    engine
        eager (PyTorch), onnxruntime, compile, cuda, or auto, the fastest; several with commas between them.
    threads
        Of one operation on the CPU; by default as many as there are cores.
    input
        Input size: 288, 224x320 (H x W) or 1x28x28 (C x H x W); by default each network's own.
    weights
        Of plain names: random ones (none), default, or a source by its name. Times do not depend on them.
    rounds
        Measurements of each.
    layers
        The time of every layer of one network, beside its multiply-adds.
    depth
        With --layers, sum them up: 1 gives a row for each stage, 2 one for each block.
    busy
        Measure beside other processes too, and say so.
    out
        Write to a file, .csv or .json.
    json
        Print everything as JSON, times in seconds.

    Where other processes take more than a third of a core (or a quarter of the cores that the threads leave, if that is
    more) nothing is measured.
    """
    if not models:
        raise ConvatlasError("which network? convatlas benchmark resnet50")
    output.one_answer(json, out)
    if out is not None and out.suffix.lower() not in KINDS:
        raise UnknownName("kind of file", out.suffix or out.name, KINDS)
    if depth is not None and not layers:
        raise ConvatlasError("--depth goes with --layers")
    if depth is not None and depth < 1:
        raise ConvatlasError(f"--depth is at least 1, not {depth}")
    kinds = output.several(engine)
    size = None if input is None else output.size(input)
    found: Benchmark | Layers
    with _status() as watch:
        if layers:
            found = _layers(models, kinds, depth, batch, threads, weights, size, rounds, busy, watch)
        else:
            from convatlas.deploy.benchmark import benchmark as measure

            found = measure(models, batch=batch, engines=kinds, threads=threads, weights=weights, input_size=size,
                            rounds=rounds, allow_busy=busy, watch=watch)  # fmt: skip
    if out is not None:
        as_json = out.suffix.lower() == ".json"
        content = json_module.dumps(found.to_json(), indent=1) + "\n" if as_json else found.to_csv()
        from convatlas.files import write_whole

        write_whole(out, lambda beside: beside.write_text(content, encoding="utf-8"))
        output.console(stderr=True).print(f"wrote {out}", style="dim", soft_wrap=True)
    elif json:
        output.print_json(found.to_json())
    else:
        print_found(found)
    if out is not None or json:
        print_notes(found, stderr=True)


def _layers(
    models: tuple[str, ...],
    kinds: list[str],
    depth: int | None,
    batch: int,
    threads: int | None,
    weights: str,
    size: tuple[int, ...] | None,
    rounds: int,
    busy: bool,
    watch: Callable[[str], object],
) -> Layers:
    from convatlas.deploy.layers import layers as measure

    if len(models) > 1 or len(kinds) > 1:
        raise ConvatlasError("--layers takes one network and one engine")
    found = measure(models[0], kinds[0], batch=batch, threads=threads, weights=weights, input_size=size,
                    rounds=rounds, allow_busy=busy, watch=watch)  # fmt: skip
    return found if depth is None else found.summed(depth)


@contextmanager
def _status() -> Iterator[Callable[[str], object]]:
    """What is being done, on a person's terminal."""
    if not sys.stderr.isatty():
        yield lambda doing: None
        return
    with output.console(stderr=True).status("") as status:
        yield lambda doing: status.update(doing)


def print_found(found: Benchmark | Layers) -> None:
    """The table, the machine under it, and what a reader has to know."""
    from convatlas.deploy.layers import Layers

    if isinstance(found, Layers):
        print_layers(found)
    else:
        print_benchmark(found)
    console, told = output.console(), found.machine
    versions = ", ".join(f"{name} {told[name]}" for name in ("python", "torch", "onnxruntime") if told[name])
    threads = found.threads if isinstance(found, Layers) else found.rows[0].threads
    console.print(
        f"{told['processor']}, {counted(told['cores'], 'core')}, {counted(threads, 'thread')}; {versions}.", style="dim"
    )
    console.print(f"Before: {found.before}. While it was measured: {found.during}.", style="dim")
    print_notes(found)


def print_notes(found: Benchmark | Layers, stderr: bool = False) -> None:
    for note in found.notes:
        style = "bold red" if note.startswith("BUSY") else "yellow"
        output.console(stderr=stderr).print(note, style=style, markup=False, soft_wrap=True)


def print_benchmark(found: Benchmark) -> None:
    from rich.markup import escape

    rows = []
    for row in found.rows:
        t, r = row.timing, row.ratio
        rows.append({
            "!network": f"[bold]{escape(row.network)}[/]",
            "!engine": row.engine,
            ">input": " x ".join(map(str, row.input_size)),
            ">ms": milliseconds(t.median),
            ">quartiles": f"{milliseconds(t.low)} to {milliseconds(t.high)}",
            ">least": milliseconds(t.least),
            ">pictures/s": milliseconds(row.pictures_per_second / 1e3),
            ">x first": f"{r.median:.2f}",
            ">its quartiles": f"{r.low:.2f} to {r.high:.2f}",
        })  # fmt: skip
    first = found.rows[0]
    output.print_table(rows, [*rows[0]], spare=(">least", ">its quartiles", ">input"))
    output.console().print(
        f"Milliseconds of a call with {counted(first.batch, 'picture')}, the median of "
        f"{counted(first.timing.rounds, 'round')} in which all took turns; x first: how many times as long as the "
        "first row, by the rounds' own ratios.",
        style="dim",
    )


def print_layers(found: Layers) -> None:
    from rich.markup import escape

    from convatlas.cost.tables import label

    rows = []
    for layer in found.layers:
        rows.append({
            "!layer": escape(label(layer.name)),
            "operation": layer.operation,
            ">ms": milliseconds(layer.seconds),
            ">of time": percent(found.share(layer)),
            ">MACs": f"{layer.macs:,}" if layer.macs else "",
            ">of MACs": percent(found.macs_share(layer)) if layer.macs else "",
            ">GMAC/s": f"{layer.macs_per_second / 1e9:,.1f}" if layer.macs_per_second else "",
        })  # fmt: skip
    rate = f"{found.macs / found.seconds / 1e9:,.1f}" if found.macs and found.seconds else ""
    total = {"!layer": "sum", ">ms": milliseconds(found.seconds), ">MACs": f"{found.macs:,}", ">GMAC/s": rate}
    size = " x ".join(map(str, found.input_size))
    head = f"[bold]{escape(found.network)}[/]  by {found.engine}, input {size}, batch {found.batch}"
    operation = () if any(layer.operation for layer in found.layers) else ("operation",)
    columns = [column for column in rows[0] if column not in operation]
    output.print_table([*rows, {}, total], columns, spare=("operation", ">MACs"), title=head)
    whole, profiled = found.whole, found.profiled
    output.console().print(
        f"The whole network takes {milliseconds(whole.median)} ms ({milliseconds(whole.low)} to "
        f"{milliseconds(whole.high)}), and {milliseconds(profiled.median)} ms while its layers are timed; "
        f"{short(found.macs)} MACs. What was fused into a layer is in its time.",
        style="dim",
    )


def milliseconds(seconds: float) -> str:
    """0.01234 -> "12.3": three significant digits."""
    value = 1e3 * seconds
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.9995 else f"{value:.3f}"
