"""Sphinx: `make docs` builds docs/_build/html.  The pages of networks and claims are made from atlas and facts."""

from __future__ import annotations

from pathlib import Path

import convatlas
from convatlas import facts, registry
from convatlas.claims.page import page as claims_page
from convatlas.numbers import short

project = "convatlas"
author = "the convatlas developers"
version = release = convatlas.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"convatlas {release}"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
myst_heading_anchors = 3


def networks_page() -> str:
    """A table of every network, one section a family, in the order of the line."""
    families: dict[str, list[registry.Card]] = {}
    for name in facts.networks():
        card = registry.card(name)
        families.setdefault(card.family, []).append(card)
    lines = ["# The networks", "", "Multiply-adds are those of convolutions and linear layers, for one picture of the "
             "given size. Parameters are the trainable ones.", ""]  # fmt: skip
    for family, cards in families.items():
        idea = next((card.facts["idea"] for card in cards if "idea" in card.facts), "")
        lines += [f"## {family}", "", idea, "", "| name | what it is | year | input | parameters | MACs | paper |",
                  "|---|---|---:|---:|---:|---:|---|"]  # fmt: skip
        lines += [
            f"| `{card.name}` | {card.title} | {card.year or ''} | {card.input_size} | {card.params:,} "
            f"| {short(card.macs, 4)} | {card.facts.get('paper', '')} |"
            for card in cards
        ]
        lines.append("")
    return "\n".join(lines)


Path(__file__).with_name("networks.md").write_text(networks_page(), encoding="utf-8")
Path(__file__).with_name("claims.md").write_text(claims_page(), encoding="utf-8")
