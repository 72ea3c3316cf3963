"""The page of the documentation that sets every claim beside what was computed."""

from __future__ import annotations

from collections import Counter

from convatlas.claims import VERDICTS, check
from convatlas.claims.checking import Checked
from convatlas.claims.wording import computed

INTRODUCTION = """\
# Claims, recomputed

What the lecture and the papers say in figures, beside what the atlas computes of it. The verdicts follow from the
figures, each time anew:

- **holds**: equal to the last digit.
- **rounded**: equal when the computed figure is rounded to the digits that are printed; where the source says "about",
  zeros at the end of a whole number are no digits.
- **differs**: anything else, with the cause.
- **not ours to compute**: trained accuracies, history and the sizes of data sets; compared with the source instead.

`convatlas claims ID` shows one of them with all its figures.
"""


def page() -> str:
    """Markdown: one section a topic, one row a claim."""
    every = check()
    counts = Counter(checked.verdict for checked in every)
    total = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    parts = [INTRODUCTION, f"{len(every)} claims: {total}.", ""]
    for topic in dict.fromkeys(checked.claim.topic for checked in every):
        parts += [f"## {topic}", "", "| claim | says | computed | verdict |", "|---|---|---|---|"]
        parts += [_row(checked) for checked in every if checked.claim.topic == topic]
        parts.append("")
    return "\n".join(parts)


def _row(checked: Checked) -> str:
    claim = checked.claim
    says = f"{_cell(claim.says)} <br>*{_cell(claim.who)}*"
    because = " ".join(part for part in (checked.why, claim.note) if part)
    verdict = f"**{checked.verdict}**" + (f" <br>{_cell(because)}" if because else "")
    return f"| `{claim.id}` | {says} | {_cell(computed(checked))} | {verdict} |"


def _cell(text: str) -> str:
    """Text that stays in its cell and is no markup."""
    for character in "\\|<>*_[]":
        text = text.replace(character, f"\\{character}")
    return text
