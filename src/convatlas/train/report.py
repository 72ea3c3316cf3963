"""The report of a training run: one HTML page that needs nothing beside itself.

What it says of the test pictures is counted from ``test.npz``.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from convatlas import page
from convatlas.files import write_whole
from convatlas.numbers import short, size
from convatlas.train import curves as figures
from convatlas.train import findings
from convatlas.train.answers import Answers, answers, calibration, wilson
from convatlas.train.curves import Course


def write_report(
    run: Path, picture: Callable[[int], np.ndarray] | None = None, name: Callable[[int], str] | None = None
) -> Path:
    """Write ``report.html`` into the run's folder: at its end, or at any moment before.

    picture: a test picture by its place, uint8 (H, W) or (H, W, C).  name: what it is called, its file's name say.
    """
    told, seen = figures.record(run), figures.course(run)
    tested = answers(run, [str(word) for word in told.get("classes") or ()])
    title = str(told.get("title") or told.get("network") or run.name)
    parts = [
        _head(told, seen, tested, title),
        page.section("cost", "What it cost", _cost(told)),
        page.section("curves", "Curves", _curves(told, seen)),
    ]
    if tested:
        sure = calibration(tested.confidence, tested.right)
        parts += [
            page.section("confusion", "What is taken for what", findings.confusion(tested)),
            page.section("classes", "Class by class", findings.classes(tested)),
            page.section("mistakes", "The worst mistakes", findings.mistakes(tested, picture, name)),
            page.section("calibration", "How sure it is", findings.certainty(tested, sure)),
        ]
    parts += [
        page.section("recipe", "Recipe", _recipe(told)),
        page.section("origin", "Where it comes from", _origin(told)),
    ]
    text = page.whole(title, "".join(parts))

    def put(path: Path) -> None:
        path.write_bytes(text.encode("utf-8", "replace"))  # a file's name may hold what UTF-8 cannot

    write_whole(run / "report.html", put)
    return run / "report.html"


def _head(told: dict[str, Any], seen: Course, tested: Answers | None, title: str) -> str:
    data, kept = told.get("data") or {}, told.get("best") or {}
    counts = data.get("counts") or {}
    accuracy, count = _test(told, tested)
    tiles = []
    if accuracy is not None:
        of = f"of {count:,} test pictures" if count else "of the test pictures"
        low, high = wilson(accuracy, count) if count else (math.nan, math.nan)
        range_ = f"<br>95 % interval {page.exact(low)} to {page.exact(high)} (Wilson)" if count else ""
        tiles.append(("test accuracy", page.exact(accuracy), of + range_))
    top5 = (told.get("test") or {}).get("top5")
    if tested and tested.classes > 5:
        top5 = tested.top(5)
    if top5 is not None:
        tiles.append(("top-5 accuracy", page.exact(top5), "the class is among the five most probable"))
    best = figures.best_epoch(told, seen)
    if best is not None:
        checked = kept.get("accuracy")
        if checked is None:
            checked = next(iter(seen["validation"]["accuracy"][seen["validation"]["epoch"] == best]), None)
        tiles.append(("best epoch", f"{best:g}", "" if checked is None else f"{page.exact(checked)} in validation"))
    if told.get("seconds") is not None:
        tiles.append(("time", page.duration(told["seconds"]), escape(str(told.get("device", "")))))
    pictures = ", ".join(
        f"{counts[split]:,} {word}"
        for split, word in (("train", "training"), ("validation", "validation"), ("test", "test"))
        if split in counts
    )
    line = [escape(str(told["network"])) if told.get("network") and told["network"] != title else "",
            escape(str(data.get("name") or data.get("spec") or "")), f"{pictures} pictures" if pictures else "",
            f"{len(told['classes']):,} classes" if told.get("classes") else ""]  # fmt: skip
    boxes = "".join(f"<div><span>{k}</span><b>{v}</b><small>{n}</small></div>" for k, v, n in tiles)
    notices = "".join(f'<p class="notice">{text}</p>' for text in _notices(told, seen, tested))
    return (
        f'<header id="summary"><h1>{escape(title)}</h1><p class="line">{" · ".join(filter(None, line))}</p>'
        f'{notices}<div class="tiles">{boxes}</div></header>'
    )


def _test(told: dict[str, Any], tested: Answers | None) -> tuple[float | None, int]:
    """Accuracy on the test pictures, and how many they are (0: not known)."""
    if tested:
        return float(tested.right.mean()), len(tested.labels)
    counts = (told.get("data") or {}).get("counts") or {}
    return (told.get("test") or {}).get("accuracy"), int(counts.get("test") or 0)


def _notices(told: dict[str, Any], seen: Course, tested: Answers | None) -> Iterable[str]:
    """What a reader must know before any figure."""
    train, epochs = seen["train"], (told.get("recipe") or {}).get("epochs")
    at = f"{np.nanmax(train['epoch']):.2f}" if np.isfinite(train["epoch"]).any() else "0"
    of = f" of {epochs:g}" if isinstance(epochs, int | float) else ""
    if told.get("state") == "running":
        yield f"This run is still going on: epoch {at}{of}."
    elif told.get("state") == "stopped":
        yield f"This run was stopped at epoch {at}{of}."
    broken = np.flatnonzero(~np.isfinite(train["loss"]))
    if len(broken):
        first = broken[0]
        yield (f"The training loss is no finite number at {len(broken):,} of {len(train['loss']):,} steps, first at "
               f"step {train['step'][first]:.0f} (epoch {train['epoch'][first]:.2f}).")  # fmt: skip
    if tested:
        missing = int((~tested.answered).sum())
        if missing:
            yield f"{missing:,} test pictures have no finite probabilities; they count as wrong."
        said = (told.get("test") or {}).get("accuracy")
        if said is not None and abs(said - tested.right.mean()) > 1e-4:
            yield f"run.json says {page.exact(said)} for the test; this page counts test.npz."
    skipped = (told.get("data") or {}).get("skipped")
    if skipped:
        yield f"{skipped:,} pictures could not be read and were left out."


def _cost(told: dict[str, Any]) -> str:
    seconds, total = told.get("seconds"), told.get("training_macs")
    predicted, measured = told.get("predicted_peak_bytes"), told.get("measured_peak_bytes")
    mixed = (told.get("recipe") or {}).get("precision", "float32") != "float32"
    per_second = total / seconds if total and seconds else None
    ratio = measured / predicted if measured and predicted else None
    facts: list[tuple[str, Any, Callable[[Any], str]]] = [
        ("time", seconds, page.duration),
        ("pictures a second", told.get("images_per_second"), lambda value: f"{value:,.0f}"),
        ("MACs of the training", total, short),
        ("MACs a second", per_second, short),
        ("MACs a picture, forward", told.get("macs_per_picture"), short),
        (f"peak memory, {'at most' if mixed else 'predicted'}", predicted, size),
        ("peak memory, measured", measured, size),
        ("measured / predicted", ratio, lambda value: f"{value:.3f}"),
        ("peak of the whole process", told.get("process_peak_bytes"), size),
    ]
    return page.facts((title, escape(word(value))) for title, value, word in facts if value is not None)


def _curves(told: dict[str, Any], seen: Course) -> str:
    recipe, steps = told.get("recipe") or {}, len(seen["train"]["loss"])
    drawn = "".join(f"<figure>{page.svg(figures.panel(name, told, seen), name)}</figure>" for name in figures.PANELS)
    words = []
    if steps:
        wide = figures.window(steps)
        words.append(f"Training: mean over {wide:,} of {steps:,} steps, single steps faint." if wide > 1 else
                     f"Training: each of {steps:,} steps.")  # fmt: skip
    if recipe.get("smoothing"):
        words.append(f"The training loss has label smoothing of {recipe['smoothing']:g} in it, the others have not.")
    if recipe.get("ema"):
        words.append("Validation and test use the average of the weights.")
    return f'<div class="panels">{drawn}</div><p class="note">{" ".join(words)}</p>'


def _recipe(told: dict[str, Any]) -> str:
    recipe, changed = dict(told.get("recipe") or {}), told.get("changed") or {}
    title, note, sources = (recipe.pop(key, None) for key in ("title", "note", "sources"))
    kind = f"<b>{escape(str(told['recipe_kind']))}</b>" if told.get("recipe_kind") else ""
    head = ". ".join(filter(None, [kind, escape(str(title or "")), escape(str(note or ""))]))
    given = {key: value for key, value in recipe.items() if value is not None}
    marks = {key: (" class=changed", " (changed)") if key in changed else ("", "") for key in given}
    cells = "".join(
        f"<div{marks[key][0]}><dt>{escape(key)}{marks[key][1]}</dt><dd>{escape(page.word(value))}</dd></div>"
        for key, value in given.items()
    )
    unset = ", ".join(key for key, value in recipe.items() if value is None)
    body = f"<p>{head}</p>" * bool(head) + f'<dl class="recipe">{cells}</dl>'
    body += f'<p class="note">Not set: {escape(unset)}.</p>' * bool(unset)
    if sources:
        lines = [[str(key), str(source)] for key, source in sources.items() if key not in changed]
        table = page.table(["value", "from"], lines, right=False)
        body += f"<details><summary>where the values come from</summary>{table}</details>"
    return body


def _origin(told: dict[str, Any]) -> str:
    data, versions = told.get("data") or {}, told.get("versions") or {}
    command = told.get("command")
    facts = [
        ("command", shlex.join(map(str, command)) if isinstance(command, list) else command),
        ("seed", told.get("seed")),
        ("started", told.get("started")),
        ("commit", told.get("commit")),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("device", ", ".join(filter(None, [str(told.get("device") or ""), page.many(told.get("threads"), "thread"),
                                           page.many(told.get("world"), "process", "processes")]))),
        ("data", data.get("spec")),
        ("fingerprint of the data", data.get("fingerprint")),
        ("about the data", data.get("note")),
    ]  # fmt: skip
    lines = "".join(f"<tr><th>{title}</th><td>{escape(str(value))}</td></tr>" for title, value in facts
                    if value not in (None, ""))  # fmt: skip
    return f'<table class="origin">{lines}</table>'
