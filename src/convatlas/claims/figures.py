"""Figures as their source prints them, and how a computed one compares.

A figure holds its digits: 11.30 is not 11.3, and 138M says no more than that the count lies nearest to 138 million.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from convatlas.errors import ConvatlasError

HOLDS, ROUNDED, DIFFERS, NOT_OURS = "holds", "rounded", "differs", "not ours to compute"
VERDICTS = (HOLDS, ROUNDED, DIFFERS, NOT_OURS)

Computed = int | float | Decimal | Fraction | str
"""A number, or a word where words are said."""

SCALES = {"": 0, "K": 3, "M": 6, "G": 9}
FLOAT = 1e-9
"""Two numbers no further apart than this part of them are equal: what floating point leaves of an exact figure."""

_FIGURE = re.compile(r"(?P<relation>[<>]=?)?\s*(?P<digits>\d[\d,]*(?:\.\d+)?)\s*(?P<scale>[KMG]?)")


@dataclass(frozen=True, slots=True)
class Figure:
    """What a source prints.

    text:     as printed ("138M", "> 50", "1x1").
    value:    the number; None where words are said.
    place:    what one unit of the last digit that counts is worth: 1e6 of "138M", 0.01 of "11.30".
    relation: ">", ">=", "<" or "<=" where the source says a bound; else "".
    """

    text: str
    value: Fraction | None = None
    place: Fraction = Fraction(0)
    relation: str = ""

    @property
    def number(self) -> Computed:
        """The number with the digits that are printed; words as text."""
        if self.value is None or self.relation:
            return self.text
        whole = self.value.denominator == 1
        return self.value.numerator if whole else Decimal(self.value.numerator) / self.value.denominator

    @property
    def plain(self) -> int | float | str:
        """The number as programs read it; bounds and words as text."""
        return self.text if self.value is None or self.relation else plain(self.value)


def figure(printed: object, *, about: bool = False) -> Figure:
    """Read a figure: a whole number, a decimal, "138M", "> 50", or words.

    about: the source says "about", so that zeros at the end of a whole number are no digits: one unit of "60M" is 10M.
    """
    text = f"{printed:,}" if isinstance(printed, int) else str(printed)
    match = _FIGURE.fullmatch(text.strip())
    if match is None:
        return Figure(text)
    digits, power = match["digits"].replace(",", ""), SCALES[match["scale"]]
    whole, _, decimals = digits.partition(".")
    zeros = len(whole) - len(whole.rstrip("0")) if about and not decimals and int(whole) else 0
    exponent = power + zeros - len(decimals)
    return Figure(text, Fraction(digits) * 10**power, Fraction(10) ** exponent, match["relation"] or "")


def compare(said: Figure, computed: Computed) -> str:
    """The verdict on one figure.

    holds:   equal to the last digit (words: letter by letter; a bound: kept).
    rounded: not equal, but no further away than half of one unit of the said figure's last digit.
    differs: anything else.
    """
    if said.value is None or isinstance(computed, str):
        return HOLDS if said.text == str(computed) else DIFFERS
    number = exact(computed)
    if said.relation:
        kept = {">": number > said.value, ">=": number >= said.value,
                "<": number < said.value, "<=": number <= said.value}[said.relation]  # fmt: skip
        return HOLDS if kept else DIFFERS
    distance = abs(number - said.value)
    if distance <= FLOAT * abs(said.value):
        return HOLDS
    return ROUNDED if distance <= said.place / 2 else DIFFERS


def worst(verdicts: list[str]) -> str:
    """One verdict for several figures: that of the figure which agrees least."""
    return max(verdicts, key=(HOLDS, ROUNDED, DIFFERS).index)


def exact(number: Computed) -> Fraction:
    if isinstance(number, str):
        raise ConvatlasError(f"{number!r} is no number")
    return Fraction(number)


def plain(number: Computed) -> int | float | str:
    """An int where the number is whole, else a float; words as they are."""
    if isinstance(number, str | float):
        return number
    value = exact(number)
    return value.numerator if value.denominator == 1 else float(value)


def text(computed: Computed, said: Figure | None = None) -> str:
    """A computed figure for people.

    Whole numbers in full, with commas unless the source writes them without (years); in G where the source does; a
    source's own decimals as it prints them; other numbers with two digits more than are said.
    """
    if isinstance(computed, str | Decimal):
        return str(computed)
    value = plain(computed)
    place = said.place if said is not None and said.value is not None else Fraction(1, 100)
    if said is not None and said.text.endswith("G"):
        return f"{float(value) / 1e9:.{max(3, _decimals(place / 10**9) + 1)}f} G"
    if isinstance(value, int):
        return str(value) if said is not None and said.text.isdigit() and len(said.text) == 4 else f"{value:,}"
    return f"{value:,.{_decimals(place) + 2}f}"


def _decimals(place: Fraction) -> int:
    """Digits behind the point of a figure whose last digit is worth ``place``."""
    count = 0
    while place < 1:
        place, count = place * 10, count + 1
    return count
