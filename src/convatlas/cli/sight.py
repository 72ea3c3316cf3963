"""What the units of one layer see."""

from __future__ import annotations

from typing import Any

from convatlas.cli import output
from convatlas.cost.boxes import Box, box
from convatlas.cost.field import fields
from convatlas.cost.tables import label
from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph
from convatlas.graph.ops import Shape
from convatlas.graph.source import full_size, graph_of
from convatlas.numbers import across


def show_field(
    model: str | Graph, input: tuple[int, ...] | None, layer: str, unit: str | None, measure: int | None, json: bool
) -> None:
    """A layer's receptive field, and on the picture the boxes of a corner, an edge and the centre unit, or of one."""
    graph = graph_of(model, input)
    size = full_size(input, graph.input_size)
    shapes = graph.shapes(size)
    place = graph.place(layer)
    name, shape = graph.nodes[place].name, shapes[place]
    shape = shape[0] if shape and isinstance(shape[0], tuple) else shape  # pieces of a map are where the map is
    spatial = shape[2:]
    units = chosen(shape) if unit is None else {"unit": _unit(unit)}
    boxes = {word: box(graph, shapes, place, at) for word, at in units.items()}
    seen = fields(graph, shapes)[place]
    measured = None if measure is None else _measured(model, layer, size, measure)
    if json:
        answer = {
            "name": graph.name,
            "input_size": list(size),
            "layer": name,
            "map": list(spatial),
            "receptive_field": None if seen is None else seen.to_json(),
            "status": "unavailable" if seen is None else seen.status,
            "units": [{"which": word, "unit": list(units[word]), "box": found} for word, found in boxes.items()],
        }
        output.print_json(answer | ({} if measured is None else {"effective": measured.to_json()}))
        return
    console = output.console()
    measures = across(spatial) if spatial else "1"
    console.print(f"[bold]{graph.name}[/]  {label(layer)}: a map of {measures} on an input of {across(size[1:])}")
    if seen is None:
        console.print("Its receptive field cannot be known: an operation before it has no rule.")
        return
    bound = "at most " if seen.status == "bound" else ""
    if any(seen.jump):
        console.print(
            f"A unit sees {bound}{across(seen.size)} pixels; the next one {across(seen.jump)} pixels further; "
            f"the first begins at {across(seen.offset)}."
        )
    if seen.whole:
        also = " as well, through a gate" if any(seen.jump) else ""
        console.print(f"The whole picture reaches every unit{also}.")
    rows = [
        {"!": word, "unit": ", ".join(map(str, units[word])), "rows": _span(found, 0), "columns": _span(found, 1),
         ">of the picture": _share(found, size)}
        for word, found in boxes.items()
    ]  # fmt: skip
    output.print_table(rows, ["!", "unit", "rows", "columns", ">of the picture"])
    if measured is not None:
        console.print(f"Effective field, measured with {measured.samples} random pictures and the initial weights: "
                      f"{measured.size:.1f} pixels across.")  # fmt: skip


def chosen(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Three units that tell a map's story; one where the map has no extent."""
    spatial = tuple(shape[2:])
    if len(spatial) != 2 or set(spatial) == {1}:
        return {"the only one": (0,) * len(spatial)}
    height, width = spatial
    return {"corner": (0, 0), "edge": (0, width // 2), "centre": (height // 2, width // 2)}


def _unit(text: str) -> tuple[int, ...]:
    return tuple(output.whole_number(part, "--unit") for part in output.several(text))


def _span(found: Box | None, axis: int) -> str:
    if found is None:
        return "?"
    first, end = found[axis]
    return f"{first} to {end - 1}" if end > first else "none"


def _share(found: Box | None, size: tuple[int, int, int]) -> str:
    if found is None:
        return "?"
    area = 1
    for first, end in found:
        area *= end - first
    return f"{100 * area / (size[1] * size[2]):.1f} %"


def _measured(model: str | Graph, layer: str, size: tuple[int, int, int], samples: int) -> Any:
    """The effective field of a registered network's layer, as its paper initialises it."""
    from convatlas.cost.effective import effective_field

    if not isinstance(model, str) or ":" in model:
        raise ConvatlasError("--measure is for the networks of `convatlas list`; in Python effective_field takes any")
    return effective_field(model, layer, input_size=size, samples=samples)
