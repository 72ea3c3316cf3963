"""Width and depth: any network of the line with another number of channels, or of blocks in a stage."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import nn

from convatlas import registry
from convatlas.blocks import deepen, scale_depth, scale_width
from convatlas.cost import analyze
from convatlas.errors import ConvatlasError, UnknownOption
from convatlas.graph.capture import capture
from convatlas.net import ConvNet
from convatlas.nets.inception_resnet import Residual

NETWORKS = [
    "alexnet", "zfnet", "nin_cifar10", "vgg11", "squeezenet1_1", "googlenet", "inception_v2", "inception_v3",
    "inception_v4", "inception_resnet_v1", "xception", "resnet18_a", "resnext50_32x4d", "resnet20_cifar", "preresnet50",
    "wrn16_10_cifar", "senet154", "densenet121", "densenet40_k12_cifar", "mobilenet_v1_x1_0", "mobilenet_v2_x1_0",
    "mobilenet_v3_large_x1_0", "mobilenet_v3_small_x1_0", "mnasnet_small", "mnasnet_a1", "shufflenet_v1_x1_0_g3",
    "shufflenet_v2_x1_0", "efficientnet_b0", "efficientnet_lite0",
]  # fmt: skip
"""One at least of every builder that takes a width, as its paper has it at a width and a depth of 1."""
NO_DEPTH = ["alexnet", "zfnet", "nin_cifar10", "squeezenet1_1", "googlenet", "inception_v2", "inception_v3"]
DEEP = [name for name in NETWORKS if name not in NO_DEPTH]


def shapes(name: str, **options: float) -> list[tuple[str, torch.Size]]:
    return [(key, value.shape) for key, value in build(name, **options).state_dict().items()]


def build(name: str, **options: float) -> ConvNet:
    """Without numbers, which take time and memory."""
    with torch.device("meta"):
        return registry.create(name, initialise=False, **options).eval()  # type: ignore[arg-type]


def repeats(net: ConvNet, stages: str = "stage") -> list[int]:
    return [len(module) for name, module in net.trunk.named_children() if name.startswith(stages)]  # type: ignore[arg-type]


@cache
def macs(name: str, **options: float) -> int:
    return analyze(capture(build(name, **options))).totals["macs"]


def test_every_builder_but_lenets_takes_a_width() -> None:
    takes = {registry.module_of(name) for name in registry.names() if "width" in registry.options(name)}
    assert takes == {registry.module_of(name) for name in NETWORKS}
    assert {registry.module_of(name) for name in registry.names()} - takes == {"lenet"}


def test_networks_whose_modules_all_differ_take_no_depth() -> None:
    takes = {registry.module_of(name) for name in registry.names() if "depth" in registry.options(name)}
    assert takes == {registry.module_of(name) for name in DEEP}
    for name in [*NO_DEPTH, "lenet5", "lenet5_modern"]:
        with pytest.raises(UnknownOption, match=f"{name} has no option 'depth'; it takes "):
            registry.create(name, depth=2)
    for name in ("lenet5", "lenet5_modern"):
        with pytest.raises(UnknownOption, match=f"{name} has no option 'width'"):
            registry.create(name, width=2)


@pytest.mark.parametrize("option", ["width", "depth"])
@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "2"])
def test_an_impossible_factor_is_refused(option: str, value: float) -> None:
    with pytest.raises(ConvatlasError, match=f"{option} must be a number greater than 0"):
        registry.create("resnet18", **{option: value})  # type: ignore[arg-type]


# ---- a factor of 1, and the networks that the papers print ------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_a_width_and_a_depth_of_1_are_the_papers_network(name: str) -> None:
    options = {option: 1.0 for option in ("width", "depth") if option in registry.options(name)}
    assert shapes(name, **options) == shapes(name)


@pytest.mark.parametrize(
    ("name", "options", "printed"),
    [
        ("resnet20_cifar", dict(depth=3), "resnet56_cifar"),
        ("wrn16_10_cifar", dict(depth=2), "wrn28_10_cifar"),
        ("densenet40_k12_cifar", dict(depth=32 / 12), "densenet100_k12_cifar"),
        ("densenet_bc100_k12_cifar", dict(depth=41 / 16, width=2), "densenet_bc250_k24_cifar"),
        ("mobilenet_v3_large_x1_0", dict(width=0.75), "mobilenet_v3_large_x0_75"),
        ("shufflenet_v1_x1_0_g3", dict(width=2), "shufflenet_v1_x2_0_g3"),
        ("efficientnet_b0", dict(depth=1.1), "efficientnet_b1"),
        ("efficientnet_b0", dict(width=1.4, depth=1.8), "efficientnet_b4"),
        ("efficientnet_b0", dict(width=2.0, depth=3.1), "efficientnet_b7"),
        ("efficientnet_lite0", dict(width=1.4, depth=1.8), "efficientnet_lite4"),
    ],
)
def test_scaled_by_the_factors_of_a_larger_network_of_the_paper_it_is_that_network(
    name: str, options: dict[str, float], printed: str
) -> None:
    assert shapes(name, **options) == shapes(printed)


# ---- depth ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repeat", "depth", "expected"),
    [(3, 1, 3), (3, 1.1, 4), (4, 1.1, 5), (3, 0.5, 2), (1, 0.01, 1), (25, 2.2, 55), (10, 1.1, 11), (12, 32 / 12, 32)],
)
def test_repeats_are_rounded_up_and_float_noise_is_not(repeat: int, depth: float, expected: int) -> None:
    assert scale_depth(repeat, depth) == expected


@pytest.mark.parametrize(
    ("name", "depth", "stages", "expected"),
    [
        ("resnet18", 2, "stage", [4, 4, 4, 4]),
        ("resnet34", 0.5, "stage", [2, 2, 3, 2]),
        ("resnet50", 0.1, "stage", [1, 1, 1, 1]),
        ("resnext29_8x64d_cifar", 2, "stage", [6, 6, 6]),
        ("preresnet200", 1.5, "stage", [5, 36, 54, 5]),
        ("senet154", 0.5, "stage", [2, 4, 18, 2]),
        ("densenet121", 1.5, "block", [9, 18, 36, 24]),
        ("mobilenet_v1_x1_0", 2, "stage", [2, 4, 4, 12, 4]),
        ("mobilenet_v1_x1_0", 0.5, "stage", [1, 1, 1, 3, 1]),
        ("shufflenet_v1_x1_0_g3", 1.5, "stage", [6, 12, 6]),
        ("shufflenet_v2_x1_0", 1.5, "stage", [6, 12, 6]),
        ("inception_v4", 2, "inception", [8, 14, 6]),
        ("inception_resnet_v1", 2, "inception", [10, 20, 10]),
    ],
)
def test_depth_multiplies_what_a_stage_repeats(name: str, depth: float, stages: str, expected: list[int]) -> None:
    assert repeats(build(name, depth=depth), stages) == expected


def test_vgg_repeats_convolutions_between_its_five_pools() -> None:
    net = build("vgg11_bn", depth=2, attention="se")  # type: ignore[arg-type]
    for kind in ("conv", "gate"):
        assert [sum(name.startswith(kind) for name, _ in block.named_children()) for block in net.trunk] == [
            2, 2, 4, 4, 4,
        ]  # fmt: skip
    assert sum(isinstance(module, nn.MaxPool2d) for module in net.modules()) == 5


def test_xceptions_middle_flow_is_what_repeats() -> None:
    for depth, blocks in ((0.25, 6), (1, 12), (2, 20)):
        net = build("xception", depth=depth)
        names = [name for name, _ in net.trunk.named_children() if name.startswith("block")]
        assert names == [f"block{number}" for number in range(1, blocks + 1)]
        assert sum(isinstance(module, nn.MaxPool2d) for module in net.modules()) == 4


def test_only_the_last_block_of_inception_resnet_v2_is_bare_at_any_depth() -> None:
    for depth in (0.5, 2):
        residuals = [m for m in build("inception_resnet_v2", depth=depth).modules() if isinstance(m, Residual)]
        assert len(residuals) == 40 * depth
        assert [isinstance(m.act, nn.Identity) for m in residuals] == [False] * (len(residuals) - 1) + [True]


def test_a_stage_of_single_rows_grows_by_its_last_block_at_stride_1() -> None:
    assert deepen([(16, "a", 2)], 3) == [(16, "a", 2), (16, "a", 1), (16, "a", 1)]
    assert deepen([(16, "a", 2), (16, "b", 1)], 1.5) == [(16, "a", 2), (16, "b", 1), (16, "b", 1)]
    assert deepen([(16, "a", 2), (16, "b", 1)], 0.5) == [(16, "a", 2)]

    def rows(depth: float) -> list[tuple[int, int, int]]:
        net = build("mobilenet_v3_small_x1_0", depth=depth)
        blocks = [block.branch for name, block in net.trunk.named_children() if hasattr(block, "branch")]
        return [(b.depthwise.conv.stride[0], b.depthwise.conv.in_channels, b.project.conv.out_channels) for b in blocks]

    assert rows(2)[:6] == [(2, 16, 16), (1, 16, 16), (2, 72, 24), (1, 88, 24), (1, 88, 24), (1, 88, 24)]
    assert [out for _, _, out in rows(2)] == [16] * 2 + [24] * 4 + [40] * 6 + [48] * 4 + [96] * 6
    assert rows(0.5) == [(2, 16, 16), (2, 72, 24), (2, 96, 40), (1, 240, 40), (1, 120, 48), (2, 288, 96), (1, 576, 96)]


@pytest.mark.parametrize("name", DEEP)
def test_a_deeper_network_has_the_maps_of_the_usual_one_and_costs_more(name: str) -> None:
    net, usual = build(name, depth=2), build(name)
    picture = torch.empty(1, *usual.input_size, device="meta")
    ends = [{tuple(x.shape[2:]) for x in one.endpoints(picture).values()} for one in (net, usual)]
    assert ends[0] == ends[1]
    assert net(picture).shape == usual(picture).shape
    convolutions = [sum(isinstance(m, nn.Conv2d) for m in one.modules()) for one in (usual, net)]
    assert 1.5 < convolutions[1] / convolutions[0] <= 2
    assert macs(name, depth=0.5) < macs(name) < macs(name, depth=2)


# ---- width ------------------------------------------------------------------------------------------------------


def test_a_width_of_1_rounds_nothing_and_any_other_to_eights() -> None:
    assert [scale_width(channels, 1.0) for channels in (1, 116, 150)] == [1, 116, 150]
    assert [scale_width(channels, 1.5) for channels in (116, 244, 16)] == [176, 368, 24]
    assert scale_width(12, 1.5, divisor=4) == 20


@pytest.mark.parametrize("width", [0.5, 1.5])
@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_go_about_with_the_square_of_the_width(name: str, width: float) -> None:
    """Between the first and the second power: the picture's channels and a depthwise filter's group stay."""
    ratio = macs(name, width=width) / macs(name)
    assert min(width, width**2) / 1.3 < ratio < max(width, width**2) * 1.3


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_network_of_another_width_and_depth_answers(name: str, factor: float) -> None:
    options = {option: factor for option in ("width", "depth") if option in registry.options(name)}
    net = build(name, **options)
    picture = torch.empty(2, *net.input_size, device="meta")
    assert net(picture).shape == (2, net.classes)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_narrow_and_deep_network_computes(name: str) -> None:
    options = dict(width=0.25) | (dict(depth=1.5) if "depth" in registry.options(name) else {})
    net = registry.create(name, classes=5, **options).eval()  # type: ignore[arg-type]
    side = min(net.input_size[1], 96)
    with torch.inference_mode():
        answer = net(torch.randn(2, net.input_size[0], side, side))
    assert answer.shape == (2, 5)
    assert answer.isfinite().all()
    assert net.options == options | dict(classes=5)


def test_groups_divide_the_channels_at_any_width() -> None:
    for name in ("senet154", "resnext50_32x4d", "shufflenet_v1_x1_0_g8", "alexnet"):
        for width in (0.05, 0.3, 0.77, 1.01, 1.2, 2.3):
            for module in build(name, width=width).modules():
                if isinstance(module, nn.Conv2d):
                    assert module.in_channels % module.groups == module.out_channels % module.groups == 0
                    assert module.out_channels > 0


def test_auxiliary_heads_read_the_scaled_maps() -> None:
    for name in ("googlenet", "inception_v3"):
        net = build(name, width=0.5, aux=True)
        logits, aux = net.with_aux(torch.empty(1, *net.input_size, device="meta"))
        assert {tuple(answer.shape) for answer in (logits, *aux.values())} == {(1, 1000)}
