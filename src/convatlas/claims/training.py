"""Figures of training and of scaling: the way to AlexNet's accuracy, accuracy density, compound scaling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from convatlas.claims.checking import recomputes
from convatlas.claims.model import fact
from convatlas.claims.networks import entry

EFFICIENCY = "arXiv 2005.04305 Table 3"
PICTURES = Decimal("1.28e6")
PASSES = 3
"""A forward pass and a backward pass that takes twice as much."""


def training_macs(network: str, *, own: bool) -> Decimal:
    """Multiply-adds of the training that reaches AlexNet's accuracy: 3 x epochs x multiply-adds x 1.28e6 pictures.

    own: with the multiply-adds that are computed here; else with those that the table prints.
    """
    epochs = fact(network, "epochs_to_alexnet", EFFICIENCY)["value"]
    macs = Decimal(entry(network)["macs"]) if own else fact(network, "macs", EFFICIENCY)["value"] * Decimal("1e9")
    return Decimal(PASSES * epochs * macs * PICTURES)


@recomputes
def training_operations(network: str) -> float:
    """In units of 1e15, with the table's own multiply-adds."""
    return float(training_macs(network, own=False) / Decimal("1e15"))


@recomputes
def training_factor(network: str, macs: str = "printed") -> float:
    """How many times less than AlexNet's; macs: "printed" by the table, or "computed" here."""
    own = macs == "computed"
    return float(training_macs("alexnet", own=own) / training_macs(network, own=own))


@recomputes
def doublings(factor: int, years: int) -> float:
    """Months in which a quantity doubles that grows by that factor in so many years."""
    return 12 * years / math.log2(factor)


@recomputes
def moore(years: int) -> float:
    """What doubling every two years gives in so many years."""
    return float(2 ** (years / 2))


@recomputes
def accuracy_density(network: str) -> float:
    """Top-1 accuracy, as the paper used it, per million parameters, as we count them."""
    accuracy = fact(network, "top1_accuracy", "arXiv 1605.07678")["value"]
    return 1e6 * float(accuracy) / int(entry(network)["params"])


@recomputes
def compound_product(depth: Decimal, width: Decimal, resolution: Decimal) -> float:
    """depth x width² x resolution²"""
    return float(depth * width**2 * resolution**2)


@recomputes
def coefficients(depth: Decimal, width: Decimal, resolution: Decimal) -> Mapping[str, Decimal]:
    """The bases of compound scaling, for bounds that are said of them."""
    return {"alpha": depth, "beta": width, "gamma": resolution}


@recomputes
def scaled_macs(network: str, base: str) -> float:
    """How many times the multiply-adds of ``base`` a network takes, each at its own input size."""
    return float(entry(network)["macs"] / entry(base)["macs"])
