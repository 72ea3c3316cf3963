"""convatlas predict"""

from __future__ import annotations

import csv
import io
import json as json_module
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.numbers import counted, percent

if TYPE_CHECKING:
    from convatlas.deploy.predict import Prediction

DEFAULT = "efficientnet_lite0"


def predict(
    *pictures: str,
    model: str = DEFAULT,
    weights: str = "default",
    top: output.Whole = 5,
    engine: str = "auto",
    batch: output.Whole | None = None,
    threads: output.Whole | None = None,
    device: str | None = None,
    out: output.Out = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Say what pictures show, with a pretrained network.

    Examples:

    `convatlas predict photo.jpg`

    `convatlas predict photos/ --top 1 --out answers.csv`

    `convatlas predict cat.png dog.webp --model resnet50_v1_5 --weights torchvision`

    `convatlas predict photos/ --model flowers.onnx --json`

    Parameters
    ----------
    pictures
        Files, or folders of pictures.
    model
        A name from `convatlas list --has weights`, the folder of a run, or an exported file.
    weights
        default, the source of published weights by its name (see `convatlas card NAME`), a file, or a run.
    top
        How many classes to name for each picture.
    engine
        How the network is run: eager (PyTorch), onnxruntime, compile or cuda; auto takes the fastest that is
        installed, and remembers it. The answers are the same.
    batch
        How many pictures the network sees at once; by default as many as suit their size, 64 at most.
    threads
        Of one operation on the CPU; by default as many as there are cores.
    device
        cpu, cuda, mps …
    out
        Write the answers to a file, .csv or .json, one row or object a picture.
    json
        Print an array with one object a picture.

    The exit status is 1 if a picture among several could not be read.
    """
    if not pictures:
        raise ConvatlasError("which picture? convatlas predict photo.jpg")
    output.one_answer(json, out)
    if out is not None and out.suffix.lower() not in WRITERS:
        raise UnknownName("kind of file", out.suffix or out.name, WRITERS)
    from convatlas.deploy.predict import predictions
    from convatlas.files import write_whole

    with _Watching() as bar:
        found = predictions(pictures, model, weights, top=top, batch=batch, device=device, engine=engine,
                            threads=threads, watch=bar.begin)  # fmt: skip
        answers = [*bar.counted(found)]
    unread = sum(1 for answer in answers if answer.error)
    if out is not None:
        write_whole(out, lambda beside: beside.write_text(WRITERS[out.suffix.lower()](answers, top), encoding="utf-8"))
        print_predictions(answer for answer in answers if answer.error)
        said = f"wrote {out}: {counted(len(answers) - unread, 'picture')}" + (f", {unread:,} unread" if unread else "")
        output.console(stderr=True).print(said, style="dim", soft_wrap=True)
    elif json:
        output.print_json([asdict(answer) for answer in answers])
    else:
        print_predictions(answers)
    return 1 if unread else 0


def csv_text(answers: Sequence[Prediction], top: int) -> str:
    """One row a picture: path, error, then label, wnid and probability of each class, the likeliest first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    most = max((len(answer.top) for answer in answers), default=0) or top
    heads = [f"{part}_{place}" for place in range(1, most + 1) for part in ("label", "wnid", "probability")]
    writer.writerow(["path", "error", *heads])
    for answer in answers:
        cells = [part for guess in answer.top for part in (guess.label, guess.wnid or "", f"{guess.probability:.6f}")]
        writer.writerow([answer.path, answer.error or "", *cells, *[""] * (len(heads) - len(cells))])
    return text.getvalue()


def json_text(answers: Sequence[Prediction], top: int) -> str:
    """An array with one object a picture."""
    return json_module.dumps([asdict(answer) for answer in answers], ensure_ascii=False, indent=1) + "\n"


WRITERS: dict[str, Callable[[Sequence[Prediction], int], str]] = {".csv": csv_text, ".json": json_text}


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


class _Watching:
    """A bar with the pictures that are answered, where a person waits for several."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> _Watching:
        return self

    def __exit__(self, *problem: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, total: int) -> None:
        if total > 1 and sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("pictures"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=output.console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=total)
            self._bar.start()

    def counted(self, answers: Iterator[Prediction]) -> Iterator[Prediction]:
        for answer in answers:
            if self._bar is not None:
                self._bar.advance(self._task)
            yield answer
