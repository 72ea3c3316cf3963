"""fields: graph -> the receptive field of every node's units, in one forward walk.

Along each axis of the picture, the unit i of a map sees the pixels offset + i * jump ... offset + i * jump + size - 1,
counted as if the picture went on for ever: padding makes offsets negative, and ``convatlas.cost.boxes`` clips.  It is
the hull: strides and dilations may leave holes in it, and the channels are taken together.  Branches that meet (add,
cat ...) give the hull of what they see.  Where their jumps differ its ends do not move evenly, and the narrowest even
window that holds them is given, with status "bound"; so also where an operation's windows are not alike: a pool to a
size that does not divide the map's, transposed convolution, upsampling.

``whole`` says that every unit also depends on all of some earlier map, and so on the whole picture (less a border that
no window of a strided layer reaches): behind a global pool, a flattened map, or a norm over the map in evaluation.

* Behind a gate (the pooled map of squeeze-and-excitation meets the map that it scales; a pooled branch meets a map)
  and such a norm there still is a local path.  size, jump and offset are the local path's, and go on from it.
* Behind the pool or the flattening itself there is none.  All units see one window: size is the hull over the map's
  units, and jump is 0.

None is what cannot be known: an operation without a rule, one recorded without its attributes, and what reads such.

Araujo, Norris and Sim 2019 ("Computing Receptive Fields of Convolutional Neural Networks", Distill).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convatlas.cost.windows import Field, cut, everything, hull, spread, uneven_reads, windowed
from convatlas.graph.model import Graph, Node
from convatlas.graph.ops import CONVOLUTIONS, ELEMENTWISE, KEEPS_SHAPE, RULES, TRANSPOSED, Attrs, Shape

__all__ = ["Field", "fields", "saturated"]


def fields(graph: Graph, shapes: Sequence[Shape]) -> list[Field | None]:
    """Each node's field; None where it cannot be known.  shapes: ``graph.shapes(...)``.

    What reads nothing of the picture (a parameter as an operand) sees nothing: its size is 0.
    """
    zeros = (0,) * (len(shapes[0]) - 2)
    ones = (1,) * len(zeros)
    found: list[Field | None] = []
    field: Field | None
    for node, shape in zip(graph.nodes, shapes):
        op, inputs = node.op, node.inputs
        if not inputs:
            field = Field(ones, ones, zeros) if op == "input" else Field(zeros, zeros, zeros)
        elif op in KEEPS:
            field = found[inputs[0]]
        elif op in MERGES:
            field = _merged(node, shape, found, shapes)
        elif op not in FIELD_RULES or (len(inputs) > 1 and not _constants(found, inputs[1:])):
            field = None
        else:
            field = found[inputs[0]]
            if field is not None and any(field.jump):  # where all units see the same, so do any of them
                try:
                    field = FIELD_RULES[op](node, field, shapes[inputs[0]], shape)
                except KeyError:  # recorded without its attributes
                    field = None
        found.append(field)
    return found


def _constants(found: Sequence[Field | None], places: Sequence[int]) -> bool:
    """Whether these see nothing: weights that the graph computes."""
    return all(field is not None and not any(field.size) for field in (found[place] for place in places))


def saturated(graph: Graph, shapes: Sequence[Shape], fields: Sequence[Field | None]) -> list[int]:
    """The places of the layers that can add no context at this resolution.

    Those are the convolutions and pools whose kernel is longer than 1 along some axis, where along every such axis the
    centre unit (n // 2 of n) of the map that they read already sees the picture from its first pixel to its last.
    Only the local path counts, not what a gate brings; a field that is a bound or not known proves nothing; layers
    behind the last map (jump 0) are left out.  Richter, Schöning, Wiedenroth and Krumnack 2021 (arXiv 2106.12307)
    call such layers unproductive: on pictures of that size they do not help to solve the task.
    """
    picture = shapes[0][2:]
    smallest = min(picture)
    places = []
    for place, node in enumerate(graph.nodes):
        if node.op not in KERNELS or max(node.attrs.get("kernel", (1,))) == 1:
            continue
        field = fields[node.inputs[0]]
        if field is None or max(field.size) < smallest or field.status != "exact" or not field.moves:
            continue
        axes = zip(node.attrs["kernel"], field.offset, field.jump, field.size, shapes[node.inputs[0]][2:], picture)
        if all(k == 1 or o + n // 2 * j <= 0 <= o + n // 2 * j + s - side for k, o, j, s, n, side in axes):
            places.append(place)
    return places


# ---- one operation --------------------------------------------------------------------------------------------


def even_window(attrs: Attrs) -> tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]:
    """Kernel, stride, padding before the first unit, and dilation of a convolution or a pool, by axis."""
    kernel, padding = attrs["kernel"], attrs["padding"]
    dilation = attrs.get("dilation") or (1,) * len(kernel)
    if isinstance(padding, str):
        padding = [d * (k - 1) // 2 if padding == "same" else 0 for k, d in zip(kernel, dilation)]
    return kernel, attrs["stride"], padding, dilation


def padding_before(node: Node, x: Shape, shape: Shape) -> list[int]:
    """What a padding puts before each spatial axis of the map ``x``; negative: crops."""
    if node.op == "same_pad2d":
        return [(new - old) // 2 for old, new in zip(x[2:], shape[2:])]
    before = list(node.attrs["padding"][: 2 * len(x[2:]) : 2])[::-1]  # the attribute begins with the last axis
    return [0] * (len(x[2:]) - len(before)) + before


def slices(attrs: Attrs, x: Shape) -> list[range] | None:
    """Which units of a map an index takes along each spatial axis; None where it takes an axis away."""
    index = attrs["index"]
    if any(isinstance(item, int) for item in index):
        return None
    rest = [[None, None, None]] * (len(x) - len(index))
    return [range(*slice(*item).indices(n)) for item, n in zip([*index, *rest][2:], x[2:])]


def _window(node: Node, field: Field, x: Shape, shape: Shape) -> Field:
    attrs = node.attrs
    if max(attrs["kernel"]) == 1 and max(attrs["stride"]) == 1 and x[2:] == shape[2:]:
        return field
    return windowed(field, *even_window(node.attrs))


def _pad(node: Node, field: Field, x: Shape, shape: Shape) -> Field:
    return cut(field, [-before for before in padding_before(node, x, shape)])


def _uneven(node: Node, field: Field, x: Shape, shape: Shape) -> Field | None:
    windows = uneven_reads(node.op, node.attrs, x, shape)
    if windows is None:
        return None
    transposed = node.op in TRANSPOSED
    ratios = [1 / s for s in node.attrs["stride"]] if transposed else [n / m for n, m in zip(x[2:], shape[2:])]
    return spread(field, windows, ratios)


def _adaptive(node: Node, field: Field, x: Shape, shape: Shape) -> Field | None:
    if all(size == 1 for size in node.attrs["output_size"]):
        return everything(field, x[2:])
    return field if x[2:] == shape[2:] else _uneven(node, field, x, shape)


def _mean(node: Node, field: Field, x: Shape, shape: Shape) -> Field | None:
    dims = {dim % len(x) for dim in node.attrs["dim"]}
    if dims.issuperset(range(2, len(x))):
        return everything(field, x[2:])
    kernel = [n if axis in dims else 1 for axis, n in enumerate(x)][2:]
    return windowed(field, kernel, kernel, [0] * len(kernel), [1] * len(kernel)) if node.attrs["keepdim"] else None


def _reshaped(node: Node, field: Field, x: Shape, shape: Shape) -> Field | None:
    """A map becomes one vector a picture; otherwise we lose track of its axes."""
    if shape == x:
        return field
    return everything(field, x[2:]) if len(shape) == 2 and shape[0] == x[0] else None


def _getitem(node: Node, field: Field, x: Shape, shape: Shape) -> Field | None:
    if "piece" in node.attrs:
        return field
    taken = slices(node.attrs, x)
    return None if taken is None else cut(field, [t.start for t in taken], [t.step for t in taken])


def _pieces(node: Node, field: Field, x: Shape, shape: Shape) -> Field | None:
    return field if node.attrs["dim"] % len(x) < 2 else None


def _map_norm(node: Node, field: Field, x: Shape, shape: Shape) -> Field:
    return field._replace(whole=True)


def _mixed(node: Node, field: Field, x: Shape, shape: Shape) -> None:
    """Axes of a map move, or are mixed, and we do not follow."""


def operands(
    node: Node, shape: Shape, found: Sequence[Field | None], shapes: Sequence[Shape]
) -> list[tuple[int, Field]] | None:
    """What arithmetic or cat reads, with their places; one that is stretched to the others' size moves no more."""
    read = []
    for place in node.inputs:
        field = found[place]
        if field is None:
            return None
        if any(field.jump) and shapes[place][2:] != shape[2:]:
            same = [n == m for n, m in zip(shapes[place][2:], shape[2:])]
            field = field._replace(jump=tuple([j * s for j, s in zip(field.jump, same)]))
        read.append((place, field))
    return read


def local(read: list[tuple[int, Field]]) -> list[tuple[int, Field]]:
    """The operands that count: those that see anything, and of them, where any has a local path, those that have."""
    seeing = [pair for pair in read if any(pair[1].size)] or read[:1]
    return [pair for pair in seeing if any(pair[1].jump) or not pair[1].whole] or seeing


def _merged(node: Node, shape: Shape, found: Sequence[Field | None], shapes: Sequence[Shape]) -> Field | None:
    """Arithmetic and cat."""
    read = operands(node, shape, found, shapes)
    if read is None or (node.op == "cat" and node.attrs.get("dim", 2) % len(shape) > 1):
        return None
    if len(read) == 1 or (len(read) == 2 and read[0][1] is read[1][1]):
        return read[0][1]
    used = [field for _, field in local(read)]
    whole = any(field.whole for _, field in read)
    return used[0] if len(used) == 1 and used[0].whole == whole else hull(used, shape[2:], whole)


FieldRule = Callable[[Node, Field, Shape, Shape], Field | None]

KERNELS = CONVOLUTIONS | TRANSPOSED | {op for op in RULES if op.startswith(("max_pool", "avg_pool"))}
"""Operations that slide a kernel over the map."""

MERGES = ELEMENTWISE | {"cat"}

KEEPS = KEEPS_SHAPE - {"softmax", "log_softmax", "layer_norm", "group_norm", "instance_norm"}
"""Operations of which each unit reads that unit only."""

FIELD_RULES: dict[str, FieldRule] = {
    **dict.fromkeys(KERNELS - TRANSPOSED, _window),
    **dict.fromkeys((*TRANSPOSED, "upsample"), _uneven),
    **dict.fromkeys((op for op in RULES if op.startswith("adaptive")), _adaptive),
    **dict.fromkeys(("same_pad2d", "pad"), _pad),
    **dict.fromkeys(("flatten", "reshape"), _reshaped),
    **dict.fromkeys(("mean", "sum"), _mean),
    **dict.fromkeys(("chunk", "split"), _pieces),
    **dict.fromkeys(("group_norm", "instance_norm"), _map_norm),
    **dict.fromkeys("softmax log_softmax layer_norm linear rbf permute transpose squeeze unsqueeze".split(), _mixed),
    "getitem": _getitem,
}
