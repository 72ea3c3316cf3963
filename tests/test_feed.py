"""Batches: the network is shown in training what it is shown in the test, from memory as from files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from convatlas.data import Arrays, Files, load
from convatlas.data.fitting import coloured
from convatlas.train import evaluate
from convatlas.train.feed import Feed, transforms
from convatlas.train.order import Order
from convatlas.train.recipe import Recipe
from convatlas.train.setup import fitting
from convatlas.weights import Preprocess

PLAIN = Recipe(epochs=1, batch=2, learning_rate=0.1)
CPU = torch.device("cpu")


def noise(*shape: int) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)


def in_memory(pictures: np.ndarray) -> Arrays:
    """(N, H, W, C) pictures."""
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    return Arrays(images, torch.zeros(len(images), dtype=torch.int64), "", np.arange(len(images)))


def in_files(pictures: np.ndarray, folder: Path) -> Files:
    paths = [folder / f"{index}.png" for index in range(len(pictures))]
    for path, pixels in zip(paths, pictures):
        Image.fromarray(pixels).save(path)
    return Files(paths, torch.zeros(len(paths), dtype=torch.int64))


def test_a_size_for_the_test_is_not_that_of_training(tmp_path: Path) -> None:
    plan, pictures = PLAIN.model_copy(update={"test_size": 24}), noise(2, 30, 30, 3)
    feed = Feed(plan, Preprocess.for_input(24), CPU, side=16)
    for split in (in_memory(pictures), in_files(pictures, tmp_path)):
        (trained, _), *_ = feed.training(split, Order(2, 2), 0, 0)
        (tested, _), *_ = feed.testing(split, 2)
        assert (trained.shape, tested.shape) == ((2, 3, 16, 16), (2, 3, 24, 24))


@pytest.mark.parametrize("side", [32, 128])
@pytest.mark.parametrize("mode", ["shorter", "squash"])
def test_a_recipe_without_crops_trains_on_what_the_test_shows(side: int, mode: str) -> None:
    picture = Image.fromarray(noise(90, 150, 3))
    preprocess = replace(Preprocess.for_input(side), mode=mode)
    made: Tensor = transforms(PLAIN, preprocess, side)(picture)
    assert np.allclose(made.numpy(), preprocess(picture), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(40, 30), (30, 40), (26, 28), (28, 26), (28, 28), (40, 40)])
def test_what_a_run_stores_makes_of_a_picture_what_it_was_in_memory(tmp_path: Path, height: int, width: int) -> None:
    """Of others than squares too: all that `predict` knows of them is what is stored."""
    pictures = noise(40, height, width, 3)
    np.savez(tmp_path / "a.npz", train_images=pictures, train_labels=np.arange(40) % 2)
    data = load(f"npz:{tmp_path / 'a.npz'}")
    preprocess = fitting(Preprocess.for_input(32), data, PLAIN, 32, True)
    (made, _), *_ = Feed(PLAIN, preprocess, CPU).testing(in_memory(pictures[:1]), 1)
    apart = np.abs(made[0].numpy() - preprocess(Image.fromarray(pictures[0])))
    assert apart.max() * max(data.std) * 255 < 1.5  # of 255: the two round differently


def test_pictures_in_memory_are_turned_grey_as_those_in_files_are() -> None:
    pictures = noise(3, 9, 7, 3)
    grey = coloured(in_memory(pictures).images, 1)
    theirs = [np.asarray(Image.fromarray(pixels).convert("L")) for pixels in pictures]
    assert np.array_equal(grey[:, 0].numpy(), np.stack(theirs))
    assert torch.equal(coloured(grey, 3), grey.repeat(1, 3, 1, 1))


@pytest.mark.parametrize(
    ("network", "channels", "classes"),
    [("lenet5_modern", 3, ("3", "7")), ("efficientnet_lite0", 1, ("n02085620", "n02123045"))],
)
def test_colours_are_tested_on_a_network_for_grey_and_grey_on_one_for_colours(
    tmp_path: Path, network: str, channels: int, classes: tuple[str, ...]
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, train_images=noise(2, 28, 28, channels), train_labels=np.arange(2), classes=np.array(classes))
    assert evaluate(network, f"npz:{path}", split="train")["pictures"] == 2
