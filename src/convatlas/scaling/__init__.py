"""Compound scaling and architecture search, on one's own data, by as many processes as are started.

>>> from convatlas.scaling import Coefficients, grid
>>> Coefficients(1.2, 1.1, 1.15) in grid(budget=2)
True
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "Base": "convatlas.scaling.networks",
    "Budget": "convatlas.scaling.training",
    "Coefficients": "convatlas.scaling.coefficients",
    "Factors": "convatlas.scaling.coefficients",
    "Place": "convatlas.scaling.place",
    "Result": "convatlas.scaling.results",
    "Study": "convatlas.scaling.study",
    "candidates": "convatlas.scaling.compound",
    "grid": "convatlas.scaling.coefficients",
    "scaled": "convatlas.scaling.networks",
    "search": "convatlas.scaling.search",
    "train_grid": "convatlas.scaling.compound",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'convatlas.scaling' has no attribute {name!r}")
