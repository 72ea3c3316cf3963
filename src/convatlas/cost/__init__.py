"""What a network costs: passes over its graph, in plain Python."""

from convatlas.cost.report import Report, Row, analyze

__all__ = ["Report", "Row", "analyze"]
