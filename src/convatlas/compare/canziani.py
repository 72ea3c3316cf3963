"""The figures of Canziani, Paszke and Culurciello (arXiv 1605.07678), remade with exact counts and later networks:
accuracy by network, against operations, per parameter; and whether operations predict time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convatlas.claims.model import facts_of
from convatlas.compare import timings
from convatlas.compare.accuracy import SOURCES
from convatlas.compare.axes import Axis, axis
from convatlas.compare.figures import DENSE, KINDS, kind
from convatlas.compare.fit import PowerLaw, offsets, power_law
from convatlas.compare.rows import Row, gather, names_of
from convatlas.compare.tables import Column, Table, words
from convatlas.errors import ConvatlasError
from convatlas.numbers import short

PAPER = "arXiv 1605.07678"

HIS = """alexnet googlenet vgg16 vgg19 resnet18 resnet34 resnet50_v1_5 resnet101_v1_5 resnet152_v1_5 inception_v3
inception_v4""".split()
"""His networks that the atlas has; his ResNets have the stride in the 3x3.  It lacks BN-AlexNet, BN-NIN and ENet."""

LATER = """squeezenet1_0 densenet121 densenet201 xception wide_resnet50_2 resnext50_32x4d resnext101_32x8d
inception_resnet_v2 se_resnet50 senet154 mobilenet_v1_x1_0 mobilenet_v2_x1_0 mobilenet_v3_large_x1_0
shufflenet_v1_x1_0_g3 shufflenet_v2_x1_0 mnasnet_a1 efficientnet_b0 efficientnet_b3 efficientnet_b7""".split()
"""What came after him, a few of each family."""


MEASURED, PREDICTED = "measured on this machine", "predicted for this machine"
CLOSE = 0.9
"""The correlation of logarithms from which on one is said to predict the other."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds for one picture by network, how they were come by, or why there are none; of measured ones the law
    through the networks of dense convolutions, and by kind how many times slower than that law the others are."""

    seconds: dict[str, float]
    how: str
    law: PowerLaw | None = None
    slower: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Canziani:
    """All that the figure shows."""

    rows: tuple[Row, ...]
    accuracy: Axis
    times: Times
    left_out: tuple[str, ...]


def canziani(
    patterns: Sequence[str] = (), accuracy: str = "single", *, measured: bool = False, allow_busy: bool = False
) -> Canziani:
    """patterns: by default his networks that the atlas has and some later ones.

    measured: measure the times that were not measured yet; allow_busy: although other programs keep the machine busy.

    Raises what ``compare`` does.
    """
    names = names_of(patterns) if patterns else [*HIS, *LATER]
    up = axis("top1", accuracy)
    rows, left_out = gather(names, [up, axis("density", accuracy), axis("params"), axis("macs")])
    if len(rows) < 2:
        raise ConvatlasError(
            f"the figure takes two networks with a top-1 accuracy; {'; '.join(x.said(3) for x in left_out)}"
        )
    rows.sort(key=lambda row: row.values[up.name])
    inputs = {row.name: row.input for row in rows}
    known = timings.measured(inputs, allow_busy=allow_busy) if measured else timings.remembered(inputs)
    return Canziani(tuple(rows), up, times(rows, known), tuple(left.said() for left in left_out))


def times(rows: Sequence[Row], measured: dict[str, float]) -> Times:
    """Measured times where they are known of all, else predicted ones, else none and why.

    A prediction counts operations itself: no law is drawn through predictions.
    """
    if len(measured) < len(rows):
        try:
            return Times({row.name: timings.predicted(row.name, row.input) for row in rows}, PREDICTED)
        except ConvatlasError as error:
            return Times({}, str(error))
    macs = {row.name: row.values["macs"] for row in rows}
    by_kind = {one: [(macs[n], measured[n]) for n in macs if kind(n) == one] for one in KINDS}
    law = power_law(by_kind[DENSE])
    return Times(measured, MEASURED, law, offsets(law, by_kind) if law else None)


def his(name: str, what: str) -> float | None:
    """What he prints of a network."""
    found = facts_of(name, what, PAPER)
    return float(found[0]["value"]) if found else None


def table(found: Canziani) -> Table:
    """A row for each network: ours beside his."""
    up, density = found.accuracy, axis("density", found.accuracy.source)
    rows: list[dict[str, Any]] = [
        {"network": row.name, "family": row.family, "kind": kind(row.name), "top1": row.values[up.name],
         "tested": row.accuracies[up.name].described, "his_top1": his(row.name, "top1_accuracy"),
         "macs": row.values["macs"], "operations": 2 * row.values["macs"], "params": row.values["params"],
         "density": row.values[density.name], "his_density": his(row.name, "accuracy_density"),
         "seconds": found.times.seconds.get(row.name), "input": row.input}
        for row in found.rows[::-1]
    ]  # fmt: skip
    columns = [
        words("network", "network"), words("family", "family", told=False), words("kind", "convolutions"),
        Column("top1", up.title, up.form), words("tested", "where", wide=True, spare=1),
        Column("his_top1", "his top-1", up.form),
        Column("macs", "MACs", short), Column("operations", "operations", short, told=False),
        Column("params", "params", short), Column("density", "%/M", lambda d: f"{d:.2f}"),
        Column("his_density", "his %/M", lambda d: f"{d:g}"),
    ]  # fmt: skip
    if found.times.seconds:
        columns.append(Column("seconds", "time", axis("latency").form))
    columns.append(Column("input", "input", str, told=False))
    return Table("Canziani's figures, remade", tuple(columns), tuple(rows), (*said(found.times), *notes(found)))


def said(times: Times) -> list[str]:
    """What the times say of his claim that operations predict time."""
    if not times.seconds:
        return [f"Operations against time: {times.how}."]
    if times.how == PREDICTED:
        return [f"Times are {PREDICTED}, from operations among others, so they cannot say whether operations predict "
                "time; --measured measures them.", *timings.doubts()]  # fmt: skip
    if times.law is None:
        return [f"Times are {times.how}; too few networks of dense convolutions to fit a law."]
    law = times.law
    lines = [
        f"Times {times.how}. Over networks of dense convolutions time goes as operations to the power "
        f"{law.exponent:.2f}, correlation {law.correlation:.3f}, two thirds within a factor of {law.spread:.2f}: "
        f"there operations {'predict' if law.correlation > CLOSE else 'do not predict'} time."
    ]  # fmt: skip
    others = {one: by for one, by in (times.slower or {}).items() if one != DENSE}
    if others:
        words_of = "; ".join(
            f"{one} ones are {by:.1f} times {'slower' if by > 1 else 'as slow'}" for one, by in others.items()
        )
        lines.append(f"By that law, {words_of}.")
    return [*lines, *timings.disturbed()]


def notes(found: Canziani) -> list[str]:
    """What must be said of accuracies and counts."""
    return [
        "His accuracies are of a single central crop; those of GoogLeNet, ResNet-152 and Inception-v4 are read off "
        f"his Figure 1. Ours: top-1 {SOURCES[found.accuracy.source]}.",
        "His operations are 2 x multiply-adds. Of his fourteen the atlas has no BN-AlexNet, BN-NIN and ENet.",
        *found.left_out,
    ]  # fmt: skip
