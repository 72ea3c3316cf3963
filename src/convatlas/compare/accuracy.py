"""Published accuracies on ImageNet's validation pictures, each with its source and its protocol.

A column of them comes from one source, unless a mixed one is asked for; an ensemble's figure is no network's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from convatlas import facts
from convatlas.errors import UnknownName

SOURCES = {
    "paper": "by its paper",
    "torchvision": "by torchvision's first weights",
    "torchvision_v2": "by torchvision's second weights, another training",
    "timm": "by timm",
    "single": "of a single crop, by its paper, torchvision, others or timm",
    "any": "by its paper, or else torchvision, others or timm",
}
"""Whose figures a column may hold, and how that is said."""

MIXED = ("single", "any")
"""Those that mix sources in one column: every row then says which."""

WHOSE = ("paper", "torchvision", "others", "timm", "torchvision_v2")
"""Whose figure a mixed column takes first: old networks trained in later ways come last."""

SINGLE, UNSAID, DENSE, TEN, MULTI, ENSEMBLE = "single crop", "not said", "dense", "10-crop", "multi-crop", "ensemble"
PROTOCOLS = (SINGLE, UNSAID, DENSE, TEN, MULTI)
"""How one network was tested, the one that compares best first."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One published accuracy.

    value: per cent right; where the source prints an error, 100 minus it.  top: 1 or 5.
    source: where it stands; kind: whose it is, a word of SOURCES or "others"; protocol: a word of PROTOCOLS or
    ENSEMBLE; note: the source's own words on it.  input: side of the picture in pixels, where the source says it.
    """

    value: float
    top: int
    source: str
    kind: str
    protocol: str
    note: str = ""
    input: int | None = None
    unverified: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return asdict(self)

    @property
    def described(self) -> str:
        """ "arXiv 1512.03385 Table 3, 10-crop": the source, the protocol and the input's side where known."""
        kind = self.note if self.protocol in (DENSE, MULTI) and self.note else self.protocol
        parts = [self.source, f"{self.input} px" if self.input else "", "" if self.protocol == UNSAID else kind]
        return ", ".join(filter(None, parts)) + (" (unverified)" if self.unverified else "")


def published(name: str, top: int) -> Iterator[Accuracy]:
    """Every accuracy of a network on ImageNet's validation pictures, ensembles too, in the order of the facts."""
    entry = facts.networks().get(name, {})
    for origin in ("printed", "measured"):
        for figure in entry.get(origin, ()):
            if figure["what"] in (f"top{top}_error", f"top{top}_accuracy") and "data" not in figure:
                yield _accuracy(figure, top, origin)


def accuracy(name: str, top: int, source: str = "paper") -> Accuracy | None:
    """The accuracy that compares best among those of one source: of a single crop if there is one, at the network's
    own input size if there is one.  None where the source has none.

    source: a word of SOURCES.  Raises UnknownName for another.
    """
    if source not in SOURCES:
        raise UnknownName("source of accuracies", source, SOURCES)
    own = facts.index().get(name, {}).get("input_size")
    kinds = [*WHOSE] if source in MIXED else [source]
    fitting = (SINGLE,) if source == "single" else PROTOCOLS
    known = [a for a in published(name, top) if a.kind in kinds and a.protocol in fitting]

    def worth(a: Accuracy) -> tuple[int, bool, int, bool]:
        return kinds.index(a.kind), a.unverified, PROTOCOLS.index(a.protocol), a.input not in (None, own)

    return min(known, key=worth, default=None)


def _accuracy(figure: dict[str, Any], top: int, origin: str) -> Accuracy:
    value = 100 - figure["value"] if figure["what"].endswith("error") else figure["value"]
    kind = _kind(figure["source"], origin)
    note = figure.get("note", "")
    protocol = SINGLE if kind not in ("paper", "others") else _protocol(note)
    return Accuracy(round(float(value), 4), top, figure["source"], kind, protocol, note, figure.get("input"),
                    figure.get("unverified", False))  # fmt: skip


def _kind(source: str, origin: str) -> str:
    if origin == "printed":
        return "paper"
    library = source.split()[0]
    if library == "torchvision":
        return "torchvision_v2" if source.endswith("_V2") else "torchvision"
    return library if library == "timm" else "others"


def _protocol(note: str) -> str:
    """How it was tested, by the words of the note."""
    if "ensemble" in note or any(f"{nets} nets" in note for nets in range(2, 20)):
        return ENSEMBLE
    if "multi" in note:
        return MULTI
    for word, protocol in (("10-crop", TEN), ("dense", DENSE), ("crop", SINGLE)):
        if word in note:
            return protocol
    return UNSAID
