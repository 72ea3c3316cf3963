"""convatlas calibrate"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.numbers import counted, percent

if TYPE_CHECKING:
    from convatlas.cost.latency import Machine

Flag = Annotated[bool, Parameter(negative=())]


def calibrate(
    *,
    engine: str | None = None,
    threads: output.Whole | None = None,
    show: Flag = False,
    out: Path | None = None,
    busy: Flag = False,
    json: Flag = False,
) -> None:
    """Measure what this machine reaches, so that any network's time can be predicted.

    Examples:

    `convatlas calibrate`

    `convatlas calibrate --show`

    Parameters
    ----------
    engine
        onnxruntime or eager, or both with a comma between them; by default all that are installed.
    threads
        Of one operation; by default as many as there are cores.
    show
        Show the calibration that is there, and measure nothing.
    out
        Another file than the usual one, which `convatlas show --latency` reads.
    busy
        Measure although other programs keep this machine busy.
    json
        Print the rates as JSON.

    Small pieces of networks are measured, for half a minute an engine: convolutions of several widths and sizes, what
    moves maps, what a call costs. Then `convatlas show NETWORK --latency` says how long any network takes.
    """
    from convatlas.cost.latency import calibrated
    from convatlas.cost.machine import place

    if show:
        found = calibrated(out)
    else:
        found = _measured(engine, threads, out, busy)
    if json:
        from convatlas.deploy.calibrate import summary

        output.print_json(summary(found))
        return
    print_machine(found)
    if not show:
        output.console(stderr=True).print(f"wrote {out or place()}", style="dim", soft_wrap=True)


def _measured(engine: str | None, threads: int | None, out: Path | None, busy: bool) -> Machine:
    from rich.progress import BarColumn, Progress, TextColumn

    from convatlas.cost.machine import place
    from convatlas.deploy.calibrate import calibrate as measure
    from convatlas.deploy.load import checked_load
    from convatlas.deploy.sessions import checked_threads
    from convatlas.files import refuse_unwritable

    refuse_unwritable(out or place())
    number = checked_threads(threads)
    load = checked_load(number, allow_busy=busy)
    note = f"measured on a busy machine: {load}" if load.too_busy(number) else ""
    screen = output.console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total} pieces"))
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        tasks: dict[str, object] = {}

        def watch(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)  # type: ignore[arg-type]

        return measure(None if engine is None else output.several(engine), threads=threads, out=out, note=note,
                       watch=watch)  # fmt: skip


def print_machine(found: Machine) -> None:
    """Each kind of operation with what it reaches, engine by engine."""
    console = output.console()
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    console.print(
        f"[bold]{found.processor}[/], {counted(found.threads, 'thread')}, {versions}, {found.date}", soft_wrap=True
    )
    for name, told in found.engines.items():
        rows = [
            {
                "!kind": kind.replace("_", " "),
                ">µs a call": f"{1e6 * rates.call:.1f}",
                ">GMAC/s": f"{1e-9 / rates.mac:.0f}" if rates.mac else "",
                ">GB/s": f"{1e-9 / rates.byte:.1f}" if rates.byte else "",
            }
            for kind, rates in told.rates.items()
        ]
        output.print_table(rows, [*rows[0]], title=f"[bold]{name}[/]")
        if told.note:
            console.print(f"[bold]{told.note}[/]: predictions by it may be several times off.", soft_wrap=True)
        stream = f"; weights out of memory at {1e-9 / told.stream:.1f} GB/s beside that" if told.stream else ""
        console.print(
            f"{1e6 * told.call:.0f} µs a call beside its operations'{stream}. The rates meet the pieces' times to "
            f"{percent(told.error)} (median); what pieces of like shape took longer is said of others too.",
            style="dim",
        )  # fmt: skip
    console.print("next: convatlas show NAME --latency", style="dim")
