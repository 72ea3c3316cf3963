"""Evaluating: which pictures are tested, of which data, and what is said of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from convatlas.cli import main
from convatlas.data.trained import matched
from convatlas.errors import ConvatlasError
from convatlas.train import Running, evaluate, train
from convatlas.weights.labels import Label

HERE = Running(readers=0)


def pictures(root: Path, each: int = 20) -> Path:
    """Two classes of noise, each picture another."""
    chance = np.random.RandomState(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for index in range(each):
            Image.fromarray(chance.randint(0, 256, (16, 16, 3)).astype(np.uint8)).save(root / name / f"{index:02}.png")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and the folder that it was trained on."""
    folder = pictures(tmp_path_factory.mktemp("data") / "pictures")
    run = tmp_path_factory.mktemp("runs") / "run"
    values = {"epochs": 1, "size": 16, "batch": 8}
    train("resnet20_cifar", f"folder:{folder}", recipe="general", values=values, out=run, running=HERE)
    return run, folder


def test_a_runs_weights_are_not_tested_on_what_they_have_learned(trained: tuple[Path, Path]) -> None:
    run, folder = trained
    by_run = evaluate(str(run), f"folder:{folder}", running=HERE)
    assert by_run["pictures"] == 4
    for weights in (run, run / "best.safetensors"):
        found = evaluate("resnet20_cifar", f"folder:{folder}", weights=str(weights), running=HERE)
        assert {key: found[key] for key in ("pictures", "loss")} == {key: by_run[key] for key in ("pictures", "loss")}
    assert evaluate("resnet20_cifar", f"folder:{folder}", weights=str(run), split="val", running=HERE)["pictures"] == 4


def test_a_runs_weights_are_not_tested_on_its_data_grown_since(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, folder = (Path(shutil.copytree(path, tmp_path / path.name)) for path in trained)
    told = (run / "run.json").read_text().replace(str(trained[1]), str(folder))
    (run / "run.json").write_text(told)
    shutil.copy(folder / "a" / "00.png", folder / "a" / "more.png")
    with pytest.raises(ConvatlasError, match=f"no longer what {run} was trained on"):
        evaluate("resnet20_cifar", f"folder:{folder}", weights=str(run), running=HERE)


def test_pictures_that_are_skipped_are_told(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = trained[0], pictures(tmp_path / "others", 5)
    (folder / "b" / "00.png").write_bytes(b"")
    found = evaluate(str(run), f"folder:{folder}", bad_images="skip", running=HERE)
    assert (found["pictures"], found["skipped"]) == (9, 1)
    command = ["evaluate", str(run), "--data", f"folder:{folder}", "--bad-images", "skip", "--readers", "0"]
    assert main(command) == 0
    assert "on 9 test pictures, 1 left out that cannot be read; " in " ".join(capsys.readouterr().out.split())


# ---- ImageNet ---------------------------------------------------------------------------------------------

SHOWN = {"chelsea.png": "n02123045", "coffee.png": "n07920052", "camera.png": "n04485082",
         "motorcycle_left.png": "n03785016"}  # fmt: skip
"""scikit-image's photographs by their synsets; of the first the network says Egyptian cat before tabby."""


@pytest.mark.parametrize("heap", [False, True])
def test_published_weights_are_tested_on_imagenet_as_it_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], heap: bool
) -> None:
    """Validation pictures in folders; and as the competition packs them, in a heap, beside a test without classes."""
    photos = Path(pytest.importorskip("skimage").data_dir)
    inner = tmp_path / "ILSVRC" / "Data" / "CLS-LOC" if heap else tmp_path
    for file, wnid in SHOWN.items():
        place = inner / "val" / ("" if heap else wnid)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / file, place)
    if heap:
        lines = [f"{Path(file).stem},{wnid} 1 2 3 4" for file, wnid in SHOWN.items()]
        (tmp_path / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *lines]))
        (inner / "test").mkdir()
        shutil.copy(photos / "astronaut.png", inner / "test")
    command = ["evaluate", "efficientnet_lite0", "--data", f"imagenet:{tmp_path}", "--readers", "0", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert {key: found[key] for key in ("accuracy", "top5", "pictures", "skipped")} == {
        "accuracy": 0.75, "top5": 1, "pictures": 4, "skipped": 0,
    }  # fmt: skip


# ---- classes that do not fit ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["folder:", "folder:{folder}"])
def test_a_run_that_cannot_begin_says_why_and_leaves_nothing(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    out = tmp_path / "runs" / "run"
    assert main(["train", "lenet5", "--data", data.format(folder=trained[1]), "--out", str(out)]) == 2
    said = {"folder:": "names no folder; write folder:PATH"}.get(data, "lenet5 tells 10 classes apart, and no other")
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_there_before_a_run_could_not_begin_stays(trained: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConvatlasError, match="10 classes"):
        train("lenet5", f"folder:{trained[1]}", out=tmp_path, running=HERE)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("many", "ends"), [(5, "class4"), (6, "class4 …")])
def test_classes_that_do_not_fit_are_named_and_an_ellipsis_says_that_there_are_more(many: int, ends: str) -> None:
    names = [f"class{number}" for number in range(many)]
    with pytest.raises(ConvatlasError) as caught:
        matched(SimpleNamespace(spec="it", classes=names, wnids=None), [Label("cat", None)])  # type: ignore[arg-type]
    assert str(caught.value).endswith(f"and not class0, class1, class2, class3, {ends}")
