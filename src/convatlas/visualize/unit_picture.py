"""The page of a unit as one picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from convatlas.visualize import unit_parts as parts
from convatlas.visualize.sheets import font
from convatlas.visualize.unit_parts import Cell
from convatlas.visualize.units import Unit

WIDTH, MARGIN, GAP = 1600, 48, 14
"""Pixels: of the picture, around it, between cells."""
INNER, TALL = WIDTH - 2 * MARGIN, 4096
INK, QUIET, LINE, CARD, BAR = (43, 45, 51), (116, 119, 126), (216, 217, 221), (244, 244, 242), (174, 178, 186)
LOW, HIGH, PAPER = (45, 108, 180), (180, 85, 45), (253, 253, 252)
"""The page's colours in the light."""


def picture(unit: Unit) -> Image.Image:
    """What ``unit_page.html`` shows, 1,600 pixels wide."""
    sheet = _Sheet()
    sheet.text(parts.title(unit), 34, INK)
    sheet.text(" · ".join(parts.facts(unit)), 19)
    for note in unit.notes:
        sheet.text(note, 17, HIGH)
    sheet.y += 18
    top, drawn = sheet.y, parts.drawn(unit)
    side = 290
    sheet.row(drawn, side)
    sheet.histogram(unit, MARGIN + 3 * (side + GAP) + 24, top, side)
    if unit.highest:
        spectrum = parts.spectrum(unit)
        sheet.heading("From most negative to most positive")
        sheet.gradient()
        sheet.row(spectrum, (INNER - (len(spectrum) - 1) * GAP) // max(len(spectrum), 8))
        sheet.heading(f"Highest in {parts.pictures(unit)}")
        _highest(sheet, unit)
    if unit.lowest:
        sheet.heading(f"Lowest in {parts.pictures(unit)}")
        sheet.rows([parts.cell(unit, crop) for crop in unit.lowest], 9)
    sheet.room(MARGIN)
    return sheet.page.crop((0, 0, WIDTH, sheet.y + MARGIN))


def _highest(sheet: _Sheet, unit: Unit) -> None:
    if unit.unprojected:
        sheet.rows([parts.cell(unit, crop) for crop in unit.highest], 9)
    else:
        sheet.rows([cell for crop in unit.highest for cell in (parts.cell(unit, crop), parts.led(unit, crop))], 6)
    sheet.text(parts.about_highest(unit), 16)


class _Sheet:
    """A picture that is filled from the top, and grows; y: how far it is."""

    def __init__(self) -> None:
        self.page = Image.new("RGB", (WIDTH, TALL), PAPER)
        self.draw = ImageDraw.Draw(self.page)
        self.y = MARGIN - 8

    def room(self, height: int) -> None:
        """For so many rows more."""
        if self.y + height > self.page.height:
            page = Image.new("RGB", (WIDTH, max(2 * self.page.height, self.y + height)), PAPER)
            page.paste(self.page)
            self.page, self.draw = page, ImageDraw.Draw(page)

    def text(self, words: str, size: int, colour: tuple[int, int, int] = QUIET) -> None:
        """In as many lines as it takes."""
        line = ""
        for word in [*words.split(), None]:
            longer = f"{line} {word}".strip()
            if word is None or self.draw.textlength(longer, font=font(size)) > INNER:
                self.room(2 * size)
                self.draw.text((MARGIN, self.y), line, colour, font=font(size))
                self.y += round(size * 1.45)
                line = word or ""
            else:
                line = longer

    def heading(self, words: str) -> None:
        self.y += 26
        self.room(16)
        self.draw.line((MARGIN, self.y, WIDTH - MARGIN, self.y), LINE)
        self.y += 16
        self.text(words, 22, INK)
        self.y += 8

    def gradient(self) -> None:
        """From low to high."""
        self.room(16)
        for x in range(INNER):
            at = 2 * x / INNER - 1
            end = LOW if at < 0 else HIGH
            mixed = tuple(round(a + (b - a) * abs(at)) for a, b in zip(LINE, end))
            self.draw.line((MARGIN + x, self.y, MARGIN + x, self.y + 3), mixed)
        self.y += 16

    def rows(self, cells: Sequence[Cell], columns: int) -> None:
        side = (INNER - (columns - 1) * GAP) // columns
        for start in range(0, len(cells), columns):
            self.row(cells[start : start + columns], side)

    def row(self, cells: Sequence[Cell], side: int) -> None:
        """Cells side by side, each with its words below."""
        lines = max(sum(map(bool, (cell.value, cell.title, cell.name, cell.place))) for cell in cells)
        self.room(side + 16 + 21 * lines)
        for place, cell in enumerate(cells):
            x, y = MARGIN + place * (side + GAP), self.y
            self._frame(cell, x, y, side)
            words = [text for text in (cell.value, cell.title, cell.name, cell.place) if text]
            for line, text in enumerate(words):
                size, colour = (17, INK) if text == cell.value else (14, QUIET)
                self.draw.text((x, y + side + 5 + 21 * line), self._short(text, size, side), colour, font=font(size))
        self.y += side + 16 + 21 * lines

    def _frame(self, cell: Cell, x: int, y: int, side: int) -> None:
        self.page.paste(CARD, (x, y, x + side, y + side))
        if cell.picture is None:
            self.draw.text((x + side / 2, y + side / 2), cell.words, QUIET, anchor="mm",
                           font=font(min(18, max(10, side // 9))))  # fmt: skip
            return
        stripes = Image.new("RGB", (side, side), CARD)
        lines = ImageDraw.Draw(stripes)
        for start in range(-side, side, 9):
            lines.line((start, side, start + side, 0), LINE)
        self.page.paste(stripes, (x, y))
        scale = side / max(cell.picture.size)
        size = round(cell.picture.width * scale), round(cell.picture.height * scale)
        small = max(cell.picture.size) <= parts.SMALL
        shown = cell.picture.resize(size, Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)
        left, top = x + (side - size[0]) // 2, y + (side - size[1]) // 2
        self.page.paste(shown, (left, top), shown)
        if cell.mark is not None:
            at_x, at_y = left + cell.mark[0] * size[0], top + cell.mark[1] * size[1]
            self.draw.circle((at_x, at_y), 9, outline=(0, 0, 0), width=1)
            self.draw.circle((at_x, at_y), 8, outline=(255, 255, 255), width=2)

    def _short(self, words: str, size: int, room: int) -> str:
        if self.draw.textlength(words, font=font(size)) <= room:
            return words
        while words and self.draw.textlength(f"{words}…", font=font(size)) > room:
            words = words[:-1]
        return f"{words}…"

    def histogram(self, unit: Unit, left: int, top: int, height: int) -> None:
        made, width = parts.bars(unit), WIDTH - MARGIN - left
        base, step = top + height - 34, width / parts.BARS
        for place, share in enumerate(made.heights):
            if share > 0:
                x = left + place * step
                self.draw.rectangle((x, base - share * (height - 34), x + step - 2, base), BAR)
        self.draw.line((left, base, left + width, base), LINE)
        for colour, crops in ((HIGH, unit.highest), (LOW, unit.lowest)):
            for crop in crops:
                x = left + made.at(crop.example.value) * width
                self.draw.line((x, base + 4, x, base + 14), colour, 2)
        for at, anchor in parts.labels(made):
            self.draw.text((left + made.at(at) * width, base + 18), parts.number(at), QUIET, font=font(15),
                           anchor={"start": "la", "middle": "ma", "end": "ra"}[anchor])  # fmt: skip
        self.draw.text((left, base + 40), parts.about_bars(unit, made), QUIET, font=font(15))
