"""Evaluating: which pictures are tested, of which data, and what is said of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convatlas.cli import main
from convatlas.errors import ConvatlasError
from convatlas.train import Running, evaluate, train

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
    assert "on 9 pictures, 1 left out that cannot be read; " in " ".join(capsys.readouterr().out.split())
