"""convatlas visualize channel, neuron, layer, logit, probability, sheet, dream, invert: pictures by optimisation"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.cli.picturing import (
    Drawing,
    Label,
    Layer,
    Layers,
    Network,
    Out,
    Picture,
    Seed,
    Unit,
    Weights,
    colours_from,
    keeping,
    named,
    network_of,
    numbers,
    save,
    stopped,
    watching,
)
from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from torch import nn

USUAL = Drawing()
LARGE = 320
"""Pixels: larger pictures are not proposed."""


def channel(network: Network, layer: Layer, unit: Unit, /, *, how: Drawing = USUAL) -> int:
    """Draw what makes a channel large on average: layer_n[:,:,z].

    Examples:

    `convatlas visualize channel efficientnet_lite0 stage4 17`

    `convatlas visualize channel efficientnet_lite0 stage4 0-8 --out some.png`
    """
    from convatlas.visualize import objectives

    units = numbers(unit)
    return _made(network, objectives.channel(layer, units), named(network, layer, unit), how, len(units))


def neuron(
    network: Network,
    layer: Layer,
    unit: Unit,
    /,
    *,
    at: Annotated[str | None, Parameter(help="Its place, row,column; by default the middle of the map.")] = None,
    how: Drawing = USUAL,
) -> int:
    """Draw what makes one neuron large: layer_n[x,y,z].

    Example: `convatlas visualize neuron efficientnet_lite0 stage4 17 --at 3,5`
    """
    from convatlas.visualize import objectives

    units, place = numbers(unit), None
    if at is not None:
        row, column = numbers(at, 2)
        place = (row, column)
    objective = objectives.neuron(layer, units, place)
    return _made(network, objective, named(network, layer, unit, "neuron"), how, len(units))


def layer(
    network: Network,
    layer: Layer,
    /,
    *,
    count: Annotated[output.Whole, Parameter(help="How many pictures.")] = 1,
    how: Drawing = USUAL,
) -> int:
    """Draw what excites a whole layer, DeepDream's objective from nothing: layer_n[:,:,:]².

    Example: `convatlas visualize layer efficientnet_lite0 stage4`
    """
    from convatlas.visualize import objectives

    return _made(network, objectives.layer(layer), named(network, layer, "layer"), how, count)


def logit(network: Network, label: Label, /, *, how: Drawing = USUAL) -> int:
    """Draw what makes a class's logit large: pre_softmax[k].

    Example: `convatlas visualize logit efficientnet_lite0 'Egyptian cat'`
    """
    return _class("logit", network, label, how)


def probability(network: Network, label: Label, /, *, how: Drawing = USUAL) -> int:
    """Draw what makes a class probable: softmax[k].  It also grows where other classes fall; logit is clearer.

    Example: `convatlas visualize probability efficientnet_lite0 'Egyptian cat'`
    """
    return _class("probability", network, label, how)


def sheet(
    network: Network,
    /,
    *,
    layer: Annotated[Layers, Parameter(help="Only these layers; by default the stages.")] = (),
    columns: Annotated[output.Whole, Parameter(help="Channels of each, taken at random by the seed.")] = 6,
    size: Annotated[output.Whole | None, Parameter(help="Side of a picture in pixels.")] = None,
    steps: Annotated[output.Whole, Parameter(help="Steps of the optimiser.")] = 128,
    seed: Seed = 0,
    weights: Weights = "default",
    out: Out = None,
) -> int:
    """The full picture: a row of channels for each stage, first to last.

    Example: `convatlas visualize sheet efficientnet_lite0`
    """
    from convatlas.visualize import fullsheet

    net, out = network_of(network, weights, seed), out or named(network, "sheet")
    try:
        with watching("layers", None, out) as watch:
            rows = fullsheet.sheet(net, layer or None, columns=columns, size=size, steps=steps, seed=seed,
                                   watch=lambda name, done, of: watch.say(f"{name} ({done + 1} of {of})"))  # fmt: skip
    except fullsheet.Broken as error:  # the rows so far are in their file before the error goes on
        if error.rows:
            save(fullsheet.drawn(error.rows, network), out)
        raise
    save(fullsheet.drawn(rows, network), out)
    return stopped(any(row.made.interrupted for row in rows), "sheet")


def dream(
    network: Network,
    photograph: Picture,
    /,
    *,
    layer: Annotated[str, Parameter(help="The layer that dreams.")],
    unit: Annotated[output.Whole | None, Parameter(help="Only this channel of it.")] = None,
    octaves: Annotated[output.Whole, Parameter(help="Sizes, each 1.4 times larger than the last.")] = 4,
    steps: Annotated[output.Whole, Parameter(help="Steps at each size.")] = 10,
    rate: Annotated[float, Parameter(help="Size of a step.")] = 0.01,
    largest: Annotated[output.Whole, Parameter(help="The photograph's longer side at most, in pixels.")] = 768,
    seed: Seed = 0,
    weights: Weights = "default",
    out: Out = None,
) -> int:
    """DeepDream: draw into a photograph what a layer sees in it, from coarse to fine.

    Example: `convatlas visualize dream efficientnet_lite0 photo.jpg --layer stage5`
    """
    from convatlas.visualize import objectives
    from convatlas.visualize import photograph as on
    from convatlas.weights import read_picture

    picture = read_picture(photograph)
    net, out = network_of(network, weights, seed), out or named(network, "dream", layer, Path(photograph).stem)
    objective = objectives.layer(layer) if unit is None else objectives.channel(layer, unit)
    with watching("dreaming", octaves * steps, out) as watch, keeping(out):
        made = on.dream(net, picture, objective, octaves=octaves, steps=steps, rate=rate, largest=largest, seed=seed,
                        watch=watch)  # fmt: skip
    save(made.image, out)
    return stopped(made.interrupted)


def invert(
    network: Network,
    photograph: Picture,
    /,
    *,
    layer: Annotated[str, Parameter(help="The layer whose activations are to be met.")],
    steps: Annotated[output.Whole, Parameter(help="Steps of the optimiser.")] = 256,
    seed: Seed = 0,
    weights: Weights = "default",
    out: Out = None,
) -> int:
    """Rebuild a photograph from the activations of a layer: what the layer still knows of it.

    Example: `convatlas visualize invert efficientnet_lite0 photo.jpg --layer stage4`
    """
    from convatlas.visualize import photograph as on
    from convatlas.weights import read_picture

    picture = read_picture(photograph)
    net, out = network_of(network, weights, seed), out or named(network, "inverted", layer, Path(photograph).stem)
    with watching("inverting", steps, out) as watch, keeping(out):
        made = on.invert(net, picture, layer, steps=steps, seed=seed, watch=watch)
    save(made.images[0], out)
    return stopped(made.interrupted)


def _class(kind: str, network: str, label: str, how: Drawing) -> int:
    from convatlas.visualize import objectives
    from convatlas.visualize.targets import class_of

    net = network_of(network, how.weights, how.seed)
    number = class_of(getattr(getattr(net, "weights", None), "labels", None), label)
    objective = getattr(objectives, kind)(number, label)
    return _made(network, objective, named(network, kind, label), how, 1, net)


def _smaller(net: nn.Module, layers: Sequence[str], size: tuple[int, int, int]) -> Iterator[str]:
    """What to say where the units of a layer see more than a picture of ``size``, (C, H, W), has."""
    import torch

    from convatlas.graph.source import own_size
    from convatlas.visualize.optimize import tapped
    from convatlas.visualize.shown import Shown
    from convatlas.visualize.sights import field_of
    from convatlas.visualize.taps import aside

    own = own_size(net)
    with aside(net):
        fitted = tapped(net, layers, Shown(net)(torch.zeros(1, *size)), own[1:])[1]
    height, width = fitted or size[1:]
    for layer in filter(None, layers):
        field = field_of(net, layer, own) or field_of(net, layer, size)  # it may run whole at one of them only
        if field is not None and field.moves and (field.size[0] > height or field.size[1] > width):
            side = 32 * ceil(max(field.size) / 32)
            whole = f": --size {side} would show all of it" if side <= LARGE and fitted is None else ""
            yield (f"note: a unit of {layer} sees {field.size[0]:g} x {field.size[1]:g} pixels, more than the "
                   f"{height} x {width} of the picture{whole}")  # fmt: skip


def _made(network: str, objective: Any, usual: Path, how: Drawing, count: int, net: nn.Module | None = None) -> int:
    from convatlas.visualize.optimize import size_of, visualize
    from convatlas.visualize.sheets import grid

    out = how.out or usual
    sides = output.size(how.size) if how.size else None
    if sides and len(sides) > 2:
        raise ConvatlasError(f"--size is a side or HxW, not {how.size}")
    wanted = None if not sides else sides[0] if len(sides) == 1 else (sides[0], sides[1])
    with watching(objective.title, how.steps, out) as watch:
        net = network_of(network, how.weights, how.seed) if net is None else net
        colours = None if how.colours is None else colours_from(how.colours, net)
        for line in _smaller(net, objective.layers, size_of(net, wanted)):
            watch.note(line)
        with keeping(out):
            made = visualize(net, objective, count=count, size=wanted, steps=how.steps, seed=how.seed,
                             canvas=how.canvas, robust=how.robust, colours=colours, watch=watch)  # fmt: skip
    save(grid(made.images), out)
    if how.json:
        output.print_json({"objective": made.objective, "values": made.values, "dead": made.dead, "steps": made.steps,
                           "interrupted": made.interrupted, "seed": how.seed, "out": str(out)})  # fmt: skip
    else:
        told = ["dead, no gradient comes through" if dead else f"{value:.4g}"
                for value, dead in zip(made.values, made.dead)]  # fmt: skip
        print(f"{made.objective}: {', '.join(told)}")
    return stopped(made.interrupted)
