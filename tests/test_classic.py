"""The networks from LeNet to DenseNet: what their papers say of them, and what other people's code makes of them."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convatlas import registry
from convatlas.graph.capture import capture
from convatlas.graph.model import Node
from convatlas.nets.lenet import RBF, ScaledTanh
from convatlas.weights import convert


def build(name: str, **options) -> nn.Module:
    return registry.create(name, initialise=False, **options).eval()


def params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def shapes(net: nn.Module) -> list[tuple[Node, tuple[int, ...]]]:
    """Everything that the network computes for one picture, and its shape."""
    graph = capture(net)
    return list(zip(graph.nodes, graph.shapes()))


def sizes(net: nn.Module) -> dict[str, tuple[int, int]]:
    """The channels and the side of each stage's map."""
    maps = net.to("meta").endpoints(torch.empty(1, *net.input_size, device="meta"))
    return {stage: tuple(x.shape[1:3]) for stage, x in maps.items()}


def reads(layer: nn.Module, channels: int, size: int) -> Tensor:
    """(outputs, inputs): does this output channel depend on that input channel?"""
    x = torch.rand(1, channels, size, size, dtype=torch.float64, requires_grad=True)
    out = layer.double()(x)
    rows = [torch.autograd.grad(out[0, channel].sum(), x, retain_graph=True)[0] for channel in range(out.shape[1])]
    return torch.cat(rows).abs().sum((2, 3)) > 0


def random_statistics(net: nn.Module) -> nn.Module:
    """Batch norms with something to get wrong."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def in_order(ours: nn.Module, theirs: dict[str, Tensor]) -> None:
    """Load tensors by their order; their names are somebody else's."""
    keys = list(ours.state_dict())
    assert [v.shape for v in ours.state_dict().values()] == [v.shape for v in theirs.values()]
    ours.load_state_dict(dict(zip(keys, theirs.values())))


def same(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).norm() < (1e-9 if a.dtype == torch.float64 else 1e-5) * b.norm())


# ---- LeNet-5 -------------------------------------------------------------------------------------------------


def test_lenet_5_has_the_connections_that_the_paper_counts() -> None:
    """LeCun et al., section II.B: each unit's inputs and its bias, layer by layer; "340,908 connections"."""
    net = build("lenet5")
    counted: dict[str, int] = {}
    for node, shape in shapes(net):
        if node.op == "conv2d":
            inputs = node.attrs["inputs"] * math.prod(node.attrs["kernel"]) + 1
        elif node.op == "channel_affine":
            inputs = 2 * 2 + 1
        elif node.op == "linear":
            inputs = node.attrs["inputs"] + 1
        elif node.op == "rbf":
            inputs = net.head.classifier.in_features
        else:
            continue
        layer = node.name.split(".")[1]
        counted[layer] = counted.get(layer, 0) + math.prod(shape) * inputs
    assert counted == {
        "c1": 122_304, "s2": 5_880, "c3": 151_600, "s4": 2_000, "c5": 48_120, "f6": 10_164, "classifier": 840,
    }  # fmt: skip
    assert sum(counted.values()) == 340_908


def test_lenet_5_has_60000_trained_parameters_where_the_paper_says() -> None:
    net = build("lenet5")
    counts = {name: params(m) for name, m in [*net.trunk.named_children(), *net.head.named_children()] if params(m)}
    assert counts == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert sum(counts.values()) == 60_000
    assert params(nn.Conv2d(6, 16, 5)) == 2_416  # C3, had it no table


def test_c3_reads_the_maps_that_table_1_marks() -> None:
    table_1 = """
    X...XXX..XXXX.XX
    XX...XXX..XXXX.X
    XXX...XXX..X.XXX
    .XXX..XXXX..X.XX
    ..XXX..XXXX.XX.X
    ...XXX..XXXX.XXX
    """.split()
    layer = registry.create("lenet5").trunk.c3
    assert [["X" if r else "." for r in row] for row in reads(layer, 6, 14).T] == [list(row) for row in table_1]


def test_the_squashing_function_is_1_at_1() -> None:
    x = torch.tensor([-1.0, 0.0, 1.0, 100.0])
    assert torch.allclose(ScaledTanh()(x), torch.tensor([-1.0, 0.0, 1.0, 1.7159]), atol=1e-5)


def test_subsampling_is_a_trained_multiple_of_the_average_and_starts_as_the_average() -> None:
    layer = registry.create("lenet5").trunk.s2
    x = torch.randn(2, 6, 4, 4)
    mean = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    with torch.no_grad():
        assert torch.allclose(layer(x), 1.7159 * torch.tanh(2 / 3 * mean), atol=1e-6)
        layer.affine.weight.copy_(torch.arange(6.0).reshape(6, 1, 1))
        layer.affine.bias.fill_(0.5)
        coefficients = torch.arange(6.0).reshape(1, 6, 1, 1)
        assert torch.allclose(layer(x), 1.7159 * torch.tanh(2 / 3 * (mean * coefficients + 0.5)), atol=1e-6)


def test_the_largest_logit_is_the_least_distance_to_a_digits_code() -> None:
    rbf = RBF()
    x = torch.randn(50, 84)
    distances = torch.cdist(x, rbf.codes) ** 2
    assert torch.allclose(-rbf(x), distances, rtol=1e-4)
    assert torch.equal(rbf(x).argmax(1), distances.argmin(1))
    assert torch.equal(rbf(rbf.codes).argmax(1), torch.arange(10))
    assert torch.equal(rbf(rbf.codes).diagonal(), torch.zeros(10))


def test_the_ten_codes_are_bitmaps_of_7_by_12_and_all_differ() -> None:
    codes = RBF().codes
    assert codes.shape == (10, 7 * 12)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    assert min((a != b).sum() for a, b in combinations(codes, 2)) >= 5
    assert not list(RBF().parameters())


# ---- AlexNet and ZFNet ---------------------------------------------------------------------------------------


def test_alexnet_has_650080_neurons_in_its_maps() -> None:
    """Figure 2's caption counts them layer by layer; its first number, 253,440, is not the 55 x 55 x 96 of the text."""
    neurons = [math.prod(shape) for node, shape in shapes(build("alexnet")) if node.op in ("conv2d", "linear")]
    assert neurons == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert sum(neurons[:5]) == 650_080


def test_11x11_at_stride_4_fits_into_227_pixels_and_not_into_224() -> None:
    assert (227 - 11) % 4 == 0
    assert (224 - 11) % 4 != 0
    for name, side in (("alexnet", 227), ("alexnet_owt", 224)):
        net = build(name)
        assert net.input_size[1] == side
        assert next(s for n, s in shapes(net) if n.op == "conv2d")[-1] == 55
        assert [side for _, side in sizes(net).values()] == [27, 13, 13, 13, 6]


@pytest.mark.parametrize("name", ["conv2", "conv3", "conv4", "conv5"])
def test_the_two_towers_are_two_networks_but_for_conv3(name: str) -> None:
    conv = build("alexnet").get_submodule(f"trunk.{name}.conv.conv")
    nn.init.uniform_(conv.weight, 0.1, 1)
    nn.init.zeros_(conv.bias)
    x = torch.rand(1, conv.in_channels, 5, 5, requires_grad=True)
    towers = conv(x).chunk(2, 1)
    for own, tower in enumerate(towers):
        (gradient,) = torch.autograd.grad(tower.sum(), x, retain_graph=True)
        halves = gradient.chunk(2, 1)
        assert halves[own].all()
        assert halves[1 - own].all() if name == "conv3" else not halves[1 - own].any()


@pytest.mark.parametrize("stage", ["conv1", "conv2"])
@pytest.mark.parametrize("name", ["alexnet", "zfnet", "zfnet512"])
def test_the_response_norm_sums_over_its_neighbours_as_the_formula_says(name: str, stage: str) -> None:
    """Section 3.3: a / (k + alpha * sum of a^2) ^ beta, over maps max(0, i - n / 2) to min(N - 1, i + n / 2)."""
    k, n, alpha, beta = 2, 5, 1e-4, 0.75
    norm = build(name).get_submodule(f"trunk.{stage}.norm")
    a = torch.randn(1, 9, 2, 2, dtype=torch.float64) * 100
    b = torch.empty_like(a)
    for i in range(9):
        squares = sum(a[:, j] ** 2 for j in range(max(0, i - n // 2), min(9 - 1, i + n // 2) + 1))
        b[:, i] = a[:, i] / (k + alpha * squares) ** beta
    assert torch.allclose(norm(a), b)
    assert not torch.allclose(F.local_response_norm(a, n, alpha, beta, k), b, rtol=0.1)


@pytest.mark.parametrize(
    ("name", "order"),
    [("alexnet", ["conv", "norm", "pool"]), ("alexnet_owt", ["conv", "pool"]),
     ("zfnet", ["conv", "pool", "norm"]), ("zfnet512", ["conv", "norm", "pool"])],
)  # fmt: skip
def test_alexnet_normalises_before_it_pools_and_zfnet_after(name: str, order: list[str]) -> None:
    net = build(name)
    for stage in (net.trunk.conv1, net.trunk.conv2):
        assert [part for part, _ in stage.named_children()] == order
        assert isinstance(stage.conv[-1], nn.ReLU)
        assert (stage.pool.kernel_size, stage.pool.stride) == (3, 2)


def test_torchvision_drops_before_the_dense_layers_and_the_paper_after_them() -> None:
    models = pytest.importorskip("torchvision.models")

    def order(head: nn.Module) -> list[type[nn.Module]]:
        return [type(m) for m in head if isinstance(m, nn.Linear | nn.ReLU | nn.Dropout)]

    with torch.device("meta"):
        theirs = models.alexnet(weights=None).classifier
    assert order(build("alexnet_owt").head) == order(theirs)
    assert order(build("alexnet").head) == [nn.Linear, nn.ReLU, nn.Dropout] * 2 + [nn.Linear]


def test_pytorchcvs_alexnet_has_no_towers_and_its_response_norm_is_five_times_weaker() -> None:
    other = pytest.importorskip("pytorchcv.models.alexnet").alexnet(in_size=(227, 227)).eval()
    net = build("alexnet_ungrouped")
    in_order(net, other.state_dict())
    picture = torch.randn(1, 3, 227, 227) * 200
    with torch.no_grad():
        assert not same(net(picture), other(picture))
        for stage in (net.trunk.conv1, net.trunk.conv2):
            stage.norm.alpha /= 5  # theirs averages the five squares and leaves alpha at the paper's 1e-4
        assert same(net(picture), other(picture))


@pytest.mark.parametrize("name", ["zfnet", "zfnet_b"])
def test_zfnets_maps_are_those_of_figure_3(name: str) -> None:
    """224, 110, 55, 26, 13, 13, 13, 13, 6."""
    net = build(name)
    assert [shape[-1] for node, shape in shapes(net) if node.op == "conv2d"] == [110, 26, 13, 13, 13]
    assert [side for _, side in sizes(net).values()] == [55, 13, 13, 13, 6]


def test_zfnet_has_alexnets_dense_layers() -> None:
    assert params(build("zfnet").head) == params(build("alexnet").head)


# ---- NIN and VGG ---------------------------------------------------------------------------------------------


def test_pytorchcvs_nin_is_ours_but_pads_its_pools() -> None:
    other = pytest.importorskip("pytorchcv.models.nin_cifar").nin_cifar10().double().eval()
    net = build("nin_cifar10").double()
    in_order(net, other.state_dict())
    for m in net.trunk.modules():
        if isinstance(m, nn.MaxPool2d | nn.AvgPool2d):
            m.ceil_mode, m.padding = False, 1
    picture = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert same(net(picture), other(picture))


def test_nin_has_one_map_a_class_and_no_dense_layer() -> None:
    for name, classes in (("nin_cifar10", 10), ("nin_cifar100", 100), ("nin", 1000)):
        net = registry.create(name).eval()
        assert not [m for m in net.modules() if isinstance(m, nn.Linear)]
        x = torch.randn(1, *net.input_size)
        with torch.no_grad():
            maps = net.head.classifier(net.endpoints(x)[net.stages[-1]])
            assert maps.shape[1] == classes
            assert torch.allclose(net(x), maps.relu().mean((2, 3)), atol=1e-6)


def test_the_rows_of_vgg_16_hold_15_million_values_and_its_first_two_convolutions_42_percent_of_them() -> None:
    """A course's slide adds them up to "24M * 4 bytes"."""
    rows = [(node.op, math.prod(shape)) for node, shape in shapes(build("vgg16"))]
    held = {kind: sum(n for op, n in rows if op == kind) for kind in ("input", "conv2d", "max_pool2d", "linear")}
    assert held == {"input": 150_528, "conv2d": 13_547_520, "max_pool2d": 1_530_368, "linear": 9_192}
    assert sum(held.values()) == 15_237_608
    first, second = [count for op, count in rows if op == "conv2d"][:2]
    assert round(100 * (first + second) / sum(held.values())) == 42


def test_fc6_has_three_quarters_of_vgg_16s_parameters() -> None:
    net = build("vgg16")
    assert net.head.fc6.weight.numel() == 102_760_448
    assert round(100 * net.head.fc6.weight.numel() / params(net)) == 74
    assert round(100 * params(net.head) / params(net)) == 89
    assert sum(p.numel() for p in net.parameters() if p.dim() == 1) == 13_416


def test_three_stacked_3x3_see_what_one_7x7_sees_for_55_percent_of_its_weights() -> None:
    """Section 2.3: 3 (3^2 C^2) = 27 C^2 beside 49 C^2, "81% more"."""
    channels = 8
    block = build("vgg16").trunk.block3
    stack = nn.Sequential(*(nn.Conv2d(channels, channels, 3, 1, block.conv2.conv.padding) for _ in range(3))).double()
    assert [block.get_submodule(f"conv{n}.conv").kernel_size for n in (1, 2, 3)] == [(3, 3)] * 3
    x = torch.randn(1, channels, 21, 21, dtype=torch.float64, requires_grad=True)
    stack(x)[0, :, 10, 10].sum().backward()
    rows, columns = x.grad[0].abs().sum(0).nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 13, 7, 13)
    weights = [
        sum(p.numel() for p in m.parameters() if p.dim() == 4) for m in (stack, nn.Conv2d(channels, channels, 7))
    ]
    assert weights == [27 * channels**2, 49 * channels**2]
    assert round(100 * weights[1] / weights[0]) - 100 == 81


# ---- ResNet --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "share"), [("resnet50", 1 / 4), ("resnet50_v1_5", 1)])
def test_the_papers_blocks_never_look_at_three_pixels_of_four(name: str, share: float) -> None:
    """With the stride in the first 1x1, a block that halves its map reads every second pixel of every second row."""
    for stage in (2, 3, 4):
        block = registry.create(name).get_submodule(f"trunk.stage{stage}.0").double().eval()
        x = torch.rand(1, block.conv1.conv.in_channels, 8, 8, dtype=torch.float64, requires_grad=True)
        out = block(x)
        assert out.shape[-1] == 4
        (gradient,) = torch.autograd.grad((out * torch.rand_like(out)).sum(), x)
        assert (gradient.abs().sum((0, 1)) > 0).double().mean() == share


def test_the_papers_resnet_50_is_the_released_senet_with_its_gates_open() -> None:
    """timm's legacy_seresnet50 came from Caffe: stride in the first 1x1, a pool that rounds up."""
    timm = pytest.importorskip("timm")
    other = random_statistics(timm.create_model("legacy_seresnet50", pretrained=False)).double()
    for name, module in other.named_modules():
        if name.endswith("se_module"):
            nn.init.zeros_(module.fc2.weight)
            nn.init.constant_(module.fc2.bias, 1000.0)
    state = convert("se_resnet50", other.state_dict(), "timm")
    picture = torch.randn(1, 3, 97, 97, dtype=torch.float64)
    for name, equal in (("resnet50", True), ("resnet50_v1_5", False)):
        net = build(name).double()
        net.load_state_dict({key: tensor for key, tensor in state.items() if ".gate." not in key})
        with torch.no_grad():
            assert same(net(picture), other(picture)) == equal


# ---- DenseNet ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stem", "kept"),
    [
        ("densenet121", 64, 1 / 2),
        ("densenet161", 96, 1 / 2),
        ("densenet264_k48", 96, 1 / 2),
        ("densenet_bc100_k12_cifar", 24, 1 / 2),
        ("densenet_bc250_k24_cifar", 48, 1 / 2),
        ("densenet40_k12_cifar", 16, 1),
        ("densenet100_k24_cifar", 16, 1),
    ],
)
def test_only_bc_compresses_and_its_stem_is_twice_the_growth(name: str, stem: int, kept: float) -> None:
    with torch.device("meta"):
        net = build(name)
    transitions = [m.conv.conv for stage, m in net.trunk.named_children() if stage.startswith("transition")]
    assert len(transitions) == (3 if net.input_size[1] == 224 else 2)
    assert {conv.out_channels / conv.in_channels for conv in transitions} == {kept}
    assert next(m for m in net.modules() if isinstance(m, nn.Conv2d)).out_channels == stem
    for layer in (m for stage, block in net.trunk.named_children() if stage.startswith("block") for m in block):
        growth = layer.body.conv2.conv.out_channels
        assert hasattr(layer.body, "conv1") == (kept < 1)
        assert layer.body.conv2.conv.in_channels == (4 * growth if kept < 1 else layer.body.conv2.norm.num_features)


def test_pytorchcvs_densenet_40_compresses_and_the_papers_does_not() -> None:
    other = pytest.importorskip("pytorchcv.models.densenet_cifar").densenet40_k12_cifar10()
    assert (params(other), params(build("densenet40_k12_cifar"))) == (599_050, 1_019_722)


def test_densenet_bc_100_is_pytorchcvs() -> None:
    other = pytest.importorskip("pytorchcv.models.densenet_cifar").densenet100_k12_bc_cifar10()
    other = random_statistics(other).double()
    net = build("densenet_bc100_k12_cifar").double()
    in_order(net, other.state_dict())
    picture = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert same(net(picture), other(picture))


def test_every_layer_of_a_dense_block_reads_all_before_it_and_passes_them_on() -> None:
    block = registry.create("densenet40_k12_cifar").trunk.block1.eval()
    x = torch.rand(1, 16, 8, 8)
    with torch.no_grad():
        out = block(x)
        assert torch.equal(out[:, :16], x)
        for index, layer in enumerate(block):
            before = out[:, : 16 + 12 * index]
            assert torch.equal(layer(before), out[:, : 16 + 12 * (index + 1)])


def test_densenets_last_map_is_normalised_and_rectified() -> None:
    for name in ("densenet40_k12_cifar", "densenet_bc100_k12_cifar"):
        net = registry.create(name).eval()
        assert net.stages[-1] == "final"
        with torch.no_grad():
            assert net.endpoints(torch.randn(1, 3, 32, 32))["final"].min() == 0


# ---- fresh weights -------------------------------------------------------------------------------------------


def normal(std: float) -> tuple[str, float]:
    return "normal", std


def uniform(bound: float) -> tuple[str, float]:
    return "uniform", bound / math.sqrt(3)


@pytest.mark.parametrize(
    ("name", "layer", "expected", "bias"),
    [
        # Appendix A: within 2.4 / fan-in
        ("lenet5", "trunk.c5.conv", uniform(2.4 / 400), None),
        ("lenet5", "head.f6", uniform(2.4 / 120), None),
        # Glorot and Bengio; Caffe's example, which only counts the inputs
        ("lenet5_modern", "head.f5", uniform(math.sqrt(6 / (400 + 120))), 0),
        ("lenet_caffe", "trunk.c3.conv", uniform(math.sqrt(3 / (20 * 25))), 0),
        ("lenet_caffe", "head.f5", uniform(math.sqrt(3 / 800)), 0),
        # section 5: N(0, 0.01), and ones so that rectifiers start with positive inputs
        ("alexnet", "trunk.conv1.conv.conv", normal(0.01), 0),
        ("alexnet", "trunk.conv2.conv.conv", normal(0.01), 1),
        ("alexnet", "trunk.conv3.conv.conv", normal(0.01), 0),
        ("alexnet", "trunk.conv4.conv.conv", normal(0.01), 1),
        ("alexnet", "trunk.conv5.conv.conv", normal(0.01), 1),
        ("alexnet", "head.fc6", normal(0.01), 1),
        ("alexnet", "head.fc7", normal(0.01), 1),
        ("alexnet", "head.classifier", normal(0.01), 0),
        # section 3.1: "initialized to 10^-2 and biases are set to 0"
        ("zfnet", "trunk.conv3.conv.conv", normal(0.01), 0),
        ("zfnet", "head.fc7", normal(0.01), 0),
        ("nin_cifar10", "trunk.mlpconv2.conv.conv", normal(0.05), 0),
        # He et al. by what a layer gives; torchvision's
        ("vgg11", "trunk.block2.conv1.conv", normal(math.sqrt(2 / (9 * 128))), 0),
        ("vgg11", "head.fc7", normal(0.01), 0),
        ("resnet50", "trunk.stage1.0.conv3.conv", normal(math.sqrt(2 / 256)), None),
        ("resnet50", "trunk.stage2.0.conv1.conv", normal(math.sqrt(2 / 128)), None),
        ("resnet50", "trunk.stage2.0.conv2.conv", normal(math.sqrt(2 / (9 * 128))), None),
        ("resnet50", "head.classifier", normal(math.sqrt(2 / 2048)), 0),
        # section 3: He et al. by what a layer reads
        ("densenet121", "trunk.block1.0.body.conv1.conv", normal(math.sqrt(2 / 64)), None),
        ("densenet121", "trunk.block1.0.body.conv2.conv", normal(math.sqrt(2 / (9 * 128))), None),
        ("densenet121", "head.classifier", uniform(1 / math.sqrt(1024)), None),
        # Caffe's "xavier": variance 1 / fan_in
        ("squeezenet1_0", "trunk.fire5.squeeze.conv", uniform(math.sqrt(3 / 256)), 0),
        ("squeezenet1_0", "trunk.fire5.expand3x3.conv", uniform(math.sqrt(3 / (9 * 32))), 0),
        ("squeezenet1_0", "head.classifier", normal(0.01), 0),
        ("googlenet", "trunk.conv2.conv", uniform(math.sqrt(3 / (9 * 64))), 0.2),
        ("googlenet", "trunk.inception3a.branch2.conv1.conv", uniform(math.sqrt(3 / 192)), 0.2),
        ("googlenet", "head.classifier", uniform(math.sqrt(3 / 1024)), 0),
    ],
)
def test_fresh_weights_are_what_the_paper_fills_them_with(name, layer, expected, bias, fresh) -> None:
    module = fresh(name).get_submodule(layer)
    kind, std = expected
    weight = module.weight.detach()
    assert weight.std().item() == pytest.approx(std, rel=0.03)
    assert abs(weight.mean().item()) < 4 * std / math.sqrt(weight.numel())
    within = bool(weight.abs().max() <= math.sqrt(3) * std * (1 + 1e-6))
    assert within == (kind == "uniform")  # which ends at sqrt(3) of its deviations, where a normal one goes on
    if bias is not None:
        assert torch.equal(module.bias, torch.full_like(module.bias, bias))


@pytest.fixture(scope="module")
def fresh():
    """One network at a time, with the weights that it starts from."""
    last: dict[str, nn.Module] = {}

    def make(name: str) -> nn.Module:
        if name not in last:
            last.clear()
            torch.manual_seed(0)
            last[name] = registry.create(name)
        return last[name]

    return make


def test_lenets_biases_are_within_the_same_bound_as_its_weights() -> None:
    net = registry.create("lenet5")
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 2.4 / module.weight[0].numel()
            assert 0 < module.bias.abs().max() <= bound
            assert 0.8 * bound < module.weight.abs().max() <= bound


def test_caffes_xavier_keeps_the_size_of_what_is_passed_on_and_so_counts_only_what_a_layer_reads() -> None:
    conv = registry.create("squeezenet1_0").trunk.fire2.expand3x3.conv
    x = torch.randn(4, 16, 32, 32)
    with torch.no_grad():
        inside = conv(x)[:, :, 1:-1, 1:-1]
    assert inside.std().item() == pytest.approx(1, rel=0.1)
