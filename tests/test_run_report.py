"""The report of a training run, from made runs: what it counts, and that its page stands by itself."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convatlas import page
from convatlas.errors import ConvatlasError
from convatlas.train.answers import Answers, calibration, wilson
from convatlas.train.curves import course, curves, smoothed, write_curves
from convatlas.train.report import write_report

SECTIONS = ["summary", "cost", "curves", "confusion", "classes", "mistakes", "calibration", "recipe", "origin"]
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The page's elements, its text, and the rows of its tables by section; asserts that elements are closed."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.rows: dict[str, list[list[str]]] = {}
        self.section = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("section", "header"):
            self.section = dict(attrs)["id"] or ""
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


def probabilities(labels: np.ndarray, classes: int, seed: int = 0) -> np.ndarray:
    """Mostly right, never quite sure, float32."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += 3
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32)


def make(run: Path, *, classes: int = 10, pictures: int = 600, epochs: int = 4, steps: int = 60, **told: Any) -> Path:
    """A finished run: falling loss, random answers."""
    rng = np.random.default_rng(classes)
    rows: list[dict[str, Any]] = []
    for step in range(epochs * steps):
        loss = 2.3 * math.exp(-step / 50) + 0.1 * rng.random()
        rows.append({"epoch": step / steps, "step": step, "split": "train", "loss": loss,
                     "accuracy": float(1 - loss / 3), "learning_rate": 0.1 - step / 1e4})  # fmt: skip
        if (step + 1) % steps == 0:
            rows.append({"epoch": (step + 1) / steps, "step": step + 1, "split": "validation", "loss": loss + 0.05,
                         "accuracy": 0.9 + 0.001 * step / steps})  # fmt: skip
    labels = rng.integers(0, classes, pictures)
    answers = probabilities(labels, classes)
    accuracy = float((answers.argmax(1) == labels).mean())
    rows.append({"epoch": epochs, "step": epochs * steps, "split": "test", "loss": 0.3, "accuracy": accuracy})
    run.mkdir(exist_ok=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.savez(run / "test.npz", labels=labels, probabilities=answers)
    record = {
        "network": "lenet5_modern", "title": "LeNet-5, modern", "classes": [f"class {k}" for k in range(classes)],
        "data": {"spec": "mnist", "name": "MNIST", "counts": {"train": 50_000, "validation": 5_000, "test": pictures},
                 "note": "a note about the data", "fingerprint": "f1n9e7", "skipped": 0},
        "recipe": {"epochs": epochs, "learning_rate": 0.07, "clip": None, "smoothing": 0.1}, "recipe_kind": "modern",
        "changed": {"learning_rate": 0.07}, "seed": 4711, "versions": {"torch": "2.14.0"}, "commit": "abc1234",
        "command": ["convatlas", "train", "--out", "a b"], "device": "cpu", "threads": 2, "world": 1,
        "started": "2025-01-01T00:00:00", "seconds": 75.2, "images_per_second": 21_345.4, "macs_per_picture": 281_640,
        "training_macs": 4.2e11, "predicted_peak_bytes": 40_000_000, "measured_peak_bytes": 42_000_000,
        "process_peak_bytes": 512_000_000, "best": {"epoch": 3.0, "loss": 0.1, "accuracy": 0.9012},
        "test": {"loss": 0.3, "accuracy": accuracy}, "state": "finished", **told,
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(record))
    return run


# ---- the page -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_the_page_has_every_section_and_needs_nothing_else(tmp_path: Path, classes: int) -> None:
    run = make(tmp_path, classes=classes, pictures=max(600, 2 * classes))
    page = Page(write_report(run, lambda index: np.full((28, 28, 1), index % 256, np.uint8)))
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert [name for name in ids if name in SECTIONS] == SECTIONS
    assert not re.search(r"https?:|//|@import|<script|<link", re.sub(r"base64,[\w+/=\s]+", "", page.source))
    for _, attributes in page.elements:
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith(("#", "data:"))
        assert not any(key.startswith("on") for key in attributes)
    for reference in re.findall(r'(?:href="#|url\(#)([^")]+)', page.source):
        assert reference in ids
    assert "prefers-color-scheme:dark" in page.source
    assert len(page.of("svg")) == 5
    body = sum(1 for row in page.rows["classes"] if row[0] != "class")
    assert body == classes


def test_the_page_says_what_the_run_was_and_cost(tmp_path: Path) -> None:
    text = Page(write_report(make(tmp_path))).text
    for word in ("LeNet-5, modern", "MNIST", "50,000 training, 5,000 validation, 600 test pictures", "90.12 %",
                 "1 min 15 s", "21,345", "420 G", "282 K", "40.00 MB", "42.00 MB", "1.050", "512.00 MB", "4711",
                 "torch 2.14.0", "abc1234", "convatlas train --out 'a b'", "a note about the data", "f1n9e7",
                 "learning_rate (changed)0.07", "Not set: clip.", "label smoothing of 0.1"):  # fmt: skip
        assert word in text
    assert "epochs (changed)" not in text


def test_the_headline_has_the_accuracy_with_its_interval(tmp_path: Path) -> None:
    stats = pytest.importorskip("scipy.stats")
    run = make(tmp_path)
    with np.load(run / "test.npz") as stored:
        right = int((stored["probabilities"].argmax(1) == stored["labels"]).sum())
    interval = stats.binomtest(right, 600).proportion_ci(method="wilson")
    text = Page(write_report(run)).text
    assert f"{right / 6:.2f} %" in text
    assert f"95 % interval {100 * interval.low:.2f} % to {100 * interval.high:.2f} %" in text


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (991, 1000), (1, 3)])
def test_wilson(right: int, count: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert wilson(right / count, count) == pytest.approx(stats.binomtest(right, count).proportion_ci(method="wilson"))


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    evil = "</text></svg><script>alert('$x^2$ \x07')</script>&amp;\udcff"
    run = make(tmp_path, classes=2, title=evil, network=evil, recipe={"note": evil, evil: evil},
               changed={evil: 1}, commit=evil, data={"name": evil, "note": evil})  # fmt: skip
    told = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**told, "classes": [evil, "$"]}))
    page = Page(write_report(run, lambda index: np.zeros((8, 8), np.uint8), lambda index: f'"{evil}>'))
    assert not page.of("script")
    assert page.text.count("<script>alert('$x^2$") > 10
    write_curves(run)


# ---- what is counted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 7, 100])
def test_confusion_and_figures_of_classes_are_scikit_learns(tmp_path: Path, classes: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = np.random.default_rng(1).integers(0, classes, 900)
    labels[labels == 1] = 0  # a class without a picture
    told = probabilities(labels, classes)
    found = Answers(labels, told)
    every = range(classes)
    assert (found.matrix == metrics.confusion_matrix(labels, told.argmax(1), labels=every)).all()
    exact = told / told.sum(1, keepdims=True, dtype=float)
    assert found.losses.mean() == pytest.approx(metrics.log_loss(labels, exact, labels=every), rel=1e-5)
    if classes > 5:
        assert found.top(5) == pytest.approx(metrics.top_k_accuracy_score(labels, told, k=5, labels=every))

    run = make(tmp_path, classes=classes)
    np.savez(run / "test.npz", labels=labels, probabilities=told)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, told.argmax(1), labels=every, zero_division=np.nan
    )
    rows = [row for row in Page(write_report(run)).rows["classes"] if row[0] != "class"]
    shown = {row[0]: row[1:5] for row in rows}
    for k in every:
        figures = [f"{100 * v:.1f} %" if np.isfinite(v) else "–" for v in (recall[k], precision[k], f1[k])]
        assert shown[f"class {k}"] == [f"{support[k]:,}", *figures]
    assert shown["class 1"][:2] == ["0", "–"]
    assert rows[-1][0] == "class 1"
    accuracies = [float(row[2].split()[0]) for row in rows[:-1]]
    assert accuracies == sorted(accuracies)


def test_the_most_confused_pairs_come_first(tmp_path: Path) -> None:
    run = make(tmp_path, classes=30)
    labels = np.repeat([3, 4, 5], [10, 10, 10])
    answers = np.repeat([3, 9, 4, 5, 0, 1], [4, 6, 10, 7, 2, 1])
    np.savez(run / "test.npz", labels=labels, probabilities=np.eye(30, dtype=np.float32)[answers])
    rows = Page(write_report(run)).rows["confusion"]
    assert rows[1:] == [["class 3", "class 9", "6", "60.0 %"], ["class 5", "class 0", "2", "20.0 %"],
                        ["class 5", "class 1", "1", "10.0 %"]]  # fmt: skip


def test_calibration_is_scikit_learns_curve() -> None:
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    rng = np.random.default_rng(2)
    confidence = rng.random(5000)
    right = rng.random(5000) < confidence**2
    found = calibration(confidence, right)
    accuracy, mean = curve(right, confidence, n_bins=15)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.confidence == pytest.approx(mean)
    counts = np.histogram(confidence, np.linspace(0, 1, 16))[0]
    assert (found.counts == counts).all()
    assert found.error == pytest.approx(float((counts * abs(accuracy - mean)).sum() / 5000))


def test_a_sure_and_right_answer_is_calibrated() -> None:
    assert calibration(np.ones(4), np.ones(4, bool)).error == 0
    assert calibration(np.ones(4), np.zeros(4, bool)).error == 1
    edge = calibration(np.array([1 / 15, 0.0, np.nan]), np.ones(3, bool))
    assert edge.counts.tolist() == [2] + [0] * 14


def test_the_worst_mistakes_are_shown_as_they_are(tmp_path: Path) -> None:
    run = make(tmp_path, classes=3)
    labels = np.array([0, 1, 2, 0])
    told = np.array([[0.9, 0.06, 0.04], [0.6, 0.3, 0.1], [0.7, 0.25, 0.05], [0.2, 0.5, 0.3]], np.float32)
    np.savez(run / "test.npz", labels=labels, probabilities=told)
    pixels = np.random.default_rng(3).integers(0, 256, (4, 28, 28, 1), dtype=np.uint8)
    page = Page(write_report(run, lambda index: pixels[index], lambda index: f"{index}.png"))
    images = page.of("img")
    assert [image["alt"] for image in images] == ["2.png", "3.png", "1.png"]  # 0.05, 0.2, 0.3 for what it is
    for image, index in zip(images, [2, 3, 1]):
        stored = Image.open(io.BytesIO(base64.b64decode((image["src"] or "").partition(",")[2])))
        assert (np.asarray(stored) == pixels[index, ..., 0]).all()
    assert "class 0 70.0\xa0%is class 2 5.0\xa0%" in page.text


def test_pictures_of_any_shape(tmp_path: Path) -> None:
    shapes = [(8, 8), (28, 28, 1), (32, 32, 3), (480, 640, 3), (300, 200, 4), (16, 16, 7)]
    run = make(tmp_path, classes=2)
    labels = np.zeros(6, int)
    told = np.array([[0.1 + 0.01 * k, 0.9 - 0.01 * k] for k in range(6)], np.float32)
    np.savez(run / "test.npz", labels=labels, probabilities=told)
    images = Page(write_report(run, lambda index: np.full(shapes[index], 9, np.uint8))).of("img")
    for image, shape in zip(images, shapes, strict=True):
        stored = Image.open(io.BytesIO(base64.b64decode((image["src"] or "").partition(",")[2])))
        assert max(stored.size) == min(192, max(shape[:2]))
        assert (image.get("class") == "small") == (max(shape[:2]) <= 64)


def test_answers_that_are_not_finite_are_wrong(tmp_path: Path) -> None:
    run = make(tmp_path, classes=2)
    labels = np.array([0, 0, 1, 1])
    told = np.array([[1, 0], [np.nan, np.nan], [0, 1], [np.nan, np.nan]], np.float32)
    found = Answers(labels, told)
    assert found.right.tolist() == [True, False, True, False]
    assert found.matrix.tolist() == [[1, 0], [0, 1]]
    for part in (told, np.full((4, 2), np.nan, np.float32)):
        np.savez(run / "test.npz", labels=labels, probabilities=part)
        assert "test pictures have no finite probabilities; they count as wrong" in Page(write_report(run)).text


def test_labels_beyond_the_probabilities_are_refused() -> None:
    with pytest.raises(ConvatlasError, match="labels do not fit"):
        Answers(np.array([0, 2]), np.full((2, 2), 0.5))


# ---- the curves, at any moment ------------------------------------------------------------------------------


def test_a_run_that_is_going_on(tmp_path: Path) -> None:
    run = make(tmp_path, state="running", test=None, best={})
    (run / "test.npz").unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines()[:150]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"epoch": 2.47, "split": "tra')
    page = Page(write_report(run))
    assert "still going on: epoch 2.45 of 4" in page.text
    assert "90.20 % in validation" in page.text  # of epoch 2, the best so far
    assert "test accuracy" not in page.text
    assert not {"confusion", "mistakes"} & {attributes.get("id") for attributes in page.of("section")}


@pytest.mark.parametrize("line", ["", '{"epoch": 0, "step": 0, "split": "train", "loss": null}\n', "{"])
def test_a_run_that_has_hardly_begun(tmp_path: Path, line: str) -> None:
    Page(write_report(tmp_path))
    (tmp_path / "metrics.jsonl").write_text(line)
    (tmp_path / "run.json").write_text("{}")
    text = Page(write_report(tmp_path)).text
    assert tmp_path.name in text
    assert "nothing yet" in text
    assert "Nothing is known yet" in text
    assert all(path.stat().st_size for path in write_curves(tmp_path))


def test_any_key_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "svg", lambda made, title: "")  # drawn in all the other tests
    run = make(tmp_path)
    told = json.loads((run / "run.json").read_text())
    for missing in told:
        (run / "run.json").write_text(json.dumps({key: value for key, value in told.items() if key != missing}))
        assert "What it cost" in Page(write_report(run)).text


def test_losses_that_are_not_finite_are_told(tmp_path: Path) -> None:
    run = make(tmp_path)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        if row["split"] == "train" and row["step"] >= 200:
            row["loss"] = math.nan if row["step"] % 2 else math.inf
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = Page(write_report(run)).text
    assert "no finite number at 40 of 240 steps, first at step 200 (epoch 3.33)" in text
    write_curves(run)


def test_of_two_rows_for_a_step_the_later_counts(tmp_path: Path) -> None:
    rows = [{"split": "train", "step": step, "epoch": step / 4, "loss": loss}
            for step, loss in ((0, 1), (1, 2), (2, 3), (1, 20), (2, 30))]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = course(tmp_path)["train"]
    assert found["loss"].tolist() == [1, 20, 30]
    assert np.isnan(found["accuracy"]).all()


def test_the_moving_mean_is_over_what_is_finite() -> None:
    values = np.random.default_rng(4).normal(size=300)
    assert smoothed(values, 21)[10:-10] == pytest.approx(np.convolve(values, np.ones(21) / 21, "valid"))
    values[100:103] = np.nan
    assert smoothed(values, 5)[100] == pytest.approx(values[98:100].mean())
    assert np.isnan(smoothed(values, 1)[101])


def test_curves_show_three_panels_the_best_epoch_and_the_test(tmp_path: Path) -> None:
    run = make(tmp_path)
    made = curves(run)
    assert [panel.get_title(loc="left") for panel in made.axes] == ["loss", "error", "learning rate"]
    loss, error, _ = made.axes
    assert error.get_yscale() == "log"
    lines = {line.get_label(): line for line in error.lines}
    assert lines["validation"].get_ydata() == pytest.approx(100 * (1 - course(run)["validation"]["accuracy"]))
    for panel in (loss, error):
        assert [text.get_text() for text in panel.texts] == ["best: epoch 3"]
        words = [text.get_text() for text in panel.get_legend().get_texts()]
        assert words[:2] == ["training", "validation"]
        assert words[2].startswith("test ")
    poor = [{"split": "validation", "step": k, "epoch": k, "loss": 1, "accuracy": 0.5} for k in range(3)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in poor))
    assert curves(run).axes[1].get_title(loc="left") == "accuracy"


def test_a_perfect_test_lies_on_the_edge_of_the_logarithmic_scale(tmp_path: Path) -> None:
    run = make(tmp_path)
    row = {"split": "test", "step": 10**6, "epoch": 4, "loss": 0.0, "accuracy": 1.0}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    error = curves(run).axes[1]
    assert error.lines[-1].get_ydata()[0] == pytest.approx(error.get_ylim()[0])


def test_many_steps_stay_a_small_picture_that_keeps_its_peaks(tmp_path: Path) -> None:
    rows = [
        {"split": "train", "step": step, "epoch": step / 1e3, "loss": 1.0, "accuracy": 0.5} for step in range(20_000)
    ]
    rows[12_345]["loss"] = 7.5
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = curves(tmp_path).axes[0].lines[0]
    assert len(raw.get_xdata()) <= 800
    assert max(raw.get_ydata()) == 7.5


def test_the_files_are_the_same_each_time(tmp_path: Path) -> None:
    run = make(tmp_path)
    first = [path.read_bytes() for path in (*write_curves(run), write_report(run))]
    assert first == [path.read_bytes() for path in (*write_curves(run), write_report(run))]
    assert sorted(path.name for path in run.iterdir()) == [
        "curves.png", "curves.svg", "metrics.jsonl", "report.html", "run.json", "test.npz",
    ]  # fmt: skip
