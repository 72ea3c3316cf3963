"""The training that reaches AlexNet's accuracy, over the years: the table of arXiv 2005.04305, recomputed.

The table's own multiply-adds are rounded, and some are of other networks' forms; ours are exact.
"""

from __future__ import annotations

from typing import Any

from convatlas import facts, registry
from convatlas.claims.model import facts_of
from convatlas.claims.networks import entry
from convatlas.claims.training import EFFICIENCY, PASSES, PICTURES, moore, training_factor, training_macs
from convatlas.compare.dates import date_of
from convatlas.compare.tables import Column, Table, words
from convatlas.numbers import short

DOUBLING = 16
"""Months in which the paper finds the compute halved."""

DAY = 86_400.0 * 1e12
"""Operations of a teraflop/s-day."""


def networks() -> list[str]:
    """Those of which the table has the epochs, in the order in which they were published."""
    return sorted((n for n in facts.networks() if facts_of(n, "epochs_to_alexnet", EFFICIENCY)), key=date_of)


def table() -> Table:
    """A row for each network: epochs, multiply-adds printed and computed, the training's compute and factor by both."""
    rows: list[dict[str, Any]] = []
    for name in networks():
        factor = facts_of(name, "alexnet_factor", EFFICIENCY)[0]
        printed = facts_of(name, "macs", EFFICIENCY)[0]["value"]
        rows.append({
            "network": name, "title": registry.card(name).title, "year": registry.card(name).year,
            "date": round(date_of(name), 3),
            "epochs": int(facts_of(name, "epochs_to_alexnet", EFFICIENCY)[0]["value"]),
            "macs_printed": float(printed) * 1e9, "macs": entry(name)["macs"],
            "training_printed": float(facts_of(name, "training_ops", EFFICIENCY)[0]["value"]) * 1e15,
            "days_by_printed": float(training_macs(name, own=False)) / DAY,
            "days": float(training_macs(name, own=True)) / DAY,
            "factor_printed": float(factor["value"]),
            "factor_by_printed": training_factor(name), "factor": training_factor(name, macs="computed"),
            "best": "state of the art" in factor.get("note", ""),
        })  # fmt: skip
    columns = (
        words("network", "network"),
        words("title", "title", told=False),
        Column("year", "year", str, spare=1),
        Column("date", "date", str, told=False),
        Column("epochs", "epochs", str),
        Column("macs_printed", "MACs printed", short, spare=3),
        Column("macs", "MACs", short, spare=2),
        Column("training_printed", "training printed", short, told=False),
        Column("days_by_printed", "days by printed", lambda days: f"{days:.3g}", spare=5),
        Column("days", "days", lambda days: f"{days:.3g}", spare=4),
        Column("factor_printed", "factor printed", lambda factor: f"{factor:g}"),
        Column("factor_by_printed", "by printed MACs", lambda factor: f"{factor:.1f}", spare=6),
        Column("factor", "factor", lambda factor: f"{factor:.1f}"),
        Column("best", "best then", lambda best: "●" if best else "", number=False),
    )
    return Table("Compute to train to AlexNet's accuracy, 79.1 % top-5", columns, tuple(rows), notes())


def notes() -> tuple[str, ...]:
    """What the factor rests on."""
    full = training_factor("efficientnet_b0")
    fewer = full * 62 / 90
    return (
        f"Training: {PASSES} x epochs x multiply-adds x {float(PICTURES) / 1e6:g} million pictures. A multiply-add is "
        "one operation: true floating-point operations are twice as many, the factors do not change. A day is one of a "
        "teraflop/s.",
        "EfficientNet-B0's 4 epochs are its authors' own, with a learning rate that falls smoothly, which is worth "
        f"2 to 4 times; counting 62 epochs for AlexNet instead of 90 leaves {fewer:.1f} of {full:.1f}.",
        f"The line: half the compute every {DOUBLING} months from AlexNet on; hardware that doubles every two years "
        f"gives {moore(7):.0f}x in the same seven. ● the least compute of its time, by the paper.",
        "Source of the epochs and of what is printed: arXiv 2005.04305, Table 3.",
    )  # fmt: skip
