"""Checked claims on the terminal."""

from __future__ import annotations

from collections import Counter

from convatlas.claims import DIFFERS, HOLDS, NOT_OURS, ROUNDED, VERDICTS, Checked
from convatlas.claims.figures import text
from convatlas.claims.wording import computed
from convatlas.cli import output

COLOURS = {HOLDS: "green", ROUNDED: "cyan", DIFFERS: "red", NOT_OURS: "dim"}


def print_claims(every: list[Checked]) -> None:
    """All claims as a table, topic by topic."""
    from rich.markup import escape

    rows: list[dict[str, str]] = []
    topic = ""
    for checked in every:
        if checked.claim.topic != topic:
            topic = checked.claim.topic
            rows += [{}, {"!claim": f"[bold]{topic}[/]"}] if rows else [{"!claim": f"[bold]{topic}[/]"}]
        rows.append({
            "!claim": checked.claim.id,
            "says": escape(checked.claim.says),
            "computed": escape(computed(checked)),
            "verdict": coloured(checked.verdict),
        })  # fmt: skip
    output.print_table(rows, ["!claim", "says", "computed", "verdict"], spare=("says",))
    counts = Counter(checked.verdict for checked in every)
    summary = ", ".join(f"{counts[verdict]} {coloured(verdict)}" for verdict in VERDICTS if counts[verdict])
    output.console().print(f"{len(every)} claims: {summary}. `convatlas claims ID` says why.")


def print_claim(checked: Checked) -> None:
    """One claim with all its figures, its cause and its source."""
    from rich.markup import escape

    console = output.console()
    claim = checked.claim
    console.print(f"[bold]{claim.id}[/]  {coloured(checked.verdict)}")
    console.print(escape(claim.who), style="dim")
    console.print(escape(claim.says))
    rows: list[dict[str, str]] = []
    against = ">computed" if claim.ours else ">source says"
    for line in checked.lines:
        label = line.label
        for figure in line.figures:
            rows.append({
                "!": escape(label), "what": escape(figure.column or claim.unit.get("", "")),
                ">said": escape(figure.said.text), against: escape(figure.text),
                "!verdict": coloured(figure.verdict) if figure.verdict else "",
            })  # fmt: skip
            label = ""
        like = line.figures[0].said if line.figures[0].said.text.endswith("G") else None
        rows += [{"what": escape(column), against: escape(text(value, like))} for column, value in line.also.items()]
    output.print_table(rows, ["!", "what", ">said", against, "!verdict"])
    for title, words in (("Why", claim.why), *((line.label, line.why) for line in checked.lines), ("Note", claim.note)):
        if words:
            console.print(f"[bold]{escape(title)}:[/] {escape(words)}")
    if claim.source:
        console.print(f"Source: {escape(claim.source)}", style="dim")


def coloured(verdict: str) -> str:
    return f"[{COLOURS[verdict]}]{verdict}[/]"
