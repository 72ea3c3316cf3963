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

    rows: list[dict[str, str]] = []
    size = f"{card.channels} x {card.input_size} x {card.input_size}"
    computed = {"params": f"{card.params:,}", "macs": f"{card.macs:,}"}
    for what, own in computed.items():
        claims = [claim for claim in facts.get("printed", ()) if claim["what"] == what]
        name = f"{WORDS[what]}, {size}" if what == "macs" else WORDS[what]
        for claim in claims or [None]:
            rows.append({"": name, ">computed": own, ">printed": _value(claim), "where": _where(claim)})
            name = own = ""
    if card.with_aux:
        rows += [
            {"": f"{WORDS[what]} with auxiliary heads", ">computed": f"{card.with_aux[what]:,}"} for what in computed
        ]
    output.print_table(rows, ["", ">computed", ">printed", "where"])

    rest = [claim for claim in facts.get("printed", ()) if claim["what"] not in computed]
    _print_claims("The paper and its authors", rest)
    _print_claims("Measured by others", facts.get("measured", ()))
    if card.weights:
        default, *others = card.weights
        also = f"; also {', '.join(others)}" if others else ""
        console.print(f"Published weights (--weights): {default}, the default{also}")
    if note := facts.get("note"):
        console.print(f"Note: {note}", style="dim")


def _print_claims(title: str, claims: Any) -> None:
    rows = [
        {
            "": WORDS.get(claim["what"], claim["what"].replace("_", " "))
            + (f", {claim['data']}" if "data" in claim else ""),
            ">value": _value(claim),
            "where": _where(claim),
        }
        for claim in claims
    ]
    if rows:
        output.print_table(rows, ["", ">value", "where"], title=title)


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
