"""The networks for small devices, MobileNet to EfficientNet: what their papers and other people's code say."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convatlas
from convatlas import facts, registry
from convatlas.blocks import DropPath, InvertedResidual, SamePad2d, SqueezeExcite, linear_decay, make_divisible
from convatlas.nets.shufflenet_v1 import ShuffleUnit


def build(name: str, **options) -> nn.Module:
    return registry.create(name, initialise=False, **options).eval()


def modules(net: nn.Module, kind: type) -> list:
    return [m for m in net.modules() if isinstance(m, kind)]


def last_map(name: str) -> tuple[int, ...]:
    """The output of the trunk's last stage, (C, H, W)."""
    rows = convatlas.analyze(name).rows
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


def test_mobilenet_v1_is_one_convolution_and_thirteen_separable_ones() -> None:
    convolutions = modules(build("mobilenet_v1_x1_0"), nn.Conv2d)
    assert [m.groups > 1 for m in convolutions] == [False] + [True, False] * 13
    costs = [row for row in convatlas.analyze("mobilenet_v1_x1_0").rows if row.op == "conv2d"]
    pointwise = sum(row.macs for row in costs if row.detail.startswith("1x1"))
    assert round(100 * pointwise / sum(row.macs for row in costs)) == 95  # section 3.2: "95 % of its computation time"


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


def test_without_batch_norm_mobilenet_v2_has_what_tf_slim_counts() -> None:
    net = build("mobilenet_v2_x1_0")
    norms = sum(p.numel() for m in modules(net, nn.BatchNorm2d) for p in m.parameters())
    assert norms == 34_112
    assert f"{(sum(p.numel() for p in net.parameters()) - norms) / 1e6:.2f}" == "3.47"


@pytest.mark.parametrize("name", ["mobilenet_v3_small_x1_0", "mobilenet_v3_large_x1_0"])
def test_mobilenet_v3_squeezes_a_quarter_of_the_expanded_channels_and_ends_in_a_hard_sigmoid(name: str) -> None:
    gates = modules(build(name), SqueezeExcite)
    assert len(gates) == {"mobilenet_v3_small_x1_0": 9, "mobilenet_v3_large_x1_0": 8}[name]
    for gate in gates:
        assert gate.reduce.out_channels == make_divisible(gate.reduce.in_channels / 4)
        assert isinstance(gate.gate, nn.Hardsigmoid)
        assert isinstance(gate.act, nn.ReLU)


def test_a_head_of_1280_would_make_mobilenet_v3_small_the_one_of_the_papers_first_version() -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    net, first = build("mobilenet_v3_small_x1_0"), provider.get_model("mobilenetv3_small_w1", pretrained=False)
    assert net.head.fc.out_features == 1024
    # Each unit of the head has a weight for all 576 features, a bias, and a weight in each of the 1000 classes.
    wider = sum(p.numel() for p in net.parameters()) + (1280 - 1024) * (576 + 1 + 1000)
    assert f"{wider / 1e6:.1f}" == "2.9"
    assert wider == pytest.approx(sum(p.numel() for p in first.parameters()), rel=1e-3)


def test_tensorflows_epsilon_moves_the_logits_a_little() -> None:
    ours, theirs = settled(build("mobilenet_v2_x1_0")), build("mobilenet_v2_x1_0_tf").double()
    theirs.load_state_dict(ours.state_dict())
    for module in modules(theirs, SamePad2d):
        module.forward = lambda x: F.pad(x, (1, 1, 1, 1))
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        change = float((ours(x) - theirs(x)).norm() / ours(x).norm())
    assert 1e-5 < change < 5e-2


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


def test_the_shuffle_sends_every_group_to_every_group() -> None:
    x = torch.arange(12.0).view(1, 12, 1, 1)
    assert nn.ChannelShuffle(3)(x).flatten().tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


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
        assert math.floor(convatlas.analyze(name).totals["params"] / 1e5) / 10 == printed


# ---- EfficientNet and MnasNet -----------------------------------------------------------------------------

B = [f"efficientnet_b{n}" for n in range(8)]
#    width depth resolution blocks d w^2 r^2      of the released code
TABLE = [
    (1.0, 1.0, 224, 16, 1.0),
    (1.0, 1.1, 240, 23, 1.26),
    (1.1, 1.2, 260, 23, 1.96),
    (1.2, 1.4, 300, 26, 3.62),
    (1.4, 1.8, 380, 32, 10.2),
    (1.6, 2.2, 456, 39, 23.3),
    (1.8, 2.6, 528, 45, 46.8),
    (2.0, 3.1, 600, 55, 89.0),
]


@pytest.mark.parametrize(("name", "row"), zip(B, TABLE))
def test_the_real_cost_of_a_scaled_efficientnet_is_above_the_formula(name: str, row: tuple) -> None:
    """Repeats are rounded up, so the formula d w^2 r^2 is a lower bound (up to the rounding of widths)."""
    width, depth, resolution, blocks, formula = row
    assert depth * width**2 * (resolution / 224) ** 2 == pytest.approx(formula, rel=0.01)
    assert len(modules(build(name), InvertedResidual)) == blocks
    index = facts.index()
    assert index[name]["input_size"] == resolution
    assert index[name]["macs"] / index["efficientnet_b0"]["macs"] > 0.99 * formula


def test_the_released_coefficients_are_no_whole_powers() -> None:
    """alpha, beta, gamma = 1.2, 1.1, 1.15 to the power of phi: B1 is not phi = 1, nor B7 phi = 7."""
    width, depth, resolution, *_ = TABLE[1]
    phi = [math.log(depth, 1.2), math.log(width, 1.1), math.log(resolution / 224, 1.15)]
    assert [round(p, 2) for p in phi] == [0.52, 0.0, 0.49]
    width, depth, resolution, *_ = TABLE[7]
    phi = [math.log(depth, 1.2), math.log(width, 1.1), math.log(resolution / 224, 1.15)]
    assert [round(p, 2) for p in phi] == [6.21, 7.27, 7.05]


@pytest.mark.parametrize("name", ["efficientnet_b0", "mnasnet_a1"])
def test_the_gate_squeezes_a_quarter_of_the_blocks_input_channels(name: str) -> None:
    gated = [block for block in modules(build(name), InvertedResidual) if hasattr(block.branch, "gate")]
    assert len(gated) == {"efficientnet_b0": 16, "mnasnet_a1": 8}[name]
    for block in gated:
        inputs = next(m for m in block.modules() if isinstance(m, nn.Conv2d)).in_channels
        assert block.branch.gate.reduce.out_channels == inputs // 4


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


@pytest.mark.parametrize("size", [5, 6, 7, 8, 224, 225])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 1), (1, 2)])
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    padding = pytest.importorskip("timm.layers.padding")
    x = torch.rand(1, 1, size, size)
    padded = SamePad2d(kernel, stride)(x)
    assert torch.equal(padded, padding.pad_same(x, [kernel, kernel], [stride, stride]))
    weight = torch.ones(1, 1, kernel, kernel)
    assert F.conv2d(padded, weight, stride=stride).shape[-1] == math.ceil(size / stride)


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
