"""What networks.toml holds of the sources' own figures, for claims that nothing here can compute."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from convatlas.claims.checking import recomputes
from convatlas.claims.model import fact, facts_of
from convatlas.claims.networks import entry

Printed = int | Decimal


@recomputes
def printed(network: str, what: str, source: str | list[str], note: str = "") -> Printed:
    """One figure; source: its beginning, or several of which any may fit; note: words in its note."""
    value: Printed = fact(network, what, source, note)["value"]
    return value


@recomputes
def printed_of(label: str, known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Printed]:
    """The figure of the row ``label``, where networks.toml has it."""
    return {"": printed(**known[label])} if label in known else {}


@recomputes
def printed_errors(network: str, source: str | list[str]) -> Mapping[str, Printed]:
    """Top-1 and top-5 error, where the source prints them."""
    columns = {"top-1": "top1_error", "top-5": "top5_error"}
    return {
        column: printed(network, what, source) for column, what in columns.items() if facts_of(network, what, source)
    }


@recomputes
def gains(network: str, source: str) -> Mapping[str, Printed]:
    """Points that the gates of a network, se_ and its name, take off the errors."""
    before, after = printed_errors(network.removeprefix("se_"), source), printed_errors(network, source)
    return {column: before[column] - after[column] for column in after}


@recomputes
def year(network: str) -> int:
    """Of the network's publication."""
    return int(entry(network)["year"])


@recomputes
def years_between(network: str, since: str) -> int:
    return year(network) - year(since)
