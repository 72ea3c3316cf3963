"""The README's pictures, from what the command line really prints: python docs/pictures.py PHOTOGRAPH"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme

import convatlas
from convatlas.cli import main, output

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


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    FOLDER.mkdir(exist_ok=True)
    picture("predict", 84, "predict", sys.argv[1])
    picture("show", 84, "show", "resnet50", "--depth", "1")
    picture("card", 118, "card", "googlenet")
    convatlas.analyze("vgg16", batch=16, training="momentum").plot(FOLDER / "vgg16.svg")
