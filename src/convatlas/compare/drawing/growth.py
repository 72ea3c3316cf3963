"""Accuracy against parameters and against multiply-adds: a line for each family, its name beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convatlas.compare.axes import Axis, axis
from convatlas.compare.drawing.labels import Label, place
from convatlas.compare.drawing.scatter import along, scaled
from convatlas.compare.drawing.style import bare, colour_of, darker, headed, marker_of, named, noted, sheet
from convatlas.compare.growth import series, table
from convatlas.compare.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS = (50, 55, 60, 65, 70, 74, 76, 78, 80, 82, 84)
HERO = "EfficientNet"


def draw(accuracy: str) -> Figure:
    found, told = series(accuracy), table(accuracy)
    top1 = axis("top1", accuracy)
    made = sheet(13.0, 8.2)
    named(made, told.title)
    noted(
        made,
        [*told.notes, "The upright axis goes by the logarithm of the error, so that what is left of it can be seen."],
        215,
    )
    panels = made.subplots(1, 2, sharey=True)
    for panel, key in zip(panels, ("params", "macs")):
        _panel(panel, found, axis(key), top1)
    panels[1].set_ylabel("")
    panels[1].tick_params(axis="y", length=0)
    for panel, found_on in zip(panels, ("params", "macs")):
        _named(panel, found, axis(found_on), top1)
    return made


def _panel(panel: Axes, found: dict[str, list[Row]], x: Axis, y: Axis) -> None:
    for name, rows in found.items():
        points = [(row.values[x.name], row.values[y.name]) for row in rows]
        colour = colour_of(rows[0].family)
        wide, area = (2.2, 40) if name == HERO else (1.1, 22)
        across, up = zip(*points)
        panel.plot(across, up, color=colour, linewidth=wide, alpha=1 if name == HERO else 0.75, zorder=3)
        panel.scatter(across, up, s=area, color=colour, zorder=4,
                      marker=marker_of(rows[0].family), edgecolor="white", linewidth=0.6)  # fmt: skip
    scaled(panel, x, y)
    # Half the error is always as far: between 80 and 90 % as between 60 and 80 %.
    panel.set_yscale("function", functions=(_far, _right))
    panel.set_yticks(TICKS, [f"{tick} %" for tick in TICKS])
    best = max(row.values[y.name] for rows in found.values() for row in rows)
    least = min(row.values[y.name] for rows in found.values() for row in rows)
    panel.set_ylim(100 - (100 - least) * 1.05, 100 - (100 - best) * 0.93)
    bare(panel)
    headed(panel, f"against {x.label}")


def _named(panel: Axes, found: dict[str, list[Row]], x: Axis, y: Axis) -> None:
    """EfficientNet's members and every family's name, where they cover neither lines nor points."""
    labels, taken = [], []
    for name, rows in found.items():
        points = [(row.values[x.name], row.values[y.name]) for row in rows]
        colour = darker(colour_of(rows[0].family))
        taken += [*along(panel, points), *[(*point, 3.0) for point in points]]
        if name == HERO:
            labels += [Label(row.name.removeprefix("efficientnet_").upper(), *point, 4.0, colour, True, True)
                       for row, point in zip(rows, points)]  # fmt: skip
            labels[-len(rows)] = labels[-len(rows)]._replace(text="EfficientNet-B0")
        else:
            labels.append(Label(name, *points[-1], 3.5, colour, False, True, tuple(points[-2::-1])))
    place(panel, labels, size=8.0, taken=taken)


def _far(right: Any) -> Any:
    """Where an accuracy stands: the logarithm of its error, turned round."""
    import numpy as np

    return -np.log(np.maximum(100 - right, 1e-3))


def _right(far: Any) -> Any:
    import numpy as np

    return 100 - np.exp(-far)
