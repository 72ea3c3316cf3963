"""The report of a study, from made studies of both kinds: what it shows, and that its page stands by itself."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from convatlas.errors import ConvatlasError, UnknownName
from convatlas.scaling.coefficients import Coefficients, grid, thinned
from convatlas.scaling.figures import FIGURES
from convatlas.scaling.looks import floor
from convatlas.scaling.report import figure, report
from convatlas.scaling.results import Candidate, Result
from convatlas.scaling.space import Space

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The page's elements, its text, and the rows of its tables by section; asserts that elements are closed."""

    def __init__(self, source: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text, self.section, self.source = "", "", source
        self.rows: dict[str, list[list[str]]] = {}
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("section", "header"):
            self.section = dict(attrs)["id"] or ""
        if tag == "table":
            self.section += "+" if self.section in self.rows else ""
        if tag == "tr":
            self.rows.setdefault(self.section, []).append([])
        if tag in ("td", "th"):
            self.rows[self.section][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[self.section][-1][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def compound(latency: bool = True, most: int = 20) -> Result:
    """A grid at twice the compute, each dimension alone, and larger ones of the best coefficients."""
    chance, found = random.Random(3), []

    def add(name: str, kind: str, depth: float, width: float, side: float, /, **choices: Any) -> None:
        times = depth * width**2 * side**2
        gain = 6.2 * (1 - times**-0.45) - 2.4 * math.log(max(depth, width, side)) ** 1.5
        seeds = tuple(round(0.712 + gain / 100 + chance.gauss(0, 0.0035), 4) for _ in range(3))
        options = {"width": round(width, 4), "depth": round(depth, 4), "input_size": round(64 * side)}
        found.append(Candidate(name, kind, "efficientnet_b0", options, choices, round(33.4e6 * times),
                               round(4.1e6 * depth * width**2), seeds, 420 * times, len(found),
                               (0.0011 + 0.0031 * times**0.8) if latency else None))  # fmt: skip

    add("efficientnet_b0", "base", 1, 1, 1)
    for at in thinned(grid(), most):
        factors = at.at(1)
        add(f"compound {at}", "compound", factors.depth, factors.width, factors.resolution, alpha=at.alpha,
            beta=at.beta, gamma=at.gamma, phi=1)  # fmt: skip
    best = Coefficients(1.2, 1.1, 1.15)
    for phi in (2, 3):
        factors = best.at(phi)
        add(f"compound {best}, φ = {phi}", "compound", factors.depth, factors.width, factors.resolution,
            alpha=best.alpha, beta=best.beta, gamma=best.gamma, phi=phi)  # fmt: skip
    for times in (2, 4, 8):
        add(f"depth {times:g}", "depth", times, 1, 1, depth=float(times))
        add(f"width {times**0.5:.3g}", "width", 1, times**0.5, 1, width=round(times**0.5, 3))
        add(f"resolution {times**0.5:.3g}", "resolution", 1, 1, times**0.5, resolution=round(times**0.5, 3))
    winner = max((one for one in found if one.kind == "compound"), key=lambda one: one.accuracy or 0)
    return Result(
        "Compound scaling of efficientnet_b0 on tiny pictures",
        ("Every α, β, γ on a grid of 0.05 with α · β² · γ² within 0.1 of 2 was trained with three seeds, and so was "
         "each dimension alone at the same compute.", "Each candidate was trained for 12 epochs."),
        tuple(found), winner.name, {"finished": 3 * len(found), "halved": 0, "thrown_out": 0, "died": 2}, {}, {},
        ("These are short trainings on small pictures: the order of the candidates counts, not the accuracies.",),
    )  # fmt: skip


def searched(count: int = 90, latency: bool = True) -> Result:
    """A search under a target, most candidates halved, two diverged."""
    chance, space, found = random.Random(5), Space(64, 20), []
    for order in range(count):
        lean = min(0.8, order / count)
        chosen = {name: chance.choice(values) for name, values in space.choices.items()}
        for name in chosen:
            if chance.random() < lean and name.endswith((".kernel", ".gate")):
                chosen[name] = space.choices[name][-1]
        macs = round(chance.triangular(8e6, 39.8e6, 32e6))
        quality = sum((chosen[name] in (5, 6, True)) * (0.4 + 0.6 * (name[5] in "56")) for name in chosen) / len(chosen)
        final = round(0.55 + 0.12 * (macs / 40e6) ** 0.3 + 0.22 * quality + chance.gauss(0, 0.008), 4)
        halved = order > 3 and chance.random() < 0.55 - quality
        diverged = order in (17, 51)
        name = f"searched {order}"
        found.append(Candidate(
            name, "searched", "mnasnet_a1", space.options(chosen), chosen, macs, round(macs / 30),
            () if halved or diverged else (final,), 90 if halved else 300, order,
            macs / 9e9 * chance.uniform(0.8, 1.25) + 0.0009 if latency else None, None if halved or diverged else final,
            round(final - chance.uniform(0.1, 0.35), 4) if halved and not diverged else None, diverged,
        ))  # fmt: skip
    best = max(found, key=lambda one: one.accuracy or 0)
    importance = {name: chance.paretovariate(0.9) for name in space.choices}
    total = sum(importance.values())
    halved_ = sum(one.halved_at is not None for one in found)
    return Result(
        "A network for 64 pixels and 40 M multiply-adds",
        ("MnasNet's space around MobileNetV2's table, 20 classes, 64 pixels.",
         "TPE proposed each candidate; asynchronous successive halving ended the poor ones at epochs 1, 3 and 9."),
        tuple(found), best.name, {"finished": count - halved_, "halved": halved_, "thrown_out": 41, "died": 1},
        {name: share / total for name, share in importance.items()}, {"macs": 40e6},
        ("The validation pictures chose the winner; an accuracy on other pictures will be somewhat lower.",),
    )  # fmt: skip


STUDIES = {"grid": compound, "search": searched}


@pytest.fixture(scope="module", params=STUDIES)
def made(request: pytest.FixtureRequest) -> tuple[Result, Page]:
    found = STUDIES[request.param]()
    return found, Page(report(found))


# ---- the page -----------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_beside_itself(made: tuple[Result, Page]) -> None:
    found, page = made
    assert page.source.startswith("<!doctype html>")
    assert not re.search(r"https?:|//|@import|<script|<link|src=", page.source)
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'(?:href="#|url\(#)([^")]+)', page.source):
        assert reference in ids
    assert len(page.of("svg")) == 3 + bool(found.importance)
    assert {"summary", "winner", "cost", "time", "history", "candidates"} <= set(ids)


def test_every_colour_is_one_that_a_dark_page_replaces(made: tuple[Result, Page]) -> None:
    _, page = made
    drawn = page.source.partition("</style>")[2]
    assert not re.findall(r"#[0-9a-f]{6}\b", drawn)
    known = set(re.findall(r"--([\w-]+):", page.source.partition("</style>")[0]))
    assert set(re.findall(r"var\(--([\w-]+)\)", drawn)) <= known
    assert "prefers-color-scheme:dark" in page.source


def test_title_about_notes_and_counts_are_said(made: tuple[Result, Page]) -> None:
    found, page = made
    for said in (found.title, *found.about, *found.notes, found.best):
        assert said in page.text
    counts = dict(re.findall(r"<dt>([\w ]+)</dt><dd>([\d,]+)</dd>", page.source.partition('id="history"')[2]))
    assert counts == {"trained to the end": f"{found.counts['finished']:,}", "halved": f"{found.counts['halved']:,}",
                      "thrown out untrained": f"{found.counts['thrown_out']:,}",
                      "died and begun again": f"{found.counts['died']:,}"}  # fmt: skip


def test_the_winner_comes_first_and_every_candidate_has_a_line(made: tuple[Result, Page]) -> None:
    found, page = made
    places = [page.source.index(f'id="{name}"') for name in ("summary", "winner", "cost", "history", "candidates")]
    assert places == sorted(places)
    head, first, *_ = rows = page.rows["candidates"]
    assert first[0] == found.best
    assert sorted(row[0] for row in rows[1:]) == sorted(one.name for one in found.candidates)
    assert first[head.index("accuracy, %")] == f"{100 * (found.winner.accuracy or 0):.2f}"
    assert first[head.index("multiply-adds, M")] == f"{found.winner.macs / 1e6:.2f}"
    assert {row[0] for row in rows if row[head.index("front")] == "●"} == {one.name for one in found.front()}
    accuracies = [float(row[head.index("accuracy, %")]) for row in rows[1:] if "." in row[1 + (head[1] == "kind")][:3]]
    assert accuracies == sorted(accuracies, reverse=True)


def test_numbers_are_to_the_right_below_titles_with_their_units(made: tuple[Result, Page]) -> None:
    _, page = made
    table = page.source.partition('<table class="all">')[2].partition("</table>")[0]
    for title in ("accuracy, %", "multiply-adds, M", "parameters, M", "predicted, ms", "training, s", "task"):
        assert f"<th class=number>{title}</th>" in table
    assert not re.search(r"<td>[\d,]*\.\d+</td>", table)


def test_a_search_shows_the_winners_stages_and_what_became_of_them() -> None:
    found = searched()
    page = Page(report(found))
    head, *lines = page.rows["winner"]
    assert head == ["stage", "expand", "kernel", "gate", "skip", "width", "layers", "stride", "channels", "blocks"]
    for line, row in zip(lines, found.winner.options["design"]["rows"], strict=True):
        number = line[0]
        assert line[2] == str(found.winner.choices[f"stage{number}.kernel"]) == str(row[0])
        assert line[3] == ("yes" if row[5] else "no")
        assert line[-2] == str(row[3])
    assert [row[0] for row in page.rows["candidates+"][1:]] == [row[0] for row in page.rows["candidates"][1:]]
    assert "% of the target, 40 M" in page.text


def test_a_search_says_what_was_halved_and_what_diverged() -> None:
    found = searched()
    head, *lines = Page(report(found)).rows["candidates"]
    said = {line[0]: line[head.index("accuracy, %")] for line in lines}
    for one in found.candidates:
        if one.diverged:
            assert said[one.name] == "diverged"
        elif one.halved_at is not None:
            assert said[one.name] == f"halved at {100 * one.halved_at:.1f}"


def test_a_grid_shows_the_winners_factors_and_how_it_is_made() -> None:
    found = compound()
    page = Page(report(found))
    for name in ("alpha", "beta", "gamma", "phi"):
        assert f"<dt>{name}</dt><dd>{found.winner.choices[name]:g}</dd>" in page.source
    assert f"convatlas.create('efficientnet_b0', width={found.winner.options['width']}" in page.text
    assert f"± {100 * (found.winner.spread or 0):.2f} %".replace(" ", "\xa0") in page.text


def test_names_and_notes_are_text_and_nothing_else() -> None:
    found, wicked = compound(most=3), "<script>alert('$x^2$ & \"')</script>\x07"
    first, *others = found.candidates
    found = replace(
        found, title=wicked, about=(wicked,), notes=(wicked,), best=wicked, counts={wicked: 1},
        importance={wicked: 0.6, "stage2.$kernel$": 0.4},
        candidates=(replace(first, name=wicked, kind=wicked, network=wicked, choices={wicked: wicked}), *others),
    )  # fmt: skip
    page = Page(report(found))
    assert not page.of("script")
    assert page.text.count("<script>alert('$x^2$ & \"')</script>") > 10


@pytest.mark.parametrize("study", STUDIES)
def test_one_candidate_is_enough(study: str) -> None:
    found = STUDIES[study]()
    page = Page(report(replace(found, candidates=(found.winner,), importance={}, target={})))
    assert len(page.rows["candidates"]) == 2
    assert len(page.of("svg")) == 3


def test_without_latency_there_is_nothing_of_time() -> None:
    page = Page(report(compound(latency=False, most=3)))
    assert "predicted" not in page.text
    assert "time" not in [attributes.get("id") for _, attributes in page.elements]


def test_all_but_one_halved_and_even_all() -> None:
    found = searched(14)
    early = tuple(replace(one, accuracies=(), reward=None, halved_at=0.3 + one.order / 100) for one in found.candidates)
    one = replace(found, candidates=(*(c for c in early if c.name != found.best), found.winner))
    page = Page(report(one))
    assert page.rows["candidates"][1][0] == found.best
    assert len(page.rows["candidates"]) == 15
    assert sum("halved at" in row[1] for row in page.rows["candidates"]) == 13
    none = Page(report(replace(found, candidates=early)))
    assert "halved at" in none.text
    assert "cost" not in [attributes.get("id") for _, attributes in none.elements]


# ---- the figures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", STUDIES)
def test_the_page_and_its_figures_are_the_same_twice(study: str, tmp_path: Path) -> None:
    assert report(STUDIES[study]()) == report(STUDIES[study]())
    kinds = [kind for kind in FIGURES if kind != "importance" or study == "search"]
    for kind in kinds:
        for suffix in ("svg", "png") if kind == "cost" else ("svg",):
            files = [tmp_path / f"{kind}{number}.{suffix}" for number in range(2)]
            for file in files:
                figure(STUDIES[study](), kind, file)
            assert files[0].read_bytes() == files[1].read_bytes()
    ElementTree.parse(tmp_path / "cost0.svg")


def test_a_figure_by_itself_has_the_studys_title_and_the_page_has_it_once() -> None:
    found = compound(most=3)
    assert figure(found, "history").get_suptitle() == found.title
    assert found.title not in report(found).partition("</header>")[2]


def test_a_figure_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnknownName, match="did you mean 'history'"):
        figure(compound(most=3), "histroy")
    with pytest.raises(ConvatlasError, match="nothing for the figure importance; it has: cost, time, history"):
        figure(compound(most=3), "importance")


def test_scales_hold_every_candidate_and_its_error_bar() -> None:
    found = compound()
    panel = figure(found, "cost").axes[0]
    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    lowest = floor([one.accuracy or 0 for one in found.candidates])
    for one in found.candidates:
        accuracy, spread = 100 * (one.accuracy or 0), 100 * (one.spread or 0)
        assert left < one.macs < right
        assert accuracy < 100 * lowest or low < accuracy - spread < accuracy + spread < high
    assert 100 * lowest - low < 3
    assert high - 100 * (found.winner.accuracy or 0) < 3


def test_what_lies_far_below_does_not_squash_the_others() -> None:
    assert floor([0.1, 0.70, 0.71, 0.72, 0.73]) == 0.70
    assert floor([0.68, 0.70, 0.71, 0.72, 0.73]) == 0.68
    assert floor([0.1, 0.7]) == 0.1
    assert floor([]) == 0.0


def test_no_label_lies_on_another_nor_beyond_the_figure() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for found in (compound(), searched(), replace(searched(), target={"macs": 9e6, "latency": 0.0022})):
        for kind in ("cost", "time"):
            drawn = figure(found, kind)
            canvas: Any = FigureCanvasAgg(drawn)
            canvas.draw()
            panel = drawn.axes[0]
            texts = [text for text in (*panel.texts, panel._left_title) if text.get_text()]
            boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
            assert len(boxes) > 4
            for n, box in enumerate(boxes):
                assert drawn.bbox.x0 <= box.x0 < box.x1 <= drawn.bbox.x1
                assert not any(box.overlaps(other) for other in boxes[:n])
