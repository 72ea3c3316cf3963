"""Files are written whole, through links, and a place that cannot be written is told of before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from convatlas.cli import main
from convatlas.errors import ConvatlasError
from convatlas.files import refuse_unwritable, write_whole


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "answers.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    for text in ("first", "second"):  # the target is made, then replaced
        write_whole(link, lambda beside, text=text: beside.write_text(text))  # type: ignore[misc]
        assert link.is_symlink()
        assert (target.read_text(), target.is_symlink()) == (text, False)
    assert os.listdir(target.parent) == ["answers.csv"]


def test_a_place_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    for path in (tmp_path / "old.csv", tmp_path / "new.csv", tmp_path / "no" / "such" / "folder" / "new.csv"):
        refuse_unwritable(path)
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]
    assert (tmp_path / "old.csv").read_text() == "old"


@pytest.mark.parametrize("where", ["/proc/x.csv", "file/x.csv", "folder"])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConvatlasError, match="cannot be written"):
        refuse_unwritable(tmp_path / where)


@pytest.mark.parametrize(
    ("does", "arguments"),
    [
        ("convatlas.deploy.calibrate.calibrate", ["calibrate", "--busy", "--out", "/proc/x"]),
        ("convatlas.deploy.quantize.Trial", ["quantize", "lenet5_modern", "--data", "digits", "--out", "/proc/x.onnx"]),
        ("convatlas.deploy.export.inputs_for", ["export", "lenet5_modern", "--out", "/proc/x.onnx"]),
        ("convatlas.deploy.predict.predictions", ["predict", "photo.jpg", "--out", "/proc/x.csv"]),
        ("convatlas.deploy.benchmark.benchmark", ["benchmark", "lenet5", "--busy", "--out", "/proc/x.csv"]),
        ("convatlas.compare.compare", ["compare", "--out", "/proc/x.csv"]),
        ("convatlas.cli.drawing.network_of", ["visualize", "logit", "lenet5_modern", "3", "--out", "/proc/x.png"]),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    does: str, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def worked(*given: object, **options: object) -> None:
        raise AssertionError("the work had begun")

    monkeypatch.setattr(does, worked)
    assert main(arguments) == 2
    assert "cannot be written" in capsys.readouterr().err
