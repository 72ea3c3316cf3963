"""convatlas show: questions, columns, layers and files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

import convatlas
from convatlas.cli import main
from convatlas.cost.memory import OPTIMIZERS


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(("show", *arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_adds_its_figures_to_totals_and_layers(capsys: pytest.CaptureFixture[str], optimizer: str) -> None:
    answer = json.loads(printed(capsys, "resnet18", "--training", optimizer, "--json"))
    figures = ["macs_all", "flops", "macs_backward", "activation_bytes", "saved_bytes"]
    for figure in [*figures, "peak_training_bytes", "optimizer_bytes"]:
        assert type(answer["totals"][figure]) is int
        assert answer["status"][figure] in ("exact", "bound", "estimate", "unavailable")
    for layer in answer["layers"]:
        assert {type(layer[figure]) for figure in figures} == {int}
        assert set(layer["status"]) >= {*figures, "receptive_field"}
        field = layer["receptive_field"]
        assert set(field) == {"size", "jump", "offset", "global"}
        assert [len(field[part]) for part in ("size", "jump", "offset")] == [2, 2, 2]
    assert sum(layer["saved_bytes"] for layer in answer["layers"]) == answer["totals"]["saved_bytes"]


def test_several_sizes_and_batches_have_a_column_each(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "resnet50", "--input", "128,224", "--batch", "1,8", "--training", "sgd")
    for size in (128, 224):
        for batch in (1, 8):
            assert f"{size}, batch {batch}" in out
            assert f"{convatlas.analyze('resnet50', input_size=size, batch=batch).totals['macs']:,}" in out
    answers = json.loads(printed(capsys, "resnet50", "--input", "128,224x96", "--json"))
    assert [answer["input_size"] for answer in answers] == [128, [224, 96]]


def test_width_is_a_question_too(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "mobilenet_v2_x1_0", "--width", "0.5,1")
    assert f"{convatlas.analyze('mobilenet_v2_x0_5').totals['params']:,}" in out
    assert f"{convatlas.analyze('mobilenet_v2_x1_0').totals['params']:,}" in out


def test_the_largest_batch(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "resnet50", "--training", "momentum", "--memory", "8GiB", "--input", "160,224", "--json")
    found = {tuple(answer["input_size"]): answer["largest_batch"] for answer in json.loads(out)}
    for (size,), batch in found.items():
        assert batch == convatlas.largest_batch("resnet50", 8 * 2**30, training="momentum", input_size=size)


def test_what_three_units_see(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(printed(capsys, "vgg16", "--layer", "block5", "--field", "--json"))
    assert answer["receptive_field"] == {"size": [212, 212], "jump": [32, 32], "offset": [-90, -90], "global": False}
    boxes = {unit["which"]: unit["box"] for unit in answer["units"]}
    assert boxes == {
        "corner": [[0, 122], [0, 122]],
        "edge": [[0, 122], [6, 218]],
        "centre": [[6, 218], [6, 218]],
    }
    out = printed(capsys, "efficientnet_b0", "--layer", "stage4", "--field", "--measure", "1")
    assert "through a gate" in out
    assert "1 random picture" in out


def test_one_stage_and_its_sums(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(printed(capsys, "vgg16", "--layer", "block3", "--json"))
    assert {layer["name"].split(".")[1] for layer in answer["layers"]} == {"block3"}
    assert answer["totals"]["params"] == sum(layer["params"] for layer in answer["layers"]) == 1_475_328


def test_the_field_column_and_the_layers_that_add_no_context(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "resnet50_v1_5", "--field")
    assert "427" in out
    assert "can add no context" in out
    assert "Every layer" in printed(capsys, "vgg11", "--field")


@pytest.mark.parametrize("suffix", ["csv", "md", "html", "json", "svg", "png", "pdf"])
def test_files(capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report.{suffix}"
    assert printed(capsys, "resnet18", "--training", "momentum", "--out", str(path)) == ""
    report = convatlas.analyze("resnet18", training="momentum")
    if suffix == "csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        assert [row["name"] for row in rows] == [row.name for row in report.rows]
        assert sum(int(row["saved_bytes"]) for row in rows) == report.totals["saved_bytes"]
        assert rows[-3]["field_size_h"] == str(report.rows[-3].receptive_field.size[0])
    elif suffix == "json":
        assert json.loads(path.read_text())["totals"] == report.totals
    elif suffix in ("md", "html"):
        assert f"{report.totals['macs']:,}" in path.read_text()
    elif suffix == "png":
        with Image.open(path) as picture:
            assert picture.width > 1000
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    else:
        assert path.stat().st_size > 5000


def test_a_report_shows_itself_in_a_notebook() -> None:
    text = convatlas.analyze("lenet5")._repr_html_()
    assert text.count("<tr>") == text.count("</tr>") > 10
    assert "<b>lenet5</b>" in text
