"""convatlas visualize filters, activations, journey, attribute, unit: what is there, on one's own pictures"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.cli.picturing import (
    Layer,
    Layers,
    Network,
    Out,
    Picture,
    Seed,
    Weights,
    keeping,
    named,
    network_of,
    numbers,
    pictures_of,
    save,
    stopped,
    told,
    watching,
)
from convatlas.errors import ConvatlasError


def filters(
    network: Network,
    layer: Annotated[str | None, Parameter(help="A convolution, or a block with one; by default the first.")] = None,
    /,
    *,
    unit: Annotated[output.Whole | None, Parameter(help="Only the kernels that this channel reads with.")] = None,
    weights: Weights = "default",
    out: Out = None,
) -> int:
    """Show a convolution's kernels: the first layer's as colours, deeper ones as a matrix of their norms.

    Example: `convatlas visualize filters efficientnet_lite0`
    """
    from convatlas.visualize.kernels import filters as shown
    from convatlas.weights.pictures import format_of

    words = ["filters", layer or "", "" if unit is None else str(unit)]
    out = out or named(network, *filter(None, words))
    format_of(out)  # a name that no picture has is refused before any work is done
    save(shown(network_of(network, weights), layer, unit=unit).image, out)
    return 0


def activations(
    network: Network,
    picture: Picture,
    layer: Layer,
    /,
    *,
    strongest: Annotated[output.Whole | None, Parameter(help="Only so many channels, the strongest.")] = None,
    channels: Annotated[str | None, Parameter(help="Only these: 3,17 or 0-8.")] = None,
    weights: Weights = "default",
    out: Out = None,
) -> int:
    """Show the maps that a layer makes of a picture.

    Example: `convatlas visualize activations efficientnet_lite0 photo.jpg stage4 --strongest 32`
    """
    from convatlas.visualize.maps import activations as shown
    from convatlas.weights.pictures import format_of

    chosen, out = None if channels is None else numbers(channels), out or named(network, Path(picture).stem, layer)
    format_of(out)
    made = shown(network_of(network, weights), picture, layer, strongest=strongest, channels=chosen)
    save(made.image, out)
    return 0


def journey(
    network: Network,
    picture: Picture,
    /,
    *,
    layer: Annotated[Layers, Parameter(help="Only through these layers; by default through every stage.")] = (),
    weights: Weights = "default",
    out: Annotated[Path | None, Parameter(help="A page to walk through, .html, or a figure, .png, .svg, .pdf.")] = None,
) -> int:
    """Follow a picture through the whole network, to its answer.

    Examples:

    `convatlas visualize journey lenet5_modern digit.png`

    `convatlas visualize journey efficientnet_lite0 photo.jpg --out journey.svg`
    """
    from convatlas.visualize.travelling import journey as shown
    from convatlas.visualize.travelling import kind_of

    out = out or named(network, Path(picture).stem).with_suffix(".html")
    kind_of(out)
    shown(network_of(network, weights), picture, layers=layer or None).save(out)
    told(out)
    return 0


def attribute(
    network: Network,
    picture: Picture,
    /,
    *,
    method: Annotated[
        str, Parameter(help="grad-cam, saliency, smoothgrad, occlusion, guided or deconvnet.")
    ] = "grad-cam",
    label: Annotated[
        str | None, Parameter(name="--class", help="Name, number or WordNet id; by default the likeliest.")
    ] = None,
    layer: Annotated[str | None, Parameter(help="Of grad-cam the layer that is weighed; else that of --unit.")] = None,
    unit: Annotated[output.Whole | None, Parameter(help="Explain this channel of the layer, not a class.")] = None,
    at: Annotated[str | None, Parameter(help="Its place, row,column; by default where it is largest.")] = None,
    samples: Annotated[output.Whole | None, Parameter(help="Of smoothgrad: noisy copies; by default 50.")] = None,
    noise: Annotated[float | None, Parameter(help="Of smoothgrad: a part of the picture's range; 0.15.")] = None,
    window: Annotated[output.Whole | None, Parameter(help="Of occlusion: side in pixels.")] = None,
    stride: Annotated[output.Whole | None, Parameter(help="Of occlusion: pixels.")] = None,
    seed: Annotated[output.Whole, Parameter(help="Of smoothgrad's noise.")] = 0,
    weights: Weights = "default",
    out: Out = None,
) -> int:
    """Show which pixels an answer rests on.

    Examples:

    `convatlas visualize attribute efficientnet_lite0 photo.jpg`

    `convatlas visualize attribute efficientnet_lite0 photo.jpg --method occlusion --class 'Egyptian cat'`
    """
    from convatlas.visualize.attribution import attribute as explained

    place = None
    if at is not None:
        row, column = numbers(at, 2)
        place = (row, column)
    net, out = network_of(network, weights), out or named(network, Path(picture).stem, method)
    with watching(method, None, out) as watch:
        made = explained(net, picture, method=method, target=label, layer=layer, unit=unit, at=place, samples=samples,
                         noise=noise, window=window, stride=stride, seed=seed, watch=watch.count)  # fmt: skip
    save(made.image, out)
    return 0


def unit(
    network: Network,
    layer: Layer,
    number: Annotated[output.Whole, Parameter(help="The channel.")],
    /,
    *,
    data: Annotated[str | None, Parameter(help="folder:PATH, or a data set: mnist, cifar10, digits …; its test "
                                               "pictures. Of a run by default what it was trained on.")] = None,
    most: Annotated[output.Whole, Parameter(help="How many of the highest and of the lowest are shown.")] = 9,
    size: Annotated[output.Whole | None, Parameter(help="Side of the made pictures in pixels.")] = None,
    steps: Annotated[output.Whole, Parameter(help="Steps of the optimiser.")] = 256,
    seed: Seed = 0,
    control: Annotated[bool, Parameter(help="Also the same unit with random weights.")] = True,
    bad_images: Annotated[str, Parameter(help="skip what cannot be read, or stop.")] = "skip",
    keep: Annotated[Path | None, Parameter(help="A folder for what the pass over the pictures finds: it goes on "
                                                "where it was, and serves every unit of the layer.")] = None,
    weights: Weights = "default",
    out: Annotated[Path | None, Parameter(help="A page, .html, or a picture, .png.")] = None,
) -> int:  # fmt: skip
    """A page about one unit: what it looks for, and what it finds in your pictures.

    Example: `convatlas visualize unit efficientnet_lite0 stage4 17 --data folder:photos`
    """
    from convatlas.registry import data_of
    from convatlas.visualize.unit_page import is_page, write_unit
    from convatlas.visualize.units import unit as about

    out = out or named(network, layer, str(number)).with_suffix(".html")
    is_page(out)  # a name that is neither a page's nor a picture's is refused before any work is done
    data = data or data_of(network) or data_of(weights)
    if data is None:
        raise ConvatlasError(
            f"in which pictures? convatlas visualize unit {network} {layer} {number} --data folder:PATH"
        )
    pictures, net = pictures_of(data), network_of(network, weights)
    drawn = out.with_name(f"{out.stem}-drawn.png")  # where there is no page, the last good picture
    with watching("", None) as watch, keeping(drawn):
        made = about(net, layer, number, pictures, most=most, size=size, steps=steps, seed=seed, control=control,
                     bad_images=bad_images, folder=keep, watch=watch.stage)  # fmt: skip
    write_unit(made, out)
    told(out)
    return stopped(made.interrupted, "page")
