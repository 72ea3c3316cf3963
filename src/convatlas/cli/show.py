"""convatlas show"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from convatlas.cost import Report
    from convatlas.graph.model import Graph

Flag = Annotated[bool, Parameter(negative=())]


def show(
    model: str,
    /,
    *,
    input: str | None = None,
    batch: str = "1",
    width: str | None = None,
    dtype: str = "float32",
    training: str | None = None,
    checkpointing: Flag = False,
    memory: str | None = None,
    layer: str | None = None,
    field: Flag = False,
    unit: str | None = None,
    measure: output.Whole | None = None,
    latency: Flag = False,
    engine: str = "onnxruntime",
    depth: output.Whole | None = None,
    all: Flag = False,
    out: Path | None = None,
    json: Flag = False,
) -> None:
    """Show what each layer of a network gives, costs, keeps and sees.

    Examples:

    `convatlas show vgg16`

    `convatlas show resnet50 --input 320 --batch 32 --training adam`

    `convatlas show resnet50 --input 128,160,224,320`

    `convatlas show resnet50 --training momentum --memory 8GiB`

    `convatlas show efficientnet_b0 --layer stage4 --field`

    `convatlas show mobilenet_v2_x1_0 --latency --depth 1`

    `convatlas show timm:convnext_tiny --input 288 --depth 1`

    `convatlas show mine.py:Net --input 1x28x28 --out mine.csv`

    Parameters
    ----------
    model
        A name from `convatlas list` (with +aux: with its auxiliary heads), timm:NAME, torchvision:NAME, or
        file.py:Class for a module of your own; or the folder of a run.
    input
        Input size: 288, 224x320 (H x W) or 1x28x28 (C x H x W); by default the network's own. Several, with commas
        between them, give a column each.
    batch
        Pictures in a batch; several give a column each.
    width
        Width multiplier, of a network that has one; several give a column each.
    dtype
        Of all values: float32, float16, bfloat16 or float64.
    training
        Also the memory of a training step with this optimizer: sgd, momentum, adam, rmsprop or rmsprop_momentum.
    checkpointing
        In that step, with activation checkpointing.
    memory
        Say the largest batch that trains in so much memory: 8GiB (of 2^30 bytes), 500MB or 500M (a million each).
    layer
        Only this layer, block or stage.
    field
        What a unit sees: in a column for every layer, or with --layer of three units on the picture.
    unit
        With --layer and --field, of the unit in this row and column: 3,5.
    measure
        With --layer and --field, measure the effective field too, on so many random pictures.
    latency
        How long each layer takes on this machine, and what bounds it: an estimate, from what `convatlas calibrate`
        measured. The time of what runs fused stands at the first of its operations.
    engine
        Of --latency: onnxruntime or eager.
    depth
        Sum the layers up: 1 gives a row for each stage, 2 one for each block.
    all
        Also show activations, dropout and what only rearranges data.
    out
        Write to a file: the table to .csv, .md, .html or .json, a figure to .svg, .png or .pdf.
    json
        Print everything as JSON.
    """
    from convatlas.cli.compared import print_compared, print_fits, write_compared
    from convatlas.cli.sight import show_field
    from convatlas.cli.table import print_report, write_report
    from convatlas.cost import analyze, largest_batch

    if depth is not None and depth < 1:
        raise ConvatlasError(f"--depth is at least 1, not {depth}")
    if (unit is not None or measure is not None) and not (field and layer):
        raise ConvatlasError("--unit and --measure go with --layer and --field")
    if checkpointing and training is None:
        raise ConvatlasError("--checkpointing goes with --training")
    sizes = [None if input is None else output.size(text) for text in output.several(input or "-")]
    batches = [output.whole_number(text, "--batch") for text in output.several(batch)]
    models: list[str | Graph] = [model]
    if width is not None:
        models = [widened(model, output.factor(text, "--width")) for text in output.several(width)]
    one = len(models) * len(sizes) * len(batches) == 1
    if json and out is not None:
        raise ConvatlasError("--json prints, --out writes: one of them")

    if field and layer:
        if not one:
            raise ConvatlasError("--field of one layer takes one input size, one batch and one width")
        if out is not None:
            raise ConvatlasError("--field of one layer is printed, or given as --json; it has no --out")
        show_field(models[0], sizes[0], layer, unit, measure, json)
    elif memory is not None:
        if training is None:
            raise ConvatlasError("--memory goes with --training: which optimizer's step is to fit?")
        if out is not None or depth is not None or field or len(batches) > 1:
            raise ConvatlasError("--memory looks for a batch: no --batch, --depth, --field or --out with it")
        limit = output.memory(memory)
        fits = {
            (_name(m), s): largest_batch(m, limit, training=training, input_size=s, dtype=dtype,
                                         checkpointing=checkpointing)
            for m in models for s in sizes
        }  # fmt: skip
        print_fits(fits, f"{memory}, training with {training}{', checkpointed' if checkpointing else ''}", json)
    else:
        reports = [
            analyze(m, input_size=s, batch=b, dtype=dtype, training=training, checkpointing=checkpointing)
            for m in models for s in sizes for b in batches
        ]  # fmt: skip
        if latency:
            if dtype != "float32":
                raise ConvatlasError("--latency is of float32: no other was measured")
            reports = timed(reports, [m for m in models for _ in sizes for _ in batches], engine)
        if layer is not None:
            reports = [report.within(layer) for report in reports]
        if depth is not None:
            reports = [report.summed(depth) for report in reports]
        if out is not None:
            write_report(reports[0], out) if one else write_compared(reports, out)
        elif json:
            output.print_json(reports[0].to_json() if one else [report.to_json() for report in reports])
        elif one:
            plain = None
            if checkpointing:
                plain = analyze(models[0], input_size=sizes[0], batch=batches[0], dtype=dtype, training=training)
            print_report(reports[0], everything=all, field=field, plain=plain)
        else:
            print_compared(reports)


def timed(reports: list[Report], models: list[str | Graph], engine: str) -> list[Report]:
    """With what this machine takes for each, by its calibration.  Raises ConvatlasError where there is none."""
    from convatlas.cost.latency import calibrated, latency

    machine = calibrated()
    return [
        report.timed(latency(model, machine, engine, input_size=report.input_size, batch=report.batch))
        for report, model in zip(reports, models)
    ]


def widened(name: str, width: float) -> Graph:
    """The graph of a registered network of another width.  Raises UnknownOption where it has none."""
    from convatlas import registry
    from convatlas.graph.capture import capture

    if ":" in name:
        raise ConvatlasError("--width is for the networks of `convatlas list`")
    return capture(registry.create(name, width=width, initialise=False), name=f"{name} x {width:g}")


def _name(model: str | Graph) -> str:
    return model if isinstance(model, str) else model.name
