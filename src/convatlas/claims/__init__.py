"""Claims: what the lecture and the papers say in figures, and what the atlas computes of it.

>>> from convatlas.claims import check
>>> check("vgg16-memory").verdict
'differs'

Nothing here needs torch.
"""

from __future__ import annotations

from typing import overload

from convatlas.claims import checking
from convatlas.claims.checking import Checked, CheckedFigure, CheckedLine, problems
from convatlas.claims.figures import DIFFERS, HOLDS, NOT_OURS, ROUNDED, VERDICTS, Figure
from convatlas.claims.model import Claim, stored

__all__ = [
    "DIFFERS",
    "HOLDS",
    "NOT_OURS",
    "ROUNDED",
    "VERDICTS",
    "Checked",
    "CheckedFigure",
    "CheckedLine",
    "Claim",
    "Figure",
    "check",
    "claims",
    "problems",
]


def claims() -> list[Claim]:
    """Every claim, as stored, topic by topic."""
    return list(stored())


@overload
def check(name: str) -> Checked: ...
@overload
def check(name: None = None) -> list[Checked]: ...
def check(name: str | None = None) -> Checked | list[Checked]:
    """Recompute one claim by its id, or all.  The verdict follows from the figures and is stored nowhere.

    Raises UnknownName (did you mean …?).
    """
    if name is None:
        return [checking.recomputed(claim) for claim in stored()]
    return checking.recomputed(checking.find(name))
