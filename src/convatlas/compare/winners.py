"""The winners of ImageNet's challenge, 2010 to 2017: the entries' errors, and beside them one network's."""

from __future__ import annotations

from typing import Any

from convatlas import facts
from convatlas.compare.figures import depth
from convatlas.compare.tables import Column, Table, words


def table() -> Table:
    """A row for each year: the entry's top-5 error, its nets, its network's depth, a single network's error."""
    known = facts.winners()
    rows: list[dict[str, Any]] = []
    for entry in known["winner"]:
        network, single = entry.get("network"), entry.get("single", {})
        rows.append({
            "year": entry["year"], "team": entry["team"], "name": entry["name"], "error": entry["error"],
            "ensemble": entry["ensemble"], "nets": entry.get("nets"), "network": network,
            "depth": depth(network) if network else None, "single": single.get("error"),
            "tested": f"{single['how']}, {single['on']}" if single else None, "single_source": single.get("source"),
            "also": entry.get("also"), "source": entry["source"],
        })  # fmt: skip
    human = known["human"]
    columns = (
        Column("year", "year", str),
        words("team", "team"),
        words("name", "entry"),
        Column("error", "top-5 error", lambda error: f"{error} %"),
        Column("ensemble", "ensemble", lambda many: "yes" if many else "no", number=False, spare=2),
        Column("nets", "nets", str, spare=1),
        words("network", "network", told=False),
        Column("depth", "depth", str),
        Column("single", "one net", lambda error: f"{error} %"),
        words("tested", "tested", wide=True, spare=3),
        words("single_source", "single_source", told=False),
        words("also", "also quoted", wide=True, spare=4),
        words("source", "source", told=False),
    )
    return Table("The winners of ImageNet's challenge, 2010 to 2017", columns, tuple(rows), (
        "Errors of the entries on the test pictures; from 2012 on every one is of several networks that voted. One "
        "network's is on the validation pictures, so the two are no strict pair.",
        f"Human: about {human['error']} % ({human['source']}: {human['note']}).",
        "Depth: layers with weights on the longest path, computed from the network's graph.",
    ))  # fmt: skip
