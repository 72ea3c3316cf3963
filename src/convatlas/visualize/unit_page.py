"""The page of a unit: HTML that needs nothing beside itself, or one picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from pathlib import Path

from PIL import Image

from convatlas.errors import ConvatlasError
from convatlas.files import write_whole
from convatlas.visualize import unit_parts as parts
from convatlas.visualize.unit_parts import Cell
from convatlas.visualize.units import Unit

LARGEST = 256
"""Longer side of a picture in the page at most, in pixels."""
SHARP, QUALITY = 128, 92
"""Larger pictures without a border are stored as JPEG of that quality, all others without loss."""


def write_unit(unit: Unit, path: Path) -> None:
    """Write the page: as HTML where the file's name ends so, else as a picture; whole or not at all.

    Raises ConvatlasError for a name that is no page's or picture's, and where it cannot be written.
    """
    if is_page(path):
        write_whole(path, lambda beside: beside.write_bytes(html(unit).encode("utf-8", "replace")))
        return
    from convatlas.visualize.unit_picture import picture
    from convatlas.weights.pictures import write_picture

    write_picture(picture(unit), path)


def is_page(path: Path) -> bool:
    """Whether a file's name is a page's.  Raises ConvatlasError where it is no picture's either."""
    from convatlas.weights.pictures import format_of

    if path.suffix.lower() in (".html", ".htm"):
        return True
    try:
        format_of(path)
    except ConvatlasError:
        raise ConvatlasError(f"{path} should end in .html, .png, .jpg or .webp") from None
    return False


def html(unit: Unit) -> str:
    """The page."""
    title = escape(parts.title(unit))
    notes = "".join(f'<p class="notice">{escape(note)}</p>' for note in unit.notes)
    body = [
        f'<header><h1>{title}</h1><p class="line">{escape(" · ".join(parts.facts(unit)))}</p>{notes}</header>',
        f'<section class="top"><div class="drawn">{_cells(parts.drawn(unit))}</div>{_histogram(unit)}</section>',
    ]
    if unit.highest:
        spectrum = f'<div class="spectrum">{_cells(parts.spectrum(unit))}</div>'
        body.append(_section("From most negative to most positive", spectrum))
        body.append(_section(f"Highest in {parts.pictures(unit)}", _highest(unit)))
    if unit.lowest:
        cells = _cells(parts.cell(unit, crop) for crop in unit.lowest)
        body.append(_section(f"Lowest in {parts.pictures(unit)}", f'<div class="crops">{cells}</div>'))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}, {escape(unit.network)}</title>'
        '\n<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><main>{''.join(body)}</main></body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"\n<section><h2>{escape(title)}</h2>{body}</section>"


def _highest(unit: Unit) -> str:
    if unit.unprojected:
        cells = _cells(parts.cell(unit, crop) for crop in unit.highest)
        shown = f'<div class="crops">{cells}</div>'
    else:
        pairs = "".join(
            f'<div class="pair">{_cells([parts.cell(unit, crop), parts.led(unit, crop)])}</div>'
            for crop in unit.highest
        )
        shown = f'<div class="pairs">{pairs}</div>'
    return f'{shown}<p class="note">{escape(parts.about_highest(unit))}</p>'


def _cells(cells: Iterable[Cell]) -> str:
    return "".join(_cell(cell) for cell in cells)


def _cell(cell: Cell) -> str:
    shown = f'<div class="frame words">{escape(cell.words)}</div>'
    if cell.picture is not None:
        small = " small" if max(cell.picture.size) <= parts.SMALL else ""
        called = escape(" ".join(filter(None, (cell.title, cell.name))) or "projection", quote=True)
        mark = ""
        if cell.mark is not None:
            mark = f'<i style="left:{cell.mark[0]:.1%};top:{cell.mark[1]:.1%}"></i>'
        shown = f'<div class="frame{small}"><img alt="{called}" src="{_data(cell.picture)}">{mark}</div>'
    value = f"<b>{escape(cell.value)}</b>" if cell.value else ""
    words = "".join(f'<span title="{escape(text, quote=True)}">{escape(text)}</span>'
                    for text in (cell.title, cell.name, cell.place) if text)  # fmt: skip
    return f"<figure>{shown}<figcaption>{value}{words}</figcaption></figure>"


def _data(picture: Image.Image) -> str:
    """As PNG in the page, square, so that a mark lies where it should."""
    side = max(picture.size)
    if picture.size != (side, side):
        square = Image.new("RGBA", (side, side))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        picture = square
    if side > LARGEST:
        picture = picture.resize((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    stored, kind = io.BytesIO(), "png"
    if side > SHARP and picture.getchannel("A").getextrema()[0] == 255:
        kind = "jpeg"
        picture.convert("RGB").save(stored, kind, quality=QUALITY)
    else:
        picture.save(stored, kind, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(stored.getvalue()).decode('ascii')}"


def _histogram(unit: Unit) -> str:
    """As SVG in the colours of the page."""
    made, width, height = parts.bars(unit), 480, 150
    step = width / len(made.heights)
    rects = "".join(f'<rect x="{n * step:.1f}" y="{height - height * h:.1f}" width="{step - 1:.1f}" '
                    f'height="{height * h:.1f}"/>' for n, h in enumerate(made.heights) if h > 0)  # fmt: skip
    ticks = "".join(
        f'<path class="{kind}" d="M{min(max(made.at(crop.example.value) * width, 1), width - 1):.1f} {height + 3}v9"/>'
        for kind, crops in (("high", unit.highest), ("low", unit.lowest)) for crop in crops
    )  # fmt: skip
    texts = "".join(f'<text x="{made.at(at) * width:.1f}" y="{height + 30}" text-anchor="{anchor}">{parts.number(at)}'
                    "</text>" for at, anchor in parts.labels(made))  # fmt: skip
    return (
        f'<figure class="histogram"><svg viewBox="0 0 {width} {height + 36}" role="img" aria-label="histogram">{rects}'
        f'<path class="axis" d="M0 {height}.5H{width}"/>{ticks}{texts}</svg>'
        f"<figcaption><span>activations: {escape(parts.about_bars(unit, made))}</span></figcaption></figure>"
    )


STYLE = """
:root{color-scheme:light dark;--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--page:#fdfdfc;--card:#f4f4f2;--ink:#2b2d33;--quiet:#6b6e75;--line:#d8d9dd;--low:#2d6cb4;--high:#b4552d;--bar:#aeb2ba}
@media (prefers-color-scheme:dark){:root{--page:#17181b;--card:#212328;--ink:#e6e7ea;--quiet:#9b9ea6;--line:#3a3d44;
--low:#6ea8ea;--high:#e58a5f;--bar:#5b5f68}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 var(--sans)}
main{max-width:1120px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;line-height:1.2;margin:0}
h2{font-size:17px;margin:36px 0 12px;padding-top:14px;border-top:1px solid var(--line)}
p{margin:8px 0}.line,.note{color:var(--quiet)}.note{font-size:12.5px}
.notice{border-left:3px solid var(--high);padding:6px 12px;background:var(--card);font-size:13.5px}
figure{margin:0;min-width:0}
figcaption{font-size:12px;line-height:1.4;color:var(--quiet);margin-top:5px}
figcaption b{display:block;color:var(--ink);font-weight:600;font-variant-numeric:tabular-nums}
figcaption span{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden;
overflow-wrap:anywhere}
.histogram span{display:block}
.frame{position:relative;aspect-ratio:1;border-radius:5px;overflow:hidden;
background:repeating-linear-gradient(45deg,var(--line) 0 1px,var(--card) 1px 7px)}
.frame img{display:block;width:100%;height:100%}
.small img{image-rendering:pixelated}
.frame i{position:absolute;width:13px;height:13px;margin:-6.5px;border:1.5px solid #fff;border-radius:50%;
box-shadow:0 0 0 1px #0009,inset 0 0 0 1px #0009}
.words{display:grid;place-items:center;text-align:center;padding:8px;color:var(--quiet);font-size:13px;
background:var(--card)}
.top{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:28px;align-items:end;margin-top:22px}
.drawn{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px}
.spectrum{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(84px,1fr);gap:8px;overflow-x:auto;
padding-top:10px;border-top:3px solid;border-image:linear-gradient(to right,var(--low),var(--line) 50%,var(--high)) 1}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:16px 22px}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:4px}
.crops{display:grid;grid-template-columns:repeat(auto-fill,minmax(108px,1fr));gap:12px 10px}
svg{display:block;width:100%;height:auto}rect{fill:var(--bar)}
path{stroke:var(--line);fill:none}.high{stroke:var(--high);stroke-width:2}.low{stroke:var(--low);stroke-width:2}
text{font:12px var(--sans);fill:var(--quiet)}
@media (max-width:760px){main{padding:18px 14px 40px}.top{grid-template-columns:minmax(0,1fr)}}
@media print{main{max-width:none;padding:0}figure{break-inside:avoid}h2{break-after:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
