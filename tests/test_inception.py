"""The Inception line: what the papers print of it, and what other people's code makes of it."""

from __future__ import annotations

import math

import pytest
import torch
import torch.fx
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convatlas import registry
from convatlas.blocks import ConvNormAct, SqueezeExcite
from convatlas.blocks.inception import Inception
from convatlas.nets.googlenet import naive, reduced
from convatlas.nets.inception_resnet import Residual
from convatlas.weights.convert import convert


def params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def macs(module: nn.Module, *size: int) -> int:
    with torch.device("meta"):
        x = torch.empty(1, *size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.to("meta")(x)
    return counter.get_total_flops() // 2


def build(name: str, *, aux: bool | None = None, input_size: int | None = None) -> nn.Module:
    return registry.create(name, aux=aux, input_size=input_size, initialise=False).eval()


def random_statistics(net: nn.Module) -> nn.Module:
    """Batch norms with something to get wrong."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.double().eval()


def in_order(ours: nn.Module, theirs: dict[str, Tensor]) -> None:
    """Load tensors by their order; their names are somebody else's."""
    keys = list(ours.state_dict())
    assert [v.shape for v in ours.state_dict().values()] == [v.shape for v in theirs.values()]
    ours.load_state_dict(dict(zip(keys, theirs.values())))


def same(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).norm() < 1e-9 * b.norm())


# ---- GoogLeNet -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "million", "channels"), [(naive, 854.196, 672), (reduced, 271.4, 480)])
def test_reductions_make_a_module_three_times_cheaper(form, million: float, channels: int) -> None:
    module = Inception(256, form(128, 64, 192, 64, 96, 64))
    with torch.device("meta"):
        assert module.to("meta")(torch.empty(1, 256, 28, 28)).shape == (1, channels, 28, 28)
    assert macs(module, 256, 28, 28) / 1e6 == pytest.approx(million, abs=0.06 if form is reduced else 0.0005)


def test_the_naive_network_grows_from_module_to_module() -> None:
    net = build("googlenet_naive")
    widths = [m.outputs for m in net.trunk if isinstance(m, Inception)]
    assert widths == [416, 832, 1280, 1728, 2176, 2640, 3344, 4048, 4944]
    assert params(net) > 10 * params(build("googlenet"))


def test_table_1_counts_parameters_in_units_of_1024_and_is_off_in_two_rows() -> None:
    #         parameters (K)  operations (M)      Table 1
    table = {
        "inception3a": (159,  128),
        "inception3b": (380,  304),
        "inception4a": (364,  73),
        "inception4b": (437,  88),
        "inception4c": (463,  100),
        "inception4d": (580,  119),
        "inception4e": (840,  170),
        "inception5a": (1072, 54),
        "inception5b": (1388, 71),
    }  # fmt: skip
    net = build("googlenet")
    inputs, off_in_parameters, off_in_operations = 192, set(), set()
    for name, (kilo, mega) in table.items():
        module = net.get_submodule(f"trunk.{name}")
        side = {"3": 28, "4": 14, "5": 7}[name[-2]]
        if params(module) / 1024 != pytest.approx(kilo, rel=0.02):
            off_in_parameters.add(name)
        if abs(macs(module, inputs, side, side) / 1e6 - mega) > 1:
            off_in_operations.add(name)
        inputs = module.outputs
    assert off_in_parameters == {"inception4c", "inception5a"}
    assert off_in_operations == {"inception5a"}


def test_the_papers_row_of_the_stem_is_a_separable_7x7() -> None:
    separable = nn.Sequential(
        nn.Conv2d(3, 24, 7, 2, 3, groups=3, bias=False),
        nn.Conv2d(24, 64, 1, bias=False),
    )
    assert round(params(separable) / 1000, 1) == 2.7
    assert round(macs(separable, 3, 224, 224) / 1e6) == 34
    net = build("googlenet")
    assert params(net) - params(net.trunk.conv1) + params(separable) + 64 == 6_991_856


def test_googlenet_is_22_layers_deep_when_a_module_counts_as_two() -> None:
    graph = torch.fx.symbolic_trace(build("googlenet"))
    depth: dict[torch.fx.Node, int] = {}
    for node in graph.graph.nodes:
        layer = node.op == "call_module" and isinstance(graph.get_submodule(node.target), nn.Conv2d | nn.Linear)
        depth[node] = max((depth[before] for before in node.all_input_nodes), default=0) + layer
    assert max(depth.values()) == 22


def test_the_slim_googlenet_has_3x3_for_5x5_and_only_it() -> None:
    def kernels(name: str) -> list[int]:
        return [m.kernel_size[0] for m in build(name).modules() if isinstance(m, nn.Conv2d)]

    assert kernels("googlenet").count(5) == kernels("googlenet_bn").count(5) == 9
    assert kernels("googlenet_slim") == [3 if k == 5 else k for k in kernels("googlenet")]


def test_the_response_norm_is_caffes() -> None:
    norm = build("googlenet").trunk.norm1
    x = torch.randn(1, 64, 1, 1) * 100
    squares = torch.cat([torch.zeros(2), x.flatten() ** 2, torch.zeros(2)]).unfold(0, 5, 1).sum(1)
    assert torch.allclose(norm(x).flatten(), x.flatten() / (1 + 1e-4 / 5 * squares) ** 0.75)


def test_the_auxiliary_heads_read_4x4_of_the_14x14() -> None:
    net = build("googlenet", aux=True)
    assert list(net.aux) == ["inception4a", "inception4d"]
    x = torch.randn(1, 512, 14, 14)
    assert torch.equal(net.aux["inception4a"][:2](x), nn.functional.avg_pool2d(x, 5, 3))
    assert [net.aux[name].conv.conv.in_channels for name in net.aux] == [512, 528]


@pytest.mark.parametrize(
    ("name", "theirs", "heads"),
    [
        ("googlenet_slim", "googlenet", {"aux1": "inception4a", "aux2": "inception4d"}),
        ("inception_v3", "inception_v3", {"AuxLogits": "mixed6e"}),
    ],
)
def test_auxiliary_logits_are_torchvisions(name: str, theirs: str, heads: dict[str, str]) -> None:
    models = pytest.importorskip("torchvision.models")
    other = models.get_model(theirs, weights=None, init_weights=False)
    other = random_statistics(other)
    net = build(name, aux=True).double()
    net.load_state_dict(convert(name, other.state_dict(), "torchvision"))
    x = torch.randn(1, *net.input_size, dtype=torch.float64)
    with torch.no_grad():
        maps = net.endpoints(x)
        logits, aux = net.with_aux(x)
        assert same(logits, other(x))
        for their_head, stage in heads.items():
            assert same(aux[stage], getattr(other, their_head)(maps[stage]))


@pytest.mark.parametrize("name", ["googlenet", "inception_v2"])
def test_a_small_picture_keeps_its_size_through_the_first_convolution(name: str) -> None:
    net = build(name, input_size=32)
    with torch.no_grad():
        maps = net.endpoints(torch.zeros(1, 3, 32, 32))
    assert [maps[stage].shape[-1] for stage in ("conv1", "inception3a", "inception5b")] == [32, 16, 4]


def test_the_auxiliary_heads_work_on_small_pictures_too() -> None:
    net = build("googlenet", aux=True, input_size=32)
    with torch.no_grad():
        assert {a.shape for a in net.with_aux(torch.zeros(2, 3, 32, 32))[1].values()} == {(2, 1000)}


# ---- the others ----------------------------------------------------------------------------------------------


def test_inception_v2_is_pytorchcvs_bninception() -> None:
    other = pytest.importorskip("pytorchcv.models.bninception").bninception()
    other = random_statistics(other)
    net = build("inception_v2").double()
    in_order(net, other.state_dict())
    x = torch.randn(1, 3, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        assert same(net(x), other(x))


def test_inception_resnet_v1_is_pytorchcvs_without_its_sixth_block_c_and_its_embedding() -> None:
    other = pytest.importorskip("pytorchcv.models.inceptionresnetv1").inceptionresnetv1()
    features = random_statistics(other).features
    del features.final_pool, features.stage3.unit7
    net = build("inception_resnet_v1").double()
    in_order(net.trunk, features.state_dict())
    x = torch.randn(1, 3, 107, 107, dtype=torch.float64)
    with torch.no_grad():
        assert same(net.trunk(x), features(x))
    assert [len(net.get_submodule(f"trunk.inception_resnet_{c}")) for c in "abc"] == [5, 10, 5]


@pytest.mark.parametrize(("name", "without_gamma"), [("inception_v3", 23_817_352), ("inception_resnet_v2", 55_813_192)])
def test_tensorflows_count_lacks_one_gamma_per_channel(name: str, without_gamma: int) -> None:
    net = build(name)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert params(net) - sum(m.num_features for m in norms) == without_gamma
    assert {m.eps for m in norms} == {1e-3}


def test_inception_v3_as_others_count_it_includes_its_auxiliary_head() -> None:
    assert params(build("inception_v3", aux=True)) == 27_161_264
    assert params(build("inception_v3")) == 23_834_568


def test_figures_5_6_and_7_of_inception_v3_shrink_the_grid_to_35_17_and_8() -> None:
    net = build("inception_v3").to("meta")
    maps = net.endpoints(torch.empty(1, 3, 299, 299, device="meta"))
    grids = {stage: tuple(maps[stage].shape[1:3]) for stage in ("pool2", "mixed5d", "mixed6e", "mixed7c")}
    assert grids == {"pool2": (192, 35), "mixed5d": (288, 35), "mixed6e": (768, 17), "mixed7c": (2048, 8)}


def test_the_figures_of_inception_v4_and_inception_resnet_v1_print_their_grids() -> None:
    printed = {
        "inception_v4": dict(stem=(384, 35), inception_a=(384, 35), reduction_a=(1024, 17), reduction_b=(1536, 8)),
        "inception_resnet_v1": dict(stem=(256, 35), reduction_a=(896, 17), reduction_b=(1792, 8)),
    }
    for name, grids in printed.items():
        maps = build(name).to("meta").endpoints(torch.empty(1, 3, 299, 299, device="meta"))
        assert {stage: tuple(maps[stage].shape[1:3]) for stage in grids} == grids


def test_xceptions_middle_flow_is_one_block_eight_times() -> None:
    net = build("xception")
    middle = [params(net.get_submodule(f"trunk.block{n}")) for n in range(4, 12)]
    assert len(set(middle)) == 1
    assert macs(net.trunk.block4, 728, 19, 19) == 3 * 19 * 19 * 728 * (9 + 728)


# ---- gates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "modules"),
    [("googlenet", 9), ("inception_v2", 10), ("inception_v3", 11), ("inception_v4", 4 + 1 + 7 + 1 + 3),
     ("inception_resnet_v1", 5 + 1 + 10 + 1 + 5), ("inception_resnet_v2", 1 + 10 + 1 + 20 + 1 + 10),
     ("xception", 12)],
)  # fmt: skip
def test_every_module_has_a_gate_when_asked_for(name: str, modules: int) -> None:
    net = registry.create(name, attention="se", initialise=False)
    gates = [m for m in net.modules() if isinstance(m, SqueezeExcite)]
    assert len(gates) == modules
    extra = sum(2 * c * (c // 16) + c + c // 16 for c in (g.expand.out_channels for g in gates))
    assert params(net) - params(build(name)) == extra


def test_the_gate_weighs_the_residual_branch_before_the_addition() -> None:
    block = Residual(32, [[(8, 1)]], 1.0, conv=ConvNormAct, se=lambda c: SqueezeExcite(c, 2), bare=True)
    nn.init.constant_(block.gate.expand.weight, 0)
    nn.init.constant_(block.gate.expand.bias, -math.inf)  # a gate that is shut
    x = torch.randn(1, 32, 5, 5)
    assert torch.equal(block(x), x)


def test_the_gates_of_inception_resnet_v2_cost_what_the_senet_paper_says() -> None:
    plain, gated = (macs(build(name), 3, 299, 299) / 1e9 for name in ("inception_resnet_v2", "se_inception_resnet_v2"))
    assert round(gated - plain, 2) == round(11.76 - 11.75, 2)
