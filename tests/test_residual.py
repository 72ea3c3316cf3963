"""Residual networks: what the papers say of them, and what other people's code makes of them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import torch.fx
from torch import Tensor, nn

from convatlas import facts, registry
from convatlas.blocks.attention import SqueezeExcite
from convatlas.blocks.residual import PadChannels, shortcut
from convatlas.nets import preresnet, resnet, senet154


def build(name: str, **options) -> nn.Module:
    return registry.create(name, initialise=False, **options).eval()


def params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def random_statistics(net: nn.Module) -> nn.Module:
    """Batch norms with something to get wrong."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.double().eval()


# ---- depth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("plain18", "plain34", "resnet18", "resnet34_a", "resnet34_c", "resnet50", "resnet101", "resnet152"),
        *("plain20_cifar", "plain56_cifar", "resnet20_cifar", "resnet32_cifar", "resnet44_cifar", "resnet56_b_cifar"),
        *("resnet110_cifar", "resnext29_8x64d_cifar", "resnext29_16x64d_cifar", "resnext50_32x4d", "senet154"),
        *("preresnet50", "preresnet200", "preresnet110_cifar", "preresnet164_cifar", "preresnet1001_cifar"),
    ],
)
def test_the_number_in_the_name_is_the_depth(name: str) -> None:
    """Layers with weights on the longest way from picture to logits, gates left out."""
    net = build(name, attention="none")
    graph = torch.fx.Tracer().trace(net)
    depth: dict[torch.fx.Node, int] = {}
    for node in graph.nodes:
        layer = node.op == "call_module" and isinstance(net.get_submodule(node.target), nn.Conv2d | nn.Linear)
        depth[node] = max((depth[before] for before in node.all_input_nodes), default=0) + layer
    assert max(depth.values()) == int(re.search(r"\d+", name)[0])


# ---- shortcuts -----------------------------------------------------------------------------------------------


def test_the_zeros_of_option_a_go_half_before_half_after() -> None:
    picture = torch.arange(2 * 16 * 8 * 8, dtype=torch.float).reshape(2, 16, 8, 8) + 1
    out = shortcut("A", 16, 32, 2)(picture)
    assert torch.equal(out[:, 8:24], picture[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_option_a_costs_nothing(depth: int) -> None:
    assert params(build(f"resnet{depth}_cifar")) == params(build(f"plain{depth}_cifar"))
    assert len([m for m in build(f"resnet{depth}_cifar").modules() if isinstance(m, PadChannels)]) == 2


def test_option_b_projects_where_the_shape_changes_and_c_everywhere() -> None:
    def projections(name: str) -> int:
        net = build(name)
        return sum(bool(convolutions(m.shortcut)) for m in net.modules() if isinstance(m, resnet.Basic))

    counts = {name: projections(name) for name in ("resnet34_a", "resnet34", "resnet34_c", "resnet56_b_cifar")}
    assert counts == {"resnet34_a": 0, "resnet34": 3, "resnet34_c": 16, "resnet56_b_cifar": 2}
    assert params(build("resnet34")) - params(build("resnet34_a")) == sum(
        inputs * outputs + 2 * outputs for inputs, outputs in ((64, 128), (128, 256), (256, 512))
    )


def test_the_paper_strides_in_the_1x1_and_the_world_in_the_3x3() -> None:
    """ONNX's ResNet-50 is the world's."""
    onnx = pytest.importorskip("onnx")
    path = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    if not path.is_file():
        pytest.skip("onnx came without its light graphs")
    theirs = [
        (tuple(attributes["kernel_shape"]), tuple(attributes["strides"]))
        for node in onnx.load(path).graph.node
        if node.op_type == "Conv"
        for attributes in [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}]
    ]
    ours = {
        name: [(m.kernel_size, m.stride) for m in convolutions(build(name))] for name in ("resnet50", "resnet50_v1_5")
    }
    assert ours["resnet50_v1_5"] == theirs
    differ = [(a, b) for a, b in zip(ours["resnet50"], theirs) if a != b]
    assert differ == 3 * [(((1, 1), (2, 2)), ((1, 1), (1, 1))), (((3, 3), (1, 1)), ((3, 3), (2, 2)))]


# ---- other people's networks ---------------------------------------------------------------------------------

PYTORCHCV = [
    (r"^features\.init_block\.weight", "trunk.stem.weight"),
    (r"^output\.", "head.classifier."),
    (r"^features\.post_activ\.bn\.", "trunk.final.norm."),
    (r"\.identity_conv\.", ".shortcut."),
    (r"\.bn\.", ".norm."),
]
POST = [(r"^features\.init_block\.", "trunk.stem."), (r"\.body\.", ".")]
PRE = [
    (r"^features\.init_block\.", "trunk.stem.conv."),
    (r"\.body\.conv1\.norm\.", ".preact.norm."),
    (r"\.body\.conv1\.conv\.", ".conv1."),
]


@pytest.mark.parametrize(
    ("name", "theirs", "rules"),
    [
        ("resnet20_b_cifar", "resnet20_cifar10", POST),
        ("preresnet110_cifar", "preresnet110_cifar10", PRE),
        ("preresnet164_cifar", "preresnet164bn_cifar10", PRE),
        ("preresnet50", "preresnet50", PRE),
        ("wrn16_10_cifar", "wrn16_10_cifar10", PRE),
    ],
)
def test_these_are_pytorchcvs(name: str, theirs: str, rules: list[tuple[str, str]]) -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    other = random_statistics(provider.get_model(theirs, pretrained=False))
    state: dict[str, Tensor] = {}
    for key, tensor in other.state_dict().items():
        key = re.sub(r"^features\.stage(\d)\.unit(\d+)", lambda m: f"trunk.stage{m[1]}.{int(m[2]) - 1}", key)
        for pattern, new in PYTORCHCV + rules:
            key = re.sub(pattern, new, key)
        state[key] = tensor
    net = build(name).double()
    net.load_state_dict(state)
    picture = torch.randn(1, *net.input_size, dtype=torch.float64)
    with torch.no_grad():
        expected = other(picture)
        assert (net(picture) - expected).norm() < 1e-9 * expected.norm()


def test_timms_preactivation_network_has_no_norm_in_its_stem() -> None:
    timm = pytest.importorskip("timm")
    ours, theirs = build("preresnet50"), timm.create_model("resnetv2_50", pretrained=False)
    assert (params(ours), params(theirs)) == (25_549_480, 25_549_352)
    assert params(ours) - params(theirs) == params(ours.trunk.stem.conv.norm)


# ---- pre-activation ------------------------------------------------------------------------------------------


def test_nothing_stands_in_the_identitys_way() -> None:
    block = preresnet.PreBlock(16, preresnet.basic(16, 1), se=None, dropout=0.0, drop=0.0)
    nn.init.zeros_(block.body.conv2.conv.weight)
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(x), x)
    after = resnet.Basic(16, 16, 1, option="A", se=None, drop=0.0)
    nn.init.zeros_(after.conv2.norm.weight)
    assert torch.equal(after(x), x.relu())


def test_the_projection_reads_the_activated_input() -> None:
    block = preresnet.PreBlock(16, preresnet.bottleneck(16, 2), se=None, dropout=0.0, drop=0.0).eval()
    nn.init.zeros_(block.body.conv3.conv.weight)
    x = torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        assert torch.equal(block(x), nn.functional.conv2d(block.preact.norm(x).relu(), block.shortcut.weight, stride=2))


def test_the_last_block_is_followed_by_norm_and_activation_before_the_mean() -> None:
    net = build("preresnet110_cifar")
    assert net.stages[-1] == "final"
    with torch.no_grad():
        assert registry.create("preresnet110_cifar").eval().endpoints(torch.randn(1, 3, 32, 32))["final"].min() == 0


def test_wide_networks_drop_between_the_activation_and_the_second_convolution() -> None:
    net = build("wrn16_10_cifar", dropout=0.3)
    blocks = [m for m in net.modules() if isinstance(m, preresnet.PreBlock)]
    assert len(blocks) == 6
    for block in blocks:
        assert [type(m) for m in block.body.conv2] == [nn.BatchNorm2d, nn.ReLU, nn.Dropout, nn.Conv2d]
    assert params(net) == params(build("wrn16_10_cifar"))
    assert not [m for m in build("wrn16_10_cifar").modules() if isinstance(m, nn.Dropout)]


def test_a_wide_network_is_ten_times_as_wide_and_has_the_papers_parameters() -> None:
    """Table 1 with k = 10, and section 3: "36.5M"."""
    net = build("wrn28_10_cifar")
    widths = [convolutions(net.trunk.get_submodule(stage))[-1].out_channels for stage in net.stages[:-1]]
    assert widths == [16, 160, 320, 640]
    assert round(params(net) / 1e6, 1) == 36.5


# ---- ResNeXt -------------------------------------------------------------------------------------------------


def test_32_paths_of_width_4_cost_what_one_of_width_64_does() -> None:
    """Xie et al., Table 1: 25.0 M parameters beside 25.5 M."""
    block = build("resnext50_32x4d").trunk.stage1[0]
    assert (block.conv2.conv.groups, block.conv2.conv.out_channels) == (32, 32 * 4)
    assert round(params(build("resnext50_32x4d")) / 1e6, 1) == 25.0
    assert math.floor(params(build("resnet50")) / 1e5) / 10 == 25.5


@pytest.mark.parametrize(("name", "million"), [("resnext29_8x64d_cifar", 34.4), ("resnext29_16x64d_cifar", 68.1)])
def test_the_cifar_networks_have_the_papers_parameters(name: str, million: float) -> None:
    """Xie et al., Table 7; the paper cuts the digits off."""
    assert math.floor(params(build(name)) / 1e5) / 10 == million


def test_only_the_middle_of_a_wide_bottleneck_is_wide() -> None:
    wide, plain = build("wide_resnet50_2"), build("resnet50_v1_5")
    twice = {
        (a.in_channels / b.in_channels, a.out_channels / b.out_channels)
        for a, b in zip(convolutions(wide), convolutions(plain))
    }
    assert twice == {(1, 1), (1, 2), (2, 2), (2, 1)}
    assert wide.head.classifier.in_features == plain.head.classifier.in_features


# ---- squeeze and excitation ----------------------------------------------------------------------------------


def test_the_gates_cost_what_the_papers_formula_says() -> None:
    """Hu et al., section 4: 2 / r times the sum of N C^2, here with the biases of the released network."""
    blocks = {256: 3, 512: 4, 1024: 6, 2048: 3}
    weights = sum(2 * n * c * c // 16 for c, n in blocks.items())
    biases = sum(n * (c + c // 16) for c, n in blocks.items())
    assert (weights, biases) == (2_514_944, 16_048)
    assert params(build("se_resnet50")) - params(build("resnet50")) == weights + biases


@pytest.mark.parametrize(
    "block",
    [
        lambda se: resnet.Bottleneck(64, 16, 1, option="B", se=se, drop=0.0),
        lambda se: preresnet.PreBlock(64, preresnet.bottleneck(16, 1), se=se, dropout=0.0, drop=0.0),
        lambda se: senet154.Bottleneck(256, 64, 1, 1, se=se, drop=0.0),
    ],
    ids=["resnet", "preresnet", "senet154"],
)
def test_the_gate_weighs_the_branch_before_the_addition(block) -> None:
    block = block(lambda channels: SqueezeExcite(channels, 4)).eval()
    nn.init.zeros_(block.gate.expand.weight)
    nn.init.constant_(block.gate.expand.bias, -math.inf)  # a gate that is shut
    channels = block.gate.expand.out_channels
    x = torch.rand(2, channels, 7, 7)
    with torch.no_grad():
        assert torch.equal(block(x), x)


def test_the_released_se_networks_pool_as_caffe_does() -> None:
    """Rounding up, without padding, on maps of 112: 56 either way, but other pixels."""
    caffe, torchs = build("se_resnet50").trunk.stem.pool, build("se_resnet50_v1_5").trunk.stem.pool
    x = torch.randn(1, 1, 112, 112)
    assert caffe(x).shape == torchs(x).shape == (1, 1, 56, 56)
    assert not torch.equal(caffe(x), torchs(x))
    padded = nn.functional.pad(x, (0, 1, 0, 1), value=-math.inf)
    assert torch.equal(caffe(x), padded.unfold(2, 3, 2).unfold(3, 3, 2).amax((-1, -2)))


def test_senet_154_differs_from_se_resnext_as_the_appendix_says() -> None:
    net = build("senet154")
    assert [(m.kernel_size[0], m.stride[0], m.out_channels) for m in convolutions(net.trunk.stem)] == [
        (3, 2, 64), (3, 1, 64), (3, 1, 128),
    ]  # fmt: skip
    for number in (1, 2, 3, 4):
        first, *others = net.trunk.get_submodule(f"stage{number}")
        assert convolutions(first.shortcut)[0].kernel_size[0] == (1 if number == 1 else 3)
        assert not [block for block in others if convolutions(block.shortcut)]
        assert {block.conv2.conv.out_channels / block.conv1.conv.out_channels for block in (first, *others)} == {2}
        assert {block.conv2.conv.groups for block in (first, *others)} == {64}
    assert net.head.dropout.p == 0.2


def test_senet_154_is_timms() -> None:
    timm = pytest.importorskip("timm")
    from convatlas.weights import convert

    other = random_statistics(timm.create_model("legacy_senet154", pretrained=False))
    net = build("senet154").double()
    net.load_state_dict(convert("senet154", other.state_dict(), "timm"))
    assert params(net) == params(other) == facts.networks()["senet154"]["params"]
    picture = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = other(picture)
        assert (net(picture) - expected).norm() < 1e-9 * expected.norm()
