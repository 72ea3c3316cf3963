"""analyze: model -> Report, the table of what each operation gives and takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convatlas.graph.model import Graph
from convatlas.graph.ops import Shape, macs
from convatlas.graph.source import InputSize, full_size, graph_of

if TYPE_CHECKING:
    from torch import nn

CONVENTION = "MACs: multiply-adds of convolutions, linear layers and matrix products; parameters: trainable ones"


@dataclass(frozen=True, slots=True)
class Row:
    """One operation: its output's shape (N, C, H, W), its parameters and its multiply-adds (None where unknown).

    A parameter that several operations share is counted at the first of them.
    """

    name: str
    op: str
    output_shape: Shape
    params: int
    macs: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Costs of one network at one input size (C, H, W) and batch, by operation and in total.

    status: for each total, "exact", or "bound" (at least this much) where an operation's cost is unknown.
    """

    name: str
    input_size: tuple[int, int, int]
    batch: int
    rows: tuple[Row, ...]
    totals: dict[str, int]
    status: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers: {"name", "input_size", "batch", "totals", "status", "convention", "layers": […]}."""
        _, height, width = self.input_size
        return {
            "name": self.name,
            "input_size": height if height == width else [height, width],
            "batch": self.batch,
            "totals": self.totals,
            "status": self.status,
            "convention": CONVENTION,
            "layers": [
                {
                    "name": row.name,
                    "op": row.op,
                    "output_shape": row.output_shape,
                    "params": row.params,
                    "macs": row.macs,
                }
                for row in self.rows
            ],
        }


def analyze(model: str | Graph | nn.Module, *, input_size: InputSize = None, batch: int = 1) -> Report:
    """What a network costs, by operation.

    model: a registered name, "timm:NAME", "torchvision:NAME", "file.py:Class", a module or a graph.
    input_size: a side in pixels, (H, W) or (C, H, W); by default the network's own.  batch: pictures.

    Raises InputTooSmall (naming the least size), UnknownName and CannotTrace.
    """
    graph = graph_of(model, input_size, batch)
    size = full_size(input_size, graph.input_size)
    shapes = graph.shapes(size, batch)
    rows = []
    counted: set[str] = set()
    for node, shape in zip(graph.nodes, shapes):
        params = sum(math.prod(p) for path, p in node.params.items() if path not in counted)
        counted.update(node.params)
        count = macs(node.op, node.attrs, [shapes[i] for i in node.inputs], shape)
        rows.append(Row(node.name, node.op, shape, params, count, _detail(node.attrs)))
    for path, shape in graph.unused.items():
        rows.append(Row(path, "unused", (), math.prod(shape), 0))
    totals = {"params": sum(row.params for row in rows), "macs": sum(row.macs or 0 for row in rows)}
    status = {"params": "exact", "macs": "exact" if all(row.macs is not None for row in rows) else "bound"}
    return Report(graph.name, size, batch, tuple(rows), totals, status)


def _detail(attrs: Any) -> str:
    """Kernel, stride and groups in short: "3x3 /2 g32"."""
    words = []
    if "kernel" in attrs:
        words.append("x".join(map(str, attrs["kernel"])))
        if any(step != 1 for step in attrs["stride"]):
            words.append("/" + "x".join(map(str, dict.fromkeys(attrs["stride"]))))
    if attrs.get("groups", 1) != 1:
        words.append(f"g{attrs['groups']}")
    return " ".join(words)
