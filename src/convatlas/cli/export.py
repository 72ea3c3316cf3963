"""convatlas export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.errors import ConvatlasError
from convatlas.numbers import size

MOST = 64
"""Pictures on which answers are compared, at most."""


def export(
    model: str,
    /,
    *,
    to: str = "onnx",
    out: Path | None = None,
    weights: str = "default",
    input: str | None = None,
    pictures: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    tolerance: float = 1e-4,
    exporter: str = "auto",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write a network to a file that others can run, and compare its answers with the network's own.

    Examples:

    `convatlas export efficientnet_lite0`

    `convatlas export runs/flowers --to safetensors`

    `convatlas export resnet50_v1_5 --weights torchvision --to onnx --out resnet50.onnx`

    Parameters
    ----------
    model
        A name from `convatlas list --has weights`, the folder of a run, an exported .safetensors, timm:NAME,
        torchvision:NAME or file.py:Class.
    to
        onnx; torch (a program of torch.export, .pt2); or safetensors, with a model card beside it.
    out
        The file; by default NETWORK with the suffix of its kind, and of a run model.onnx in its folder.
    weights
        default, the source of published weights by its name, a file, a run, or none for random ones.
    input
        Input size: 288, 224x320 (H x W); by default that of the weights.
    pictures
        Files or folders on whose pictures the answers are compared too; by default two photographs.
    tolerance
        The largest error of a logit, in parts of the largest logit of its picture.
    exporter
        Of ONNX: dynamo, torchscript (torch's older one), or auto.
    json
        Print what was written as JSON.

    The file carries classes, preprocessing and the run that trained it: predict and evaluate take .onnx and
    .safetensors as they are. A .pt2 is for PyTorch without convatlas: no verb takes it.
    The exit status is 1 if a picture among several could not be read.
    """
    from convatlas.deploy.export import export as write
    from convatlas.weights.pictures import in_folder

    wanted = [one for given in pictures for one in (in_folder(Path(given)) if Path(given).is_dir() else [given])]
    if pictures and not wanted:
        raise ConvatlasError(f"no pictures in {', '.join(pictures)}")
    made = write(model, to, out, weights=weights, input_size=None if input is None else output.size(input),
                 pictures=wanted[:MOST], tolerance=tolerance, exporter=exporter)  # fmt: skip
    status = 1 if made.unread else 0
    for reason in made.unread:
        output.console(stderr=True).print(f"convatlas: {reason}", style="red", soft_wrap=True, markup=False)
    if json:
        output.print_json(made.to_json())
        return status
    console = output.console()
    beside = f", and {made.card.name}" if made.card is not None else ""
    console.print(f"[bold]{made.path}[/]  {size(made.size)}{beside}", soft_wrap=True)
    console.print(f"{made.agreement}", soft_wrap=True)
    if made.to == "torch":
        program = f"torch.export.load({str(made.path)!r}).module()"
        console.print(f"next: {program}, in PyTorch; no verb of convatlas takes a .pt2", style="dim", soft_wrap=True)
    if made.names_classes:
        console.print(f"next: convatlas predict photo.jpg --model {made.path}", style="dim", soft_wrap=True)
    return status
