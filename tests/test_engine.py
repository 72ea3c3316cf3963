"""Engines answer as the network does, and what is kept on disk is never taken for what it is not."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convatlas
from convatlas import weights
from convatlas.cost.machine import default_threads
from convatlas.deploy import building, store
from convatlas.deploy.eager import settle
from convatlas.deploy.engine import Engine, engine
from convatlas.deploy.load import Load
from convatlas.errors import ConvatlasError, UnknownName

skimage = pytest.importorskip("skimage")
CHELSEA = Path(skimage.data_dir) / "chelsea.png"
IDLE, BUSY = Load(0.0, 0.0, 2, 0.0), Load(2.0, 0.0, 2, 5.0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(building, "busy", lambda seconds: IDLE)
    return tmp_path / "cache" / "engines"


def lenet(**options):
    return convatlas.create("lenet5_modern", **options).eval()


def noise(net, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, *net.input_size)).astype(np.float32)


def logits(net, pictures: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(pictures)).numpy()


def complaint(*args, error=ConvatlasError, **options) -> str:
    with pytest.raises(error) as caught:
        engine(*args, **options)
    return str(caught.value)


# ---- the same answers -------------------------------------------------------------------------------------


def disturb(net: nn.Module) -> nn.Module:
    """Running statistics and shifts that a trained network would have: as made they are 0 and 1.

    Those of its own maps: with others the maps of a hundred blocks grow until float32 itself says nothing.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, 0, 0.1)
    settle(net, net.input_size)
    return net


@pytest.mark.parametrize("kind", ["onnxruntime", "eager"])
def test_every_family_gives_its_own_logits(network_name, kind):
    net = disturb(convatlas.create(network_name)).eval()
    pictures = noise(net, 3)
    wanted, made = logits(net, pictures), engine(net, kind, cache=False)
    for count in (1, 3):  # any number of pictures
        error = np.abs(made(pictures[:count]) - wanted[:count]).max() / np.abs(wanted[:count]).max()
        assert error <= (1e-4 if network_name != "preresnet1001_cifar" else 1e-2)  # whose own float32 is off by 3e-3
    assert made.kind == kind


@pytest.mark.parametrize("name", [pytest.param("preresnet1001_cifar", marks=pytest.mark.slow), "se_resnet152"])
def test_a_network_of_hundreds_of_blocks_can_be_run_with_fresh_weights(name):
    made = engine(name, "onnxruntime", weights="none", cache=False)
    assert np.isfinite(made(np.zeros((1, *made.input_size), np.float32))).all()


def test_networks_that_differ_by_their_input_size_alone_have_engines_of_their_own():
    large, small = (convatlas.create("squeezenet1_1", input_size=side).eval() for side in (128, 96))
    small.load_state_dict(large.state_dict())
    assert engine(large, "onnxruntime").input_size == (3, 128, 128)
    made = engine(small, "onnxruntime")
    assert (made.input_size, made.cached) == ((3, 96, 96), False)


def test_a_kept_engine_knows_no_more_than_a_fresh_one():
    net = convatlas.create("squeezenet1_1", input_size=96).eval()
    assert engine(net, "onnxruntime").weights is None
    kept = engine(net, "onnxruntime")
    assert (kept.cached, kept.weights) == (True, None)


def test_a_choice_made_beside_a_gpu_does_not_hold_without(monkeypatch):
    net = lenet()
    monkeypatch.setattr(building.Building, "_fastest", lambda self: ("cuda", True))
    monkeypatch.setattr(building, "sees_gpu", lambda: True)
    assert building.Building(net, "default", 1, None, None, True).chosen("auto") == "cuda"
    monkeypatch.setattr(building.Building, "_fastest", lambda self: ("onnxruntime", True))
    assert building.Building(net, "default", 1, None, None, True).chosen("auto") == "onnxruntime"
    assert "runs on a GPU" in complaint(net, "cuda", device="cpu")


def test_a_kept_engine_is_read_from_a_folder_that_cannot_be_written(monkeypatch):
    net = lenet()
    engine(net, "onnxruntime")

    def refused(*path):
        raise OSError

    monkeypatch.setattr("convatlas.deploy.store.os.utime", refused)
    assert engine(net, "onnxruntime").cached


def test_what_a_foreign_file_cannot_do_is_said(tmp_path):
    class Two(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)), x.amax((2, 3))

    class One(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    picture = torch.zeros(1, 3, 8, 8)
    for module, name in ((Two(), "two"), (One(), "one"), (One().half(), "half")):
        given = picture.half() if name == "half" else picture
        torch.onnx.export(module, (given,), tmp_path / f"{name}.onnx", dynamo=False)
    assert "one float32 tensor" in complaint(tmp_path / "two.onnx")
    assert "one float32 tensor" in complaint(tmp_path / "half.onnx")
    made = engine(tmp_path / "one.onnx")
    with pytest.raises(ConvatlasError, match="exported for batches of 1, not of 2"):
        made(np.zeros((2, 3, 8, 8), np.float32))


def test_tensors_give_tensors_and_arrays_arrays():
    net = lenet()
    pictures = noise(net)
    for kind in ("onnxruntime", "eager"):
        made = engine(net, kind)
        from_array, from_tensor = made(pictures), made(torch.from_numpy(pictures))
        assert isinstance(from_array, np.ndarray)
        assert isinstance(from_tensor, torch.Tensor)
        assert np.array_equal(from_array, from_tensor.numpy())


def test_a_compiled_engine_gives_the_same_logits():
    net = lenet()
    pictures = noise(net, 3)
    made = engine(net, "compile")
    assert np.abs(made(pictures) - logits(net, pictures)).max() < 1e-5


def test_an_engine_of_anybodys_module_runs_it():
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pictures = np.ones((1, 3, 20, 30), np.float32)
    made = engine(module.eval(), "onnxruntime", input_size=(3, 20, 30))
    assert np.allclose(made(pictures), logits(module, pictures), atol=1e-6)
    assert made.weights is None


def test_auto_takes_pytorch_where_onnx_cannot_express_the_network(caplog):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.svdvals(x[:, 0])

    with caplog.at_level(logging.WARNING):
        made = engine(Odd(), input_size=(3, 8, 8))
    assert made.kind == "eager"
    assert "cannot be written as ONNX" in caplog.text
    assert "cannot be written as ONNX" in complaint(Odd(), "onnxruntime", input_size=(3, 8, 8))


def test_the_network_itself_stays_as_it_was():
    net = lenet().train()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    for kind in ("eager", "onnxruntime"):
        engine(net, kind)(noise(net))
    assert net.training
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


# ---- what is kept -----------------------------------------------------------------------------------------


def test_an_engine_is_made_once_and_then_read(cache):
    net = lenet()
    first, second = engine(net), engine(net)
    assert not first.cached or first.kind == "eager"
    assert second.cached or second.kind == "eager"
    assert engine(net, "onnxruntime").cached
    assert len(list(cache.glob("*.onnx"))) == 1


def test_other_weights_are_another_engine(cache):
    net = lenet()
    before = engine(net, "onnxruntime")(noise(net))
    with torch.no_grad():
        net.head.classifier.bias += 1
    changed = engine(net, "onnxruntime")
    assert not changed.cached
    assert np.allclose(changed(noise(net)), before + 1, atol=1e-5)


def test_a_network_with_hooks_is_none_without(cache):
    net = lenet()
    plain = engine(net, "onnxruntime")(noise(net))
    net.head.register_forward_hook(lambda module, given, answer: 2 * answer)
    assert np.allclose(engine(net, "onnxruntime")(noise(net)), 2 * plain, atol=1e-5)


def test_the_same_weights_of_other_classes_are_another_engine(tmp_path):
    """A run's weights by themselves say nothing of classes; beside the run's record they do."""
    from convatlas.deploy.export import export

    file = export("lenet5_modern", "safetensors", tmp_path / "named.safetensors").path
    record = weights.loading.told_of(weights.find("lenet5_modern", file))
    from safetensors.torch import load_file, save_file

    told = {**record, "classes": list("abcdefghij")}
    save_file(load_file(file), tmp_path / "renamed.safetensors", metadata={"convatlas": json.dumps(told)})
    for name, first in (("named", "0"), ("renamed", "a"), ("named", "0")):
        for _ in range(2):
            made = engine(tmp_path / f"{name}.safetensors", "onnxruntime")
            assert made.weights.labels[0].name == first


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_engine_is_made_again_and_said_so(cache, damage, caplog):
    net = lenet()
    wanted = engine(net, "onnxruntime")(noise(net))
    (path,) = cache.glob("*.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut": bytes(content[:-100]), "changed": bytes(content), "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        made = engine(net, "onnxruntime")
    assert not made.cached
    assert "damaged" in caplog.text
    assert np.array_equal(made(noise(net)), wanted)
    assert engine(net, "onnxruntime").cached


def test_a_damaged_memory_of_choices_is_measured_anew(cache):
    net = lenet()
    kind = engine(net).kind
    (cache / "choices.json").write_text("{")
    assert engine(net).kind == kind
    assert json.loads((cache / "choices.json").read_text())


def test_a_remembered_choice_is_taken(cache, monkeypatch):
    from convatlas.deploy.building import Building

    net = lenet()
    engine(net)
    monkeypatch.setattr(Building, "_fastest", lambda self: pytest.fail("measured again"))
    engine(net)
    engine(net, "eager")


def test_on_a_busy_machine_nothing_is_measured_and_nothing_remembered(cache, monkeypatch):
    monkeypatch.setattr(building, "busy", lambda seconds: BUSY)
    monkeypatch.setattr(building, "interleaved", lambda *given, **named: pytest.fail("measured"))
    net = lenet()
    assert engine(net).kind == engine(net).kind == "onnxruntime"
    assert not (cache / "choices.json").exists()


def test_a_cache_that_cannot_be_written_is_a_warning(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path / "file" / "cache"))
    net = lenet()
    with caplog.at_level(logging.WARNING):
        made = engine(net, "onnxruntime")
    assert "not kept for the next time" in caplog.text
    assert np.abs(made(noise(net)) - logits(net, noise(net))).max() < 1e-5


def test_the_longest_unused_engines_go(cache, monkeypatch):
    nets = [lenet(), lenet(), lenet()]
    for net in nets[:2]:
        engine(net, "onnxruntime")
    oldest, newer = sorted(cache.glob("*.onnx"), key=lambda path: path.stat().st_mtime)
    os.utime(oldest, (1, 1))
    monkeypatch.setattr(store, "LARGEST", 2 * newer.stat().st_size + 1000)
    engine(nets[2], "onnxruntime")
    assert not oldest.exists()
    assert newer.exists()


def test_a_build_that_is_killed_leaves_nothing_that_is_trusted(cache, tmp_path):
    """Killed when half of the file is written."""
    net = lenet()
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    program = f"""
        import os, signal, threading, time
        from pathlib import Path
        import convatlas.files as files, convatlas.deploy.store as store
        from convatlas.deploy.engine import engine
        real = store.write_whole
        def slowly(path, write):
            def partly(beside):
                write(beside)
                content = beside.read_bytes()
                beside.write_bytes(content[: len(content) // 2])
                print("half", flush=True)
                time.sleep(60)
            real(path, partly)
        store.write_whole = slowly
        engine("lenet5_modern", "onnxruntime", weights={str(tmp_path / "weights.pth")!r})
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "half\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert list(cache.iterdir())  # the half
    made = engine("lenet5_modern", "onnxruntime", weights=tmp_path / "weights.pth")
    assert not made.cached
    assert np.abs(made(noise(net)) - logits(net, noise(net))).max() < 1e-5


# ---- without torch ----------------------------------------------------------------------------------------


def test_a_kept_engine_answers_without_torch_and_at_once(cache):
    command = [sys.executable, "-X", "importtime", "-m", "convatlas", "predict", str(CHELSEA), "--json"]
    environment = {**os.environ, "CONVATLAS_CACHE": str(cache.parent)}
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    kept = cache / "choices.json"  # none where the machine was too busy to choose
    chosen = json.loads(kept.read_text()).popitem()[1] if kept.exists() else "onnxruntime"
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        taken.append(time.perf_counter() - start)
    if chosen != "onnxruntime":
        pytest.skip("PyTorch is faster on this machine")
    imported = {line.rpartition("|")[2].strip() for line in again.stderr.splitlines() if line.startswith("import time")}
    assert "numpy" in imported
    assert not imported & {"torch", "torchvision", "onnx", "matplotlib"}
    assert json.loads(again.stdout)[0]["top"][0]["label"] == "Egyptian cat"
    assert [guess["label"] for guess in json.loads(first.stdout)[0]["top"]] == [
        guess["label"] for guess in json.loads(again.stdout)[0]["top"]
    ]
    assert min(taken) < 1.5


# ---- requests that cannot be met --------------------------------------------------------------------------


def test_requests_that_make_no_sense(tmp_path):
    assert "did you mean 'onnxruntime'" in complaint("lenet5_modern", "onnxruntim", error=UnknownName)
    assert "threads is at least 1, not 0" in complaint("lenet5_modern", threads=0)
    assert "no file" in complaint(tmp_path / "absent.onnx")
    assert "cannot be used" in complaint("lenet5_modern", "eager", device="cuda:77")
    assert "runs on the CPU" in complaint("lenet5_modern", "onnxruntime", device="cuda")
    assert "did you mean 'lenet5_modern'" in complaint("lenet5_moden", error=UnknownName)
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x01 no model")
    assert "broken.onnx" in complaint(tmp_path / "broken.onnx")
    (tmp_path / "folder.onnx").mkdir()
    assert "no file" in complaint(tmp_path / "folder.onnx")


def test_pictures_of_another_size_are_refused_in_words():
    made = engine(lenet())
    with pytest.raises(ConvatlasError, match="reads N x 1 x 32 x 32, not 1 x 3 x 32 x 32"):
        made(np.zeros((1, 3, 32, 32), np.float32))
    with pytest.raises(ConvatlasError, match="not 1 x 32 x 32"):
        made(np.zeros((1, 32, 32), np.float32))
    with pytest.raises(ConvatlasError, match="not 0 x 1"):
        made(np.zeros((0, 1, 32, 32), np.float32))


def test_a_file_that_is_not_ours_runs_as_it_is(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    torch.onnx.export(module, (torch.zeros(1, 3, 8, 8),), str(tmp_path / "theirs.onnx"), dynamo=False)
    made = engine(tmp_path / "theirs.onnx")
    assert isinstance(made, Engine)
    assert made.input_size == (3, 8, 8)
    pictures = np.ones((1, 3, 8, 8), np.float32)
    assert np.allclose(made(pictures), logits(module, pictures), atol=1e-6)
    with pytest.raises(ConvatlasError, match="does not say which classes"):
        convatlas.predict(CHELSEA, str(tmp_path / "theirs.onnx"))


def test_threads_are_those_that_openmp_is_told(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert 1 <= default_threads() <= (os.cpu_count() or 1)


def test_torchs_threads_are_put_back():
    before = torch.get_num_threads()
    engine(lenet(), "eager", threads=before + 1)(np.zeros((1, 1, 32, 32), np.float32))
    assert torch.get_num_threads() == before


def test_weights_for_larger_pictures_make_an_engine_for_larger_pictures():
    net = convatlas.create("mobilenet_v2_x0_35", initialise=True).eval()
    source = weights.find("mobilenet_v2_x1_0", "torchvision")
    net.weights = weights.Weights(source, weights.labels.imagenet(), source.preprocess.at(96))
    made = engine(net, "eager")
    assert made.input_size == (3, 96, 96)
    assert made(np.zeros((1, 3, 96, 96), np.float32)).shape == (1, 1000)
