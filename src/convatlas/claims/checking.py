"""Recompute a claim's figures and say how they compare."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from convatlas.claims.figures import DIFFERS, NOT_OURS, Computed, Figure, compare, plain, text, worst
from convatlas.claims.model import Claim, Line, stored
from convatlas.errors import ConvatlasError, UnknownName

Result = Computed | Mapping[str, Computed]
"""What a function gives: one figure, or column -> figure; columns that are not said are shown beside those that are."""

MODULES = ("counts", "kernels", "layers", "maps", "blocks", "printed", "training")
Recompute = TypeVar("Recompute", bound=Callable[..., Result])
_FUNCTIONS: dict[str, Callable[..., Result]] = {}


def recomputes(function: Recompute) -> Recompute:
    """Make a function known under its own name to the entries of claims.toml."""
    if function.__name__ in _FUNCTIONS:
        raise ValueError(f"{function.__name__} is there twice")
    _FUNCTIONS[function.__name__] = function
    return function


@dataclass(frozen=True, slots=True)
class CheckedFigure:
    """One figure: what is said, what was computed (None where nothing could be), and the verdict on it ("" then)."""

    column: str
    said: Figure
    computed: Computed | None
    verdict: str

    @property
    def text(self) -> str:
        return "" if self.computed is None else text(self.computed, self.said)


@dataclass(frozen=True, slots=True)
class CheckedLine:
    """One line of figures; also: what was computed beside those that are said."""

    label: str
    figures: tuple[CheckedFigure, ...]
    also: Mapping[str, Computed] = field(default_factory=dict)
    why: str = ""

    @property
    def verdict(self) -> str:
        verdicts = [f.verdict for f in self.figures if f.verdict]
        return worst(verdicts) if verdicts else ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A claim beside what was computed.

    verdict:   "holds", "rounded", "differs" or "not ours to compute".
    agreement: the same without the last: of a claim that is not ours, how it compares with its source ("" where the
    source prints no figure).
    """

    claim: Claim
    lines: tuple[CheckedLine, ...]

    @property
    def agreement(self) -> str:
        verdicts = [line.verdict for line in self.lines if line.verdict]
        return worst(verdicts) if verdicts else ""

    @property
    def verdict(self) -> str:
        return self.agreement if self.claim.ours else NOT_OURS

    @property
    def why(self) -> str:
        """The cause of the difference: the claim's own, or its lines'."""
        return self.claim.why or " ".join(f"{line.label}: {line.why}" for line in self.lines if line.why)

    @property
    def unit(self) -> str:
        return ", ".join(dict.fromkeys(u for u in self.claim.unit.values() if u))

    def to_json(self) -> dict[str, Any]:
        """{"id", "topic", "says", "who", "said", "computed", "unit", "verdict", "agreement", "why", "source", "note"}.

        said and computed: a number (or a word), {column: number} where there are several, {label: …} of a table.
        """
        said = {line.label: _single({f.column: f.said.plain for f in line.figures}) for line in self.lines}
        computed = {
            line.label: _single({
                **{f.column: plain(f.computed) for f in line.figures if f.computed is not None},
                **{column: plain(value) for column, value in line.also.items()},
            })
            for line in self.lines
        }  # fmt: skip
        return {
            "id": self.claim.id,
            "topic": self.claim.topic,
            "says": self.claim.says,
            "who": self.claim.who,
            "said": _single(said),
            "computed": _single(computed),
            "unit": self.unit,
            "verdict": self.verdict,
            "agreement": self.agreement,
            "why": self.why,
            "source": self.claim.source,
            "note": self.claim.note,
        }


def recomputed(claim: Claim) -> Checked:
    """Recompute one claim."""
    return Checked(claim, tuple(_check_line(claim, line) for line in claim.lines))


def find(name: str) -> Claim:
    """A stored claim.  Raises UnknownName (did you mean …?)."""
    for claim in stored():
        if claim.id == name:
            return claim
    raise UnknownName("claim", name, [claim.id for claim in stored()])


def problems(checked: Checked) -> list[str]:
    """What is wrong with an entry itself: a difference without its cause, or a cause without a difference."""
    found = []
    name = checked.claim.id
    for line in checked.lines:
        if line.verdict == DIFFERS and not (checked.claim.why or line.why):
            found.append(f"{name} {line.label}: differs without a why".replace(" :", ":"))
        if line.verdict != DIFFERS and line.why:
            found.append(f"{name} {line.label}: a why without a difference")
    if checked.claim.why and checked.agreement != DIFFERS:
        found.append(f"{name}: a why without a difference")
    if strange := set(checked.claim.whys) - {line.label for line in checked.lines}:
        found.append(f"{name}: a why for {min(strange)}, which is no row")
    return found


def _check_line(claim: Claim, line: Line) -> CheckedLine:
    result: Mapping[str, Computed] = _computed(claim, line)
    figures = []
    for column, said in line.said.items():
        computed = result.get(column)
        if computed is None and claim.ours:
            raise ConvatlasError(f"{claim.id}: {claim.compute} gives no {column or 'figure'!r}")
        figures.append(CheckedFigure(column, said, computed, "" if computed is None else compare(said, computed)))
    also = {column: value for column, value in result.items() if column not in line.said}
    return CheckedLine(line.label, tuple(figures), also, claim.whys.get(line.label, ""))


def _computed(claim: Claim, line: Line) -> Mapping[str, Computed]:
    if not claim.compute:
        return {column: f.number for column, f in claim.source_says.items()}
    arguments = {**claim.args, **({claim.each: line.label} if claim.each else {})}
    result = _function(claim)(**arguments)
    return result if isinstance(result, Mapping) else {"": result}


def _function(claim: Claim) -> Callable[..., Result]:
    functions = _functions()
    if claim.compute not in functions:
        raise UnknownName(f"function of {claim.id}", claim.compute, functions)
    return functions[claim.compute]


@cache
def _functions() -> dict[str, Callable[..., Result]]:
    for module in MODULES:
        importlib.import_module(f"convatlas.claims.{module}")
    return _FUNCTIONS


def _single(values: Mapping[str, Any]) -> Any:
    return values[""] if list(values) == [""] else dict(values)
