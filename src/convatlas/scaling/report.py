"""The report of a study: one HTML page that needs nothing beside itself.  The winner first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import starmap
from typing import Any

from convatlas import page
from convatlas.compare.axes import time
from convatlas.compare.drawing.style import GRID, darker
from convatlas.numbers import short
from convatlas.scaling.figures import FIGURES, figure, has
from convatlas.scaling.looks import LOOKS, rounded
from convatlas.scaling.results import Candidate, Result, mean_and_spread, ordered

__all__ = ["figure", "report"]

TITLES = {"cost": "Accuracy and compute", "time": "Accuracy and time"}
COUNTS = {
    "finished": "trained to the end", "halved": "halved", "running": "still running", "waiting": "waiting",
    "thrown_out": "thrown out untrained", "died": "died and begun again", "twice": "given up to another process",
}  # fmt: skip
"""What became of the trials, in the order of the page.  The last two pairs are named only where there are some."""
ALWAYS = ("finished", "halved", "thrown_out", "died")
MEANS = {
    "expand": "Expand: times its inputs; 0 is a convolution over all channels, 1 a separable one.",
    "gate": "Gate: squeeze-and-excitation.",
    "width": "Width: times MobileNetV2's.",
    "layers": "Layers: more than MobileNetV2's.",
}
"""Of a stage's choices, as ``space.CHOICES`` has them."""
STAGE = re.compile(r"stage(\d+)\.(\w+)")


def report(found: Result) -> str:
    """The page as HTML."""
    side = [_drawn(found, kind) for kind in ("history", "importance") if has(found, kind)]
    parts = [
        _head(found),
        page.section("winner", "The winner", _winner(found)),
        *(page.section(kind, title, f'<figure class="scroll wide">{_drawn(found, kind)}</figure>')
          for kind, title in TITLES.items() if has(found, kind)),
        page.section("history", "The course of the study", _course(found, side)),
        page.section("candidates", "All candidates", _candidates(found)),
    ]  # fmt: skip
    return page.whole(found.title, "".join(parts), STYLE)


def _drawn(found: Result, kind: str) -> str:
    return page.svg(FIGURES[kind](found), kind, INKS)


def _head(found: Result) -> str:
    best = found.winner
    tiles = [("accuracy", mean_and_spread(best), _of_seeds(best)),
             ("multiply-adds", short(best.macs), _share(best.macs, found.target.get("macs"), short)),
             ("parameters", short(best.params), "")]  # fmt: skip
    if best.latency is not None:
        tiles.append(("time of a picture", time(best.latency), _share(best.latency, found.target.get("latency"), time)
                      or "predicted"))  # fmt: skip
    tiles.append(("candidates", f"{len(found.candidates):,}", f"{len(found.front())} on the front"))
    boxes = "".join(f"<div><span>{escape(k)}</span><b>{_whole(v)}</b><small>{escape(n)}</small></div>"
                    for k, v, n in tiles)  # fmt: skip
    notes = "".join(f'<p class="notice">{escape(note)}</p>' for note in found.notes)
    about = "".join(f"<p>{escape(sentence)}</p>" for sentence in found.about)
    return (
        f'<header id="summary"><h1>{escape(found.title)}</h1><div class="about">{about}</div>{notes}'
        f'<p class="line best">The winner: <b>{escape(best.name)}</b></p><div class="tiles">{boxes}</div></header>'
    )


def _of_seeds(one: Candidate) -> str:
    if one.accuracy is None:
        return "not trained to the end"
    return "mean ± standard deviation of " + page.many(len(one.accuracies), "seed") if one.spread else "in validation"


def _share(value: float, target: float | None, form: Callable[[float], str]) -> str:
    return (
        f"{100 * value / target:.0f} % of the target, {rounded(form(target))}".replace(" ", "\xa0", 1) if target else ""
    )


def _whole(text: str) -> str:
    """A figure with its unit, not to be broken; what is after ± smaller."""
    first, plus, rest = escape(text).replace(" ", "\xa0").partition("\xa0±")
    return first + (f"<small>{plus}{rest}</small>" if plus else "")


# ---- the winner ---------------------------------------------------------------------------------------------


def _winner(found: Result) -> str:
    best = found.winner
    stages, others = split(best.choices)
    facts = [("network", best.network), ("kind", best.kind), *((name, said(value)) for name, value in others.items())]
    if best.reward is not None:
        facts.append(("reward", f"{best.reward:.4f}"))
    facts.append(("time of its trainings", page.duration(best.seconds)))
    body = page.facts((escape(name), escape(value)) for name, value in facts)
    if stages:
        body += _stages(stages, best.options)
    arguments = [repr(best.network), *(f"{name}={value!r}" for name, value in best.options.items())]
    made = escape(f"convatlas.create({', '.join(arguments)})")
    return (
        f"{body}<details{' open' * (len(made) < 160)}><summary>as a line of Python</summary><pre>{made}</pre></details>"
    )


def split(choices: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """{"stage2.kernel": 5, "phi": 1} -> ({"2": {"kernel": 5}}, {"phi": 1})."""
    stages: dict[str, dict[str, Any]] = {}
    others = {}
    for name, value in choices.items():
        if stage := STAGE.fullmatch(name):
            stages.setdefault(stage[1], {})[stage[2]] = value
        else:
            others[name] = value
    return stages, others


def _stages(stages: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """A row for each stage: what was chosen, and where the network's table is known what became of it."""
    names = list(dict.fromkeys(name for stage in stages.values() for name in stage))
    rows = (options.get("design") or {}).get("rows") or ()
    known = len(rows) == len(stages) and all(len(row) >= 5 for row in rows)
    head = ["stage", *names, *(["stride", "channels", "blocks"] if known else [])]
    lines = []
    for place, (number, stage) in enumerate(stages.items()):
        made = [str(rows[place][1]), str(rows[place][3]), str(rows[place][4])] if known else []
        lines.append([number, *(said(stage[name]) if name in stage else "–" for name in names), *made])
    note = "The choices of each stage" + (", and the stride, channels and blocks that they make. " if known else ". ")
    note += " ".join(means for name, means in MEANS.items() if name in names)
    return f'{_table(head, lines, "stages")}<p class="note">{note}</p>'


def said(value: Any) -> str:
    return page.word(value)


# ---- the course, and the table ------------------------------------------------------------------------------


def _course(found: Result, drawn: Sequence[str]) -> str:
    names = [name for name in dict.fromkeys((*COUNTS, *found.counts)) if name in ALWAYS or found.counts.get(name)]
    counts = [(COUNTS.get(name, name), f"{found.counts.get(name, 0):,}") for name in names]
    facts = page.facts((escape(name), value) for name, value in counts)
    figures = "".join(f"<figure>{one}</figure>" for one in drawn)
    return f'{facts}<div class="pair">{figures}</div>'


def _candidates(found: Result) -> str:
    listed, front = ordered(found.candidates), {one.name for one in found.front()}
    unit, per = _unit([one.macs for one in listed])
    weight, each = _unit([one.params for one in listed])
    columns: list[tuple[str, Callable[[Candidate], str]]] = [
        ("name", lambda one: one.name),
        ("kind", lambda one: one.kind),
        ("accuracy, %", accuracy),
        ("± s.d.", lambda one: f"{100 * one.spread:.2f}" if one.spread is not None else "–"),
        ("seeds", lambda one: str(len(one.accuracies)) if one.accuracies else "–"),
        ("reward", lambda one: f"{one.reward:.4f}" if one.reward is not None else "–"),
        (f"multiply-adds, {unit}", lambda one: _in(one.macs, per)),
        (f"parameters, {weight}", lambda one: _in(one.params, each)),
        ("predicted, ms", lambda one: f"{1e3 * one.latency:,.2f}" if one.latency is not None else "–"),
        ("training, s", lambda one: f"{one.seconds:,.0f}"),
        ("task", lambda one: str(one.order)),
        ("front", lambda one: "●" if one.name in front else ""),
        ("choices", lambda one: ", ".join(f"{name} {said(value)}" for name, value in split(one.choices)[1].items())),
    ]
    told = [(head, [form(one) for one in listed]) for head, form in columns]
    told = [(head, cells) for head, cells in told if any(cell not in ("–", "") for cell in cells)]
    if len({one.kind for one in listed}) == 1:
        told = [(head, cells) for head, cells in told if head != "kind"]
    if len(_seeds(listed)) <= 1:
        told = [(head, cells) for head, cells in told if head != "seeds"]
    marks = ["best" if one.name == found.best else "" if one.accuracy is not None and not one.diverged else "early"
             for one in listed]  # fmt: skip
    body = _table([head for head, _ in told], list(zip(*(cells for _, cells in told))), "all", marks)
    return body + f'<p class="note">{_legend(listed)}</p>' + _chosen(listed, marks)


def accuracy(one: Candidate) -> str:
    """In per cent; of what was halved how far it had come."""
    if one.diverged:
        return "diverged"
    if one.accuracy is None:
        return f"halved at {100 * one.halved_at:.1f}" if one.halved_at is not None else "halved"
    return f"{100 * one.accuracy:.2f}"


def _legend(listed: Sequence[Candidate]) -> str:
    words = ["The most accurate first. ● none beats it in both accuracy and multiply-adds."]
    if any(one.spread is not None for one in listed):
        several = f"the {max(_seeds(listed))} seeds" if len(_seeds(listed)) == 1 else "the seeds"
        words.append(f"± s.d.: the standard deviation over {several}, in points.")
    if any(one.accuracy is None and one.halved_at is not None for one in listed):
        words.append("Halved: ended early by successive halving, at the accuracy it then had.")
    return " ".join(words)


def _seeds(listed: Sequence[Candidate]) -> set[int]:
    """How many the candidates have that were trained to the end."""
    return {len(one.accuracies) for one in listed if one.accuracies}


def _chosen(listed: Sequence[Candidate], marks: Sequence[str]) -> str:
    """Stage by stage what every candidate has, where they have stages."""
    numbers = list(dict.fromkeys(number for one in listed for number in split(one.choices)[0]))
    if not numbers:
        return ""
    names = list(dict.fromkeys(name for one in listed for stage in split(one.choices)[0].values() for name in stage))
    lines = []
    for one in listed:
        stages = split(one.choices)[0]
        lines.append([one.name, *(" · ".join(starmap(_brief, stages.get(number, {}).items())) or "–"
                                  for number in numbers)])  # fmt: skip
    body = _table(["name", *(f"stage {number}" for number in numbers)], lines, "chosen", marks)
    note = escape(f"Of each stage: {' · '.join(names)}.")
    return f'<details><summary>what each candidate chose</summary><p class="note">{note}</p>{body}</details>'


def _brief(name: str, value: Any) -> str:
    """True as what it is that is there."""
    return (name if value else "–") if isinstance(value, bool) else said(value)


def _table(
    head: Sequence[str], lines: Sequence[Sequence[str]], kind: str = "", marks: Sequence[str] | None = None
) -> str:
    """Rows of text; columns of numbers to the right with their titles."""
    right = [place > 0 and all(re.fullmatch(r"-?[\d.,]+|–|diverged|halved.*", line[place]) for line in lines)
             for place in range(len(head))]  # fmt: skip

    def row(cells: Iterable[str], tag: str, mark: str = "") -> str:
        inside = "".join(f"<{tag}{' class=number' * right[place]}>{escape(text)}</{tag}>"
                         for place, text in enumerate(cells))  # fmt: skip
        return f"<tr{f' class={mark}' if mark else ''}>{inside}</tr>"

    body = "".join(row(line, "td", marks[n] if marks else "") for n, line in enumerate(lines))
    return (f'<div class="scroll"><table class="{kind}"><thead>{row(head, "th")}</thead>'
            f"<tbody>{body}</tbody></table></div>")  # fmt: skip


def _unit(values: Sequence[int]) -> tuple[str, float]:
    """One unit for a column, in which the least is at least about 1."""
    least = min(filter(None, values), default=1)
    return next(
        ((unit, factor) for unit, factor in (("G", 1e9), ("M", 1e6), ("K", 1e3)) if least >= 0.1 * factor), ("", 1)
    )


def _in(value: float, per: float) -> str:
    return f"{value / per:,.2f}" if per > 1 else f"{value:,}"


INKS = {
    **page.INKS, GRID: "line", "#ffffff": "page",
    **{darker(colour): f"{kind}-ink" for kind, (colour, _) in LOOKS.items() if colour not in page.INKS},
    **{colour: kind for kind, (colour, _) in LOOKS.items() if colour not in page.INKS},
}  # fmt: skip
DARK = {"compound": "#ea7a4a", "depth": "#7cb6f2", "width": "#f0d27a", "resolution": "#9a83dc"}
_LIGHT = "".join(f"--{kind}:{LOOKS[kind][0]};--{kind}-ink:{darker(LOOKS[kind][0])};" for kind in DARK)
STYLE = f"""
:root{{{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{"".join(f"--{k}:{v};--{k}-ink:{v};" for k, v in DARK.items())}}}}}
.about{{max-width:72ch}}.line.best{{margin:22px 0 -6px;font-size:16px}}.line.best b{{color:var(--ink)}}
.tiles b small{{display:inline;font-size:15px;font-weight:400}}
.wide svg{{min-width:620px}}
.pair{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:28px;align-items:start;
margin-top:22px}}.pair figure:only-child{{max-width:640px}}
table{{width:auto}}table.all,table.chosen{{width:100%}}
table.all th{{padding-right:10px}}th{{vertical-align:bottom}}
th.number,td.number{{text-align:right}}.scroll td:not([class]){{min-width:0}}
tr.best td{{font-weight:600;background:var(--card)}}tr.early td{{color:var(--quiet)}}
table.all td{{white-space:nowrap;padding-right:10px}}
table.all td:last-child:not(.number){{color:var(--quiet);font-size:12px;font-weight:400;padding:0;
vertical-align:middle}}
table.stages{{margin-top:18px}}table.chosen td{{white-space:nowrap;font-size:12.5px}}
pre{{margin:0;padding:10px 12px;background:var(--card);border-radius:6px;font-size:12.5px;white-space:pre-wrap;
overflow-wrap:anywhere}}
@media print{{:root{{{_LIGHT}}}}}
"""
