"""analyze: model -> Report, in one pass over its graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from convatlas.cost.compiled import compiled
from convatlas.cost.field import Field, fields, saturated
from convatlas.cost.keeping import Keeping
from convatlas.cost.memory import bytes_of, optimizer_of, saved_bytes, training_step, values_of
from convatlas.cost.report import BOUND, COUNTS, ESTIMATE, EXACT, SURE, UNAVAILABLE, Report, Row, total_status
from convatlas.graph.model import Graph
from convatlas.graph.ops import Shape, macs
from convatlas.graph.source import InputSize, full_size, graph_of

if TYPE_CHECKING:
    from torch import nn


def analyze(
    model: str | Graph | nn.Module,
    *,
    input_size: InputSize = None,
    batch: int = 1,
    dtype: str = "float32",
    training: str | None = None,
    checkpointing: bool = False,
) -> Report:
    """What a network costs and sees, by operation.

    model: a registered name, "timm:NAME", "torchvision:NAME", "file.py:Class", a module or a graph.
    input_size: a side in pixels, (H, W) or (C, H, W); by default the network's own.  batch: pictures.
    dtype: float32, float16, bfloat16 or float64, of all values and parameters.
    training: sgd, momentum, adam, rmsprop or rmsprop_momentum, for the memory of a training step.
    checkpointing: in that step, with activation checkpointing as ``ConvNet.checkpointing`` does it.

    Raises InputTooSmall (naming the least size), UnknownName and CannotTrace; ConvatlasError for a batch without
    pictures, and for checkpointing where the network does not say where its checkpoints lie.
    """
    element = bytes_of(dtype)
    optimizer = optimizer_of(training) if training is not None else None
    graph = graph_of(model, input_size, batch)
    size = full_size(input_size, graph.input_size)
    shapes = graph.shapes(size, batch)
    found = compiled(graph)
    keeps, values = found.keeps(shapes), values_of(graph, shapes)
    made = found.storages(found.kinds(keeps), keeps)
    saved = saved_bytes(keeps, made, found.needs, values, element)
    seen = fields(graph, shapes)
    known = SURE if dtype == "float32" and graph.recorded is None else {**SURE, "saved_bytes": ESTIMATE}
    rows = _rows(graph, shapes, values, keeps, saved, seen, element, known)
    columns = dict(zip(Row._fields, zip(*rows)))
    totals = {count: sum(filter(None, columns[count])) for count in COUNTS if count != "flops"}
    totals["flops"] = 2 * totals["macs"]
    statuses = {id(row.status): row.status for row in rows}.values()
    status = {count: total_status(each[count] for each in statuses) for count in COUNTS}
    totals |= {
        "parameter_bytes": totals["params"] * element,
        "buffer_bytes": found.buffer_bytes(shapes, element),
        "gradient_bytes": (totals["params"] - sum(map(math.prod, graph.unused.values()))) * element,
    }
    status |= {"parameter_bytes": EXACT, "buffer_bytes": known["saved_bytes"], "gradient_bytes": EXACT}
    step = None
    if optimizer is not None:
        step = training_step(
            graph, shapes, optimizer, element=element, checkpointing=checkpointing, keeps=keeps, values=values
        )
        totals |= {"optimizer_bytes": step.state, "peak_training_bytes": step.peak}
        bound = status["saved_bytes"] == BOUND
        status |= {"optimizer_bytes": EXACT, "peak_training_bytes": BOUND if bound else ESTIMATE}
    full = tuple(graph.nodes[place].name for place in saturated(graph, shapes, seen))
    return Report(graph.name, size, batch, tuple(rows), totals, status, dtype, training, checkpointing, step, full)


def _rows(
    graph: Graph,
    shapes: Sequence[Shape],
    values: Sequence[int],
    keeps: Sequence[Keeping | None],
    saved: Sequence[int | None],
    seen: Sequence[Field | None],
    element: int,
    known: Mapping[str, str],
) -> list[Row]:
    rows = []
    found = compiled(graph)
    for place, node in enumerate(graph.nodes):
        count: int | None
        given, keep, view = values[place], keeps[place], seen[place]
        per, per_read, counted, others, others_read, moves = found.work[place]
        read = values[node.inputs[0]] if node.inputs else 0
        if counted:
            count = macs(node.op, node.attrs, [shapes[i] for i in node.inputs], shapes[place])
        else:
            count = given * per + read * per_read
        every = None if others is None or count is None else count + given * others + read * others_read
        back = None if count is None else count * (found.readers[place] + bool(node.params))
        traffic = given + found.own[place] + sum([values[i] for i in node.inputs]) if moves else 0
        # In evaluation dropout gives its input, and so does a pool or a padding to the size that is there.
        idle = found.idle[place] or (keep and keep.aliases) or (found.resizes[place] and given == read)
        status, looked = known, UNAVAILABLE if view is None else view.status
        if count is None or every is None or saved[place] is None or looked != EXACT:
            status = {
                **known,
                **({} if count is not None else dict.fromkeys(("macs", "flops", "macs_backward"), UNAVAILABLE)),
                **({} if every is not None else {"macs_all": UNAVAILABLE}),
                **({} if saved[place] is not None else {"saved_bytes": UNAVAILABLE}),
                "receptive_field": looked,
            }
        rows.append(
            Row(
                node.name,
                node.op,
                shapes[place],
                found.fresh[place],
                count,
                every,
                back,
                0 if idle else given * element,
                saved[place],
                traffic * element,
                view,
                found.details[place],
                status,
            )
        )
    rows += [Row(path, "unused", (), math.prod(shape), 0) for path, shape in graph.unused.items()]
    return rows
