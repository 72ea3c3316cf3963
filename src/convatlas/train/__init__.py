"""Training: recipes as data, a short loop, exact resumption.

>>> from convatlas.train import train
>>> run = train("lenet5_modern", "mnist", out="runs/mnist")          # doctest: +SKIP
>>> run.test["accuracy"]                                             # doctest: +SKIP
0.9918

Reading recipes needs no torch; the rest is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "Recipe": "convatlas.train.recipe",
    "Run": "convatlas.train.run",
    "Running": "convatlas.train.running",
    "evaluate": "convatlas.train.evaluation",
    "recipes": "convatlas.train.recipe",
    "resume": "convatlas.train.run",
    "train": "convatlas.train.run",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'convatlas.train' has no attribute {name!r}")
