"""The memory of a training step: what is kept for the backward pass, and how high the step climbs.

The step is ``optimizer.zero_grad(); loss = cross_entropy(net(x), y); loss.backward(); optimizer.step()`` in PyTorch's
eager mode on the CPU; not the first one, so the optimizer's state is there.  What a library's kernels take for
themselves while they run is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from convatlas.cost.compiled import compiled
from convatlas.cost.course import Moment
from convatlas.cost.keeping import Keeping
from convatlas.cost.storages import Storages
from convatlas.errors import UnknownName
from convatlas.graph.model import Graph
from convatlas.graph.ops import Shape

DTYPES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes a value."""


class Optimizer(NamedTuple):
    """state: values kept for each parameter; counter: bytes kept for each parameter tensor; scratch: values that live
    for each parameter of a tensor while it is updated."""

    state: int
    counter: int = 0
    scratch: int = 0


OPTIMIZERS = {
    "sgd": Optimizer(state=0),
    "momentum": Optimizer(state=1),
    "adam": Optimizer(state=2, counter=4, scratch=2),
    "rmsprop": Optimizer(state=1, counter=4, scratch=1),
    "rmsprop_momentum": Optimizer(state=2, counter=4, scratch=1),
}
"""As in torch.optim: SGD without and with momentum, Adam, RMSprop without and with momentum."""


class Live(NamedTuple):
    """The most bytes that live while one operation runs.

    phase: forward, recompute, loss, backward or step.  place: the operation's in the graph; -1 for loss and step.
    """

    phase: str
    place: int
    bytes: int


class Step(NamedTuple):
    """A training step in bytes: the optimizer's state, the peak, and at each of its moments what lives."""

    state: int
    peak: int
    moments: list[Moment]
    heights: list[int]

    @property
    def timeline(self) -> list[Live]:
        """The moments in the order in which they come."""
        return [Live(moment.phase, moment.place, height) for moment, height in zip(self.moments, self.heights)]


def bytes_of(dtype: str) -> int:
    """Bytes a value of that dtype.  Raises UnknownName."""
    if dtype not in DTYPES:
        raise UnknownName("dtype", dtype, DTYPES)
    return DTYPES[dtype]


def optimizer_of(name: str) -> Optimizer:
    """Raises UnknownName."""
    if name not in OPTIMIZERS:
        raise UnknownName("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name]


def saved_bytes(
    keeps: Sequence[Keeping | None], made: Storages, needs: Sequence[bool], values: Sequence[int], element: int
) -> list[int | None]:
    """For each node, what it keeps that no earlier one keeps; None where its derivative is not known."""
    saved: list[int | None] = []
    for keep, first, need in zip(keeps, made.first_kept, needs):
        if not need:
            saved.append(0)
        elif keep is None:
            saved.append(None)
        elif first:
            size = sum([values[made.maker[storage]] for storage in first]) + keep.more
            saved.append(size * element + keep.more_bytes)
        else:
            saved.append(keep.more * element + keep.more_bytes)
    return saved


def training_step(
    graph: Graph,
    shapes: Sequence[Shape],
    optimizer: Optimizer,
    *,
    element: int = 4,
    checkpointing: bool = False,
    keeps: Sequence[Keeping | None] | None = None,
    values: Sequence[int] | None = None,
) -> Step:
    """Follow one training step.  element: bytes a value.

    checkpointing: each of the graph's checkpoints keeps only its input, and runs again before its backward pass.
    keeps, values: of these shapes, where they are known already.
    Raises ConvatlasError if the graph does not say where its checkpoints lie.
    """
    known = compiled(graph)
    keeps = known.keeps(shapes) if keeps is None else keeps
    values = values_of(graph, shapes) if values is None else values
    kinds = known.kinds(keeps)
    made = known.storages(kinds, keeps)
    steps = known.course(kinds, keeps, checkpointing)
    nodes = len(values)
    kept, forward, backward, graded = [0] * nodes, [0] * nodes, [0] * nodes, [0] * nodes
    for place, keep in enumerate(keeps):
        if keep is not None and (keep.more or keep.more_bytes or keep.forward or keep.backward):
            kept[place] = keep.more * element + keep.more_bytes
            forward[place] = (kept[place] if known.needs[place] else 0) + keep.forward * element
            backward[place] = keep.backward * element
    for place, (node, paths) in enumerate(zip(graph.nodes, steps.graded)):
        for path in paths:
            graded[place] += known.sizes[path] * element
        if len(paths) < len(node.params):  # a weight that is used again has another gradient, for a moment
            backward[place] += sum([known.sizes.get(path, 0) for path in node.params if path not in paths]) * element
    given = [count * element for count in values]
    stored = list(map(given.__getitem__, made.maker))
    amounts = [0, 2 * element, *stored, *kept, *given, *forward, *backward, *graded]
    parameters = sum(known.sizes.values())
    state = parameters * optimizer.state * element + optimizer.counter * len(known.sizes)
    unused, targets = sum(map(math.prod, graph.unused.values())), 8 * shapes[0][0]
    always = (sum(known.all.values()) + unused) * element + state + known.buffer_bytes(shapes, element) + targets
    heights = steps.heights(amounts, always)
    heights[-1] += optimizer.scratch * element * max(known.sizes.values(), default=0)
    return Step(state, max(heights), steps.moments, heights)


def values_of(graph: Graph, shapes: Sequence[Shape]) -> list[int]:
    """How many values each node gives, all its tensors together; none of a parameter, which is there always."""
    values = []
    for node, shape in zip(graph.nodes, shapes):
        if shape and isinstance(shape[0], tuple):
            values.append(sum(map(math.prod, shape)))
        else:
            values.append(0 if node.op == "parameter" else math.prod(shape))
    return values
