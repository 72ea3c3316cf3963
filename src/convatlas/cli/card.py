"""convatlas card"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from convatlas import registry
from convatlas.cli import output

WORDS = {
    "params": "parameters",
    "macs": "MACs",
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
    "top1_accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
}


def card(name: str, /, *, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Show a network's card: what it brought, what its paper prints, and what was computed here.

    Examples:

    `convatlas card googlenet`

    `convatlas card resnet50 --json`

    Parameters
    ----------
    name
        A name from `convatlas list`.
    json
        Print everything as JSON.
    """
    found = registry.card(name)
    if json:
        output.print_json({**found.to_json(), "facts": dict(found.facts)})
    else:
        print_card(found)


def print_card(card: registry.Card) -> None:
    """The card for people."""
    console = output.console()
    facts = card.facts
    console.print(f"[bold]{card.name}[/]  {card.title}")
    origin = [card.family, str(card.year or ""), _arxiv(facts.get("paper", "")), _parent(facts)]
    console.print("  ".join(part for part in origin if part), style="dim")
    if idea := facts.get("idea"):
        console.print(idea)

    table = output.table("", ">computed", ">printed", "where")
    size = f"{card.channels} x {card.input_size} x {card.input_size}"
    computed = {"params": f"{card.params:,}", "macs": f"{card.macs:,}"}
    for what, own in computed.items():
        claims = [claim for claim in facts.get("printed", ()) if claim["what"] == what]
        where = f"{WORDS[what]}, {size}" if what == "macs" else WORDS[what]
        for claim in claims or [None]:
            table.add_row(where, own, _value(claim), _where(claim))
            where = own = ""
    if card.with_aux:
        for what in computed:
            table.add_row(f"{WORDS[what]} with auxiliary heads", f"{card.with_aux[what]:,}", "", "")
    console.print(table)

    rest = [claim for claim in facts.get("printed", ()) if claim["what"] not in computed]
    _print_claims(console, "The paper and its authors", rest)
    _print_claims(console, "Measured by others", facts.get("measured", ()))
    if card.weights:
        default, *others = card.weights
        also = f"; also {', '.join(others)}" if others else ""
        console.print(f"Published weights (--weights): {default}, the default{also}")
    if note := facts.get("note"):
        console.print(f"Note: {note}", style="dim")


def _print_claims(console: Any, title: str, claims: Any) -> None:
    if not claims:
        return
    table = output.table("", ">value", "where", title=title)
    for claim in claims:
        what = WORDS.get(claim["what"], claim["what"].replace("_", " "))
        table.add_row(what + (f", {claim['data']}" if "data" in claim else ""), _value(claim), _where(claim))
    console.print(table)


def _value(claim: dict[str, Any] | None) -> str:
    if claim is None:
        return ""
    value, unit = claim["value"], claim.get("unit", "")
    return f"{value:,} {unit}".strip() if isinstance(value, int) else f"{value} {unit}".strip()


def _where(claim: dict[str, Any] | None) -> str:
    if claim is None:
        return ""
    parts = [claim["source"], f"{claim['input']} px" if "input" in claim else "", claim.get("note", "")]
    doubt = " (unverified)" if claim.get("unverified") else ""
    return ", ".join(part for part in parts if part) + doubt


def _arxiv(paper: str) -> str:
    return f"arXiv {paper}" if paper[:4].isdigit() and "." in paper[:6] else paper


def _parent(facts: Any) -> str:
    return f"after {facts['parent']}" if "parent" in facts else ""
