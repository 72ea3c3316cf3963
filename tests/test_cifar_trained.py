"""CIFAR ResNets with weights that somebody else trained, on the 10,000 test pictures of CIFAR-10.

The data lies in the folder that CONVATLAS_TEST_DATA names, or in ``shared/data`` beside the checkout; without it these
tests skip.  Its pictures are JPEGs: the networks lose about ten points on them, so the accuracies below are those that
the weights reach there, with pixels normalised as ImageNet's, and not the published 91.7 % and 93.4 %.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convatlas import registry, weights
from convatlas.blocks.residual import PadChannels
from convatlas.weights.labels import CIFAR10

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
DATA = Path(os.environ.get("CONVATLAS_TEST_DATA", BESIDE))
PICTURES = DATA / "cifar10_jpeg.tar.xz"
WEIGHTS = {"resnet20_cifar": DATA / "resnet20-12fca82f.th", "resnet56_cifar": DATA / "resnet56-4bfd9763.th"}

pytestmark = pytest.mark.skipif(
    not all(path.is_file() for path in (PICTURES, *WEIGHTS.values())),
    reason=f"no trained CIFAR networks and pictures in {DATA}; CONVATLAS_TEST_DATA names another folder",
)


@pytest.fixture(scope="module")
def test_set() -> tuple[Tensor, Tensor]:
    """(10000, 3, 32, 32) as the weights want it, and the classes."""
    preprocess = weights.find("resnet20_cifar", "akamaster").preprocess
    pictures, classes = [], []
    with tarfile.open(PICTURES) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith("test/"):
                file = archive.extractfile(member)
                assert file is not None
                pictures.append(preprocess(Image.open(io.BytesIO(file.read()))))
                classes.append(CIFAR10.index(member.name.split("/")[1]))
    stacked = torch.from_numpy(np.stack(pictures))
    return stacked.contiguous(memory_format=torch.channels_last), torch.tensor(classes)  # half the time of the other


def trained(name: str) -> nn.Module:
    net = registry.create(name, initialise=False)
    net.load_state_dict(weights.convert(name, weights.read(WEIGHTS[name]), "akamaster"))
    return net.eval().to(memory_format=torch.channels_last)


def accuracy(net: nn.Module, pictures: Tensor, classes: Tensor) -> float:
    """Per cent."""
    with torch.inference_mode():
        guesses = torch.cat([net(batch).argmax(1) for batch in pictures.split(50)])
    return 100 * (guesses == classes).double().mean().item()


@pytest.mark.parametrize(("name", "expected"), [("resnet20_cifar", 81.0), ("resnet56_cifar", 83.2)])
def test_trained_weights_recognise_what_they_were_trained_on(
    name: str, expected: float, test_set: tuple[Tensor, Tensor]
) -> None:
    assert accuracy(trained(name), *test_set) == pytest.approx(expected, abs=0.15)


def test_with_all_zeros_after_the_channels_the_trained_network_guesses(test_set: tuple[Tensor, Tensor]) -> None:
    """The counts would be the same: only trained weights notice where option A puts its zeros."""
    net = trained("resnet56_cifar")
    moved = [module for module in net.modules() if isinstance(module, PadChannels)]
    for pad in moved:
        pad.before, pad.after = 0, pad.before + pad.after
    assert len(moved) == 2
    every_tenth = [part[::10] for part in test_set]
    assert accuracy(net, *every_tenth) < 20
