"""The report of a training run: one HTML page that needs nothing beside itself.

What it says of the test pictures is counted from ``test.npz``: labels (N,) and probabilities (N, C).
"""

from __future__ import annotations

import base64
import io
import math
import re
import shlex
import warnings
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from convatlas.cost.plots import INK, QUIET_INK
from convatlas.errors import ConvatlasError
from convatlas.numbers import percent, short, size
from convatlas.train import curves as figures
from convatlas.train.checkpoint import write_whole
from convatlas.train.curves import Calibration, Course

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Z = 1.959963984540054
"""Of a normal distribution 95 % lie within this many standard deviations."""
BINS = 15
COUNTED = 20
"""With more classes than these the confusion matrix is a map, without its counts."""
PAIRS, WORST, OPEN = 20, 24, 25
PICTURE = 192
"""Longer side of a mistake's picture at most, in pixels."""
INKS = {INK: "ink", QUIET_INK: "quiet", figures.LINE: "line", figures.TRAIN: "train",
        figures.VALIDATION: "validation", figures.TEST: "test", figures.RATE: "rate"}  # fmt: skip


# ---- what is counted ----------------------------------------------------------------------------------------


class Answers:
    """The answers to the test pictures.  One whose probabilities are not finite is none, and counts as wrong."""

    def __init__(self, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str] = ()):
        """labels: (N,) whole numbers; probabilities: (N, C).  Raises ConvatlasError where a label is not below C."""
        self.classes = probabilities.shape[1]
        if len(labels) != len(probabilities) or (len(labels) and not 0 <= labels.min() <= labels.max() < self.classes):
            raise ConvatlasError(f"test.npz: labels do not fit to probabilities of shape {probabilities.shape}")
        self.labels, self.probabilities = labels, probabilities
        self.names = [*names[: self.classes], *map(str, range(len(names), self.classes))]
        self.answered = np.isfinite(probabilities).all(1)
        self.predicted = np.where(self.answered, probabilities.argmax(1), -1)
        self.right = self.predicted == labels
        self.confidence = np.where(self.answered, probabilities.max(1), np.nan).astype(float)
        told = probabilities[np.arange(len(labels)), labels].astype(float)
        self.losses = -np.log(np.maximum(told, np.finfo(np.float32).tiny))

    @property
    def matrix(self) -> np.ndarray:
        """Confusion matrix, (C, C) int64: rows are the true classes, columns the predicted ones."""
        pairs = self.labels[self.answered] * self.classes + self.predicted[self.answered]
        return np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    def top(self, count: int) -> float:
        """Part of the pictures whose class is among the ``count`` most probable."""
        higher = (self.probabilities > self.probabilities[np.arange(len(self.labels)), self.labels][:, None]).sum(1)
        return float(((higher < count) & self.answered).mean())

    def mistakes(self, most: int) -> np.ndarray:
        """The wrong answers with the highest loss, the worst first."""
        wrong = np.flatnonzero(self.answered & ~self.right)
        return wrong[np.argsort(-self.losses[wrong], kind="stable")][:most]


def answers(run: Path, names: Sequence[str] = ()) -> Answers | None:
    """Those of ``test.npz``; None where there is none, or no picture in it."""
    if not (run / "test.npz").exists():
        return None
    with np.load(run / "test.npz") as stored:
        labels, probabilities = stored["labels"], stored["probabilities"]
    return Answers(labels, probabilities, names) if len(labels) else None


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share that ``count`` trials gave.  Wilson 1927, JASA 22, 209-212."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Calibration:
    """How right the answers of each probability are: both (N,), NaN for a picture that is left out."""
    there = np.isfinite(confidence)
    confidence, right = confidence[there], right[there]
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # a bin holds its upper edge
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        told, found = (np.bincount(place, values, minlength=bins) / counts for values in (confidence, right))
    gaps = np.abs(found - told)[counts > 0] * counts[counts > 0]
    return Calibration(counts, told, found, float(gaps.sum() / max(len(confidence), 1)))


# ---- the page -----------------------------------------------------------------------------------------------


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
        _section("cost", "What it cost", _cost(told)),
        _section("curves", "Curves", _curves(told, seen)),
    ]
    if tested:
        parts += [
            _section("confusion", "What is taken for what", _confusion(tested)),
            _section("classes", "Class by class", _classes(tested)),
            _section("mistakes", "The worst mistakes", _mistakes(tested, picture, name)),
            _section("calibration", "How sure it is", _calibration(tested)),
        ]
    parts += [
        _section("recipe", "Recipe", _recipe(told)),
        _section("origin", "Where it comes from", _origin(told)),
    ]
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><main>{''.join(parts)}</main></body></html>\n"
    )

    def put(path: Path) -> None:
        path.write_bytes(page.encode("utf-8", "replace"))  # a file's name may hold what UTF-8 cannot

    write_whole(run / "report.html", put)
    return run / "report.html"


def _section(name: str, title: str, body: str) -> str:
    return f'\n<section id="{name}"><h2>{title}</h2>{body}</section>'


def _head(told: dict[str, Any], seen: Course, tested: Answers | None, title: str) -> str:
    data, kept = told.get("data") or {}, told.get("best") or {}
    counts = data.get("counts") or {}
    accuracy, count = _test(told, tested)
    tiles = []
    if accuracy is not None:
        of = f"of {count:,} test pictures" if count else "of the test pictures"
        low, high = wilson(accuracy, count) if count else (math.nan, math.nan)
        range_ = f"<br>95 % interval {_exact(low)} to {_exact(high)} (Wilson)" if count else ""
        tiles.append(("test accuracy", _exact(accuracy), of + range_))
    top5 = (told.get("test") or {}).get("top5")
    if tested and tested.classes > 5:
        top5 = tested.top(5)
    if top5 is not None:
        tiles.append(("top-5 accuracy", _exact(top5), "the class is among the five most probable"))
    best = figures.best_epoch(told, seen)
    if best is not None:
        checked = kept.get("accuracy")
        if checked is None:
            checked = next(iter(seen["validation"]["accuracy"][seen["validation"]["epoch"] == best]), None)
        tiles.append(("best epoch", f"{best:g}", "" if checked is None else f"{_exact(checked)} in validation"))
    if told.get("seconds") is not None:
        tiles.append(("time", _time(told["seconds"]), escape(str(told.get("device", "")))))
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
            yield f"run.json says {_exact(said)} for the test; this page counts test.npz."
    skipped = (told.get("data") or {}).get("skipped")
    if skipped:
        yield f"{skipped:,} pictures could not be read and were left out."


def _cost(told: dict[str, Any]) -> str:
    seconds, total = told.get("seconds"), told.get("training_macs")
    predicted, measured = told.get("predicted_peak_bytes"), told.get("measured_peak_bytes")
    per_second = total / seconds if total and seconds else None
    ratio = measured / predicted if measured and predicted else None
    facts: list[tuple[str, Any, Callable[[Any], str]]] = [
        ("time", seconds, _time),
        ("pictures a second", told.get("images_per_second"), lambda value: f"{value:,.0f}"),
        ("MACs of the training", total, short),
        ("MACs a second", per_second, short),
        ("MACs a picture, forward", told.get("macs_per_picture"), short),
        ("peak memory, predicted", predicted, size),
        ("peak memory, measured", measured, size),
        ("measured / predicted", ratio, lambda value: f"{value:.3f}"),
        ("peak of the whole process", told.get("process_peak_bytes"), size),
    ]
    return _facts((title, escape(word(value))) for title, value, word in facts if value is not None)


def _curves(told: dict[str, Any], seen: Course) -> str:
    recipe, steps = told.get("recipe") or {}, len(seen["train"]["loss"])
    drawn = "".join(f"<figure>{_svg(figures.panel(name, told, seen), name)}</figure>" for name in figures.PANELS)
    words = []
    if steps:
        words.append(f"Training: mean over {figures.window(steps):,} of {steps:,} steps, single steps faint.")
    if recipe.get("smoothing"):
        words.append(f"The training loss has label smoothing of {recipe['smoothing']:g} in it, the others have not.")
    if recipe.get("ema"):
        words.append("Validation and test use the average of the weights.")
    return f'<div class="panels">{drawn}</div><p class="note">{" ".join(words)}</p>'


def _confusion(tested: Answers) -> str:
    matrix, names = tested.matrix, tested.names
    if tested.classes <= COUNTED:
        picture = figures.confusion_picture(matrix, names)
        wide = f"min-width:{28 * tested.classes + 80}px;max-width:{44 * tested.classes + 100}px"
        body = f'<figure class="scroll"><div style="{wide}">{_svg(picture, "confusion matrix")}</div></figure>'
        note = "Rows are the true classes, columns the answers; the stronger, the larger a part of its row."
        return f'<div class="beside">{body}<div>{_pairs(matrix, names, 8)}</div></div><p class="note">{note}</p>'
    picture = figures.confusion_map(matrix, names)
    note = "Mistakes only: rows are the true classes, columns the answers; the stronger, the larger a part of its row."
    several = math.ceil(tested.classes / figures.CELLS)
    note += f" Each cell stands for {several} by {several} classes." * (several > 1)
    body = f"<figure>{_svg(picture, 'map of the mistakes')}</figure><div>{_pairs(matrix, names, PAIRS)}</div>"
    return f'<div class="beside">{body}</div><p class="note">{note}</p>'


def _pairs(matrix: np.ndarray, names: Sequence[str], most: int) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(i, j) for i, j in zip(*np.unravel_index(order, wrong.shape)) if wrong[i, j]]
    lines = [[names[i], names[j], f"{wrong[i, j]:,}", percent(wrong[i, j] / matrix[i].sum())] for i, j in pairs]
    return _table(["true", "taken for", "times", "of its class"], lines) if lines else "<p>No mistake at all.</p>"


def _classes(tested: Answers) -> str:
    """A table with the worst class first; classes without a test picture last."""
    matrix, support = tested.matrix, np.bincount(tested.labels, minlength=tested.classes)
    hits, guessed = np.diag(matrix), matrix.sum(0)
    with np.errstate(invalid="ignore"):
        recall, precision = hits / support, hits / guessed
        f1 = 2 * hits / (support + guessed)
    wrong = matrix - np.diag(hits)
    order = np.lexsort((np.arange(tested.classes), -support, np.where(support, recall, 2)))
    head = ["class", "pictures", "accuracy (recall)", "precision", "F1", "mostly taken for"]
    lines = []
    for place in order:
        other = int(wrong[place].argmax())
        taken = f"{tested.names[other]} ({wrong[place, other]:,})" if wrong[place, other] else ""
        shares = [percent(v) if np.isfinite(v) else "–" for v in (recall[place], precision[place], f1[place])]
        lines.append([tested.names[place], f"{support[place]:,}", *shares, taken])
    bars = {2: [float(np.nan_to_num(recall[place])) for place in order]}
    if len(lines) <= OPEN + 5:
        return _table(head, lines, bars)
    rest = {2: bars[2][OPEN:]}
    return (f"{_table(head, lines[:OPEN], bars)}<details><summary>the other {len(lines) - OPEN:,} classes</summary>"
            f"{_table(head, lines[OPEN:], rest)}</details>")  # fmt: skip


def _mistakes(tested: Answers, picture: Callable[[int], np.ndarray] | None, name: Callable[[int], str] | None) -> str:
    worst = [int(index) for index in tested.mistakes(WORST)]
    if not worst:
        return "<p>No mistake at all.</p>"
    cards = []
    for index in worst:
        called = escape(name(index) if name else f"test picture {index}")
        true, guessed = tested.labels[index], tested.predicted[index]
        shown = _picture(picture(index), called) if picture else ""
        cards.append(
            f"<figure>{shown}<figcaption><b>{escape(tested.names[guessed])}</b> {_chance(tested, index, guessed)}<br>"
            f'is <b class="true">{escape(tested.names[true])}</b> {_chance(tested, index, true)}'
            f"<br><small>{called}</small></figcaption></figure>"
        )
    wrong = int((~tested.right).sum())
    note = f"{len(worst)} of {wrong:,} mistakes, those with the highest loss: the answer, what it is, and how probable."
    return f'<div class="cards">{"".join(cards)}</div><p class="note">{note}</p>'


def _chance(tested: Answers, index: int, place: int) -> str:
    share = float(tested.probabilities[index, place])
    return (percent(share) if share >= 0.001 else "&lt; 0.1 %").replace(" ", "&nbsp;")


def _picture(pixels: np.ndarray, called: str) -> str:
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


def _calibration(tested: Answers) -> str:
    found = calibration(tested.confidence, tested.right)
    lines = [
        [f"{100 * k / BINS:.0f} to {100 * (k + 1) / BINS:.0f} %", f"{found.counts[k]:,}", percent(found.confidence[k]),
         percent(found.accuracy[k])] for k in range(BINS) if found.counts[k]
    ]  # fmt: skip
    table = _table(["probability", "pictures", "mean", "right"], lines)
    mean = float(np.nanmean(tested.confidence)) if tested.answered.any() else math.nan
    facts = _facts([("expected calibration error", f"{100 * found.error:.2f} %"), ("mean probability", _exact(mean)),
                    ("accuracy", _exact(float(tested.right.mean())))])  # fmt: skip
    note = f"{BINS} bins of equal width. Of answers given with 80 %, 80 % should be right: the dashed line."
    drawn = _svg(figures.reliability(found), "reliability")
    body = f'<figure style="max-width:480px">{drawn}</figure><div>{facts}{table}</div>'
    return f'<div class="beside">{body}</div><p class="note">{note}</p>'


def _recipe(told: dict[str, Any]) -> str:
    recipe, changed = dict(told.get("recipe") or {}), told.get("changed") or {}
    title, note, sources = (recipe.pop(key, None) for key in ("title", "note", "sources"))
    kind = f"<b>{escape(str(told['recipe_kind']))}</b>" if told.get("recipe_kind") else ""
    head = ". ".join(filter(None, [kind, escape(str(title or "")), escape(str(note or ""))]))
    given = {key: value for key, value in recipe.items() if value is not None}
    marks = {key: (" class=changed", " (changed)") if key in changed else ("", "") for key in given}
    cells = "".join(
        f"<div{marks[key][0]}><dt>{escape(key)}{marks[key][1]}</dt><dd>{escape(_value(value))}</dd></div>"
        for key, value in given.items()
    )
    unset = ", ".join(key for key, value in recipe.items() if value is None)
    body = f"<p>{head}</p>" * bool(head) + f'<dl class="recipe">{cells}</dl>'
    body += f'<p class="note">Not set: {escape(unset)}.</p>' * bool(unset)
    if sources:
        lines = [[str(key), str(source)] for key, source in sources.items() if key not in changed]
        table = _table(["value", "from"], lines, right=False)
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
        ("device", ", ".join(filter(None, [str(told.get("device") or ""), _many(told.get("threads"), "thread"),
                                           _many(told.get("world"), "process", "processes")]))),
        ("data", data.get("spec")),
        ("fingerprint of the data", data.get("fingerprint")),
        ("about the data", data.get("note")),
    ]  # fmt: skip
    lines = "".join(f"<tr><th>{title}</th><td>{escape(str(value))}</td></tr>" for title, value in facts
                    if value not in (None, ""))  # fmt: skip
    return f'<table class="origin">{lines}</table>'


# ---- pieces -------------------------------------------------------------------------------------------------


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in facts)
    return f'<dl class="facts">{cells}</dl>' if cells else '<p class="note">Nothing is known yet.</p>'


def _table(
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


def _svg(made: Figure, title: str) -> str:
    """A figure as SVG in the page: text as text, colours those of the page, no name that another figure has."""
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
            part.set(key.rpartition("}")[2], _local(key, value, title.replace(" ", "-")))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    for part in list(root):  # definitions that are left empty
        if part.tag == "defs" and not len(part):
            root.remove(part)
    root.attrib.update({"role": "img", "aria-label": title})
    return ElementTree.tostring(root, encoding="unicode", method="html")


def _local(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key.endswith("href") and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    if key == "clip-path":
        return value.replace("url(#", f"url(#{prefix}-")
    if key == "style":
        for colour, name in INKS.items():
            value = value.replace(colour, f"var(--{name})")
        return re.sub(r"'?DejaVu Sans'?[^;]*sans-serif", "var(--sans)", value)
    return value


def _exact(share: float) -> str:
    return f"{100 * share:.2f} %"


def _time(seconds: float) -> str:
    """75 -> "1 min 15 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _many(count: Any, one: str, several: str | None = None) -> str:
    return "" if count is None else f"{count} {one if count == 1 else several or one + 's'}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return (", ".join(map(_value, value)) or "none") if isinstance(value, list | tuple) else str(value)


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
.tiles div:first-child b{color:var(--test)}.tiles small{display:block;line-height:1.4}
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
