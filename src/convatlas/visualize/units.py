"""Everything about one unit: what is drawn for it, what of a data set excites it, and a control."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from convatlas.cost.field import Field
from convatlas.errors import ConvatlasError
from convatlas.visualize.control import untrained
from convatlas.visualize.crops import Crop, View, crops, wholes
from convatlas.visualize.finding import MOST, SAMPLE, Examples, Pictures, examples, shape_at
from convatlas.visualize.objectives import Objective, Seen
from convatlas.visualize.optimize import STEPS, Visualization, visualize
from convatlas.visualize.projection import in_rgb, project
from convatlas.visualize.sheets import tensor
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import name_of, path_of
from convatlas.weights.preprocess import Preprocess

OFTEN = 0.01
"""A lowest value that more than this part of the sample has is a floor, as a rectifier's 0 is."""

Watch = Callable[[str, int, int], None]
"""Called with what is being done, and how much of how much is done."""


@dataclass(frozen=True)
class Drawn:
    """A picture (C, H, W) in [0, 1] that was made, the unit's mean on it at rest, and whether it is dead."""

    picture: Tensor = field(repr=False)
    value: float
    dead: bool


@dataclass(frozen=True, eq=False)
class Unit:
    """What there is to see of one unit.

    network, layer, number: which one; label: the class, where it stands for one.
    positive, negative: what was drawn for it, and against it; negative is None where it has a floor.
    control: drawn for the same unit of the same network with random weights; None where it was not asked for, or
    Ctrl-C came before.
    highest, lowest, middle: of the data set; highest and lowest are empty where it is constant, lowest where it has a
    floor.
    floor: the value below which it never is, None if there is none; quiet: the part of the sample that has it.
    field: of every unit of the layer, in pixels.  notes: what must be said of it, a sentence each.
    unprojected: why there are no projections; "" where there are.  interrupted: whether the drawing was, by Ctrl-C.
    switched: whether there is a max pool on the way, whose switches the projections follow.
    """

    network: str
    layer: str
    number: int
    label: str
    found: Examples = field(repr=False)
    positive: Drawn
    negative: Drawn | None
    control: Drawn | None
    highest: tuple[Crop, ...] = field(repr=False)
    lowest: tuple[Crop, ...] = field(repr=False)
    middle: tuple[Crop, ...] = field(repr=False)
    floor: float | None
    quiet: float
    field: Field | None
    notes: tuple[str, ...]
    unprojected: str
    interrupted: bool = False
    switched: bool = True


def unit(
    net: nn.Module,
    layer: str,
    number: int,
    pictures: Pictures | Examples,
    *,
    most: int = MOST,
    sample: int = SAMPLE,
    size: int | None = None,
    steps: int = STEPS,
    seed: int = 0,
    batch: int = 32,
    control: bool = True,
    preprocess: Preprocess | None = None,
    bad_images: Literal["stop", "skip"] | str = "skip",
    folder: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
) -> Unit:
    """Draw a unit, and look for what excites it in a data set.

    net: any module that takes (N, C, H, W).  layer, number: the unit is this channel of the layer.
    pictures: as ``examples`` takes them, or what it gave: one pass serves all units of a layer.
    most, sample, batch, bad_images, folder: ``examples``' own.  size, steps, seed: ``visualize``'s.
    control: also draw the unit of the same network with random weights.  preprocess: of both.

    Ctrl-C ends the drawing, not the page: what is drawn by then is there, and a note says so.

    Raises UnknownName for a layer that does not exist, and ConvatlasError for a unit that does not, and for what
    ``examples`` and ``visualize`` raise it.
    """
    shown, path = Shown(net, preprocess), path_of(net, layer)
    shape, name = shape_at(net, layer, shown), path.removeprefix("trunk.") or "the output"
    if not 0 <= number < shape[0]:
        raise ConvatlasError(f"{name} has channels 0 to {shape[0] - 1}, no {number}")
    if not isinstance(pictures, Examples):
        say = None if watch is None else partial(watch, "looking at pictures")
        pictures = examples(net, layer, pictures, most=most, sample=sample, batch=batch, preprocess=preprocess,
                            bad_images=bad_images, seed=seed, folder=folder, watch=say)  # fmt: skip
    elif pictures.layer != path:
        raise ConvatlasError(f"these are examples of {pictures.layer}, not of {path}")
    found, side = pictures, shown.preprocess.crop
    view = View(net, path, shape, (shown.preprocess.channels, side, side))
    floor, quiet = _floor(found, number)
    draw = partial(_drawn, layer=path, number=number, size=size, steps=steps, seed=seed, preprocess=preprocess)
    signs = [1.0] if floor is not None else [1.0, -1.0]
    made = draw(net, signs=signs, watch=partial(_steps, watch, "drawing the unit", steps))
    positive, *negative = _each(made, signs)
    drawn: list[Drawn] = []
    unset: list[str] = []
    stopped = f"Interrupted after {made.steps} of {steps} steps." if made.interrupted else ""
    if control and not stopped:
        try:
            blank, unset = untrained(net, seed, shown(_some(found)))
            made = draw(blank, signs=[1.0], watch=partial(_steps, watch, "drawing the control", steps))
            drawn = _each(made, [1.0])
            if made.interrupted:
                stopped = f"The control was interrupted after {made.steps} of {steps} steps."
        except KeyboardInterrupt:  # before its first step
            stopped, unset = "Interrupted before the control was drawn.", []
    some = not found.constant(number)
    highest, unprojected = _projected(net, shown, path, number, found,
                                      crops(found, view, found.top(number) if some else ()))  # fmt: skip
    return Unit(
        network=name_of(net),
        layer=name,
        number=number,
        label=_label(net, path, number),
        found=found,
        positive=positive,
        negative=negative[0] if negative else None,
        control=drawn[0] if drawn else None,
        highest=tuple(highest),
        lowest=tuple(crops(found, view, found.bottom(number) if some and floor is None else ())),
        middle=tuple(crops(found, view, found.middle(number))),
        floor=floor,
        quiet=quiet,
        field=view.field,
        notes=(*filter(None, [stopped]), *_notes(found, number, view, positive, unset)),
        unprojected=unprojected,
        interrupted=bool(stopped),
        switched=view.switched,
    )


# ---- parts ------------------------------------------------------------------------------------------------


def _drawn(
    net: nn.Module,
    *,
    layer: str,
    number: int,
    signs: list[float],
    size: int | None,
    steps: int,
    seed: int,
    preprocess: Preprocess | None,
    watch: Callable[[int, list[float], Tensor], None],
) -> Visualization:
    """A picture for each sign, made together."""

    def value(seen: Seen) -> Tensor:
        own = seen[layer][:, number].reshape(len(signs), -1)  # of a map, or one value
        return own.mean(1) * own.new_tensor(signs)

    objective = Objective((layer,), value, f"channel {number} of {layer}")
    return visualize(net, objective, count=len(signs), size=size, steps=steps, seed=seed, preprocess=preprocess,
                     watch=watch)  # fmt: skip


def _each(made: Visualization, signs: list[float]) -> list[Drawn]:
    return [Drawn(picture, value * sign, dead)
            for picture, value, sign, dead in zip(made.pictures, made.values, signs, made.dead)]  # fmt: skip


def _steps(watch: Watch | None, title: str, of: int, done: int, values: list[float], pictures: Tensor) -> None:
    if watch is not None:
        watch(title, done, of)


def _floor(found: Examples, number: int) -> tuple[float | None, float]:
    """0, where a channel is never below it and often there, as behind a rectifier; and how often it is at its least."""
    values, lowest = found.values(number), found.bottom(number)[0].value
    times = int((values == lowest).sum())
    often = times / max(len(values), 1)
    return (lowest if lowest == 0 and times > 1 and often > OFTEN else None), often


def _projected(
    net: nn.Module, shown: Shown, path: str, number: int, found: Examples, made: list[Crop]
) -> tuple[list[Crop], str]:
    """The crops with what deconvnet leads back to them, or why it cannot."""
    if not made:
        return made, ""
    at = [(crop.example.row, crop.example.column) for crop in made]
    try:
        led = project(net, shown(wholes(found, made)), path, number, at=at)
    except ConvatlasError as error:
        return made, str(error)
    return [replace(crop, projection=crop.cut(one)) for crop, one in zip(made, in_rgb(led, shown))], ""


def _label(net: nn.Module, path: str, number: int) -> str:
    labels: Sequence[Any] = getattr(getattr(net, "weights", None), "labels", ())
    last = path in ("", "head.classifier")
    return str(labels[number].name) if last and number < len(labels) else ""


def _some(found: Examples, count: int = 16) -> Tensor:
    """The first pictures of the data set that can be read, (N, C, H, W) in [0, 1]."""
    bad = {name for name, _ in found.unreadable}
    good = (n for n in range(len(found.pictures)) if found.pictures.names(n) not in bad)
    return torch.stack([tensor(found.picture(n), found.preprocess.channels) for n in islice(good, count)])


def _notes(found: Examples, number: int, view: View, positive: Drawn, unset: list[str]) -> list[str]:
    notes = []
    value = found.top(number)[0].value
    if positive.dead:
        notes.append("This unit is dead: no gradient comes through it, and nothing can be drawn for it.")
    if found.constant(number):
        notes.append(f"It gives {value:.4g} at every place of every picture: what it is shown makes no difference.")
    if view.field is None:
        notes.append(f"Its receptive field is not known ({view.reason}): the pictures are shown whole.")
    elif view.gated:
        notes.append("A gate or a norm over the map brings the whole picture to every unit; the crops are of the local "
                     "path, beside it.")  # fmt: skip
    elif view.field.status == "bound":
        notes.append("The layer's windows are not alike; each crop is exactly what its own unit sees.")
    if found.unreadable:
        some = ", ".join(Path(name).name for name, _ in found.unreadable[:3])
        more = f" and {len(found.unreadable) - 3} more" if len(found.unreadable) > 3 else ""
        notes.append(f"{len(found.unreadable)} of {len(found.pictures)} pictures cannot be read: {some}{more}.")
    if unset:
        notes.append(f"The control keeps {len(unset)} parameters that no module fills: {', '.join(unset[:3])}"
                     f"{' …' if len(unset) > 3 else ''}.")  # fmt: skip
    return notes
