"""What is computed of a network, at the input size at which it was tested."""

from __future__ import annotations

from functools import cache

from convatlas.claims.networks import WEIGHTED, depthwise, entry, graph
from convatlas.compare import timings
from convatlas.cost import Report, analyze
from convatlas.graph.ops import CONVOLUTIONS

FLOAT = 4
"""Bytes of a float32."""

DENSE, GROUPED, DEPTHWISE = "dense", "grouped", "depthwise"
KINDS = (DENSE, GROUPED, DEPTHWISE)
"""Networks by their convolutions: each sees all channels, or a group of them, or one."""


@cache
def report(name: str, input_size: int, training: str | None = None) -> Report:
    """The network's costs for one picture.  Raises what ``analyze`` does."""
    return analyze(graph(name), input_size=input_size, training=training)


@cache
def computed(name: str, key: str, input_size: int, allow_busy: bool = False) -> float | None:
    """The figure of an axis (``AXES``) that rests on no publication; None where there is none.

    allow_busy: measure times although other programs keep the machine busy.
    Raises ConvatlasError for a predicted time without a calibration, for a measured one on a busy machine.
    """
    own = entry(name)
    if key in ("params", "year"):
        found: float | None = own[key]
    elif key == "size":
        found = own["params"] * FLOAT
    elif key == "input":
        found = input_size
    elif key == "macs":
        found = own["macs"] if input_size == own["input_size"] else report(name, input_size).totals["macs"]
    elif key == "activation":
        found = report(name, input_size).totals["activation_bytes"]
    elif key == "training":
        found = report(name, input_size, "momentum").totals["peak_training_bytes"]
    elif key == "latency":
        found = timings.predicted(name, input_size)
    elif key == "measured":
        found = timings.measured({name: input_size}, allow_busy=allow_busy)[name]
    elif key == "depth":
        found = depth(name)
    elif key == "field":
        found = field(name, input_size)
    else:
        raise KeyError(key)
    return found


@cache
def depth(name: str) -> int:
    """Layers with weights on the longest path from picture to logits; a gate's own are beside the path."""
    longest: list[int] = []
    for node in graph(name).nodes:
        counts = node.op in WEIGHTED and ".gate." not in node.name
        longest.append(max((longest[i] for i in node.inputs), default=0) + counts)
    return longest[-1]


@cache
def field(name: str, input_size: int) -> float | None:
    """The side, in pixels, of what a unit of the last map with more than one place sees by its local path."""
    found = None
    for row in report(name, input_size).rows:
        seen = row.receptive_field
        if seen is not None and any(seen.jump) and not row.op.startswith("adaptive") and len(row.output_shape) == 4:
            found = max(seen.size) if seen.status == "exact" or found is None else found
    return found


@cache
def kind(name: str) -> str:
    """DEPTHWISE where any convolution sees one channel alone, GROUPED where any sees a group of them, else DENSE."""
    convolutions = [node for node in graph(name).nodes if node.op in CONVOLUTIONS]
    if any(depthwise(node) for node in convolutions):
        return DEPTHWISE
    return GROUPED if any(node.attrs["groups"] > 1 for node in convolutions) else DENSE
