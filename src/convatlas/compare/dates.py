"""When a network's paper appeared: to the month where it is on arXiv, whose numbers say it."""

from __future__ import annotations

import re

from convatlas import facts, registry

CONFERENCES = {"NIPS 2012": 2012 + 11.5 / 12, "Proc. IEEE 86(11), 1998": 1998 + 10.5 / 12}
"""The papers of the line that are not on arXiv."""


def date_of_paper(paper: str) -> float | None:
    """ "arXiv 1409.1556" -> 2014.71: the middle of the month; None where the name says nothing."""
    if match := re.match(r"arXiv (\d\d)(\d\d)\.\d", paper):
        return 2000 + int(match[1]) + (int(match[2]) - 0.5) / 12
    return CONFERENCES.get(paper)


def date_of(name: str) -> float:
    """Of the paper that first describes the network, or else the middle of its year."""
    entry = facts.networks().get(name, {})
    year = registry.card(name).year or 0
    found = date_of_paper(entry.get("paper", ""))
    return found if found is not None and int(found) == year else year + 0.5
