"""How numbers are written for people."""

from __future__ import annotations


def short(number: float | None, digits: int = 3) -> str:
    """25557032 -> "25.6 M": three significant digits, for tables."""
    if number is None:
        return "?"
    for unit, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if abs(number) >= factor * 0.9995:
            return f"{number / factor:.{max(0, digits - len(str(int(number / factor))))}f} {unit}"
    return f"{number:,.0f}"


def size(count: float | None) -> str:
    """60950432 -> "60.95 MB": bytes, in powers of a thousand, to two places."""
    if count is None:
        return "?"
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= factor:
            return f"{count / factor:,.2f} {unit}"
    return f"{count:,.0f} B"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def counted(number: int, what: str) -> str:
    """ "1 picture", "1,000 pictures"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def across(sizes: tuple[float, ...] | list[float]) -> str:
    """(212, 212) -> "212", (1, 7) -> "1 x 7": one number where all axes have the same."""
    words = [f"{size:g}" for size in sizes]
    return words[0] if len(set(words)) == 1 else " x ".join(words)
