"""The search space of MnasNet, from which EfficientNet's baseline came too.  Tan et al. 2018 (arXiv 1807.11626), 4.1.

A network is a row of stages, each with its own kind of block, kernel, gate, shortcut, width and number of layers,
around the table of MobileNetV2; its blocks within a stage are alike.  What a candidate costs is counted block by block,
on the captured graph of each block, so that a second candidate with the same block costs a look-up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from convatlas import registry
from convatlas.blocks import make_divisible
from convatlas.cost import analyze
from convatlas.cost.latency import Machine, latency
from convatlas.errors import ConvatlasError
from convatlas.graph.capture import capture
from convatlas.graph.model import Graph
from convatlas.nets.mobilenet_v2 import STEM, TABLE, TOP
from convatlas.numbers import short
from convatlas.registry import SMALL_PICTURE

SPACES = {"mbconv": "stages of inverted residuals, separable and plain convolutions, as MnasNet's"}
NETWORK = "mnasnet_a1"
"""By whose builder a candidate is made: of MnasNet's it is another ``design``."""

CHOICES: dict[str, tuple[Any, ...]] = {
    "expand": (0, 1, 3, 6), "kernel": (3, 5), "gate": (False, True), "skip": (True, False),
    "width": (0.75, 1.0, 1.25), "layers": (-1, 0, 1),
}  # fmt: skip
"""Of each stage.  expand: times its inputs; 0: a convolution over all channels, 1: a separable one.  width: times
MobileNetV2's; layers: more than MobileNetV2's, and at least one."""
MIDDLE = {"expand": 3, "kernel": 3, "gate": False, "skip": True, "width": 1.0, "layers": 0}
LEAST = {"expand": 1, "kernel": 3, "gate": False, "skip": True, "width": 0.75, "layers": -1}
WIDTHS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.4, 2.0)
"""Of a whole space, times MobileNetV2's: the one whose middle is nearest the target."""
SMALLEST_MAP, SMALL_STAGES, SMALL_TOP = 4, 5, 4
"""For small pictures: maps shrink to so many pixels, so many stages, and a top of so many times the last width."""


@dataclass(frozen=True)
class Space:
    """Of networks for pictures of a side, with so many classes and channels.

    width: times MobileNetV2's channels.  Raises ConvatlasError for a name that no space has.
    """

    side: int
    classes: int
    channels: int = 3
    width: float = 1.0

    @cached_property
    def stages(self) -> list[tuple[int, int, int]]:
        """(out, repeat, stride) of each."""
        small = self.side < SMALL_PICTURE
        found, side = [], self.side if small else self.side // 2
        for _, out, repeat, stride in TABLE[:SMALL_STAGES] if small else TABLE:
            stride = stride if side >= stride * SMALLEST_MAP else 1
            side = -(-side // stride)
            found.append((out, repeat, stride))
        return found

    @cached_property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Each choice with its possibilities: "stage2.kernel": (3, 5) …"""
        return {f"stage{number}.{name}": values for number in range(2, len(self.stages) + 2)
                for name, values in CHOICES.items()}  # fmt: skip

    @property
    def count(self) -> int:
        """Of its networks."""
        return math.prod(map(len, self.choices.values()))

    def alike(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same choices in every stage."""
        return {name: values[name.partition(".")[2]] for name in self.choices}

    def design(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """What ``create("mnasnet_a1", design=…)`` takes."""
        rows = []
        for number, (out, repeat, stride) in enumerate(self.stages, 2):
            of = {name: chosen[f"stage{number}.{name}"] for name in CHOICES}
            wide = make_divisible(out * self.width * of["width"])
            row = (of["kernel"], stride, of["expand"], wide, max(1, repeat + of["layers"]), of["gate"])
            rows.append(row if of["skip"] else (*row, False))
        last = make_divisible(self.stages[-1][0] * self.width)
        top = SMALL_TOP * last if self.side < SMALL_PICTURE else TOP
        return {"rows": rows, "stem": make_divisible(STEM * min(1.0, self.width)), "top": top}

    def options(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Of ``registry.create``, but for classes and channels, which the data decide."""
        return {"design": self.design(chosen), "input_size": self.side}

    def graph(self, chosen: Mapping[str, Any], name: str = "candidate") -> Graph:
        net = registry.create(NETWORK, **self.options(chosen), classes=self.classes, channels=self.channels,
                              initialise=False)  # fmt: skip
        return capture(net, name=name)

    # ---- what a candidate costs -------------------------------------------------------------------------

    def cost(self, chosen: Mapping[str, Any]) -> tuple[int, int]:
        """(multiply-adds of a picture, parameters), as the cost pass counts them."""
        design = self.design(chosen)
        side = self.side if self.side < SMALL_PICTURE else -(-self.side // 2)
        first = _stage((1, 1, 1, design["stem"], 1, False), self.channels, design["stem"], self.side, "trunk.stage1")
        macs, params = first
        inputs = design["stem"]
        for kernel, stride, expand, out, repeat, gate, *_ in design["rows"]:
            block = _stage((kernel, stride, expand, out, 1, gate), inputs, inputs, side, "trunk.stage2")
            inputs, side = out, -(-side // stride)
            more = _stage((kernel, 1, expand, out, 1, gate), out, out, side, "trunk.stage2") if repeat > 1 else (0, 0)
            macs, params = macs + block[0] + (repeat - 1) * more[0], params + block[1] + (repeat - 1) * more[1]
        last = _end(inputs, design["top"], self.classes, side)
        return macs + last[0], params + last[1]

    def latency(self, chosen: Mapping[str, Any], machine: Machine, engine: str) -> float:
        """Seconds of one picture, predicted."""
        return latency(self.graph(chosen), machine, engine, input_size=self.side).seconds

    def smallest(self) -> dict[str, Any]:
        """Its network of the fewest multiply-adds."""
        return self.alike(LEAST)


@cache
def _stage(row: tuple[Any, ...], channels: int, stem: int, side: int, prefix: str) -> tuple[int, int]:
    """(multiply-adds, parameters) of a part of a network with one stage.

    Of "trunk.stage1", the stem, on a picture of that side; of "trunk.stage2", the stage, on a map.
    """
    small = prefix == "trunk.stage2" or side < SMALL_PICTURE  # whose stem does not shrink what comes in
    net = registry.create(NETWORK, design={"rows": [row], "stem": stem, "top": 8}, channels=channels,
                          input_size=SMALL_PICTURE // 2 if small else SMALL_PICTURE, initialise=False)  # fmt: skip
    return _under(capture(net), (channels, side, side), f"{prefix}.")


@cache
def _end(inputs: int, top: int, classes: int, side: int) -> tuple[int, int]:
    """Of the last 1 x 1 and the head, on a map of that side."""
    design = {"rows": [(1, 1, 1, inputs, 1, False)], "stem": inputs, "top": top}
    net = registry.create(NETWORK, design=design, classes=classes, channels=inputs, input_size=SMALL_PICTURE // 2,
                          initialise=False)  # fmt: skip
    return _under(capture(net), (inputs, side, side), "trunk.stage3.", "head.")


def _under(graph: Graph, size: tuple[int, int, int], *prefixes: str) -> tuple[int, int]:
    rows = [row for row in analyze(graph, input_size=size).rows if row.name.startswith(prefixes)]
    return sum(row.macs or 0 for row in rows), sum(row.params for row in rows)


def fitting(side: int, classes: int, channels: int, macs: float | None) -> Space:
    """The space whose middle network has about so many multiply-adds; None: that of MobileNetV2's own widths.

    Raises ConvatlasError for a target below the smallest network of the smallest space.
    """
    if macs is None:
        return Space(side, classes, channels)
    spaces = [Space(side, classes, channels, width) for width in WIDTHS]
    found = min(spaces, key=lambda one: abs(math.log(one.cost(one.alike(MIDDLE))[0] / macs)))
    refuse_below(found, macs)
    return found


def refuse_below(space: Space, macs: float) -> None:
    """Raises ConvatlasError where the smallest network of a space has more multiply-adds than the target."""
    least = space.cost(space.smallest())[0]
    if least > macs:
        raise ConvatlasError(f"a target of {short(macs)} multiply-adds is below the smallest network of the space, "
                             f"which has {short(least)} at {space.side} pixels; a larger target, smaller pictures "
                             "(--input), or a narrower space (--width)")  # fmt: skip


# ---- as a file of nets/ -------------------------------------------------------------------------------------


def source(name: str, space: Space, chosen: Mapping[str, Any], told: Sequence[str] = ()) -> str:
    """A candidate as a file in the form of those in ``nets/``: its table is the code.

    It is a MODEL as it stands: FILE.py:NAME.  told: what the docstring says of it.
    """
    design = space.design(chosen)
    rows = [tuple(row) if len(row) == 7 else (*row, True) for row in design["rows"]]
    widths = [max(len(repr(row[i])) for row in rows) for i in range(7)]
    table = ",\n".join(
        "         (" + ", ".join(repr(value).rjust(width) for value, width in zip(row, widths)) + ")" for row in rows
    ).lstrip()
    said = "\n".join(told)
    return f'''"""{name}: found by a search over the blocks of MnasNet (arXiv 1807.11626).

{said}
"""

from __future__ import annotations

from convatlas.net import ConvNet
from convatlas.nets.mnasnet import A1, mnasnet
from convatlas.registry import network

#         kernel stride expand out repeat gate shortcut      (an expansion of 0: a convolution over all channels)
TABLE = [{table}]
STEM, TOP = {design["stem"]}, {design["top"]}

VARIANTS = {{{json.dumps(name)}: dict(input_size={space.side})}}


def {name}(
    *, input_size: int = {space.side}, classes: int = {space.classes}, channels: int = {space.channels},
    dropout: float = 0.2,
) -> ConvNet:
    """Stages as in TABLE.  Under ``@network(VARIANTS)`` in ``nets/`` it is a network of the line."""
    design = dict(rows=TABLE, stem=STEM, top=TOP)
    return mnasnet(table=A1, design=design, input_size=input_size, classes=classes, channels=channels, dropout=dropout)


if __name__.startswith("convatlas.nets."):
    network(VARIANTS)({name})
'''
