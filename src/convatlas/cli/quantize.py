"""convatlas quantize"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.cli.benchmark import milliseconds
from convatlas.numbers import counted, size

if TYPE_CHECKING:
    from convatlas.deploy.quantize import Quantized

FEW = 5
"""So many pictures that cannot be read are named; --json has all."""


def quantize(
    model: str,
    /,
    *,
    data: str | None = None,
    out: Path | None = None,
    weights: str = "default",
    method: str = "auto",
    pictures: output.Whole = 200,
    tested: output.Whole = 10_000,
    max_drop: float = 1.0,
    weight_bits: output.Whole | None = None,
    force: Annotated[bool, Parameter(negative=())] = False,
    threads: output.Whole | None = None,
    seed: output.Whole = 0,
    busy: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write a network in 8 bits, calibrated on pictures, where it gains by it.

    Examples:

    `convatlas quantize runs/flowers`

    `convatlas quantize flowers.onnx --out small.onnx`

    `convatlas quantize efficientnet_lite0 --data folder:photos`

    Parameters
    ----------
    model
        A name from `convatlas list --has weights`, the folder of a run, or an exported file (.onnx, .safetensors).
    data
        As for `convatlas train`, or folder:PATH of pictures without classes; of a run, and of a file exported from
        one, by default what it was trained on.
    out
        The file; by default NETWORK-int8.onnx, of a run model-int8.onnx in its folder.
    weights
        default, the source of published weights by its name, a file, or a run.
    method
        auto takes the first that holds: whole (all layers), entropy (the same with ranges by entropy), first3, first6
        (so many convolutions stay in float), first6entropy.
    pictures
        How many training pictures calibrate.
    tested
        How many test pictures test, at most.
    max_drop
        Points of accuracy that may be lost.
    weight_bits
        8, or 7 for x86 processors without VNNI, where sums of 8 bits overflow; by default as this processor asks.
    force
        Write it even where it does not gain.
    threads
        Of one operation; by default as many as there are cores.
    seed
        Decides which pictures are taken.
    busy
        Time and decide although other programs keep this machine busy.
    json
        Print the figures as JSON.

    It is kept where it is faster, or half as large and hardly slower, and loses no more than --max-drop; else nothing
    is written, and the exit status is 1. Without classes, or on fewer than 100 test pictures, the answers of both are
    compared; on fewer than 20 nothing is decided.
    """
    from convatlas.deploy.quantize import quantize as make

    with _doing() as watch:
        made = make(model, data, out, weights=weights, method=method, pictures=pictures, tested=tested,
                    max_drop=max_drop, weight_bits=weight_bits, force=force, threads=threads, seed=seed,
                    allow_busy=busy, watch=watch)  # fmt: skip
    if json:
        output.print_json(made.to_json())
    else:
        print_quantized(made)
    return 0 if made.path is not None else 1


def print_quantized(made: Quantized) -> None:
    """Both networks as a table, then how it was done; what is wrong goes to standard error."""
    console, errors = output.console(), output.console(stderr=True)
    judged = made.judged_by
    rows = []
    for name, figures in (("float32", made.before), ("int8", made.after)):
        agreement = 1.0 if name == "float32" else made.agreement
        share = figures.accuracy if judged == "accuracy" and figures.accuracy is not None else agreement
        rows.append(
            {"": name, f">{judged}": f"{100 * share:.2f} %", ">file": size(figures.size),
             ">latency": f"{milliseconds(figures.latency)} ms", ">pictures/s": f"{figures.rate:,.0f}"}
        )  # fmt: skip
    output.print_table(rows, [*rows[0]])
    console.print(
        "latency: the median of one picture; so many times as fast is the ratio of these medians", style="dim"
    )
    if judged == "agreement":
        console.print(f"agreement: the first class is the same; by its own probabilities the network expects to lose "
                      f"{max(0, made.drop):.2f} points of accuracy", soft_wrap=True)  # fmt: skip
    bits = ", weights in 7 bits" if made.weight_bits == 7 else ""
    by = counted(made.calibrated, f"{made.calibrated_on} picture".strip())
    tested = counted(made.tested, f"{made.tested_on} picture".strip())
    console.print(f"{made.said}{bits}; calibrated on {by}, compared on {tested} of "
                  f"{made.data}", soft_wrap=True)  # fmt: skip
    others = [f"{name} {drop:+.2f}" for name, drop in made.tried.items() if name != made.method]
    if others:
        console.print(f"tried too, points lost where methods are chosen: {', '.join(others)}", soft_wrap=True)
    for note in made.notes:
        errors.print(f"convatlas: {note}", style="yellow", soft_wrap=True, markup=False)
    for reason in made.unread[:FEW]:
        errors.print(f"convatlas: {reason}", style="yellow", soft_wrap=True, markup=False)
    if made.unread:
        errors.print(f"convatlas: left out that cannot be read: {len(made.unread):,}", style="yellow")
    if made.path is None:
        errors.print(f"convatlas: nothing was written: {made.reason} (--force writes it)", style="red", soft_wrap=True)
        return
    console.print(f"[bold]{made.path}[/]  {made.reason}", soft_wrap=True)
    console.print(f"next: convatlas predict photo.jpg --model {made.path}", style="dim", soft_wrap=True)


@contextmanager
def _doing() -> Iterator[Callable[[str], None]]:
    """Where a person waits, what is being done."""
    screen = output.console(stderr=True)
    if not screen.is_terminal:
        yield lambda doing: None
        return
    with screen.status("") as status:
        yield status.update
