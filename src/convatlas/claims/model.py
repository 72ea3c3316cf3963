"""Claim: an entry of facts/claims.toml, with its figures read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any

from convatlas import facts
from convatlas.claims.figures import Figure, figure
from convatlas.errors import ConvatlasError

FILE = "claims.toml"
FIELDS = {"topic", "who", "says", "said", "columns", "rows", "labels", "fact", "unit", "about", "each", "compute",
          "args", "ours", "source", "source_says", "why", "whys", "note"}  # fmt: skip
FACT_UNITS = {"M": " M", "G": " G"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of figures: the claim's only one (label ""), or one row of its table.

    said: column -> what the source prints; the column of a single figure is "".
    """

    label: str
    said: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says, as stored.

    id, topic: speakable names.  who: the lecture's slide, or the paper's section.  says: one sentence.
    lines:     the figures.  unit: column -> unit.
    compute:   the function that recomputes them, with args; each: the argument that a line's label is given to.
    ours:      False where nothing here can compute it (trained accuracies, history, the size of a data set); then
    source, and source_says where it prints the same figure (or ``compute`` reads it from networks.toml).
    why:       the cause of a difference; whys: label -> the cause of one line's.  note: what must be known beside.
    """

    id: str
    topic: str
    who: str
    says: str
    lines: tuple[Line, ...]
    unit: Mapping[str, str]
    compute: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    each: str = ""
    ours: bool = True
    source: str = ""
    source_says: Mapping[str, Figure] = field(default_factory=dict)
    why: str = ""
    whys: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def read(text: str) -> list[Claim]:
    """The claims of a TOML text, in its order.  Raises ConvatlasError for an entry that is not well-formed."""
    claims = []
    for name, entry in tomllib.loads(text, parse_float=Decimal).items():
        if strange := set(entry) - FIELDS:
            raise ConvatlasError(f"{FILE}: {name} has no field {min(strange)!r}")
        for needed in ("topic", "who", "says"):
            if not entry.get(needed):
                raise ConvatlasError(f"{FILE}: {name} lacks {needed!r}")
        claims.append(_claim(name, entry))
    return claims


@cache
def stored() -> tuple[Claim, ...]:
    """The claims of facts/claims.toml."""
    return tuple(read((facts.FOLDER / FILE).read_text(encoding="utf-8")))


@cache
def networks() -> dict[str, dict[str, Any]]:
    """networks.toml with its digits: 11.30 stays 11.30."""
    text = (facts.FOLDER / "networks.toml").read_text(encoding="utf-8")
    return tomllib.loads(text, parse_float=Decimal)


def facts_of(network: str, what: str, source: str | list[str], note: str = "") -> list[dict[str, Any]]:
    """The entries of networks.toml that fit: their source begins with ``source`` (or one of them)."""
    sources = (source,) if isinstance(source, str) else tuple(source)
    entry = networks().get(network, {})
    return [
        f for f in entry.get("printed", []) + entry.get("measured", [])
        if f["what"] == what and f["source"].startswith(sources) and note in f.get("note", "")
    ]  # fmt: skip


def fact(network: str, what: str, source: str | list[str], note: str = "") -> dict[str, Any]:
    """The one entry of networks.toml that fits.  Raises ConvatlasError where there is none, or more than one."""
    found = facts_of(network, what, source, note)
    if len(found) != 1:
        raise ConvatlasError(f"networks.toml has {len(found)} entries for {what} of {network} from {source}")
    return found[0]


def _claim(name: str, entry: Mapping[str, Any]) -> Claim:
    about = entry.get("about", False)
    columns = entry.get("columns", [""])
    if "rows" in entry:
        lines = tuple(Line(label, _figures(value, columns, about)) for label, value in entry["rows"].items())
    elif "fact" in entry:
        lines = tuple(Line(label, {"": _printed(label, entry["fact"], about)}) for label in entry["labels"])
    elif "said" in entry:
        lines = (Line("", _figures(entry["said"], columns, about)),)
    else:
        raise ConvatlasError(f"{FILE}: {name} prints no figure: give said, rows or fact")
    ours = entry.get("ours", True)
    if ours and "compute" not in entry:
        raise ConvatlasError(f"{FILE}: {name} must name what computes it, or say ours = false")
    if not ours and not entry.get("source"):
        raise ConvatlasError(f"{FILE}: {name} is not ours to compute and needs its source")
    unit = entry.get("unit", "")
    return Claim(
        id=name,
        topic=entry["topic"],
        who=entry["who"],
        says=entry["says"],
        lines=lines,
        unit=unit if isinstance(unit, dict) else dict.fromkeys(lines[0].said, unit),
        compute=entry.get("compute", ""),
        args=entry.get("args", {}),
        each=entry.get("each", ""),
        ours=ours,
        source=entry.get("source", ""),
        source_says=_figures(entry["source_says"], columns, about) if "source_says" in entry else {},
        why=entry.get("why", ""),
        whys=entry.get("whys", {}),
        note=entry.get("note", ""),
    )


def _figures(value: Any, columns: list[str], about: bool) -> dict[str, Figure]:
    if isinstance(value, dict):
        return {column: figure(printed, about=about) for column, printed in value.items()}
    values = value if isinstance(value, list) else [value]
    return {
        column: figure(printed, about=about) for column, printed in zip(columns, values, strict=True) if printed != ""
    }


def _printed(network: str, which: Mapping[str, Any], about: bool) -> Figure:
    found = fact(network, **which)
    return figure(f"{found['value']}{FACT_UNITS.get(found.get('unit', ''), '')}", about=about)
