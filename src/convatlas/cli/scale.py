"""convatlas scale grid, apply, family, released"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from convatlas.cli import output
from convatlas.cli.studying import folder_of, running, worked
from convatlas.errors import ConvatlasError
from convatlas.numbers import percent, short

if TYPE_CHECKING:
    from convatlas.scaling.networks import Base, Scaled
    from convatlas.scaling.results import Result

Flag = Annotated[bool, Parameter(negative=())]

scale = App(name="scale", help="Compound scaling: deeper, wider and larger pictures at once, for any network.")


@scale.command
def grid(
    network: str,
    /,
    *,
    budget: str = "2x",
    step: float = 0.05,
    tolerance: float = 0.1,
    counted: Flag = False,
    input: output.Whole | None = None,
    width: float | None = None,
    dry_run: Flag = False,
    data: str | None = None,
    most: output.Whole = 12,
    seeds: output.Whole = 3,
    epochs: float | None = None,
    recipe: str = "general",
    out: Path | None = None,
    storage: str | None = None,
    study: str | None = None,
    readers: output.Whole = 0,
    quiet: Flag = False,
    json: Flag = False,
) -> int:
    """Search alpha, beta and gamma: the grid of EfficientNet's paper, on your own pictures.

    Examples:

    `convatlas scale grid efficientnet_b0 --budget 2x --dry-run`

    `convatlas scale grid resnet20_cifar --input 16 --width 0.5 --data cifar10 --epochs 10`

    Parameters
    ----------
    network
        What is scaled: a name from `convatlas list` whose family takes a depth and a width.
    budget
        How many times the multiply-adds: 2x. alpha x beta^2 x gamma^2 is to be this.
    step
        Of the grid.
    tolerance
        How far the product may be from the budget.
    counted
        Hold the budget by counted multiply-adds, instead of alpha x beta^2 x gamma^2: repeats are rounded up, so that
        the product may be far off.
    input
        Side of the base's pictures; by default the network's own, of small pictures theirs. For resolution to add
        anything it must lie below the pictures' own.
    width
        Of the base, in place of the network's own.
    dry_run
        Print the candidates and what they truly cost, and train nothing; with --data, for these data.
    data
        What they are trained on: as for `convatlas train`.
    most
        Candidates that are trained at most, taken evenly from the grid.
    seeds
        How many trainings each gets.
    epochs
        Of each training; by default the recipe's.
    recipe
        As for `convatlas train`; the same for all.
    out
        The study's folder; by default studies/NETWORK-DATA.
    storage
        The study's database: sqlite:///FILE (by default in the folder), or postgresql://USER@HOST/NAME for many
        machines.
    study
        Its name there; by default the folder's.
    readers
        Processes that read pictures from files.
    quiet
        No progress.
    json
        Print the result as JSON.

    Start the same command several times, on one machine or many, and they share the study; end any, and start it again
    to go on. The base scaled in depth, width and resolution alone is trained beside the grid.
    """
    from convatlas.scaling.compound import beside, candidates, fitted, train_grid
    from convatlas.scaling.networks import Base, scaled
    from convatlas.scaling.place import Place
    from convatlas.scaling.training import Budget, Trainer

    base, ratio = Base(network, input, width), times(budget)
    if dry_run:
        if data is not None:
            base = fitted(base, Trainer(Budget(data, recipe)))
        every = candidates(base, ratio, step, tolerance, counted=counted)
        singles = beside(base, ratio)[1:]
        if json:
            output.print_json({"base": scaled(base).to_json(), "candidates": [one.to_json() for one in every],
                               "alone": [one.to_json() for one in singles]})  # fmt: skip
        else:
            print_candidates(base, ratio, every, singles)
        return 0
    if data is None:
        raise ConvatlasError(f"on which pictures? convatlas scale grid {network} --data folder:PATH; --dry-run trains "
                             "nothing")  # fmt: skip
    if seeds < 1:
        raise ConvatlasError(f"--seeds is how many, at least 1, not {seeds}")
    trained = Budget(data, recipe, epochs, running=running(readers))
    place = Place(out or folder_of(network, data), storage, study)

    def work(watch: Any) -> Result:
        return train_grid(base, trained, place, times=ratio, step=step, tolerance=tolerance, most=most,
                          counted=counted, seeds=tuple(range(seeds)), watch=watch)  # fmt: skip

    return worked(work, place.folder, quiet, json)


@scale.command
def apply(
    network: str,
    /,
    *,
    phi: float = 1.0,
    alpha: float | None = None,
    beta: float | None = None,
    gamma: float | None = None,
    depth: float | None = None,
    width: float | None = None,
    resolution: float | None = None,
    input: output.Whole | None = None,
    json: Flag = False,
) -> None:
    """Scale a network by coefficients, or by factors of its depth, width and resolution, and say what it truly costs.

    Examples:

    `convatlas scale apply efficientnet_b0 --phi 3 --alpha 1.2 --beta 1.1 --gamma 1.15`

    `convatlas scale apply resnet18 --depth 2 --resolution 1.3`

    Parameters
    ----------
    network
        A name from `convatlas list`.
    phi
        How far: depth alpha^phi, width beta^phi, resolution gamma^phi.
    alpha, beta, gamma
        By default the paper's: 1.2, 1.1, 1.15.
    depth, width, resolution
        Factors, in place of coefficients; 1 where not given.
    input
        Side of the base's pictures; by default the network's own.
    json
        Print as JSON.
    """
    from convatlas.scaling.coefficients import PAPER, Coefficients, Factors
    from convatlas.scaling.networks import Base, scaled

    factors = (depth, width, resolution)
    letters = (alpha, beta, gamma)
    if any(one is not None for one in factors):
        if any(one is not None for one in letters) or phi != 1:
            raise ConvatlasError("coefficients, or factors: not both")
        if min(one for one in factors if one is not None) <= 0:
            raise ConvatlasError("factors are above 0")
        wanted = Factors(*(1.0 if one is None else one for one in factors))
    else:
        own = (PAPER.alpha, PAPER.beta, PAPER.gamma)
        wanted = Coefficients(*(given if given is not None else usual for given, usual in zip(letters, own))).at(phi)
    found = scaled(Base(network, input), wanted)
    if json:
        output.print_json(found.to_json())
        return
    print_scaled(f"{network}, scaled", [("base", scaled(Base(network, input))), ("scaled", found)])
    options = ", ".join(f"{name}={value!r}" for name, value in found.options.items())
    output.console().print(f'In Python: convatlas.create("{network}", {options})', style="dim", soft_wrap=True)


@scale.command
def family(
    network: str,
    /,
    *,
    phi: str = "0..4",
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
    input: output.Whole | None = None,
    json: Flag = False,
) -> None:
    """A family: one network scaled step by step, with what each member truly costs.

    Examples:

    `convatlas scale family resnet18 --phi 0..4`

    `convatlas scale family mobilenet_v2_x1_0 --phi 0,0.5,1 --alpha 1.1 --json`

    Parameters
    ----------
    network
        A name from `convatlas list`.
    phi
        The steps: 0..4, or several with commas.
    alpha, beta, gamma
        By how much depth, width and resolution grow a step; by default the paper's.
    input
        Side of the base's pictures; by default the network's own.
    json
        Print as JSON.
    """
    from convatlas.scaling.coefficients import Coefficients
    from convatlas.scaling.networks import Base, scaled

    own, base = Coefficients(alpha, beta, gamma), Base(network, input)
    found = [(step, scaled(base, own.at(step))) for step in steps(phi)]
    if json:
        output.print_json([{"phi": step, **one.to_json()} for step, one in found])
        return
    print_scaled(f"{network}, alpha, beta, gamma = {own}, of product {own.product:.3g}",
                 [(f"phi {step:g}", one) for step, one in found])  # fmt: skip
    if network == "efficientnet_b0":
        output.console().print("B1 to B7 as they were released are no whole steps of this: convatlas scale released",
                               style="dim", soft_wrap=True)  # fmt: skip


@scale.command
def released(*, json: Flag = False) -> None:
    """EfficientNet-B0 to B7 as released: their factors, of which phi each would be, and what formula and count say.

    Examples:

    `convatlas scale released`

    Parameters
    ----------
    json
        Print as JSON.
    """
    from convatlas.scaling.published import family as published

    found = published()
    if json:
        output.print_json([one.to_json() for one in found])
        return
    rows = [
        {"!": one.name, ">depth": f"{one.network.factors.depth:g}", ">width": f"{one.network.factors.width:g}",
         ">side": f"{one.network.side}", ">phi by depth": _two(one.phi["depth"]), ">by width": _two(one.phi["width"]),
         ">by resolution": _two(one.phi["resolution"]), ">params": f"{one.network.params:,}",
         ">MACs": short(one.network.macs), ">x B0": f"{one.network.ratio:.2f}",
         ">formula": f"{one.network.factors.product:.2f}"}
        for one in found
    ]  # fmt: skip
    output.print_table(rows, [*rows[0]], title="[bold]EfficientNet as released[/]")
    output.console().print(
        "phi: what alpha = 1.2, beta = 1.1, gamma = 1.15 would have to be raised to. The three of one network differ, "
        "and hardly any is whole: B1 to B7 are no integer powers. Rounding repeats up makes the multiply-adds more "
        "than the formula says.",
        style="dim",
    )  # fmt: skip


# ---- how it is read and printed ---------------------------------------------------------------------------


def times(text: str) -> float:
    """ "2x" or "2" -> 2.0.  Raises ConvatlasError for anything else."""
    try:
        return float(text.strip().lower().removesuffix("x"))
    except ValueError:
        raise ConvatlasError(f"--budget: {text!r} is no number of times; write 2x") from None


def steps(text: str) -> list[float]:
    """ "0..4" -> 0, 1, 2, 3, 4; "0,0.5" -> 0, 0.5.  Raises ConvatlasError for anything else."""
    first, dots, last = text.partition("..")
    try:
        if dots:
            low, high = int(first), int(last)
            if high < low:
                raise ValueError
            return [float(step) for step in range(low, high + 1)]
        return [float(part) for part in output.several(text)]
    except ValueError:
        raise ConvatlasError(f"--phi: {text!r} is no range of steps; write 0..4, or 0,0.5,1") from None


def print_candidates(base: Base, ratio: float, every: Sequence[Any], singles: Sequence[Any]) -> None:
    """The grid before it is trained."""
    from convatlas.scaling.networks import scaled

    plain = scaled(base)
    rows = []
    for one in (*every, *singles):
        network = one.network
        rows.append({
            "!alpha, beta, gamma": one.name, ">product": f"{network.factors.product:.3f}", ">side": f"{network.side}",
            ">params": short(network.params), ">MACs": short(network.macs), ">x base": f"{network.ratio:.2f}",
            ">off the formula": percent(network.macs / network.formula - 1),
        })  # fmt: skip
    output.print_table(rows, [*rows[0]], title=f"[bold]{base.name}[/] x {ratio:g}: {len(every)} candidates")
    output.console().print(
        f"The base: {plain.side} pixels, {short(plain.params)} parameters, {short(plain.macs)} multiply-adds. Product: "
        "alpha x beta^2 x gamma^2; x base: counted.",
        style="dim",
    )


def print_scaled(title: str, found: Sequence[tuple[str, Scaled]]) -> None:
    rows = [
        {"!": name, ">depth": f"{one.factors.depth:.3g}", ">width": f"{one.factors.width:.3g}", ">side": f"{one.side}",
         ">params": f"{one.params:,}", ">MACs": short(one.macs), ">x base": f"{one.ratio:.2f}",
         ">formula": f"{one.factors.product:.2f}"}
        for name, one in found
    ]  # fmt: skip
    output.print_table(rows, [*rows[0]], title=f"[bold]{title}[/]")


def _two(value: float) -> str:
    return f"{value:.2f}"
