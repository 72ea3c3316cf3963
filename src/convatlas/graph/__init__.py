"""The captured graph: plain records of what a network computes, and the walks over them.

Reading and walking a graph needs no torch; only capturing one does.
"""

from convatlas.graph.model import Graph, Node

__all__ = ["Graph", "Node"]
