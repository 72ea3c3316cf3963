"""One journey on a folder of photographs: trained, tested, looked into, exported, quantized, asked; nothing said twice.

The data is named when the network is trained; everything after that takes the run's folder, or a file made from it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convatlas import registry
from convatlas.cli import main

PHOTOS = Path(pytest.importorskip("skimage").data_dir)
SHOWN = {"cat": "chelsea.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}
EACH, SIDE = 36, 64


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cuts of photographs in a folder for each class."""
    root, chance = tmp_path_factory.mktemp("photos"), np.random.RandomState(0)
    for name, file in SHOWN.items():
        (root / name).mkdir()
        with Image.open(PHOTOS / file) as opened:
            photo = opened.convert("RGB")
        side = min(photo.size) // 2
        for number in range(EACH):
            left, top = (chance.randint(length - side) for length in photo.size)
            cut = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
            cut.save(root / name / f"{number:02}.jpg", quality=90)
    return root


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "photos"
    asked = ["--weights", "imagenet", "--freeze", "trunk", "--epochs", "2", "--size", str(SIDE), "--batch", "16"]
    command = ["train", "efficientnet_lite0", "--data", f"folder:{photos}", *asked, "--out", str(folder), "--quiet"]
    assert main([*command, "--readers", "0"]) == 0
    return folder


@pytest.fixture(scope="module")
def files(run: Path) -> dict[str, Path]:
    """What is made of the run, each beside it."""
    assert main(["export", str(run)]) == 0
    assert main(["export", str(run), "--to", "safetensors"]) == 0
    assert (
        main(["quantize", str(run), "--force", "--busy"]) == 0
    )  # whatever it gains: a picture of eleven is nine points
    return {name: run / name for name in ("model.onnx", "model.safetensors", "model-int8.onnx")}


def asked(capsys: pytest.CaptureFixture[str], *command: str | Path) -> dict | list:
    """What a verb prints as JSON."""
    capsys.readouterr()
    assert main([*map(str, command), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_run_and_its_files_are_tested_alike(
    run: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """By whatever engine, in batches of whatever size, on the test pictures of the run's own division."""
    told = json.loads((run / registry.RUN).read_text())["test"]
    ways = [(run, "eager", 4), (run, "onnxruntime", 100), (files["model.onnx"], "auto", 1),
            (files["model.safetensors"], "auto", 3)]  # fmt: skip
    for model, engine, batch in ways:
        found = asked(capsys, "evaluate", model, "--engine", engine, "--batch", str(batch), "--readers", "0")
        assert (found["split"], found["pictures"]) == ("test", round(EACH * len(SHOWN) / 10))
        assert found["accuracy"] == pytest.approx(told["accuracy"])
        assert found["loss"] == pytest.approx(told["loss"], abs=1e-4)
    assert told["accuracy"] > 0.8


def test_what_is_in_8_bits_is_a_model_and_says_what_it_lost(
    run: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    small = files["model-int8.onnx"]
    told = registry.record_of(small)["quantized"]
    found = asked(capsys, "evaluate", small, "--readers", "0")
    assert found["accuracy"] == pytest.approx(told["after"]["accuracy"])
    assert told["before"]["accuracy"] == pytest.approx(json.loads((run / registry.RUN).read_text())["test"]["accuracy"])
    assert small.stat().st_size < files["model.onnx"].stat().st_size / 3
    assert told["data"] == registry.data_of(run) == registry.data_of(small)


def test_a_folder_of_pictures_is_classified_alike(
    run: Path, photos: Path, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SHOWN:
        shutil.copy(photos / name / "00.jpg", tmp_path / f"{name}.jpg")
    answers = {}
    for model in (run, *files.values()):
        found = asked(capsys, "predict", tmp_path, "--model", model, "--top", "1")
        answers[model.name] = {Path(one["path"]).stem: one["top"][0]["label"] for one in found}
    assert len(answers) == 4
    assert all(one == {name: name for name in SHOWN} for one in answers.values())


def test_the_network_of_a_file_is_shown_and_a_unit_of_the_run_explained(
    run: Path,
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = {name: asked(capsys, "show", model)["totals"]["params"] for name, model in {**files, "run": run}.items()}
    assert len(set(params.values())) == 1
    monkeypatch.chdir(tmp_path)
    assert main(["visualize", "unit", str(run), "stage3", "5", "--steps", "4", "--no-control"]) == 0
    (page,) = tmp_path.glob("*.html")
    assert "stage3" in page.read_text(encoding="utf-8")
