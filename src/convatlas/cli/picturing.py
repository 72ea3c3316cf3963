"""What the verbs that make pictures share: which network, where the picture goes, how far it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from convatlas.data import Split

MOST = 10_000
"""Units in one range at most."""
COLOURED = 300
"""Pictures of a data set, spread evenly over it, whose colours are taken."""

NETWORK = "A name from `convatlas list --has weights`, a run's folder, timm:NAME, torchvision:NAME or file.py:Class."
COLOURS = ("Pictures whose colours are taken, folder:PATH or a data set; by default ImageNet's. For a run's folder, or "
           "another network of other pictures, name what it was trained on.")  # fmt: skip
LAYER = "A stage, or the path of any module: stage4, stage4.0.project."

Network = Annotated[str, Parameter(help=NETWORK)]
Layer = Annotated[str, Parameter(help=LAYER)]
Layers = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)]
Picture = Annotated[str, Parameter(help="A picture's file.")]
Unit = Annotated[str, Parameter(help="The channel's number; several as 3,17 or 0-8.")]
Label = Annotated[str, Parameter(help="A class: its name, its number or its WordNet id.")]
Weights = Annotated[str, Parameter(help="default, a source of published weights, a file, a run's folder, or none.")]
Out = Annotated[
    Path | None, Parameter(validator=output.writable, help="The picture's file; by default named by what it shows.")
]
Seed = Annotated[output.Whole, Parameter(help="Decides what the picture begins with and how it is moved.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Drawing:
    """How a picture is made: the options of every verb that optimises one."""

    weights: Weights = "default"
    size: Annotated[str | None, Parameter(help="Side in pixels, or HxW; by default 128, or the network's own.")] = None
    steps: Annotated[output.Whole, Parameter(help="Steps of the optimiser.")] = 256
    seed: Seed = 0
    canvas: Annotated[str, Parameter(help="What is optimised: fourier or pixels.")] = "fourier"
    robust: Annotated[str, Parameter(help="The schedule of random changes: lucid, distill or none.")] = "lucid"
    colours: Annotated[str | None, Parameter(help=COLOURS)] = None
    out: Out = None
    json: Annotated[bool, Parameter(negative=(), help="Print what was made as JSON.")] = False


def network_of(model: str, weights: str, seed: int = 0) -> nn.Module:
    """``weights.named.network_of``, which is loaded when a picture is made."""
    from convatlas.weights.named import network_of as made

    return made(model, weights, seed)


def pictures_of(data: str) -> str | Split:
    """folder:PATH as it is, of a data set its test pictures; both go to ``convatlas.visualize.examples``."""
    from convatlas import data as sets

    pictures = data if data.startswith("folder:") else sets.load(data).test
    if pictures is None:
        raise ConvatlasError(f"{data} has no test pictures")
    return pictures


def colours_from(data: str, net: nn.Module) -> Tensor:
    """The colours of a few hundred pictures of DATA, as the network sees them; what cannot be read is left out."""
    from convatlas.visualize.canvas import colours_of
    from convatlas.visualize.finding import listed
    from convatlas.visualize.shown import Shown
    from convatlas.visualize.streamed import source

    shown, found, pictures = Shown(net), listed(pictures_of(data)), []
    for number in range(0, len(found), -(-len(found) // COLOURED)):
        try:
            pictures.append(shown.seen(source(found, number)))
        except ConvatlasError as error:
            unread = error
    if not pictures:
        raise unread
    return colours_of(pictures)


def numbers(text: str, many: int | None = None) -> list[int]:
    """ "17", "3,17", "0-8" -> whole numbers."""
    found: list[int] = []
    for part in output.several(text):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        if match is None or not 0 <= int(match[2] or match[1]) - int(match[1]) < MOST:
            raise ConvatlasError(f"{text!r} names no units; write 17, 3,17 or 0-8")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    if many is not None and len(found) != many:
        raise ConvatlasError(f"{text!r} should be {many} numbers with a comma between them")
    return found


def named(network: str, *words: str) -> Path:
    """ "efficientnet_lite0", "stage4", "17" -> efficientnet_lite0-stage4-17.png, here."""
    parts = [Path(network).name or network, *words]
    return Path("-".join(re.sub(r"[^\w.,]+", "_", part) for part in parts) + ".png")


def save(picture: Image.Image, out: Path, quiet: bool = False) -> None:
    """Write a picture, whole or not at all, and say where."""
    from convatlas.weights.pictures import write_picture

    write_picture(picture, out)
    if not quiet:
        told(out)


def stopped(interrupted: bool, what: str = "picture") -> int:
    """The exit status; says that a picture is not finished."""
    if interrupted:
        output.console(stderr=True).print(f"interrupted: the {what} is what there was until then")
    return 130 if interrupted else 0


def told(out: Path) -> None:
    """Say where something was written."""
    output.console(stderr=True).print(f"{out}", soft_wrap=True, markup=False)


@contextmanager
def keeping(out: Path) -> Iterator[None]:
    """Where a value is no finite number, the last good picture is in its file before the error goes on."""
    from convatlas.visualize.optimize import NotFinite
    from convatlas.visualize.sheets import grid

    try:
        yield
    except NotFinite as error:
        save(grid(error.good.images), out)
        raise


class Watch:
    """What ``watch`` is: a bar with the objective's value, and the picture so far in its file."""

    def __init__(self, bar: Any, task: Any, out: Path | None):
        self.bar, self.task, self.out = bar, task, out

    def __call__(self, done: int, values: list[float], pictures: Any) -> None:
        mean = sum(values) / len(values)
        self.bar.update(self.task, completed=done, figures=f"{mean:.4g}")
        if self.out is not None and not self.bar.disable:
            from convatlas.visualize.sheets import grid, image

            save(grid([image(picture) for picture in pictures]), self.out, quiet=True)

    def note(self, text: str) -> None:
        """A line above the bar, which stays."""
        self.bar.console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        self.bar.update(self.task, figures=text)

    def count(self, done: int, total: int | None) -> None:
        self.bar.update(self.task, completed=done, total=total)

    def stage(self, title: str, done: int, total: int | None) -> None:
        self.bar.update(self.task, description=title, completed=done, total=total)


@contextmanager
def watching(title: str, steps: int | None, out: Path | None = None) -> Iterator[Watch]:
    """A bar on a terminal; nothing elsewhere.  out: where the picture so far is written as it goes.

    Raises ConvatlasError for a file whose name no picture has, before any work is done.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from convatlas.weights.pictures import format_of

    if out is not None:
        format_of(out)
    console = output.console(stderr=True)
    words, figures = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[figures]}"))
    columns = (words, BarColumn(), figures, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Watch(bar, bar.add_task(title, total=steps, figures=""), out)
