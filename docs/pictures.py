"""The pictures of the README and of docs/visualization.md, from what is really printed and drawn:

python docs/pictures.py PHOTOGRAPH FOLDER

PHOTOGRAPH is the one that is explained (scikit-image's chelsea.png), FOLDER has those in which a unit is looked for.
The pictures of the lecture are made by docs/lecture.py.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme

import convatlas
from convatlas.cli import main, output
from convatlas.visualize import attribute, fullsheet, journey, objectives, sheet, unit, visualize, write_unit
from convatlas.visualize.sheets import WORDS, font, grid

FOLDER = Path(__file__).parent / "pictures"
THEME = TerminalTheme(
    (250, 250, 248), (40, 42, 46),
    [(40, 42, 46), (178, 34, 52), (34, 120, 60), (150, 100, 0), (30, 80, 160), (120, 60, 140), (0, 120, 140),
     (90, 94, 100)],
)  # fmt: skip
# Viewers that fetch nothing (as they should) have a monospaced font of their own.
FORMAT = CONSOLE_SVG_FORMAT[: CONSOLE_SVG_FORMAT.index("@font-face")] + CONSOLE_SVG_FORMAT[
    CONSOLE_SVG_FORMAT.rindex("@font-face") :
].partition("}}")[2].replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas")


def picture(name: str, width: int, *arguments: str) -> None:
    """Run one command and save what it prints as an SVG."""
    recorder = Console(record=True, file=io.StringIO(), width=width, force_terminal=True, highlight=False)
    silent = Console(quiet=True)
    plain, output.console = output.console, lambda stderr=False: silent if stderr else recorder
    try:
        if main(arguments):
            sys.exit(f"failed: convatlas {' '.join(arguments)}")
    finally:
        output.console = plain
    svg = recorder.export_svg(title=f"convatlas {' '.join(arguments)}", theme=THEME, code_format=FORMAT, unique_id=name)
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")


NETWORK, UNIT = "efficientnet_lite0", ("stage5", 7)
METHODS = ("grad-cam", "occlusion", "guided")
CLASSES = (36, 57, 86, 93, 173, 217, 257, 315, 369, 620, 621, 685, 753, 828, 855, 869, 874, 883, 970, 978)
WIDEST = 1400
"""Pixels."""


def photograph(picture: Image.Image, name: str) -> None:
    """Save a picture with photographs in it, which JPEG keeps well."""
    picture = picture.convert("RGB")
    picture.thumbnail((WIDEST, 4 * WIDEST), Image.Resampling.LANCZOS)
    picture.save(FOLDER / f"{name}.jpg", quality=88, optimize=True)


def looks(path: str, folder: str) -> None:
    """What docs/visualization.md shows beside the pictures of the lecture."""
    net = convatlas.pretrained(NETWORK)
    sheets = [attribute(net, path, method=method, target="Egyptian cat").image for method in METHODS]
    photograph(grid(sheets, columns=1, gap=12), "attribution")
    with tempfile.TemporaryDirectory() as scratch:
        drawn = Path(scratch) / "drawn.png"
        journey(net, path).save(drawn)
        photograph(Image.open(drawn), "journey")
        write_unit(unit(net, *UNIT, folder), drawn)
        photograph(Image.open(drawn), "unit")
    cells = []
    for start in range(0, len(CLASSES), 5):
        some = CLASSES[start : start + 5]
        made = visualize(net, objectives.logit(some), count=len(some), size=224)
        cells += [below(image.resize((150, 150), Image.Resampling.LANCZOS), net.weights.labels[number].name)
                  for number, image in zip(some, made.images)]  # fmt: skip
    grid(cells, columns=5, gap=6).save(FOLDER / "classes.png", optimize=True)


def of_squeezenet() -> None:
    """The sheet of a network whose pictures are the clearest."""
    net = convatlas.pretrained("squeezenet1_1", "pypi")
    photograph(fullsheet.drawn(sheet(net, columns=5), "squeezenet1_1"), "squeezenet")


def below(picture: Image.Image, words: str) -> Image.Image:
    """A picture with words below it."""
    made = Image.new("RGB", (picture.width, picture.height + 18), "white")
    made.paste(picture)
    ImageDraw.Draw(made).text((1, picture.height + 3), words, fill=WORDS, font=font(10))
    return made


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    FOLDER.mkdir(exist_ok=True)
    picture("predict", 84, "predict", sys.argv[1])
    picture("show", 84, "show", "resnet50", "--depth", "1")
    picture("card", 118, "card", "googlenet")
    convatlas.analyze("vgg16", batch=16, training="momentum").plot(FOLDER / "vgg16.svg")
    looks(*sys.argv[1:])
    of_squeezenet()
