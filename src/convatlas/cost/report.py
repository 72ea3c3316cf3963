"""Report: the table of what each operation of a network gives, takes, keeps and sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from convatlas.cost.field import Field
from convatlas.cost.memory import Step
from convatlas.errors import UnknownName
from convatlas.graph.model import places
from convatlas.graph.ops import Shape

if TYPE_CHECKING:
    from convatlas.cost.latency import Latency

CONVENTION = {
    "params": "trainable parameters; one that several operations share is counted at the first",
    "macs": "multiply-adds of convolutions, linear layers and matrix products",
    "macs_all": "macs, and one operation for each value that a norm, an activation, arithmetic or an added bias gives, "
    "and for each value that a pool reads through its windows",
    "flops": "2 x macs",
    "macs_backward": "multiply-adds of the gradients of weights and of inputs; the picture needs none",
    "activation_bytes": "the maps of a forward pass in evaluation, each once: in-place operations, views and what "
    "changes nothing add none",
    "saved_bytes": "what PyTorch keeps for the backward pass: eager, on the CPU, in training; the picture is counted, "
    "parameters and buffers are not; a layer's are those that no earlier one keeps",
    "traffic_bytes": "inputs and parameters read and outputs written, each once, one operation at a time: no "
    "implementation without fusion moves fewer",
    "receptive_field": "in pixels along each axis: unit i sees offset + i * jump and the size - 1 pixels after it, by "
    "its local path; global: the whole picture reaches it too",
    "peak_training_bytes": "the most that all tensors of a training step take at once, optimizer's state included; a "
    "library's own scratch memory is not in it",
}
"""What each figure means."""

EXACT, BOUND, ESTIMATE, UNAVAILABLE = "exact", "bound", "estimate", "unavailable"

COUNTS = ("params", "macs", "macs_all", "flops", "macs_backward", "activation_bytes", "saved_bytes", "traffic_bytes")
"""What a row has and the totals add up."""

SURE = {**dict.fromkeys(COUNTS, EXACT), "traffic_bytes": BOUND, "receptive_field": EXACT}


class Row(NamedTuple):
    """One operation: its output's shape (N, C, H, W) and what it costs.  None where that is unknown.

    A parameter that several operations share is counted at the first of them.  status: for each figure "exact",
    "bound", "estimate" or "unavailable".  What the figures mean: ``CONVENTION``.
    seconds, bound: as ``cost.latency`` predicts them, where it was asked to; of what runs with another row, None.
    """

    name: str
    op: str
    output_shape: Shape
    params: int
    macs: int | None
    macs_all: int | None = 0
    macs_backward: int | None = 0
    activation_bytes: int = 0
    saved_bytes: int | None = 0
    traffic_bytes: int = 0
    receptive_field: Field | None = None
    detail: str = ""
    status: Mapping[str, str] = SURE
    seconds: float | None = None
    bound: str = ""

    @property
    def flops(self) -> int | None:
        """2 x macs."""
        return None if self.macs is None else 2 * self.macs

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity: flops a byte of traffic, at most."""
        return 2 * self.macs / self.traffic_bytes if self.macs and self.traffic_bytes else None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and words."""
        found = self.receptive_field
        return {
            "name": self.name,
            "op": self.op,
            "output_shape": self.output_shape,
            **{count: getattr(self, count) for count in COUNTS},
            "receptive_field": None if found is None else found.to_json(),
            "status": self.status,
            **({} if self.seconds is None else {"seconds": self.seconds, "bound": self.bound}),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Costs of one network at one input size (C, H, W), batch and dtype, by operation and in total.

    totals: the rows' sums, and in bytes the parameters, buffers (batch norm's running statistics) and gradients; with a
    ``training`` optimizer also its state and the peak of a training step.
    status: for each total "exact", "estimate", or "bound": at least this much, a row's figure being unknown.
    step: the course of the training step, moment by moment.
    saturated: the layers with a spatial kernel that can add no context at this input size.
    latency: how long it takes here, where that was asked (``timed``).
    note: what a reader of the figures must know, of a file in 8 bits that they are not its own.
    """

    name: str
    input_size: tuple[int, int, int]
    batch: int
    rows: tuple[Row, ...]
    totals: dict[str, int]
    status: dict[str, str]
    dtype: str = "float32"
    training: str | None = None
    checkpointing: bool = False
    step: Step | None = None
    saturated: tuple[str, ...] = ()
    latency: Latency | None = None
    note: str = ""

    @property
    def side(self) -> int | list[int]:
        """The input's side, or [H, W]."""
        _, height, width = self.input_size
        return height if height == width else [height, width]

    def grouped(self, depth: int) -> list[Row]:
        """The rows summed up by the first ``depth`` words of their names, without "trunk"; shapes and fields are the
        last one's."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(".".join(row.name.removeprefix("trunk.").split(".")[:depth]), []).append(row)
        return [_sum(name, members) for name, members in groups.items()]

    def within(self, layer: str) -> Report:
        """Only the rows of one layer, block or stage, and their sums.  Raises what ``graph.model.places`` does."""
        rows = [self.rows[i] for i in places([row.name for row in self.rows], layer, self.name)]
        whole = _sum(layer, rows)
        totals = {count: getattr(whole, count) or 0 for count in COUNTS}
        status = {count: whole.status[count] for count in COUNTS}
        full = tuple(row.name for row in rows if row.name in self.saturated)
        return replace(self, rows=tuple(rows), totals=totals, status=status, saturated=full, step=None)

    def summed(self, depth: int) -> Report:
        """The same with one row for each stage (depth 1), block (2) …"""
        return replace(self, rows=tuple(self.grouped(depth)))

    def timed(self, latency: Latency) -> Report:
        """The same with what ``cost.latency`` predicts for each row and in total."""
        found = latency.of_rows()
        rows = tuple(
            row._replace(seconds=found[row.name].seconds, bound=found[row.name].bound) if row.name in found else row
            for row in self.rows
        )
        return replace(self, rows=rows, latency=latency)

    def unknown(self, figure: str) -> list[str]:
        """The names of the rows whose figure is unavailable.  Raises UnknownName for a figure that rows do not have."""
        if figure not in SURE:
            raise UnknownName("figure", figure, SURE)
        return [row.name for row in self.rows if row.status[figure] == UNAVAILABLE]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers: {"name", "input_size", "batch", "dtype", "totals", "status", "convention", "layers": […]}."""
        return {
            "name": self.name,
            "input_size": self.side,
            "batch": self.batch,
            "dtype": self.dtype,
            "training": self.training,
            "checkpointing": self.checkpointing,
            "totals": self.totals,
            "status": self.status,
            "convention": CONVENTION,
            "saturated": self.saturated,
            **({"note": self.note} if self.note else {}),
            **({} if self.latency is None else {"latency": self.latency.to_json()}),
            "layers": [row.to_json() for row in self.rows],
        }

    def to_markdown(self) -> str:
        """The table as Markdown, with its totals."""
        from convatlas.cost.tables import markdown

        return markdown(self)

    def to_csv(self) -> str:
        """Every row with every figure, as CSV with a header; no totals."""
        from convatlas.cost.tables import csv_text

        return csv_text(self)

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        from convatlas.cost.tables import html

        return html(self)

    def plot(self, path: str | Path | None = None) -> Any:
        """Where multiply-adds, parameters and memory sit along the depth, and the course of the training step's memory
        where one was asked for: a matplotlib figure, saved to ``path`` where one is given (.svg, .png, .pdf)."""
        from convatlas.cost.plots import plot

        return plot(self, path)


def total_status(statuses: Iterable[str]) -> str:
    """Of a sum: a bound where a part is unavailable or a bound itself, an estimate where one is."""
    found = set(statuses)
    return BOUND if found & {UNAVAILABLE, BOUND} else ESTIMATE if ESTIMATE in found else EXACT


def _sum(name: str, members: Sequence[Row]) -> Row:
    last = members[-1]
    sums: dict[str, Any] = {}
    for count in COUNTS:
        if count != "flops":
            values = [value for member in members if (value := getattr(member, count)) is not None]
            sums[count] = sum(values) if values else None
    status = {key: total_status(member.status[key] for member in members) for key in COUNTS}
    status["receptive_field"] = last.status["receptive_field"]
    seconds: dict[str, float] = {}
    for member in members:
        if member.seconds is not None:
            seconds[member.bound] = seconds.get(member.bound, 0.0) + member.seconds
    return Row(name, "", last.output_shape, receptive_field=last.receptive_field, status=status, **sums,
               seconds=sum(seconds.values()) if seconds else None,
               bound=max(seconds, key=seconds.__getitem__, default=""))  # fmt: skip
