"""analyze: model -> Report, in one pass over its graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from convatlas.carried import SUFFIXES
from convatlas.cost.compiled import compiled
from convatlas.cost.field import Field, fields, saturated
from convatlas.cost.keeping import Keeping
from convatlas.cost.memory import bytes_of, optimizer_of, saved_bytes, training_step, values_of
from convatlas.cost.report import BOUND, COUNTS, ESTIMATE, EXACT, SURE, UNAVAILABLE, Report, Row, total_status
from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph
from convatlas.graph.ops import Shape, macs
from convatlas.graph.source import InputSize, full_size, graph_of
from convatlas.registry import record_of

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
    dtype: float32, float16, bfloat16 or float64 (or torch's own), of all values and parameters.
    training: sgd, momentum, adam, rmsprop or rmsprop_momentum, for the memory of a training step.
    checkpointing: in that step, with activation checkpointing as ``ConvNet.checkpointing`` does it.

    Raises InputTooSmall (naming the least size), UnknownName and CannotTrace; ConvatlasError for a batch without
    pictures, and for checkpointing where the network does not say where its checkpoints lie.
    """
    dtype = str(dtype).removeprefix("torch.")
    element = bytes_of(dtype)
    optimizer = optimizer_of(str(training)) if training is not None else None
    if checkpointing and optimizer is None:
        raise ConvatlasError("checkpointing is for a training step: name an optimizer")
    graph = graph_of(model, input_size, batch)
    size = full_size(input_size, graph.input_size)
    shapes = graph.shapes(size, batch)
    found = compiled(graph)
    keeps, values = found.keeps(shapes), values_of(graph, shapes)
    made = found.storages(found.kinds(keeps), keeps)
    saved = saved_bytes(keeps, made, found.needs, values, element)
    seen = fields(graph, shapes)
    sure = dtype == "float32" and graph.recorded is None and not found.unsure
    known = SURE if sure else {**SURE, "saved_bytes": ESTIMATE}
    if graph.recorded is not None:  # what does not train is not seen there
        known = {**known, "macs_backward": ESTIMATE}
    rows = _rows(graph, shapes, values, keeps, saved, seen, element, known)
    columns = dict(zip(Row._fields, zip(*rows)))
    totals = {count: sum(filter(None, columns[count])) for count in COUNTS if count != "flops"}
    totals["flops"] = 2 * totals["macs"]
    statuses = {id(each): each for each in columns["status"]}.values()
    status = {count: total_status(each[count] for each in statuses) for count in COUNTS}
    totals |= {
        "parameter_bytes": (sum(found.all.values()) + sum(map(math.prod, graph.unused.values()))) * element,
        "buffer_bytes": found.buffer_bytes(shapes, element),
        "gradient_bytes": sum(found.sizes.values()) * element,
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
    return Report(graph.name, size, batch, tuple(rows), totals, status, dtype, training, checkpointing, step, full,
                  note=_note(model))  # fmt: skip


IN_8_BITS = (
    "This file is in 8 bits. All figures here, times and memory too, are of the network in float32; "
    "`convatlas benchmark` times the file itself."
)


def _note(model: str | Graph | nn.Module) -> str:
    told = record_of(model) if isinstance(model, str) and model.lower().endswith(SUFFIXES) else None
    return IN_8_BITS if told and "quantized" in told else ""


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
    c = compiled(graph)
    each = zip(graph.nodes, shapes, values, keeps, saved, seen, c.work, c.readers, c.own, c.fresh, c.idle, c.resizes,
               c.details)  # fmt: skip
    for node, shape, given, keep, kept, view, work, readers, own, fresh, idle, resizes, detail in each:
        inputs = node.inputs
        per, per_read, counted, others, others_read, moves = work
        read = values[inputs[0]] if inputs else 0
        count: int | None = given * per + read * per_read
        if counted:
            count = macs(node.op, node.attrs, [shapes[i] for i in inputs], shape)
        status, every, back = known, None, None
        if count is not None:
            back = count * readers
            if others is not None:
                every = count + given * others + read * others_read
        if every is None or kept is None or view is None or view.status != EXACT:
            status = {
                **known,
                **({} if count is not None else dict.fromkeys(("macs", "flops", "macs_backward"), UNAVAILABLE)),
                **({} if every is not None else {"macs_all": UNAVAILABLE}),
                **({} if kept is not None else {"saved_bytes": UNAVAILABLE}),
                "receptive_field": UNAVAILABLE if view is None else view.status,
            }
        traffic = 0
        if moves:
            traffic = given + own + (read if len(inputs) < 2 else sum([values[i] for i in inputs]))
        # In evaluation dropout gives its input, and so does a pool or a padding to the size that is there.
        if idle or (keep is not None and keep.aliases) or (resizes and shape == shapes[inputs[0]]):
            given = 0
        row = (node.name, node.op, shape, fresh, count, every, back, given * element, kept, traffic * element, view,
               detail, status, None, "")  # fmt: skip
        rows.append(Row._make(row))
    blind = {**known, "receptive_field": UNAVAILABLE}
    rows += [Row(path, "unused", (), math.prod(s), 0, status=blind) for path, s in graph.unused.items()]
    return rows
