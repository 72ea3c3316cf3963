"""Facts: data, not code.  What the papers print, where weights are, and the atlas' index of computed totals.

Nothing here needs torch.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

FOLDER = files(__name__)


@cache
def networks() -> dict[str, dict[str, Any]]:
    """networks.toml: name -> title, family, year and what the paper prints, in the order of the line."""
    return tomllib.loads((FOLDER / "networks.toml").read_text(encoding="utf-8"))


@cache
def weights() -> dict[str, list[dict[str, Any]]]:
    """weights.toml: name -> the published weights that fit the network."""
    return tomllib.loads((FOLDER / "weights.toml").read_text(encoding="utf-8"))


@cache
def winners() -> dict[str, Any]:
    """winners.toml: "winner", the winners of ImageNet's challenge by year, and "human"."""
    return tomllib.loads((FOLDER / "winners.toml").read_text(encoding="utf-8"))


@cache
def index() -> dict[str, dict[str, Any]]:
    """index.json: name -> module, input size and totals, as ``make atlas`` computed them."""
    path = FOLDER / "index.json"
    if not path.is_file():
        return {}
    entries: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return entries
