"""Data sets: pictures and their classes, in training, validation and test pictures that never mix.

>>> from convatlas import data
>>> digits = data.load("digits")
>>> len(digits.train), len(digits.validation), len(digits.test), digits.classes[3]
(1294, 144, 359, '3')

Importing this needs no torch; ``load`` does.
"""

from convatlas.data.checking import Check, check
from convatlas.data.loading import load
from convatlas.data.splits import Arrays, Data, Files, Split

__all__ = ["Arrays", "Check", "Data", "Files", "Split", "check", "load"]
