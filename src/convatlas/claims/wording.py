"""A checked claim in words, for tables."""

from __future__ import annotations

from convatlas.claims.checking import Checked, CheckedFigure, CheckedLine
from convatlas.claims.figures import DIFFERS

FEW = 3
"""So many lines are all shown; of a longer table only those that differ."""


def computed(checked: Checked) -> str:
    """What was computed, in a line: all figures of a short claim; of a table those that differ and how many agree."""
    known = [line for line in checked.lines if line.verdict]
    shown = known if len(checked.lines) <= FEW else [line for line in known if line.verdict == DIFFERS]
    parts = [_line(checked, line) for line in shown]
    if agree := len(known) - len(shown):
        if len(known) < len(checked.lines):
            parts.append(f"{agree} of {len(checked.lines)} rows can be compared, and agree")
        else:
            parts.append(f"{'the other' if shown else 'all'} {agree} rows agree")
    words = "; ".join(parts)
    if not words or checked.claim.ours:
        return words
    return f"its source{' differs' if checked.agreement == DIFFERS else ''}: {words}"


def _line(checked: Checked, line: CheckedLine) -> str:
    """A line's figures; in a table of several columns, of a line that differs those that do."""
    differing = [f for f in line.figures if f.verdict == DIFFERS]
    figures = differing if line.label and differing else line.figures
    words = ", ".join(_figure(checked, f, said=bool(line.label)) for f in figures if f.verdict)
    return f"{line.label}: {words}" if line.label else words


def _figure(checked: Checked, figure: CheckedFigure, *, said: bool) -> str:
    unit = checked.claim.unit.get(figure.column, "")
    words = " ".join(part for part in (figure.text, unit) if part)
    if figure.column and figure.column != unit:
        words = f"{figure.column} = {words}"
    return f"{words} (said {figure.said.text})" if said and figure.verdict == DIFFERS else words
