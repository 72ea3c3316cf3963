"""convatlas train and convatlas evaluate"""

from __future__ import annotations

import json as json_
import math
import os
import sys
from pathlib import Path
from typing import Annotated, get_args

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.errors import ConvatlasError, UnknownName


def train(
    network: str | None = None,
    /,
    *,
    data: str | None = None,
    recipe: str | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    seed: output.Whole = 0,
    weights: str | None = None,
    freeze: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    device: str = "auto",
    readers: output.Whole = 2,
    save_every: str | None = None,
    tensorboard: Annotated[bool, Parameter(negative=())] = False,
    launcher: str | None = None,
    workers: output.Whole | None = None,
    timeout: float = 600,
    bad_images: str | None = None,
    holdout: float | None = None,
    quiet: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    **values: str,
) -> int:
    """Train a network on a data set.

    Examples:

    `convatlas train lenet5_modern --data mnist`

    `convatlas train resnet20_cifar --data cifar10 --recipe paper`

    `convatlas train efficientnet_lite0 --weights imagenet --data folder:flowers/ --freeze trunk --epochs 5`

    `convatlas train --resume runs/lenet5_modern-mnist`

    Parameters
    ----------
    network
        A name from `convatlas list`.
    data
        mnist, fashion_mnist, digits, cifar10, cifar100, folder:PATH (a folder for each class), npz:PATH (arrays, as
        MedMNIST has them) or imagenet:PATH.
    recipe
        How: modern by default, paper, or another that `convatlas recipe list` names. `convatlas recipe show NETWORK`
        names its values, each of which can be given as an option.
    out
        The run's folder; by default runs/NETWORK-DATA.
    resume
        Go on with the run in this folder.
    seed
        Decides initial weights, order and chance.
    weights
        Begin with published weights: default, imagenet, an id from `convatlas card`; a file, or the folder of a
        run.
    freeze
        A module that stays as it is: trunk, trunk.stage1; may be given several times.
    device
        auto or cpu.
    readers
        Processes that read pictures from files.
    save_every
        Also save a checkpoint every so many steps, or minutes: 500, 10min.
    tensorboard
        Write the figures for TensorBoard too, into the run's folder.
    launcher
        Start the processes that share the run: torchrun, on this machine, or ray, on a Ray cluster (here where there is
        none). On several machines without Ray: torchrun … -m convatlas train …
    workers
        How many processes the launcher starts; by default one for each GPU, or 2.
    timeout
        Seconds to wait until all processes are there.
    bad_images
        stop (the default) at a picture that cannot be read, or skip it.
    holdout
        Training pictures held out for validation: a number, or a part below 1.
    quiet
        No progress.
    json
        Print the result as JSON.
    values
        Any value of the recipe, and the network's --attention, --width, --depth, and --design FILE, which `convatlas
        search` has found: --epochs 5 --learning-rate 0.01.
    """
    from convatlas.cli.watching import Watching
    from convatlas.train.asked import RESUME_ME, Stopped
    from convatlas.train.launch import LAUNCHERS, under_ray, under_torchrun
    from convatlas.train.run import begin, folder_of
    from convatlas.train.run import resume as go_on
    from convatlas.train.running import Running
    from convatlas.train.setup import Setup

    given = {name.replace("-", "_"): text for name, text in values.items()}
    own: list[str] = [name for name in ("attention", "width", "depth", "design") if name in given]
    options = {name: _option(name, given.pop(name)) for name in own}
    chosen = {name: _value(name, text) for name, text in given.items()}
    setup, folder = None, resume
    if resume is None:
        if network is None or data is None:
            raise ConvatlasError("which network, on which data? convatlas train lenet5_modern --data mnist")
        setup = Setup(network, data, recipe or "modern", chosen, seed, weights, freeze, bad_images or "stop", holdout,
                      options)  # fmt: skip
        folder = folder_of(setup, out)
    else:
        asked = {"network": network, "data": data, "recipe": recipe, "weights": weights, "out": out,
                 "holdout": holdout, "bad_images": bad_images, "freeze": freeze or None,
                 "seed": seed or None}  # fmt: skip
        if more := [name for name, value in asked.items() if value is not None]:
            raise ConvatlasError(f"a run that is resumed knows its {', '.join(more)}; give --resume alone")
    assert folder is not None
    if launcher is not None and launcher not in LAUNCHERS:
        raise UnknownName("launcher", launcher, LAUNCHERS)
    if workers is not None and launcher is None:
        raise ConvatlasError("--workers is for --launcher ray or torchrun; pictures are read by --readers processes")
    if launcher == "torchrun":
        return under_torchrun(workers, setup, folder, without(sys.argv[1:], ("--launcher", "--workers")))
    steps, minutes = _saving(save_every)
    with Watching(quiet) as watch:
        running = Running(device, readers, steps, minutes, tensorboard, timeout, watch)
        try:
            if launcher == "ray":
                run = under_ray(workers, setup, folder, {**chosen, **options}, running)
            elif setup is None:
                run = go_on(folder, values={**chosen, **options}, running=running)
            else:
                run = begin(setup, folder, running)
        except Stopped:
            watch.say(f"stopped, and saved: go on with --resume {folder}")
            return RESUME_ME
    if os.environ.get("RANK", "0") != "0":  # another process tells
        return 0
    result = {"folder": str(run.folder), "best": run.best, "test": run.test}
    if json:
        output.print_json(result)
    else:
        console = output.console()
        best = f"validation {100 * run.best['accuracy']:.2f} % at epoch {run.best['epoch']:g}"
        test = f"test {100 * run.test['accuracy']:.2f} %, " if run.test else ""
        console.print(f"{test}{best}; everything is in {run.folder}, the report in {run.folder / 'report.html'}")
    return 0


def evaluate(
    network: str,
    /,
    *,
    data: str | None = None,
    weights: str = "default",
    split: str | None = None,
    size: output.Whole | None = None,
    batch: output.Whole = 100,
    engine: str = "auto",
    device: str = "auto",
    readers: output.Whole = 2,
    bad_images: str = "stop",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Test a network on a data set.

    Examples:

    `convatlas evaluate runs/flowers`

    `convatlas evaluate flowers.onnx --data folder:others`

    `convatlas evaluate resnet20_cifar --weights resnet20.th --data folder:cifar10/test`

    `convatlas evaluate resnet50_v1_5 --data imagenet:/data/imagenet`

    Parameters
    ----------
    network
        A name from `convatlas list`, the folder of a run, or an exported file.
    data
        As for `convatlas train`; of a run, and of a file exported from one, by default what it was trained on.
    weights
        Published ones (default, or an id from `convatlas card`), a file, or the folder of a run.
    split
        test, validation or train; by default the test pictures.
    size
        Side of the pictures in pixels; by default that of the weights.
    batch
        Pictures at once.
    engine
        How the network is run: auto, eager, onnxruntime or compile.
    device
        auto or cpu.
    readers
        Processes that read pictures from files.
    bad_images
        stop at a picture that cannot be read, or skip it.
    json
        Print the result as JSON.
    """
    from convatlas.registry import data_of, refuse_missing
    from convatlas.train import Running
    from convatlas.train import evaluate as test

    refuse_missing(network)
    data = data or data_of(network) or data_of(weights)
    if data is None:
        raise ConvatlasError(f"on which pictures? convatlas evaluate {network} --data folder:PATH")
    found = test(network, data, kind=engine, weights=weights, split=split, size=size, batch=batch,
                 bad_images=bad_images, running=Running(device, readers))  # fmt: skip
    if json:
        output.print_json(found)
        return
    top5 = f", top-5 {100 * found['top5']:.2f} %" if "top5" in found else ""
    skipped = f", {found['skipped']:,} left out that cannot be read" if found["skipped"] else ""
    output.console().print(
        f"accuracy {100 * found['accuracy']:.2f} %{top5}, loss {found['loss']:.4f} on {found['pictures']:,} "
        f"{found['split']} pictures{skipped}; {found['pictures'] / found['seconds']:.0f} pictures a second"
    )


def _saving(text: str | None) -> tuple[int | None, float | None]:
    """--save-every in steps, or minutes.  Raises ConvatlasError for another."""
    number, unit = (text or "").removesuffix("min"), (text or "").endswith("min")
    if text is None:
        return None, None
    try:
        value = float(number) if unit else int(number)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise ConvatlasError(f"--save-every is a number of steps, or minutes: 500, 10min; not {text}")
    return (None, float(value)) if unit else (int(value), None)


def without(words: list[str], options: tuple[str, ...]) -> list[str]:
    """A command line without some options and their values."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif not word.startswith(tuple(f"{option}=" for option in options)):
            kept.append(word)
    return kept


def _option(name: str, text: str) -> object:
    """An option of the network.  Raises ConvatlasError for a design that is no file of JSON."""
    if name != "design":
        return _value(name, text)
    try:
        return json_.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConvatlasError(f"{text} cannot be read: {error.strerror or error}") from error
    except ValueError:
        raise ConvatlasError(f"{text} is no design, which `convatlas search` writes as found.json") from None


def _value(name: str, text: str) -> object:
    """A recipe's value from the command line: a number, a list of numbers, true or false, a word, or none."""
    from convatlas.train.recipe import Recipe

    field = Recipe.model_fields.get(name)
    if field is not None and isinstance(field.default, tuple):
        return [_plain(part) for part in text.split(",")]
    if text.lower() == "none" and field is not None and type(None) in get_args(field.annotation):
        return None
    return _plain(text)


def _plain(text: str) -> object:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
