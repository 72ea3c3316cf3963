"""convatlas tour"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas.cli import output
from convatlas.cli.benchmark import milliseconds
from convatlas.cli.card import print_card
from convatlas.cli.compare import print_tour_figure
from convatlas.cli.predict import DEFAULT, print_predictions
from convatlas.cost.tables import label, operation
from convatlas.errors import ConvatlasError
from convatlas.numbers import counted, percent

if TYPE_CHECKING:
    from PIL import Image

COSTLIEST = 5


def tour(picture: str | None = None, /) -> None:
    """Classify a photograph, explain the network that did it, see what it looks for, how fast it answers and how it
    compares, and train another one on digits.

    Examples:

    `convatlas tour`

    `convatlas tour photo.jpg`

    Parameters
    ----------
    picture
        Your photograph; without one, scikit-image's picture of a cat, where that is installed.
    """
    import convatlas

    console = output.console()
    console.print("[bold cyan]What is on the photograph?[/]")
    if path := picture or _cat():
        start = time.perf_counter()
        answers = convatlas.predict(path, DEFAULT)
        taken = time.perf_counter() - start
        print_predictions([replace(answers[0], path=Path(path).name)])
        console.print(f"  {taken:.1f} s, with making {DEFAULT} ready; the next time that is there already", style="dim")
    else:
        console.print("  None is at hand: convatlas tour photo.jpg, or pip install scikit-image", style="dim")

    console.print()
    console.print("[bold cyan]The network that answered[/]")
    print_card(convatlas.card(DEFAULT))

    console.print()
    console.print(f"[bold cyan]Its {COSTLIEST} costliest layers[/]")
    start = time.perf_counter()
    report = convatlas.analyze(DEFAULT)
    taken = time.perf_counter() - start
    rows = [
        {
            "!layer": label(row.name),
            "!operation": operation(row),
            ">output": " x ".join(map(str, row.output_shape[1:])),
            ">params": f"{row.params:,}",
            ">MACs": f"{row.macs:,}",
            ">share": percent((row.macs or 0) / report.totals["macs"]),
        }
        for row in sorted(report.rows, key=lambda row: row.macs or 0, reverse=True)[:COSTLIEST]
    ]
    output.print_table(rows, [*rows[0]], spare=(">params",))
    console.print(f"  all {len(report.rows)} operations in {1e3 * taken:.0f} ms, without torch", style="dim")

    folder = Path(tempfile.mkdtemp(prefix="convatlas-"))
    console.print()
    draw_channels(console, folder)

    console.print()
    time_engines(console)

    console.print()
    print_tour_figure(console, folder)

    console.print()
    train_on_digits(console)

    console.print()
    console.print("[bold cyan]Where to go from here[/]")
    console.print(f"  The pictures are in {folder}", soft_wrap=True)
    for command, what in (
        ("convatlas predict your.jpg", "your own pictures"),
        ("convatlas list 'res*' --params-below 30M", "which networks there are"),
        ("convatlas show vgg16", "what each layer costs"),
        ("convatlas card googlenet", "what the paper says, beside what is computed"),
        ("convatlas compare --max-size 30MB", "the best network within limits"),
        ("convatlas export efficientnet_lite0", "as a file that others can run, with the same answers"),
        ("convatlas claims", "what a lecture and the papers say in figures, recomputed"),
        ("convatlas train lenet5_modern --data mnist", "train, with a report"),
        ("convatlas visualize --help", "what the filters have learned, and why it answers as it does"),
    ):
        console.print(f"  [bold]{command:44}[/]{what}")


def time_engines(console: Any) -> None:
    """What an engine is worth, beside PyTorch as it is."""
    import numpy as np
    import torch

    import convatlas
    from convatlas.deploy.timing import interleaved

    console.print("[bold cyan]How fast it answers[/]")
    net, made = convatlas.pretrained(DEFAULT), convatlas.engine(DEFAULT)
    pictures = np.random.default_rng(0).standard_normal((1, *made.input_size)).astype(np.float32)

    def plainly() -> None:
        with torch.inference_mode():
            net(torch.from_numpy(pictures))

    times = interleaved({"PyTorch": plainly, made.kind: lambda: made(pictures)}, rounds=7)
    for name, timing in times.items():
        console.print(f"  {name:14}{milliseconds(timing.median):>8} ms a picture")
    gain = times["PyTorch"].median / times[made.kind].median
    console.print(
        f"  {gain:.1f} times as fast, by these medians of turns on {counted(made.threads, 'thread')}; "
        "the answers are the same",
        style="dim",
    )


STAGE, CHANNELS, SIDE = "stage5", (7, 17, 30, 60), 96
CELLS, SHOWN = 36, 2
"""Characters in a picture's width on the terminal, each of which shows two pixels; and how many pictures are shown."""


def draw_channels(console: Any, folder: Path) -> None:
    """Pictures of what some channels look for: in a file, and in coarse where the terminal has colours."""
    import convatlas
    from convatlas.visualize import objectives, visualize
    from convatlas.visualize.sheets import grid
    from convatlas.weights.pictures import write_picture

    console.print(f"[bold cyan]What four channels of its {STAGE} look for[/]")
    start = time.perf_counter()
    net = convatlas.pretrained(DEFAULT)
    made = visualize(net, objectives.channel(STAGE, CHANNELS), count=len(CHANNELS), size=SIDE, steps=64)
    sheet = grid(made.images, len(CHANNELS), gap=4)
    if made.interrupted:
        raise KeyboardInterrupt
    path = folder / "channels.png"
    write_picture(sheet, path)
    if console.color_system == "truecolor":
        console.print(_coarse(made.images[:SHOWN]))
    console.print(f"  {path}, in {time.perf_counter() - start:.0f} s", style="dim", soft_wrap=True)


def _coarse(images: Sequence[Image.Image]) -> Any:
    """Pictures side by side as coloured half blocks: their middle, in strong colours."""
    from PIL import ImageOps
    from rich.text import Text

    edge = (SIDE - 2 * CELLS) // 2
    small = [ImageOps.autocontrast(ImageOps.crop(image, edge).resize((CELLS, CELLS)), 1) for image in images]
    lines = Text()
    for row in range(0, CELLS, 2):
        lines.append("  ")
        for one in small:
            for column in range(CELLS):
                upper, lower = (one.getpixel((column, row + n)) for n in (0, 1))
                lines.append("▀", style=f"rgb{upper} on rgb{lower}".replace(" ", "").replace("on", " on "))
            lines.append("  ")
        lines.append("\n")
    return lines


BARS = " ▁▂▃▄▅▆▇█"


def train_on_digits(console: Any) -> None:
    """LeNet-5 on MNIST to 99 %, with the curve of its validation accuracy; on scikit-learn's where MNIST is not to be
    had."""
    from convatlas import data
    from convatlas.cli.watching import Watching
    from convatlas.train import Running, train

    name = "mnist"
    try:
        data.load(name)
    except ConvatlasError:
        name = "digits"
    console.print(f"[bold cyan]LeNet-5 learns to read {'MNIST' if name == 'mnist' else 'digits'}[/]")
    accuracies: list[float] = []
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Watching(quiet=False) as bar:

        def watch(event: str, figures: dict[str, Any]) -> None:
            if event == "epoch":
                accuracies.append(figures["accuracy"])
            else:
                bar(event, figures)

        run = train("lenet5_modern", name, out=Path(folder) / "run", running=Running(watch=watch))
    taken = time.perf_counter() - start
    low = min(accuracies)
    curve = "".join(BARS[round(8 * (a - low) / ((max(accuracies) - low) or 1))] for a in accuracies)
    tested = f"{100 * run.test['accuracy']:.2f} % of the test digits" if run.test else ""
    console.print(f"  validation accuracy by epoch  {percent(low)} [green]{curve}[/] {percent(max(accuracies))}")
    console.print(f"  {tested} in {taken:.0f} s, with reading the data and writing a report", style="dim")
    if name == "digits":
        console.print("  MNIST cannot be fetched from here; these are scikit-learn's digits.", style="dim")


def _cat() -> str | None:
    """scikit-image's photograph of Chelsea the cat, where it is installed."""
    found = importlib.util.find_spec("skimage")
    cat = Path(found.origin).parent / "data" / "chelsea.png" if found and found.origin else None
    return str(cat) if cat is not None and cat.is_file() else None
