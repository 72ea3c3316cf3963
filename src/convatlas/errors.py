"""Errors for the person who meets them: what was given, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

FEW = 8
"""So many known names are named where none is near."""


class ConvatlasError(ValueError):
    """A mistake that the caller can mend.  The command line prints it as one line and exits with status 2."""


class UnknownName(ConvatlasError):
    """A name that is not among those known; the message says what was near, or else names the usual ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], usual: Sequence[str] = ()):
        by_lower = {word.lower(): word for word in known}
        near = [by_lower[word] for word in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]
        hint = f"; did you mean {_either(near)}?" if near else ""
        some = usual or (list(by_lower.values()) if len(by_lower) <= FEW else [])
        if not near and some:
            hint = f"; there are {few(some, FEW)}"
        super().__init__(f"unknown {kind} {name!r}{hint}")


class UnknownOption(ConvatlasError):
    """An option that this network does not have."""


class InputTooSmall(ConvatlasError):
    """The input is smaller than the network can take."""


class CannotTrace(ConvatlasError):
    """A module whose graph could not be captured by any way we have."""


def few(names: Sequence[str], most: int = 5) -> str:
    """The first of several names, and … where there are more."""
    return f"{', '.join(names[:most])}{' …' if len(names) > most else ''}"


def _either(names: list[str]) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
