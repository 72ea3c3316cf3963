"""compare: which network, at what cost; published and computed figures side by side.

>>> from convatlas.compare import best, compare
>>> [row.name for row in compare(["resnet50", "vgg16", "efficientnet_b0"]).front]
['efficientnet_b0']
>>> best({"params": 5e6}).winner.name
'mnasnet_a1'

Nothing here needs torch, unless times are to be measured.
"""

from __future__ import annotations

from convatlas.compare.accuracy import SOURCES, Accuracy, accuracy, published
from convatlas.compare.axes import AXES, Axis, axis
from convatlas.compare.comparison import Comparison, compare
from convatlas.compare.limits import Choice, Limit, best
from convatlas.compare.pareto import front
from convatlas.compare.rows import LeftOut, Row

__all__ = [
    "AXES",
    "SOURCES",
    "Accuracy",
    "Axis",
    "Choice",
    "Comparison",
    "LeftOut",
    "Limit",
    "Row",
    "accuracy",
    "axis",
    "best",
    "compare",
    "front",
    "published",
]
