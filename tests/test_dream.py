"""Dreams, inversions and full sheets: what is left of them where they are stopped, or meet a value that is none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convatlas.cli import main
from convatlas.errors import UnknownName
from convatlas.visualize import fullsheet, objectives
from convatlas.visualize.fullsheet import Broken, sheet
from convatlas.visualize.objectives import Objective
from convatlas.visualize.optimize import NotFinite
from convatlas.visualize.photograph import Dream, dream
from convatlas.visualize.sheets import image, tensor
from convatlas.weights.preprocess import Preprocess

AS_IT_IS = Preprocess(crop=64, resize=64, mean=(0, 0, 0), std=(1, 1, 1))
LAYERS = ["0", "1", "2"]


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(*(nn.Conv2d(3 if n == 0 else 4, 4, 3, stride=2, padding=1) for n in range(3)))
    made.input_size = (3, 64, 64)
    return made


def photograph(side: int = 128) -> Image.Image:
    return image(torch.rand(3, side, side, generator=torch.Generator().manual_seed(1)))


def breaking(when: int) -> Objective:
    """NaN at the ``when``-th time that it is asked for."""
    count = 0

    def value(seen: dict[str, Tensor]) -> Tensor:
        nonlocal count
        count += 1
        return seen["1"].mean((1, 2, 3)) * (math.nan if count == when else 1)

    return Objective(("1",), value, "it")


# ---- dreams -----------------------------------------------------------------------------------------------


def test_a_dream_that_is_no_number_says_where_and_keeps_what_it_had(net: nn.Module) -> None:
    pictures: list[Tensor] = []
    with pytest.raises(NotFinite, match=r"^it is no finite number in step 2 at 128 x 128 pixels$") as caught:
        dream(net, photograph(), breaking(6), octaves=2, steps=4, scale=2, preprocess=AS_IT_IS,
              watch=lambda done, values, picture: pictures.append(picture))  # fmt: skip
    assert (caught.value.good.steps, len(pictures)) == (5, 5)
    assert torch.equal(caught.value.good.pictures, pictures[-1])


def test_a_gradient_that_is_no_number_ends_a_dream_too(net: nn.Module) -> None:
    root = Objective(("1",), lambda seen: (seen["1"] - seen["1"].detach()).sqrt().sum((1, 2, 3)), "a root at 0")
    with pytest.raises(NotFinite, match="in step 1 at 128 x 128") as caught:
        dream(net, photograph(), root, octaves=1, preprocess=AS_IT_IS)
    assert torch.isfinite(caught.value.good.pictures).all()


def test_jitter_moves_where_a_layers_grid_lies() -> None:
    """Of a stride of 4 the same pixels are read in every step; a picture that is moved is read everywhere."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1, stride=4))

    def made(jitter: int, seed: int = 0) -> Dream:
        return dream(net, photograph(64), objectives.layer("0"), octaves=1, jitter=jitter, seed=seed, largest=64,
                     preprocess=AS_IT_IS)  # fmt: skip

    def changed(one: Dream) -> int:
        before = tensor(photograph(64))
        return int(((one.picture - before).abs().amax(0) > 1e-6).sum())

    assert changed(made(0)) == 16 * 16
    assert changed(made(8)) > 4 * 16 * 16
    assert torch.equal(made(8).picture, made(8).picture)
    assert not torch.equal(made(8).picture, made(8, seed=1).picture)


# ---- full sheets ------------------------------------------------------------------------------------------


def test_a_layer_that_does_not_exist_is_found_before_a_row_is_drawn(
    net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: object, **options: object) -> None:
        raise AssertionError("a row is being drawn")

    monkeypatch.setattr(fullsheet, "visualize", never)
    with pytest.raises(UnknownName, match="unknown layer of Sequential '11'"):
        sheet(net, ["0", "11"], columns=2, steps=2)


def test_a_sheet_that_meets_no_number_keeps_its_rows(net: nn.Module) -> None:
    with torch.no_grad():
        net[1].bias[:] = math.nan
    with pytest.raises(Broken, match="in step 1") as caught:
        sheet(net, LAYERS, columns=2, steps=2, size=32)
    assert [row.layer for row in caught.value.rows] == ["0"]
    assert fullsheet.drawn(caught.value.rows, "so far").height > 32


def test_the_rows_before_one_that_meets_no_number_are_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text(
        "import math\nfrom torch import nn\nNet = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))\n"
        "nn.init.constant_(Net[1].bias, math.nan)\n"
    )
    words = ["visualize", "sheet", f"{tmp_path / 'broken.py'}:Net", "--layer", "0", "--layer", "1"]
    assert main([*words, "--size", "32", "--steps", "2", "--out", str(tmp_path / "rows.png")]) == 2
    assert "is no finite number in step 1" in capsys.readouterr().err
    assert Image.open(tmp_path / "rows.png").height < 200  # one row, not two


def test_small_pictures_are_enlarged_on_a_sheet(net: nn.Module) -> None:
    small, large = (fullsheet.drawn(sheet(net, ["0"], columns=2, steps=2, size=size), "") for size in (32, 96))
    assert small.size == large.size


@pytest.mark.parametrize("when", ["between rows", "before a row's first step"])
def test_an_interrupted_sheet_is_the_rows_until_then(
    net: nn.Module, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fullsheet.visualize

    def watch(layer: str, done: int, of: int) -> None:
        if when == "between rows" and done == 2:
            raise KeyboardInterrupt

    def interrupted(net: nn.Module, objective: Objective, **options: Any) -> Any:
        if objective.layers == ("2",):
            raise KeyboardInterrupt
        return whole(net, objective, **options)

    monkeypatch.setattr(fullsheet, "visualize", interrupted)
    rows = sheet(net, LAYERS, columns=2, steps=2, size=32, watch=watch)
    assert [(row.layer, row.made.interrupted) for row in rows] == [("0", False), ("1", True)]
    with pytest.raises(KeyboardInterrupt):
        sheet(net, ["2"], columns=2, steps=2, size=32)
