"""Twins: other libraries' networks with random weights, converted, give their logits to nine digits."""

from __future__ import annotations

from importlib.resources import files

import pytest
import torch
from torch import nn

from convatlas import facts, registry, weights
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.weights.convert import keymap

LIBRARIES = ("torchvision", "timm")


def modules() -> list[str]:
    folder = files("convatlas.weights") / "keymaps"
    return sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml"))


def twins() -> list[object]:
    """Every (ours, library, theirs); of a module and library only the smallest network is not slow."""
    listed = []
    for module in modules():
        for library in LIBRARIES:
            pairs = keymap(module).get(library, {}).get("twins", {})
            if not pairs:
                continue
            smallest = min(pairs, key=params)
            for ours, theirs in pairs.items():
                marks = () if ours == smallest and params(ours) < 80e6 else pytest.mark.slow
                listed.append(pytest.param(ours, library, theirs, marks=marks, id=f"{ours}-{library}"))
    return listed


def params(name: str) -> int:
    return facts.index().get(name, {}).get("params", 0)


def built(library: str, name: str) -> nn.Module:
    """Their network with random weights and random batch-norm statistics, in float64."""
    torch.manual_seed(0)
    if library == "torchvision":
        import torchvision

        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}  # theirs takes 15 s
        net = torchvision.models.get_model(name, weights=None, **options)
    else:
        import timm

        net = timm.create_model(name, pretrained=False)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.1)
    return net.double().eval()


@pytest.mark.parametrize(("ours", "library", "theirs"), twins())
def test_converted_weights_give_their_logits(ours, library, theirs):
    other = built(library, theirs)
    state = weights.convert(ours, other.state_dict(), source=library)
    net = registry.create(ours, initialise=False).double().eval()
    net.load_state_dict({key: tensor for key, tensor in state.items() if not key.startswith("aux.")})
    channels, size = net.input_size[:2]
    picture = torch.randn(1, channels, min(size, 300), min(size, 300), dtype=torch.float64)  # B7's 600 take a minute
    with torch.no_grad():
        expected, logits = other(picture), net(picture)
    assert ((logits - expected).norm() / expected.norm()).item() < 1e-9


def test_the_auxiliary_heads_of_googlenet_and_inception_are_converted_too():
    for ours, theirs in (("googlenet_slim", "googlenet"), ("inception_v3", "inception_v3")):
        other = built("torchvision", theirs)
        net = registry.create(ours, aux=True, initialise=False).double().eval()
        net.load_state_dict(weights.convert(ours, other.state_dict(), "torchvision"))
        other.train()  # theirs answer only in training; what then differs is kept as in evaluation
        for module in other.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Dropout):
                module.eval()
        picture = torch.randn(1, *net.input_size, dtype=torch.float64)
        with torch.no_grad():
            logits, aux = net.with_aux(picture)
            expected = other(picture)
        theirs_by_stage = [expected[0], *reversed(expected[1:])]
        if ours == "googlenet_slim":  # (logits, aux2, aux1)
            assert list(aux) == ["inception4a", "inception4d"]
        for mine, its in zip([logits, *aux.values()], theirs_by_stage, strict=True):
            assert ((mine - its).norm() / its.norm()).item() < 1e-9


def test_every_network_that_a_key_map_names_is_registered_and_has_one_twin():
    for module in modules():
        for source, section in keymap(module).items():
            for ours in section["twins"]:
                assert registry.module_of(ours) == module, (source, ours)
            assert len(set(section["twins"].values())) == len(section["twins"]), (module, source)


# ---- what does not fit ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet18() -> dict[str, torch.Tensor]:
    return built("torchvision", "resnet18").state_dict()


@pytest.fixture(scope="module")
def resnet50() -> dict[str, torch.Tensor]:
    return built("torchvision", "resnet50").state_dict()


def complaint(*args, error=ConvatlasError) -> str:
    with pytest.raises(error) as caught:
        weights.convert(*args)
    return str(caught.value)


@pytest.mark.parametrize("source", ["torchvision", "timm", None])
def test_torchvisions_resnet50_is_resnet50_v1_5s(resnet50, source):
    assert "resnet50_v1_5's" in complaint("resnet50", resnet50, source)


def test_a_network_without_a_twin_says_so(resnet18):
    assert "no twin in torchvision" in complaint("resnet18_a", resnet18, "torchvision")


def test_a_misspelt_source_says_what_was_near(resnet18):
    assert "did you mean 'torchvision'" in complaint("resnet18", resnet18, "torchvison", error=UnknownName)


def test_a_missing_key_is_named(resnet18):
    state = {key: tensor for key, tensor in resnet18.items() if key != "layer2.0.conv1.weight"}
    assert "lacks resnet18's 'trunk.stage2.0.conv1.conv.weight'" in complaint("resnet18", state, "torchvision")


def test_an_unknown_key_is_named(resnet18):
    state = resnet18 | {"stranger": torch.zeros(1)}
    assert "no parameter 'stranger'" in complaint("resnet18", state, "torchvision")


def test_a_wrong_shape_is_named(resnet18):
    state = resnet18 | {"layer1.0.conv2.weight": torch.zeros(64, 64, 5, 5)}
    said = complaint("resnet18", state, "torchvision")
    assert "'trunk.stage1.0.conv2.conv.weight' has shape (64, 64, 3, 3), the checkpoint's (64, 64, 5, 5)" in said


def test_weights_of_another_network_of_the_family_are_recognised(resnet50):
    assert complaint("resnet18", resnet50, None) == "these are not resnet18's weights but resnet50_v1_5's"


def test_weights_of_another_family_are_recognised(resnet50):
    assert complaint("vgg16", resnet50, None) == "these are not vgg16's weights but resnet50_v1_5's"


def test_a_counter_that_older_checkpoints_do_not_have_is_zero(resnet18):
    state = {key: tensor for key, tensor in resnet18.items() if not key.endswith("num_batches_tracked")}
    converted = weights.convert("resnet18", state, "torchvision")
    assert converted["trunk.stem.conv.norm.num_batches_tracked"] == 0


@pytest.mark.parametrize("source", ["convatlas", None])
def test_a_state_dict_of_ours_stays_as_it_is(source):
    state = registry.create("resnet18", classes=7).state_dict()
    converted = weights.convert("resnet18", state, source)
    assert list(converted) == list(state)
    assert all(torch.equal(converted[key], state[key]) for key in state)


def test_the_origin_need_not_be_named(resnet18):
    named, found = (weights.convert("resnet18", resnet18, source) for source in ("torchvision", None))
    assert list(named) == list(found)
    assert all(torch.equal(named[key], found[key]) for key in named)


def test_another_number_of_classes_and_of_channels_comes_along(resnet18):
    state = resnet18 | {
        "conv1.weight": torch.zeros(64, 1, 7, 7),
        "fc.weight": torch.zeros(10, 512),
        "fc.bias": torch.zeros(10),
    }
    converted = weights.convert("resnet18", state, "torchvision")
    assert converted["trunk.stem.conv.conv.weight"].shape == (64, 1, 7, 7)
    assert converted["head.classifier.weight"].shape == (10, 512)
