"""Figures over the convolutions of every registered network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from convatlas.claims.checking import recomputes
from convatlas.claims.networks import archive
from convatlas.graph.atlas import AUX

CONVOLUTION = re.compile(rb'"conv2d",\[[0-9,]*\],(\{[^}]*\})')
"""A convolution's attributes in the atlas' text: to make graphs of it all would take a quarter of a second."""


@cache
def convolutions() -> dict[str, list[dict[str, Any]]]:
    """network -> the attributes of its convolutions, each combination once."""
    members = (member for member in archive().namelist() if not member.endswith(f"{AUX}.json"))
    found = {member.removesuffix(".json"): set(CONVOLUTION.findall(archive().read(member))) for member in members}
    return {network: [json.loads(attrs) for attrs in own] for network, own in found.items()}


@recomputes
def kernel_range() -> Mapping[str, str | int]:
    """The smallest and the largest kernel, and how many networks have an oblong one."""
    kernels = {network: {tuple(attrs["kernel"]) for attrs in own} for network, own in convolutions().items()}
    every = sorted(set().union(*kernels.values()), key=lambda kernel: (math.prod(kernel), kernel))
    smallest, largest = ("x".join(map(str, kernel)) for kernel in (every[0], every[-1]))
    oblong = sum(any(height != width for height, width in own) for own in kernels.values())
    return {"smallest": smallest, "largest": largest, "networks with 1x3, 3x1, 1x7 or 7x1": oblong}


@recomputes
def depthwise_keeps() -> float:
    """The percentage of the kinds of depthwise convolutions that give as many maps as they read."""
    found = [
        attrs["outputs"] == attrs["inputs"]
        for own in convolutions().values() for attrs in own if attrs["groups"] == attrs["inputs"] > 1
    ]  # fmt: skip
    return float(100 * sum(found) / len(found))
