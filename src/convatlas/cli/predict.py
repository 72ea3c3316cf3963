"""convatlas predict"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.errors import ConvatlasError
from convatlas.numbers import percent

if TYPE_CHECKING:
    from convatlas.deploy.predict import Prediction

DEFAULT = "efficientnet_lite0"


def predict(
    *pictures: str,
    model: str = DEFAULT,
    weights: str = "default",
    top: output.Whole = 5,
    batch: output.Whole = 32,
    device: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Say what pictures show, with a pretrained network.

    Examples:

    `convatlas predict photo.jpg`

    `convatlas predict photos/ --top 1`

    `convatlas predict cat.png dog.webp --model resnet50_v1_5 --weights torchvision`

    `convatlas predict photos/ --json`

    Parameters
    ----------
    pictures
        Files, or folders of pictures.
    model
        A name from `convatlas list --has weights`, or the folder of a run.
    weights
        default, the source of published weights by its name (see `convatlas card NAME`), a file, or a run.
    top
        How many classes to name for each picture.
    batch
        How many pictures the network sees at once.
    device
        cpu, cuda, mps …
    json
        Print an array with one object a picture.

    The exit status is 1 if a picture among several could not be read.
    """
    if not pictures:
        raise ConvatlasError("which picture? convatlas predict photo.jpg")
    from convatlas.deploy.predict import predictions

    answers = [*_watched(predictions(pictures, model, weights, top=top, batch=batch, device=device))]
    if json:
        output.print_json([asdict(answer) for answer in answers])
    else:
        print_predictions(answers)
    return 1 if any(answer.error for answer in answers) else 0


def print_predictions(answers: Iterable[Prediction]) -> None:
    """One block a picture: its name, then each class with its probability as a number and a bar.

    What is wrong with a picture goes to standard error.
    """
    from rich.text import Text

    console, errors = output.console(), output.console(stderr=True)
    for answer in answers:
        if answer.error:
            errors.print(Text(f"convatlas: {answer.error}", style="red"), soft_wrap=True)
            continue
        console.print(Text(answer.path, style="bold"), soft_wrap=True)
        for guess in answer.top:
            bar = "█" * round(30 * guess.probability)
            share = f"  {percent(guess.probability):>7}  {guess.label:32}"
            console.print(Text.assemble(share, (bar, "cyan")), soft_wrap=True)


def _watched(answers: Iterator[Prediction]) -> Iterator[Prediction]:
    """The answers, with a running count where a person waits for many."""
    from rich.progress import Progress, SpinnerColumn, TextColumn

    console = output.console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed} pictures"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        for answer in answers:
            progress.advance(task)
            yield answer
