"""EfficientNet-B0 to B7 as they were released, held against the paper's own rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from convatlas import registry
from convatlas.scaling.coefficients import PAPER, Factors
from convatlas.scaling.networks import Scaled, scaled

BASE = "efficientnet_b0"


@dataclass(frozen=True)
class Released:
    """phi: of depth, width and resolution, what the paper's alpha, beta and gamma are raised to."""

    name: str
    network: Scaled
    phi: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "phi": self.phi, **self.network.to_json()}


def family() -> list[Released]:
    """B0 to B7, each as B0 scaled by the factors of the released code."""
    own = registry.card(BASE).input_size
    found = []
    for card in registry.find("efficientnet_b?"):
        depth, width = registry.default(card.name, "depth"), registry.default(card.name, "width")
        factors = Factors(depth, width, card.input_size / own)
        phi = {
            "depth": math.log(factors.depth, PAPER.alpha),
            "width": math.log(factors.width, PAPER.beta),
            "resolution": math.log(factors.resolution, PAPER.gamma),
        }
        found.append(Released(card.name, scaled(BASE, factors), phi))
    return found
