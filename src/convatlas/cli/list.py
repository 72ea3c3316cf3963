"""convatlas list"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from convatlas import registry
from convatlas.cli import output
from convatlas.numbers import counted, short


def list(
    *patterns: str,
    family: str | None = None,
    year: str | None = None,
    params_below: str | None = None,
    params_above: str | None = None,
    macs_below: str | None = None,
    macs_above: str | None = None,
    has: Annotated[Literal["weights"] | None, Parameter(negative=())] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """List the networks of the atlas.

    Examples:

    `convatlas list`

    `convatlas list 'res*' --params-below 30M`

    `convatlas list --family MobileNetV2 --has weights`

    `convatlas list --year 2014-2016 --macs-below 2G --json`

    Parameters
    ----------
    patterns
        Names, with * and ? as wildcards; any may match.
    family
        Only this family (ResNet, VGG, DenseNet …).
    year
        Only of this year, or of these years: 2015, 2014-2016.
    params_below
        Only networks with fewer parameters: 30M.
    params_above
        Only networks with more parameters.
    macs_below
        Only networks with fewer multiply-adds for one picture: 2G.
    macs_above
        Only networks with more multiply-adds.
    has
        Only networks that have this: published weights.
    json
        Print an array with one object a network.
    """

    def limit(text: str | None) -> float | None:
        return None if text is None else output.count(text)

    cards = registry.find(
        patterns or "*",
        family=family,
        year=None if year is None else output.years(year),
        params_below=limit(params_below),
        params_above=limit(params_above),
        macs_below=limit(macs_below),
        macs_above=limit(macs_above),
        has=[has] if has else (),
    )
    if json:
        output.print_json([card.to_json() for card in cards])
        return
    if not cards:
        output.console(stderr=True).print("no network of the atlas fits")
        return
    rows = [
        {
            "!name": f"[bold]{card.name}[/]",
            "!family": card.family,
            ">year": str(card.year or ""),
            ">input": str(card.input_size),
            ">params": short(card.params),
            ">MACs": short(card.macs),
            "!weights": ", ".join(card.weights),
            "what it is": card.title,
        }
        for card in cards
    ]
    output.print_table(rows, [*rows[0]], spare=("what it is", "!family", "!weights"))
    console = output.console()
    console.print(
        f"{counted(len(cards), 'network')}. MACs: multiply-adds of convolutions and linear layers, one picture."
    )
