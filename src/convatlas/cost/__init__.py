"""What a network costs and sees: passes over its graph, in plain Python."""

from convatlas.cost.analysis import analyze
from convatlas.cost.fit import largest_batch
from convatlas.cost.report import Report, Row

__all__ = ["Report", "Row", "analyze", "largest_batch"]
