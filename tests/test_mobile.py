"""The networks for small devices, MobileNet to EfficientNet: what their papers and other people's code say."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convatlas
from convatlas import registry
from convatlas.blocks import (
    ConvNormAct,
    DropPath,
    InvertedResidual,
    SamePad2d,
    SqueezeExcite,
    linear_decay,
    make_divisible,
)
from convatlas.cost import Report
from convatlas.nets import efficientnet, mnasnet, mobilenet_v2, mobilenet_v3
from convatlas.nets.mobilenet_v1 import DepthwiseSeparable
from convatlas.nets.shufflenet_v1 import ShuffleUnit
from convatlas.weights import convert


def build(name: str, **options) -> nn.Module:
    return registry.create(name, initialise=False, **options).eval()


def modules(net: nn.Module, kind: type) -> list:
    return [m for m in net.modules() if isinstance(m, kind)]


def params(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def same(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).norm() < 1e-9 * b.norm())


def cost(name: str) -> Report:
    """Of the network as it is written now, and not as the atlas knows it."""
    return convatlas.analyze(build(name))


def last_map(name: str) -> tuple[int, ...]:
    """The output of the trunk's last stage, (C, H, W)."""
    rows = cost(name).rows
    return [row.output_shape for row in rows if row.name.startswith("trunk.")][-1][1:]


def settled(net: nn.Module) -> nn.Module:
    """Random weights and running statistics, in float64."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias)
    return net.double().eval()


def in_order(ours: nn.Module, theirs: nn.Module) -> None:
    """Their parameters and statistics into ours, one after the other: both come in the order in which they run."""
    given = [v for k, v in theirs.state_dict().items() if not k.endswith("tracked")]
    taken = [v for k, v in ours.state_dict().items() if not k.endswith("tracked")]
    assert [v.shape for v in given] == [v.shape for v in taken]
    with torch.no_grad():
        for a, b in zip(taken, given):
            a.copy_(b)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("shufflenet_v1_x1_0_g3", "shufflenet_g3_w1"),
        ("shufflenet_v1_x0_5_g1", "shufflenet_g1_wd2"),
        ("shufflenet_v1_x1_0_g8", "shufflenet_g8_w1"),
    ],
)
def test_shufflenet_is_pytorchcvs_but_for_the_order_of_a_strided_units_halves(
    ours: str, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper does not say which half comes first: ours is the pooled input, as in the authors' release."""
    provider = pytest.importorskip("pytorchcv.model_provider")

    def branch_first(unit: ShuffleUnit, x: Tensor) -> Tensor:
        y = unit.conv2(unit.depthwise(unit.shuffle(unit.conv1(x))))
        return F.relu(x + y if unit.pool is None else torch.cat([y, unit.pool(x)], 1))

    monkeypatch.setattr(ShuffleUnit, "forward", branch_first)
    other = settled(provider.get_model(theirs, pretrained=False))
    net = build(ours).double()
    in_order(net, other)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = other.output(torch.flatten(F.adaptive_avg_pool2d(other.features[:-1](x), 1), 1))
        assert torch.allclose(net(x), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


# ---- MobileNet --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mobilenet_v1_x1_0", "mobilenet_v2_x1_0", "mobilenet_v3_large_x1_0"])
def test_the_picture_shrinks_thirty_two_times(name: str) -> None:
    """MobileNetV1's table prints a stride of 2 in both last layers; its own next row has 7 x 7."""
    assert last_map(name)[1:] == (7, 7)
    strides = [m.stride[0] for m in modules(build(name), nn.Conv2d)]
    assert math.prod(strides) == 32


def test_of_mobilenet_v1s_two_last_layers_only_the_first_halves_the_map() -> None:
    """Table 1 prints a stride of 2 in both."""
    blocks = modules(build("mobilenet_v1_x1_0"), DepthwiseSeparable)
    last = [block.depthwise.conv for block in blocks if block.pointwise.conv.out_channels == 1024]
    assert [conv.stride for conv in last] == [(2, 2), (1, 1)]


@pytest.mark.parametrize(("ours", "theirs"), [("x0_25", "mobilenet_wd4"), ("x0_75", "mobilenet_w3d4")])
def test_mobilenet_v1_is_pytorchcvs_but_for_its_relu6(ours: str, theirs: str) -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    other = settled(provider.get_model(theirs, pretrained=False))
    net = build(f"mobilenet_v1_{ours}").double()
    in_order(net, other)
    x = 5 * torch.randn(1, 3, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        assert len(modules(net, nn.ReLU6)) == len(modules(net, nn.Conv2d)) == 27
        assert not same(net(x), other(x))
        for block in net.trunk.modules():
            if isinstance(getattr(block, "act", None), nn.ReLU6):
                block.act = nn.ReLU()
        assert same(net(x), other(x))


def test_mobilenet_v1_is_one_convolution_and_thirteen_separable_ones() -> None:
    convolutions = modules(build("mobilenet_v1_x1_0"), nn.Conv2d)
    assert [m.groups > 1 for m in convolutions] == [False] + [True, False] * 13


def test_mobilenet_v1_spends_its_multiply_adds_and_weights_where_table_2_says() -> None:
    kinds = {"stem": "3x3", "depthwise": "depthwise", "pointwise": "1x1", "classifier": "dense"}
    macs, weights = Counter(), Counter()
    for row in cost("mobilenet_v1_x1_0").rows:
        if row.op in ("conv2d", "linear"):
            kind = next(kind for name, kind in kinds.items() if name in row.name)
            macs[kind] += row.macs
            weights[kind] += row.params - (1000 if kind == "dense" else 0)  # the table leaves the bias out
    shares = {kind: (100 * macs[kind] / macs.total(), 100 * weights[kind] / weights.total()) for kind in macs}
    assert [f"{share:.2f}" for share in shares["1x1"]] == ["94.86", "74.59"]
    assert [f"{share:.2f}" for share in shares["depthwise"]] == ["3.06", "1.06"]
    assert [f"{share:.2f}" for share in shares["dense"]] == ["0.18", "24.33"]
    assert f"{shares['3x3'][1]:.2f}" == "0.02"


def test_a_separable_layer_costs_1_over_n_and_1_over_k_squared_of_a_full_one() -> None:
    """Section 3.1, for a 3x3 layer from 3 to 4 channels: 27 + 12 = 39 weights for 108."""
    layer = DepthwiseSeparable(3, 4, 1, se=None)
    weights = [conv.weight.numel() for conv in modules(layer, nn.Conv2d)]
    assert weights == [27, 12]
    assert sum(weights) / nn.Conv2d(3, 4, 3).weight.numel() == pytest.approx(1 / 4 + 1 / 9)


@pytest.mark.parametrize(("width", "expected"), [(11.2, 16), (8.4, 8), (22.4, 24), (12.0, 16), (1792, 1792), (3, 8)])
def test_widths_are_rounded_to_eights_and_never_below_nine_tenths(width: float, expected: int) -> None:
    assert make_divisible(width) == expected
    assert expected >= 0.9 * width


@pytest.mark.parametrize("divisor", [1, 3, 8, 16])
def test_rounding_agrees_with_timm(divisor: int) -> None:
    layers = pytest.importorskip("timm.layers")
    for tenth in range(1, 3000):
        assert make_divisible(tenth / 10, divisor) == layers.make_divisible(tenth / 10, divisor)


@pytest.mark.parametrize(
    ("name", "top"), [("mobilenet_v2_x0_35", 1280), ("mobilenet_v2_x1_0", 1280), ("mobilenet_v2_x1_4", 1792)]
)
def test_mobilenet_v2_scales_its_top_only_upwards(name: str, top: int) -> None:
    assert last_map(name)[0] == top


def test_the_bottlenecks_are_linear_and_the_first_does_not_expand() -> None:
    blocks = modules(build("mobilenet_v2_x1_0"), InvertedResidual)
    assert not any(hasattr(block.branch.project, "act") for block in blocks)
    assert [hasattr(block.branch, "expand") for block in blocks] == [False] + [True] * 16
    assert sum(block.residual for block in blocks) == 10


@pytest.mark.parametrize(("name", "million"), [("mobilenet_v2_x1_0", "3.47"), ("mobilenet_v2_x1_4", "6.06")])
def test_without_batch_norm_mobilenet_v2_has_what_tf_slim_counts(name: str, million: str) -> None:
    """Nothing gives the paper's 6.9 million at 1.4."""
    net = build(name)
    norms = sum(params(norm) for norm in modules(net, nn.BatchNorm2d))
    assert f"{(params(net) - norms) / 1e6:.2f}" == million
    assert norms == 34_112 or name != "mobilenet_v2_x1_0"


def test_relu6_stands_where_torchvisions_does_and_nothing_weighs_the_channels() -> None:
    models = pytest.importorskip("torchvision.models")
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Sigmoid)
    ours, theirs = (
        [type(m) for m in net.modules() if isinstance(m, kinds)]
        for net in (build("mobilenet_v2_x1_0"), models.mobilenet_v2(weights=None))
    )
    assert ours == theirs


@pytest.mark.parametrize("name", ["mobilenet_v3_small_x1_0", "mobilenet_v3_large_x1_0"])
def test_mobilenet_v3_squeezes_a_quarter_of_the_expanded_channels_and_ends_in_a_hard_sigmoid(name: str) -> None:
    gates = modules(build(name), SqueezeExcite)
    assert len(gates) == {"mobilenet_v3_small_x1_0": 9, "mobilenet_v3_large_x1_0": 8}[name]
    for gate in gates:
        assert gate.reduce.out_channels == make_divisible(gate.reduce.in_channels / 4)
        assert isinstance(gate.gate, nn.Hardsigmoid)
        assert isinstance(gate.act, nn.ReLU)


def test_with_a_head_of_1280_and_no_bias_there_mobilenet_v3_small_is_pytorchcvs() -> None:
    """The paper's first version has this head and 2.9 million parameters; the network in use has 1024."""
    provider = pytest.importorskip("pytorchcv.model_provider")
    other = settled(provider.get_model("mobilenetv3_small_w1", pretrained=False))
    net = mobilenet_v3.mobilenet_v3(table=mobilenet_v3.SMALL, head=1280, width=1.0).double().eval()
    assert params(other) == 2_945_288 == params(net) - 1280
    nn.init.zeros_(net.head.fc.bias)
    given = {k: v.squeeze() for k, v in other.state_dict().items() if not k.endswith("tracked")}
    taken = {k: v.squeeze() for k, v in net.state_dict().items() if k != "head.fc.bias" and not k.endswith("tracked")}
    assert [v.shape for v in given.values()] == [v.shape for v in taken.values()]
    x = torch.randn(1, 3, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        for a, b in zip(taken.values(), given.values()):
            a.copy_(b)
        assert same(net(x), other(x))


def test_tensorflows_epsilon_alone_moves_mobilenet_v2s_logits_and_it_is_torchvisions_with_that_epsilon() -> None:
    models = pytest.importorskip("torchvision.models")
    theirs = settled(models.mobilenet_v2(weights=None))
    state = convert("mobilenet_v2_x1_0", theirs.state_dict(), "torchvision")
    ours, coarse = (mobilenet_v2.mobilenet_v2(width=1.0, eps=eps).double().eval() for eps in (1e-5, 1e-3))
    ours.load_state_dict(state)
    coarse.load_state_dict(state)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert same(ours(x), theirs(x))
        assert 1e-4 < (coarse(x) - ours(x)).norm() / ours(x).norm() < 1e-1
        for norm in modules(theirs, nn.BatchNorm2d):
            norm.eps = 1e-3
        assert same(coarse(x), theirs(x))


# ---- ShuffleNet -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("groups", "width"), [(1, 144), (2, 200), (3, 240), (4, 272), (8, 384)])
def test_shufflenets_stages_have_the_widths_of_table_1(groups: int, width: int) -> None:
    net = build(f"shufflenet_v1_x1_0_g{groups}")
    x = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        assert [y.shape[1] for y in net.endpoints(x).values()] == [24, width, 2 * width, 4 * width]


def test_the_first_pointwise_convolution_of_stage_2_is_not_grouped() -> None:
    units = modules(build("shufflenet_v1_x1_0_g3"), ShuffleUnit)
    assert [unit.conv1.conv.groups for unit in units] == [1] + [3] * 15
    assert {unit.conv2.conv.groups for unit in units} == {3}


def test_the_shortcut_of_a_strided_unit_is_the_average_pooled_input() -> None:
    unit = modules(build("shufflenet_v1_x1_0_g3"), ShuffleUnit)[0]
    x = torch.rand(1, 24, 8, 8)
    with torch.no_grad():
        y = unit(x)
    assert y.shape == (1, 240, 4, 4)
    assert torch.equal(y[:, :24], F.avg_pool2d(x, 3, 2, 1))


def test_the_shuffle_reshapes_transposes_and_flattens() -> None:
    """Section 3.1: g x n channels as (g, n), transposed, flattened."""
    unit = ShuffleUnit(240, 240, 1, 3, 3, se=None)
    x = torch.arange(60.0).view(1, 60, 1, 1)
    assert unit.shuffle(x).flatten().tolist() == [group * 20 + place for place in range(20) for group in range(3)]


@pytest.mark.parametrize("shuffled", [True, False])
def test_only_the_shuffle_lets_the_groups_hear_of_each_other(shuffled: bool) -> None:
    """Figure 1: (a) without it an output reads the inputs of its own group alone, (c) with it all of them."""
    unit = ShuffleUnit(24, 48, 2, 3, 3, se=None).double().eval()
    unit.act = nn.Identity()
    if not shuffled:
        unit.shuffle = nn.Identity()
    nn.init.constant_(unit.conv1.norm.bias, 10.0)  # no unit is asleep
    x = torch.rand(1, 24, 4, 4, dtype=torch.float64, requires_grad=True)
    out = unit(x)[0, 24:].sum((1, 2))  # the branch, beside the pooled input
    reads = torch.stack([torch.autograd.grad(y, x, retain_graph=True)[0][0].abs().sum((1, 2)) > 0 for y in out])
    of_group = reads.view(3, 8, 3, 8).any(3).any(1)
    assert torch.equal(of_group, torch.ones(3, 3) == 1 if shuffled else torch.eye(3) == 1)


def test_pytorchcvs_widest_shufflenets_v2_widen_conv5_too() -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    for ours, theirs, top, wider in (("x1_5", "w3d2", 1024, 1553), ("x2_0", "w2", 2048, 2153)):
        net, other = build(f"shufflenet_v2_{ours}"), provider.get_model(f"shufflenetv2_{theirs}", pretrained=False)
        inputs = net.trunk.conv5.conv.in_channels
        assert (net.trunk.conv5.conv.out_channels, other.output.in_features) == (top, wider)
        assert params(other) - params(net) == (wider - top) * (inputs + 2 + 1000)


def test_half_of_a_shufflenet_v2_units_channels_pass_untouched() -> None:
    unit = build("shufflenet_v2_x1_0").trunk.stage2[1]
    x = torch.rand(1, 116, 7, 7)
    with torch.no_grad():
        assert torch.equal(unit(x)[:, 0::2], x[:, :58])


@pytest.mark.parametrize(("name", "stem"), [("x0_25", 6), ("x0_5", 12), ("x1_0", 24), ("x1_5", 24), ("x2_0", 48)])
def test_the_width_scales_shufflenets_stem_too_but_at_one_and_a_half(name: str, stem: int) -> None:
    assert build(f"shufflenet_v1_{name}_g3").trunk.stem.conv.conv.out_channels == stem


@pytest.mark.parametrize(
    ("gated", "plain", "millions", "plain_millions"),
    [("se_mobilenet_v1", "mobilenet_v1_x1_0", 4.7, 4.2), ("se_shufflenet_v1_g3", "shufflenet_v1_x1_0_g3", 2.4, 1.8)],
)
def test_gates_cost_what_table_3_of_the_senet_paper_says(
    gated: str, plain: str, millions: float, plain_millions: float
) -> None:
    """The paper cuts its digits off: 1.87 M is printed as 1.8."""
    for name, printed in ((gated, millions), (plain, plain_millions)):
        assert math.floor(cost(name).totals["params"] / 1e5) / 10 == printed


@pytest.mark.parametrize(
    ("gated", "plain", "mega"),
    [("se_mobilenet_v1", "mobilenet_v1_x1_0", 572 - 569), ("se_shufflenet_v1_g3", "shufflenet_v1_x1_0_g3", 142 - 140)],
)
def test_the_multiply_adds_of_table_3_count_one_more_for_each_value_that_a_gate_reads(
    gated: str, plain: str, mega: int
) -> None:
    """The gates' own convolutions are a fifth of it; the rest is the mean over the map."""
    extra = cost(gated).totals["macs"] - cost(plain).totals["macs"]
    read = 0

    def count(module: nn.Module, inputs: tuple[Tensor]) -> None:
        nonlocal read
        read += inputs[0].numel()

    net = build(gated).to("meta")
    for gate in modules(net, SqueezeExcite):
        gate.register_forward_pre_hook(count)
    net(torch.empty(1, 3, 224, 224, device="meta"))
    assert round(extra / 1e6) < mega
    assert round((extra + read) / 1e6) == mega


# ---- EfficientNet and MnasNet -----------------------------------------------------------------------------

B = [f"efficientnet_b{n}" for n in range(8)]
#    width depth pixels dropout blocks d w^2 r^2  MACs (G)  phi of depth, width, pixels
TABLE = [
    (1.0, 1.0, 224, 0.2, 16, "1.0", "0.39", (0.00, 0.00, 0.00)),
    (1.0, 1.1, 240, 0.2, 23, "1.26", "0.70", (0.52, 0.00, 0.49)),
    (1.1, 1.2, 260, 0.3, 23, "1.96", "1.0", (1.00, 1.00, 1.07)),
    (1.2, 1.4, 300, 0.3, 26, "3.62", "1.8", (1.85, 1.91, 2.09)),
    (1.4, 1.8, 380, 0.4, 32, "10.2", "4.2", (3.22, 3.53, 3.78)),
    (1.6, 2.2, 456, 0.4, 39, "23.3", "9.9", (4.32, 4.93, 5.09)),
    (1.8, 2.6, 528, 0.5, 45, "46.8", "19", (5.24, 6.17, 6.14)),
    (2.0, 3.1, 600, 0.5, 55, "89.0", "37", (6.21, 7.27, 7.05)),
]
LITES = [f"efficientnet_lite{n}" for n in range(5)]
EVERY = pytest.mark.parametrize(("name", "row"), list(zip(B, TABLE)), ids=B)


@EVERY
def test_the_coefficients_are_those_of_the_released_code(name: str, row: tuple) -> None:
    width, depth, pixels, dropout, *_ = row
    written = efficientnet.SCALED[name[-2:]]
    assert [written[key] for key in ("width", "depth", "input_size", "dropout")] == [width, depth, pixels, dropout]
    net = build(name)
    assert net.input_size == (3, pixels, pixels)
    assert [m.p for m in modules(net, nn.Dropout)] == [dropout]
    assert net.head.classifier.in_features == net.trunk.stage9.conv.out_channels == int(1280 * width)


@EVERY
def test_the_real_cost_of_a_scaled_efficientnet_is_above_the_formula(name: str, row: tuple) -> None:
    """Repeats are rounded up, so that the networks cost more than d w^2 r^2 promises, B7 98 times B0 and not 89."""
    width, depth, pixels, _, _, formula, printed, _ = row
    promised = depth * width**2 * (pixels / 224) ** 2
    assert f"{promised:.{len(formula.partition('.')[2])}f}" == formula
    macs = {b: cost(b).totals["macs"] for b in (name, "efficientnet_b0")}
    ratio = macs[name] / macs["efficientnet_b0"]
    assert ratio > 1.04 * promised or name == "efficientnet_b0"
    assert round(ratio, 1) == 97.8 or name != "efficientnet_b7"
    assert macs[name] / 1e9 == pytest.approx(float(printed), rel=0.05)  # Table 2 of the paper


@EVERY
def test_the_blocks_their_gates_shortcuts_drops_and_norms_are_torchvisions(name: str, row: tuple) -> None:
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        theirs = models.get_model(name, weights=None)
    stages = [list(stage) for stage in theirs.features[1:-1]]
    net = build(name)
    assert [len(net.get_submodule(f"trunk.stage{n}")) for n in range(2, 9)] == [len(stage) for stage in stages]

    ours = modules(net, InvertedResidual)
    theirs_in_order = [block for stage in stages for block in stage]
    assert len(ours) == row[4]
    squeezed = [block.branch.gate.reduce.out_channels for block in ours]
    assert squeezed == [m.fc1.out_channels for b in theirs_in_order for m in b.modules() if hasattr(m, "fc1")]
    assert [block.residual for block in ours] == [block.use_res_connect for block in theirs_in_order]
    assert [block.branch.drop.p if block.residual and i else 0 for i, block in enumerate(ours)] == pytest.approx(
        [block.stochastic_depth.p if block.use_res_connect else 0 for block in theirs_in_order]
    )
    norms, other_norms = ({(m.eps, m.momentum) for m in modules(n, nn.BatchNorm2d)} for n in (net, theirs))
    assert norms == other_norms


def test_stage_6_of_b0_sees_14_pixels_where_the_papers_first_version_prints_28() -> None:
    """Table 1 gives the size of what a stage reads, so 224 first."""
    maps = build("efficientnet_b0").to("meta").endpoints(torch.empty(1, 3, 224, 224, device="meta"))
    assert [224, *(x.shape[-1] for x in maps.values())] == [224, 112, 112, 56, 28, 14, 14, 7, 7, 7]
    assert [x.shape[1] for x in maps.values()] == [32, 16, 24, 40, 80, 112, 192, 320, 1280]


@EVERY
def test_the_released_coefficients_are_no_whole_powers(name: str, row: tuple) -> None:
    """alpha, beta, gamma = 1.2, 1.1, 1.15 to the power of phi: B1 is not phi = 1, nor B7 phi = 7."""
    width, depth, pixels, *_, implied = row
    phi = math.log(depth, 1.2), math.log(width, 1.1), math.log(pixels / 224, 1.15)
    assert [round(p, 2) for p in phi] == list(implied)


@pytest.mark.parametrize(("name", "gates"), [("efficientnet_b0", 16), ("mnasnet_a1", 8)])
def test_the_gate_squeezes_a_quarter_of_the_blocks_input_channels(name: str, gates: int) -> None:
    gated = [block for block in modules(build(name), InvertedResidual) if hasattr(block.branch, "gate")]
    assert len(gated) == gates
    for block in gated:
        inputs, gate = modules(block, nn.Conv2d)[0].in_channels, block.branch.gate
        assert gate.reduce.out_channels == inputs // 4
        assert gate.reduce.in_channels == gate.expand.out_channels == modules(block, nn.Conv2d)[-1].in_channels
        assert gate.reduce.bias is not None
        assert gate.expand.bias is not None
        assert isinstance(gate.act, nn.SiLU if name == "efficientnet_b0" else nn.ReLU)
        assert isinstance(gate.gate, nn.Sigmoid)


def test_the_activation_is_swish_and_lites_is_relu6_without_gates() -> None:
    assert modules(build("efficientnet_b0"), nn.SiLU)
    assert not modules(build("efficientnet_b0"), nn.ReLU6)
    lite = build("efficientnet_lite0")
    assert modules(lite, nn.ReLU6)
    assert not modules(lite, nn.SiLU)
    assert not modules(lite, SqueezeExcite)


def test_lite_does_not_scale_its_two_ends() -> None:
    b4, lite4 = build("efficientnet_b4"), build("efficientnet_lite4")
    assert (lite4.trunk.stage1.conv.out_channels, lite4.trunk.stage9.conv.out_channels) == (32, 1280)
    assert (b4.trunk.stage1.conv.out_channels, b4.trunk.stage9.conv.out_channels) == (48, 1792)
    assert (len(lite4.trunk.stage2), len(lite4.trunk.stage8)) == (1, 1)
    assert (len(b4.trunk.stage2), len(b4.trunk.stage8)) == (2, 2)


def test_timms_two_largest_lites_read_larger_pictures_than_the_released_ones() -> None:
    timm = pytest.importorskip("timm")
    sizes = [(build(n).input_size[1], timm.get_pretrained_cfg(f"tf_{n}").input_size[1]) for n in LITES]
    assert sizes == [(224, 224), (240, 240), (260, 260), (280, 300), (300, 380)]


def test_stochastic_depth_grows_with_the_block_and_spares_the_first() -> None:
    blocks = modules(registry.create("efficientnet_b0", initialise=False), InvertedResidual)
    for index, block in enumerate(blocks):
        drops = modules(block, DropPath)
        assert [drop.p for drop in drops] == ([pytest.approx(0.2 * index / 16)] if block.residual else [])
    assert linear_decay(0.2, 4) == pytest.approx([0.0, 0.05, 0.1, 0.15])


def test_a_dropped_path_keeps_its_expectation_and_drops_whole_samples() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    y = drop(torch.ones(4000, 2, 3, 3))
    assert y.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (y.flatten(1).amin(1) == y.flatten(1).amax(1)).all()
    assert float(y.mean()) == pytest.approx(1.0, abs=0.03)
    assert torch.equal(drop.eval()(y), y)


def test_stochastic_depth_is_torchvisions() -> None:
    ops = pytest.importorskip("torchvision.ops")
    x = torch.randn(64, 3, 2, 2)
    torch.manual_seed(0)
    expected = ops.stochastic_depth(x, 0.3, mode="row")
    torch.manual_seed(0)
    assert torch.equal(DropPath(0.3).train()(x), expected)


def test_with_its_branch_dropped_a_block_is_the_identity() -> None:
    torch.manual_seed(0)
    block = InvertedResidual(8, 8, 3, 1, 16, drop=0.5).train()
    x = torch.randn(32, 8, 4, 4)
    unchanged = (block(x) == x).flatten(1).all(1)
    assert 0 < unchanged.sum() < 32
    assert not hasattr(InvertedResidual(8, 8, 3, 2, 16, drop=0.5).branch, "drop")
    assert not hasattr(InvertedResidual(8, 16, 3, 1, 16, drop=0.5).branch, "drop")


@pytest.mark.parametrize("size", [5, 6, 7, 8, 224, 225])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 1), (1, 2)])
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    padding = pytest.importorskip("timm.layers.padding")
    x = torch.rand(1, 1, size, size)
    padded = SamePad2d(kernel, stride)(x)
    assert torch.equal(padded, padding.pad_same(x, [kernel, kernel], [stride, stride]))
    weight = torch.ones(1, 1, kernel, kernel)
    assert F.conv2d(padded, weight, stride=stride).shape[-1] == math.ceil(size / stride)


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (9, 14), (224, 225)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_a_layer_padded_as_in_tensorflow_is_timms(size: tuple[int, int], kernel: int, stride: int) -> None:
    layers = pytest.importorskip("timm.layers")
    theirs = layers.create_conv2d(4, 4, kernel, stride=stride, padding="same", depthwise=True)
    ours = ConvNormAct(4, 4, kernel, stride, groups=4, padding="tf", norm=None, act=None, bias=False)
    ours.conv.weight = theirs.weight
    x = torch.randn(1, 4, *size)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), atol=1e-6)
        symmetric = F.conv2d(x, theirs.weight, stride=stride, padding=kernel // 2, groups=4)
        uneven = stride == 2 and any(s % 2 == 0 for s in size)
        assert torch.allclose(ours(x), symmetric, atol=1e-6) != uneven


def test_at_stride_two_on_an_even_map_the_zero_is_below_and_to_the_right() -> None:
    padded: Tensor = SamePad2d(3, 2)(torch.ones(1, 1, 4, 4))
    assert padded.shape[-2:] == (5, 5)
    assert float(padded[0, 0, 0, 0]) == 1
    assert padded[0, 0, -1].sum() == padded[0, 0, :, -1].sum() == 0


@pytest.mark.parametrize(
    ("name", "eps", "momentum"),
    [
        ("efficientnet_b0", 1e-5, 0.1),
        ("efficientnet_b5", 1e-3, 0.01),
        ("efficientnet_b0_tf", 1e-3, 0.01),
        ("mobilenet_v3_large_x1_0", 1e-3, 0.01),
        ("mnasnet_b1", 1e-5, 0.0003),
    ],
)
def test_batch_norm_is_the_twins(name: str, eps: float, momentum: float) -> None:
    for norm in modules(build(name), nn.BatchNorm2d):
        assert norm.eps == eps
        assert norm.momentum == pytest.approx(momentum)


# ---- MnasNet's search space -----------------------------------------------------------------------------------


def test_mnasnet_a1_is_figure_7() -> None:
    """SepConv, then MBConv6, 3, 6, 6, 6, 6: kernel, channels and layers of each; SE in the third, fifth and sixth."""
    net = build("mnasnet_a1")
    rows = []
    for number in range(2, 9):
        blocks = list(net.get_submodule(f"trunk.stage{number}"))
        depthwise = {block.branch.depthwise.conv.kernel_size[0] for block in blocks}
        gated = {hasattr(block.branch, "gate") for block in blocks}
        inputs = modules(blocks[0], nn.Conv2d)[0].in_channels
        expand = blocks[0].branch.depthwise.conv.in_channels // inputs
        rows.append((*depthwise, expand, blocks[0].branch.project.conv.out_channels, len(blocks), *gated))
    assert rows == [
        (3, 1, 16, 1, False),
        (3, 6, 24, 2, False),
        (5, 3, 40, 3, True),
        (3, 6, 80, 4, False),
        (3, 6, 112, 2, True),
        (5, 6, 160, 3, True),
        (3, 6, 320, 1, False),
    ]


def test_torchvisions_mnasnet_is_b1_which_has_no_gates_and_its_slow_norms() -> None:
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        theirs = models.mnasnet1_0(weights=None)
    shapes = [tuple(p.shape) for p in theirs.parameters()]
    b1, a1 = build("mnasnet_b1"), build("mnasnet_a1")
    assert [tuple(p.shape) for p in b1.parameters()] == shapes
    assert not modules(b1, SqueezeExcite)
    assert [tuple(p.shape) for p in a1.parameters()] != shapes
    slow = modules(theirs, nn.BatchNorm2d)[0].momentum  # their decay of 0.9997
    assert all(m.momentum == pytest.approx(slow, rel=1e-9) for m in modules(b1, nn.BatchNorm2d))


def test_timms_semnasnet_is_a1() -> None:
    timm = pytest.importorskip("timm")
    theirs = settled(timm.create_model("semnasnet_100", pretrained=False))
    net = build("mnasnet_a1").double()
    net.load_state_dict(convert("mnasnet_a1", theirs.state_dict(), "timm"))
    x = torch.randn(1, 3, 96, 96, dtype=torch.float64)
    with torch.no_grad():
        assert same(net(x), theirs(x))


@pytest.mark.parametrize("table", [mnasnet.A1, mnasnet.B1, [(*row, True) for row in efficientnet.B0]])
def test_what_the_search_found_lies_around_mobilenet_v2(table: list[tuple]) -> None:
    """Section 4.1: kernels of 3 or 5, 0.75 to 1.25 of MobileNetV2's filters, its layers or one more or fewer."""
    for (kernel, _, expand, out, repeat, _), (_, filters, layers, _) in zip(table, mobilenet_v2.TABLE, strict=True):
        assert kernel in (3, 5)
        assert expand in (1, 3, 6)
        assert 0.75 <= out / filters <= 1.25
        assert abs(repeat - layers) <= 1
