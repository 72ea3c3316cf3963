"""How the comparison's figures look: few colours, told apart by the colour-blind too; words beside what they name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from convatlas.cost.plots import INK, QUIET_INK
from convatlas.errors import ConvatlasError
from convatlas.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID, PAPER = "#e7e8ea", "#ffffff"

GROUPS = {
    "the first": ("LeNet", "AlexNet", "ZFNet", "NIN"),
    "VGG": ("VGG",),
    "Inception": ("Inception", "Xception"),
    "residual": ("ResNet", "CIFAR-ResNet", "PreResNet", "WideResNet", "ResNeXt"),
    "gated": ("SENet",),
    "DenseNet": ("DenseNet",),
    "small": ("SqueezeNet", "ShuffleNetV1", "ShuffleNetV2"),
    "mobile": ("MobileNetV1", "MobileNetV2", "MobileNetV3", "MnasNet"),
    "EfficientNet": ("EfficientNet", "EfficientNet-Lite"),
}
"""Families that share a colour and a marker."""

COLOURS = {
    "the first": "#2b2d33", "VGG": "#cbb893", "Inception": "#d9a521", "residual": "#3b7cc4", "gated": "#74b3e0",
    "DenseNet": "#4b2a78", "small": "#c76f9e", "mobile": "#16705a", "EfficientNet": "#b8431f",
}  # fmt: skip
MARKERS = {
    "the first": "o", "VGG": "s", "Inception": "D", "residual": "o", "gated": "^", "DenseNet": "v", "small": "P",
    "mobile": "s", "EfficientNet": "o",
}  # fmt: skip
GROUP_OF = {family: group for group, families in GROUPS.items() for family in families}


def colour_of(family: str) -> str:
    return COLOURS[GROUP_OF.get(family, "the first")]


def marker_of(family: str) -> str:
    return MARKERS[GROUP_OF.get(family, "the first")]


def darker(colour: str) -> str:
    """The same, dark enough to be read on white."""
    parts = _parts(colour)
    light = (0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2]) / 255
    return _colour(part * min(1.0, 0.42 / light) for part in parts)


def lighter(colour: str, by: float) -> str:
    """The same, so much of the way to white."""
    return _colour(part + (255 - part) * by for part in _parts(colour))


def _parts(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _colour(parts: Iterable[float]) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in parts)


def sheet(width: float, height: float) -> Figure:
    """An empty figure, in inches, that takes no state from elsewhere."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor=PAPER, layout="constrained")


def bare(panel: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Only the axes that carry figures, and a grid that can be overlooked."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(QUIET_INK)
    panel.tick_params(colors=INK, labelsize=8.5, length=3)
    panel.tick_params(which="minor", length=0)
    panel.grid(True, axis=grid, color=GRID, linewidth=0.7)
    panel.set_axisbelow(True)


def headed(panel: Axes, title: str, size: float = 10.5) -> None:
    panel.set_title(title, loc="left", fontsize=size, color=INK, pad=8)


def noted(figure: Figure, lines: Iterable[str], width: int = 185) -> None:
    """What must be said, below the figure, in lines of so many characters."""
    import textwrap

    text = "\n".join(part for line in lines for part in textwrap.wrap(line, width))
    figure.supxlabel(text, x=0.012, ha="left", fontsize=7.5, color=QUIET_INK)


def named(figure: Figure, title: str) -> None:
    figure.suptitle(title, x=0.012, ha="left", fontsize=12.5, color=INK)


def save(figure: Figure, path: str | Path | None) -> Figure:
    """To .svg, .png or .pdf, whole or not at all; the same figure gives the same bytes.

    Raises ConvatlasError where it cannot be written.
    """
    if path is None:
        return figure
    import matplotlib

    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png", "pdf"):
        raise ConvatlasError(f"a figure is written as .svg, .png or .pdf, not {path.suffix or path.name}")
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with matplotlib.rc_context({"svg.hashsalt": "convatlas"}):
        write_whole(path, lambda beside: figure.savefig(beside, format=kind, dpi=160, metadata=undated))
    return figure
