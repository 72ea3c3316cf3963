"""The largest batch that trains in so much memory."""

from __future__ import annotations

from convatlas.cost.memory import bytes_of, optimizer_of, training_step
from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph
from convatlas.graph.source import InputSize, full_size, graph_of

LARGEST = 1 << 20
"""No batch larger than this is looked for."""


def largest_batch(
    model: str | Graph,
    memory_bytes: float,
    *,
    training: str,
    input_size: InputSize = None,
    dtype: str = "float32",
    checkpointing: bool = False,
) -> int:
    """How many pictures a training step takes at most without its tensors' peak passing ``memory_bytes``; 0 if not one
    fits.

    The peak is that of ``Report``: tensors only.  A process needs some hundred megabytes beside them, for the program
    itself and for its kernels' scratch memory.

    Raises ConvatlasError for a graph that was recorded at one batch, and for what ``analyze`` refuses.
    """
    graph = graph_of(model, input_size)
    if graph.recorded is not None:
        raise ConvatlasError(f"{graph.name} was recorded at one batch; ask `show` for the batches you think of")
    size, element, optimizer = full_size(input_size, graph.input_size), bytes_of(dtype), optimizer_of(training)

    def fits(batch: int) -> bool:
        shapes = graph.shapes(size, batch)
        step = training_step(graph, shapes, optimizer, element=element, checkpointing=checkpointing)
        return step.peak <= memory_bytes

    if not fits(1):
        return 0
    least = 1
    while least < LARGEST and fits(2 * least):
        least *= 2
    most = min(2 * least, LARGEST + 1)
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(middle) else (least, middle)
    return least
