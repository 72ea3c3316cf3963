"""box: the pixels of the picture that can influence one unit, by a backward walk over the graph.

At every operation the units of its input that are needed are marked on the map itself, so that padding counts for
nothing and strides, dilations and windows that hang over the edge are exact.  The channels are taken together: a unit
is all channels at its place, and each channel is taken to depend on all that its layer reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from convatlas.cost.field import (
    KEEPS,
    KERNELS,
    MERGES,
    Field,
    even_window,
    fields,
    local,
    operands,
    padding_before,
    slices,
)
from convatlas.cost.windows import Reads, uneven_reads
from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph, Node
from convatlas.graph.ops import TRANSPOSED, Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

Box = tuple[tuple[int, int], ...]
"""By axis of the picture, the first pixel and the one behind the last: ((top, bottom), (left, right))."""


def box(graph: Graph, shapes: Sequence[Shape], place: int, unit: Sequence[int], *, gates: bool = False) -> Box | None:
    """The smallest box that holds every pixel on which the unit (row, column) of the node at ``place`` can depend.

    gates: with what comes through global gates and norms over the map too; by default only the local path, where there
    is one.  A unit that sees nothing but padding has a box whose ends are all 0.  None where an operation on the way
    has no rule.  A node without a map (logits) has one unit, ().

    Raises ConvatlasError if the map has no such unit.
    """
    mask = pixels(graph, shapes, place, unit, gates=gates)
    if mask is None:
        return None
    seen = mask.nonzero()
    return tuple((int(places.min()), int(places.max()) + 1) if len(places) else (0, 0) for places in seen)


def pixels(
    graph: Graph, shapes: Sequence[Shape], place: int, unit: Sequence[int], *, gates: bool = False
) -> Mask | None:
    """(H, W), true at the pixels on which a unit can depend; holes and all.  Arguments and errors are ``box``'s."""
    import numpy as np

    size = _spatial(shapes[place])
    if len(unit) != len(size) or not all(0 <= i < n for i, n in zip(unit, size)):
        raise ConvatlasError(
            f"{graph.nodes[place].name} is a map of {' x '.join(map(str, size))}: no unit {tuple(unit)}"
        )
    known = fields(graph, shapes)
    if known[place] is None:
        return None
    start = np.zeros(size, bool)
    start[tuple(unit)] = True
    needed: dict[int, Mask] = {place: start}
    for here in range(place, 0, -1):
        mask = needed.pop(here, None)
        if mask is None or not mask.any():
            continue
        for source, marks in _sources(graph.nodes[here], mask, shapes[here], shapes, known, gates):
            needed[source] = needed[source] | marks if source in needed else marks
    return needed.get(0, np.zeros(shapes[0][2:], bool))


def _sources(
    node: Node, mask: Mask, shape: Shape, shapes: Sequence[Shape], known: Sequence[Field | None], gates: bool
) -> Iterator[tuple[int, Mask]]:
    """Which units of its inputs the marked units of a node need: (place, marks)."""
    if node.op in MERGES:
        read = operands(node, shape, known, shapes) or []
        for source, _ in read if gates else local(read):
            yield source, _unstretched(mask, _spatial(shapes[source]))
    elif node.inputs:
        yield node.inputs[0], _needed(node, mask, shapes[node.inputs[0]], shape, gates)


def _needed(node: Node, mask: Mask, x: Shape, shape: Shape, gates: bool) -> Mask:
    import numpy as np

    op, attrs, size = node.op, node.attrs, _spatial(x)
    if op in KEEPS or op in ("chunk", "split") or "piece" in attrs:
        return mask
    if op in ("group_norm", "instance_norm") and not gates:
        return mask
    if len(size) != mask.ndim:
        return np.ones(size, bool)
    if op in KERNELS - TRANSPOSED:
        for axis, (n, *window) in enumerate(zip(size, *even_window(attrs))):
            mask = _slid(mask, axis, n, *window)
        return mask
    if op in ("pad", "same_pad2d"):
        return _unpadded(mask, size, padding_before(node, x, shape), attrs.get("mode", "constant"))
    windows: list[Reads] | None = None
    if op in TRANSPOSED or op == "upsample" or op.startswith("adaptive"):
        windows = uneven_reads(op, attrs, x, shape)
    elif op in ("mean", "sum"):
        windows = [[range(n)] if m == 1 else [range(i, i + 1) for i in range(n)] for n, m in zip(size, mask.shape)]
    elif op == "getitem" and (taken := slices(attrs, x)):
        windows = [[range(i, i + 1) for i in t] for t in taken]
    if windows is None:
        return mask if x == shape and op == "reshape" else np.ones(size, bool)
    for axis, (n, reads) in enumerate(zip(size, windows)):
        mask = _listed(mask, axis, n, reads)
    return mask


# ---- along one axis -------------------------------------------------------------------------------------------


def _slid(mask: Mask, axis: int, n: int, kernel: int, stride: int, padding: int, dilation: int) -> Mask:
    """The n units that marked windows of a convolution or a pool hold."""
    import numpy as np

    if kernel == 1 and stride == 1 and padding == 0:
        return mask
    reach = (mask.shape[axis] - 1) * stride + 1
    length = max(reach + (kernel - 1) * dilation, padding + n)
    wide = np.zeros((*mask.shape[:axis], length, *mask.shape[axis + 1 :]), bool)
    along = (slice(None),) * axis
    for start in range(0, kernel * dilation, dilation):
        wide[(*along, slice(start, start + reach, stride))] |= mask
    return wide[(*along, slice(padding, padding + n))]


def _listed(mask: Mask, axis: int, n: int, reads: Reads) -> Mask:
    """The n units that marked windows hold, each window with its own list."""
    import numpy as np

    found = np.zeros((*mask.shape[:axis], n, *mask.shape[axis + 1 :]), bool)
    to, of = np.moveaxis(found, axis, 0), np.moveaxis(mask, axis, 0)
    for marks, read in zip(of, reads):
        if marks.any():
            inside = [i for i in read if 0 <= i < n]
            to[inside] |= marks
    return found


def _unpadded(mask: Mask, size: Sequence[int], before: Sequence[int], mode: str) -> Mask:
    """The map's own units among the marked ones of the padded or cropped map, and those that others repeat."""
    for axis, (n, start) in enumerate(zip(size, before)):
        places = list(range(-start, mask.shape[axis] - start))
        if mode == "reflect":
            places = [abs(i) if i < n else 2 * (n - 1) - i for i in places]
        elif mode == "replicate":
            places = [min(max(i, 0), n - 1) for i in places]
        mask = _listed(mask, axis, n, [range(i, i + 1) for i in places])
    return mask


def _unstretched(mask: Mask, size: Sequence[int]) -> Mask:
    """The units of an operand that was stretched (broadcast) to the map's size."""
    for axis, (n, m) in enumerate(zip(size, mask.shape)):
        if n == 1 < m:
            mask = _listed(mask, axis, 1, [range(1)] * m)
    return mask


def _spatial(shape: Shape) -> tuple[int, ...]:
    """Of a map (N, C, H, W), or of several: (H, W); of vectors: ()."""
    return tuple((shape[0] if isinstance(shape[0], tuple) else shape)[2:])
