"""What the reports' pages are built of, that of a training run and that of a study: tables, pictures, figures,
numbers as words, the style.  A page is one file that needs nothing beside itself.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from convatlas.cost.plots import COLOURS, INK, QUIET_INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = 192
"""Longer side of a picture at most, in pixels."""
LINE = "#d8d9dd"
INKS = {INK: "ink", QUIET_INK: "quiet", LINE: "line", COLOURS["macs"]: "train", COLOURS["params"]: "validation",
        COLOURS["activation_bytes"]: "test", COLOURS["saved_bytes"]: "rate"}  # fmt: skip
"""The figures' colours by their names in STYLE, where a dark page has others."""


def whole(title: str, body: str, style: str = "") -> str:
    """A page.  title: text; body: HTML; style: what it has beside STYLE."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{style}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def section(name: str, title: str, body: str) -> str:
    return f'\n<section id="{name}"><h2>{title}</h2>{body}</section>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Titles with their values, both HTML."""
    cells = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in pairs)
    return f'<dl class="facts">{cells}</dl>' if cells else '<p class="note">Nothing is known yet.</p>'


def table(
    head: Sequence[str], lines: Iterable[Sequence[str]], bars: dict[int, list[float]] | None = None, right: bool = True
) -> str:
    """Rows of text; numbers to the right, behind those of ``bars`` (column: shares) a bar."""

    def cell(line: int, place: int, text: str) -> str:
        number = right and bool(re.fullmatch(r"[\d.,]+( %)?|–", text)) and place > 0
        share = f' style="--share:{100 * bars[place][line]:.1f}%"' if bars and place in bars else ""
        kind = " class=bar" if share else " class=number" if number else ""
        return f"<td{kind}{share}>{escape(text)}</td>"

    rows = ["".join(cell(n, place, text) for place, text in enumerate(line)) for n, line in enumerate(lines)]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def picture(pixels: np.ndarray, called: str) -> str:
    """As PNG in the page; small pictures keep their pixels."""
    from PIL import Image

    pixels = np.asarray(pixels, dtype=np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        pixels = pixels[..., 0]
    image = Image.fromarray(pixels)
    small = max(image.size) <= 64
    image.thumbnail((PICTURE, PICTURE), Image.Resampling.LANCZOS)
    stored = io.BytesIO()
    image.save(stored, "png", optimize=True)
    data = base64.b64encode(stored.getvalue()).decode("ascii")
    return f'<img alt="{called}"{" class=small" if small else ""} src="data:image/png;base64,{data}">'


def svg(made: Figure, title: str, inks: Mapping[str, str] = INKS) -> str:
    """A figure as SVG in the page: text as text, colours those of the page, no name that another figure has.

    inks: the colours to be the page's, by their names in its style.
    """
    from matplotlib import rc_context

    stored, space = io.BytesIO(), "{http://www.w3.org/2000/svg}"
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's fonts draw it, not matplotlib's
        made.savefig(stored, format="svg", transparent=True)
    root = ElementTree.fromstring(stored.getvalue())
    for part in [root, *root.iter()]:
        for child in [c for c in part if c.tag in (f"{space}metadata", f"{space}style")]:
            part.remove(child)
        part.tag = part.tag.removeprefix(space)
        for key, value in list(part.attrib.items()):
            del part.attrib[key]
            part.set(key.rpartition("}")[2], _local(key, value, title.replace(" ", "-"), inks))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    for part in list(root):  # definitions that are left empty
        if part.tag == "defs" and not len(part):
            root.remove(part)
    root.attrib.update({"role": "img", "aria-label": title})
    return ElementTree.tostring(root, encoding="unicode", method="html")


def _local(key: str, value: str, prefix: str, inks: Mapping[str, str]) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key.endswith("href") and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    if key == "clip-path":
        return value.replace("url(#", f"url(#{prefix}-")
    if key == "style":
        for colour, name in inks.items():
            value = value.replace(colour, f"var(--{name})")
        return re.sub(r"'?DejaVu Sans'?[^;]*sans-serif", "var(--sans)", value)
    return value


def exact(share: float) -> str:
    """0.98765 -> "98.77 %"."""
    return f"{100 * share:.2f} %"


def duration(seconds: float) -> str:
    """75 -> "1 min 15 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def many(count: Any, one: str, several: str | None = None) -> str:
    """2, "thread" -> "2 threads"."""
    return "" if count is None else f"{count} {one if count == 1 else several or one + 's'}"


def word(value: Any) -> str:
    """A value of the recipe: (0.9, True) -> "0.9, yes"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return (", ".join(map(word, value)) or "none") if isinstance(value, list | tuple) else str(value)


STYLE = """
:root{color-scheme:light dark;--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--page:#fdfdfc;--card:#f4f4f2;--ink:#2b2d33;--quiet:#74777e;--line:#d8d9dd;--train:#2d6cb4;--validation:#b4552d;
--test:#3a8f6b;--rate:#8b5fb0}
@media (prefers-color-scheme:dark){:root{--page:#17181b;--card:#212328;--ink:#e6e7ea;--quiet:#9b9ea6;--line:#3a3d44;
--train:#6ea8ea;--validation:#e58a5f;--test:#5fc39a;--rate:#b894d8}svg image{filter:brightness(1.5)}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 var(--sans)}
main{max-width:1120px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:28px;line-height:1.2;margin:0}
h2{font-size:18px;margin:40px 0 12px;padding-top:14px;border-top:1px solid var(--line)}
p{margin:8px 0}.line,.note,small{color:var(--quiet)}.note,small{font-size:12.5px}
.notice{border-left:3px solid var(--validation);padding:6px 12px;background:var(--card)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;margin-top:18px}
.tiles div{background:var(--card);border-radius:8px;padding:12px 16px}
.tiles span,dt{color:var(--quiet);font-size:12.5px;display:block}
.tiles b{font-size:26px;line-height:1.3;display:block;font-variant-numeric:tabular-nums}
.tiles small{display:block;line-height:1.4}
dl{margin:0;display:grid;gap:10px 24px}dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.facts{grid-template-columns:repeat(auto-fill,minmax(180px,1fr))}.facts dd{font-size:18px}
.recipe{grid-template-columns:repeat(auto-fill,minmax(140px,1fr))}
.recipe .changed{border-left:3px solid var(--validation);padding-left:9px}
.recipe .changed dt{color:var(--validation)}
figure{margin:0}svg{display:block;width:100%;height:auto}svg *{stroke-linejoin:round;stroke-linecap:butt}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(310px,1fr));gap:16px}
.beside{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:28px;align-items:start}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{text-align:left;color:var(--quiet);font-weight:500;font-size:12.5px}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.number{white-space:nowrap}.scroll td:not([class]){min-width:92px}
td.bar{white-space:nowrap;min-width:120px}
td.bar::after{content:"";display:block;height:3px;border-radius:2px;margin-top:2px;
background:linear-gradient(to right,var(--train) var(--share),var(--line) var(--share))}
.origin td{overflow-wrap:anywhere}.origin th{width:170px}.facts+.scroll{margin-top:16px}
summary{cursor:pointer;color:var(--quiet);margin:12px 0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(132px,1fr));gap:18px 14px}
.cards img{width:100%;aspect-ratio:1;object-fit:contain;background:var(--card);border-radius:6px}
.cards img.small{image-rendering:pixelated}
.cards figcaption{font-size:13px;line-height:1.4;overflow-wrap:anywhere}
.cards b{color:var(--validation)}.cards b.true{color:var(--test)}
@media (max-width:760px){main{padding:18px 14px 40px}.beside{grid-template-columns:minmax(0,1fr)}
.tiles{grid-template-columns:1fr 1fr}.tiles b{font-size:21px}
.cards{grid-template-columns:repeat(auto-fill,minmax(104px,1fr))}
.origin th{width:96px}}
@media print{svg image{filter:none}
:root{--page:#fff;--card:#f4f4f2;--ink:#2b2d33;--quiet:#74777e;--line:#d8d9dd;--train:#2d6cb4;
--validation:#b4552d;--test:#3a8f6b;--rate:#8b5fb0}main{max-width:none;padding:0}
figure,tr,.tiles div,.notice{break-inside:avoid}h2{break-after:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
