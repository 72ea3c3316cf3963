"""Networks by name: options, errors that suggest, the catalogue, and building without filling weights twice."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from conftest import representatives
from torch import nn

import convatlas
from convatlas import facts, registry
from convatlas.blocks import SqueezeExcite
from convatlas.blocks.init import skip_init
from convatlas.errors import ConvatlasError, UnknownName, UnknownOption


@pytest.mark.parametrize(
    ("typed", "meant"), [("resnet5O", "resnet50"), ("vgg_16", "vgg16"), ("EfficientNet_B0", "efficientnet_b0")]
)
def test_a_misspelt_name_says_what_was_near(typed: str, meant: str) -> None:
    with pytest.raises(UnknownName, match=rf"did you mean .*'{meant}'"):
        registry.create(typed)
    with pytest.raises(UnknownName, match=rf"did you mean .*'{meant}'"):
        registry.card(typed)


def test_an_option_that_a_network_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownOption, match=r"lenet5 has no option 'width'; it takes channels, input_size"):
        registry.create("lenet5", width=0.5)
    with pytest.raises(UnknownOption, match="alexnet has no blocks that could carry a gate"):
        registry.create("alexnet", attention="se")
    with pytest.raises(UnknownName, match="attention 'squeeze'"):
        registry.create("resnet18", attention="squeeze")


@pytest.mark.parametrize(
    "options", [{"classes": 0}, {"channels": -1}, {"input_size": 0}, {"drop_path": 1.0}, {"width": 0.0}, {"depth": 0.0}]
)
def test_an_impossible_option_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConvatlasError, match=next(iter(options))):
        registry.create("resnet18", **options)


def test_resnet50_with_a_gate_is_se_resnet50() -> None:
    gated, named = registry.create("resnet50", attention="se", initialise=False), registry.create("se_resnet50")
    assert gated.name == "se_resnet50"
    assert [(k, v.shape) for k, v in gated.state_dict().items()] == [
        (k, v.shape) for k, v in named.state_dict().items()
    ]


def test_a_gate_can_be_put_on_any_block_and_taken_off() -> None:
    def gates(net: nn.Module) -> int:
        return sum(type(m).__name__ == "SqueezeExcite" for m in net.modules())

    assert gates(registry.create("resnet34", attention="se", initialise=False)) == 16
    assert gates(registry.create("efficientnet_b0", initialise=False)) == 16
    assert gates(registry.create("efficientnet_b0", attention="none", initialise=False)) == 0


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2_x1_0", "efficientnet_b0", "googlenet"])
def test_a_small_picture_gets_a_small_stem(name: str) -> None:
    """At 32 pixels, the last map of the network as it is for 224 is a single pixel."""
    net = registry.create(name, input_size=32, classes=10).eval()
    plain = registry.create(name, classes=10).eval()
    picture = torch.zeros(1, 3, 32, 32)
    last = list(net.endpoints(picture).values())[-1]
    assert last.shape[-1] >= 2
    assert list(plain.endpoints(picture).values())[-1].shape[-1] == 1


@pytest.mark.parametrize("name", ["vgg11", "alexnet"])
@pytest.mark.parametrize("size", [224, 256, 320])
def test_another_input_size_never_changes_the_parameters(name: str, size: int) -> None:
    net = registry.create(name, input_size=size, initialise=False).eval()
    plain = registry.create(name, initialise=False)
    assert [p.shape for p in net.parameters()] == [p.shape for p in plain.parameters()]
    with torch.no_grad():
        assert net(torch.zeros(1, 3, size, size)).shape == (1, 1000)


def test_skip_init_leaves_weights_unset_and_nothing_else() -> None:
    with skip_init():
        a, b = nn.Linear(100, 100), nn.BatchNorm2d(5)
        drawn = torch.rand(3)
    assert torch.equal(b.weight, torch.ones(5))
    assert drawn.std() > 0
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with skip_init():
        nn.Linear(10, 10)
        nn.Conv2d(3, 4, 3)
    assert torch.equal(torch.get_rng_state(), state), "a weight was drawn"
    assert a.weight.shape == (100, 100)


def test_the_same_seed_gives_the_same_network() -> None:
    nets = []
    for _ in range(2):
        torch.manual_seed(7)
        nets.append(registry.create("resnet18"))
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters()))


def test_a_fresh_network_has_no_unset_parameter() -> None:
    """Every parameter of a network built by two different memories is the same: nothing kept what memory held."""
    for name in ("vgg11", "resnet18", "efficientnet_lite0"):
        built = []
        for fill in (float("nan"), 1e30):
            junk = [torch.full((n,), fill) for n in (10, 1000, 100_000, 1_000_000)]
            del junk
            torch.manual_seed(0)
            built.append(registry.create(name))
        for (path, a), b in zip(built[0].named_parameters(), built[1].parameters()):
            assert torch.isfinite(a).all(), path
            assert torch.equal(a, b), path


# ---- the catalogue ----------------------------------------------------------------------------------------


def names(*patterns: str, **filters: object) -> list[str]:
    return [card.name for card in convatlas.find(patterns or "*", **filters)]


def test_find_takes_one_glob_or_several() -> None:
    assert names("vgg1?") == ["vgg11", "vgg13", "vgg16", "vgg19"]
    assert [card.name for card in convatlas.find("vgg1?")] == names("vgg1?")
    assert names("vgg11", "resnet18") == ["resnet18", "vgg11"]


def test_numbers_in_names_sort_as_numbers() -> None:
    found = names("resnet18", "resnet152", "resnet101", "resnet50", "resnet34")
    assert found == ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
    widths = names("mobilenet_v1_*")
    assert widths == ["mobilenet_v1_x0_25", "mobilenet_v1_x0_5", "mobilenet_v1_x0_75", "mobilenet_v1_x1_0"]


def test_find_filters_by_what_a_network_is_and_costs() -> None:
    assert "resnet101" not in names("res*", params_below=30e6)
    assert all(c.params < 30e6 for c in convatlas.find("res*", params_below=30e6))
    assert all(c.macs > 10e9 for c in convatlas.find(macs_above=10e9))
    assert set(names(family="vgg")) == {n for n in facts.index() if facts.index()[n]["family"] == "VGG"}
    assert {c.year for c in convatlas.find(year=(2014, 2015))} == {2014, 2015}
    assert "efficientnet_lite0" in names(has={"weights"})
    assert "preresnet1001_cifar" not in names(has="weights")


def test_find_says_what_does_not_exist() -> None:
    with pytest.raises(UnknownName, match=r"did you mean .*'vgg16'"):
        convatlas.find("vgg61")
    with pytest.raises(UnknownName, match=r"family 'ResNets'; did you mean"):
        convatlas.find(family="ResNets")
    with pytest.raises(UnknownName, match="capability"):
        convatlas.find(has="wings")


def test_public_names_are_there_and_cost_nothing_until_used() -> None:
    for name in convatlas.__all__:
        assert getattr(convatlas, name) is not None
    code = "import sys, convatlas; convatlas.find('res*'); convatlas.analyze('resnet50'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


UNGATED = {"alexnet", "lenet", "nin", "zfnet"}
"""Modules of ``nets`` whose networks have no blocks."""


@pytest.mark.parametrize("name", representatives())
def test_every_family_that_has_blocks_can_carry_gates(name: str) -> None:
    def gates(attention: str) -> int:
        net = registry.create(name, attention=attention, initialise=False)
        return sum(isinstance(module, SqueezeExcite) for module in net.modules())

    if registry.module_of(name) in UNGATED:
        with pytest.raises(UnknownOption, match="no blocks"):
            registry.create(name, attention="se")
    else:
        assert gates("se") > 0
        assert gates("none") == 0


@pytest.mark.parametrize("name", [name for name in representatives() if "width" in registry.options(name)])
@pytest.mark.parametrize("width", [0.37, 1.7])
def test_any_width_makes_a_network(name: str, width: float) -> None:
    usual, scaled = (registry.create(name, width=w, initialise=False) for w in (1.0, width))
    sizes = [sum(p.numel() for p in net.parameters()) for net in (usual, scaled)]
    assert (sizes[1] > sizes[0]) == (width > 1)


@pytest.mark.parametrize("name", representatives())
def test_a_network_can_be_pickled_and_copied(name: str) -> None:
    net = registry.create(name)
    for again in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values()))
        if "classes" in registry.options(name):
            assert again.set_classes(3).classes == 3
