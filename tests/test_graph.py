"""The captured graph: shapes, parameters and multiply-adds against torch itself."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import convatlas
from convatlas import registry
from convatlas.errors import CannotTrace, ConvatlasError, InputTooSmall
from convatlas.graph import atlas
from convatlas.graph.capture import capture
from convatlas.graph.model import Graph


def flop_counter_macs(net: nn.Module, size: tuple[int, int, int]) -> int:
    """Multiply-adds by torch's own counter, on tensors without data."""
    with torch.device("meta"):
        picture = torch.empty(1, *size)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net.to("meta").eval()(picture)
    return counter.get_total_flops() // 2


def shapes_seen(net: nn.Module, size: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    """Every leaf module's output shape in a real forward pass."""
    seen: dict[str, tuple[int, ...]] = {}
    for path, module in net.named_modules():
        if not next(module.children(), None):
            module.register_forward_hook(lambda m, _, out, path=path: seen.update({path: tuple(out.shape)}))
    with torch.no_grad():
        net.eval()(torch.zeros(1, *size))
    return seen


@pytest.mark.parametrize("size", [224, 191, 256])
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0_tf", "googlenet_slim", "shufflenet_v2_x0_5"])
def test_traced_shapes_are_those_of_a_real_forward_pass(name: str, size: int) -> None:
    net = registry.create(name, initialise=False)
    graph = atlas.load(name)
    traced = {node.name: shape for node, shape in zip(graph.nodes, graph.shapes((3, size, size)))}
    real = shapes_seen(net, (3, size, size))
    assert real
    for path, shape in real.items():
        assert traced[path] == shape, path


def test_the_graph_survives_its_json() -> None:
    graph = atlas.load("resnet18")
    again = Graph.from_json(graph.to_json())
    assert again.shapes() == graph.shapes()
    assert again.to_json() == graph.to_json()


@pytest.mark.parametrize("name", ["vgg11", "resnet50", "inception_v3", "alexnet"])
def test_the_least_input_is_the_least_that_torch_takes(name: str) -> None:
    least = atlas.load(name).least_input()
    net = registry.create(name, initialise=False).eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, least, least))
        with pytest.raises(RuntimeError):
            net(torch.zeros(1, 3, least - 1, least - 1))
    with pytest.raises(InputTooSmall, match=f"the least is {least} x {least}"):
        convatlas.analyze(name, input_size=least - 1)


def test_a_batch_multiplies_macs_and_not_parameters() -> None:
    one, many = convatlas.analyze("resnet18"), convatlas.analyze("resnet18", batch=7)
    assert many.totals["params"] == one.totals["params"]
    for figure in ("macs", "macs_all", "flops", "macs_backward", "activation_bytes"):
        assert many.totals[figure] == 7 * one.totals[figure]


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_without_pictures_is_refused(batch: int) -> None:
    with pytest.raises(ConvatlasError, match="at least 1 picture"):
        convatlas.analyze("resnet18", batch=batch)


# ---- random networks --------------------------------------------------------------------------------------


@st.composite
def random_networks(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, int, int]]:
    """A random stack of convolutions (grouped, dilated, transposed), pools, norms and branches on a random input."""
    channels, size = draw(st.sampled_from([1, 3, 4])), draw(st.integers(17, 40))
    layers: list[nn.Module] = []
    width = channels
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["conv", "conv", "transpose", "max", "avg", "norm", "branch", "cat"]))
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        if kind == "conv":
            groups = draw(st.sampled_from([g for g in (1, 2, 4) if width % g == 0]))
            out = groups * draw(st.integers(1, 4))
            padding, dilation = draw(st.integers(0, 2)), draw(st.integers(1, 2))
            layers.append(
                nn.Conv2d(width, out, kernel, stride, padding, dilation, groups=groups, bias=draw(st.booleans()))
            )
            width = out
        elif kind == "transpose":
            layers.append(nn.ConvTranspose2d(width, 4, kernel, stride))
            width = 4
        elif kind == "max":
            layers.append(nn.MaxPool2d(kernel, stride, ceil_mode=draw(st.booleans())))
        elif kind == "avg":
            layers.append(nn.AvgPool2d(kernel, stride, ceil_mode=draw(st.booleans())))
        elif kind == "norm":
            layers.append(nn.Sequential(nn.BatchNorm2d(width), nn.Hardswish()))
        elif kind == "branch":
            layers.append(Residual(nn.Conv2d(width, width, 3, padding=1)))
        else:
            layers.append(Cat(nn.Conv2d(width, 3, 1), nn.Conv2d(width, 2, 3, padding=1)))
            width = 5
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(width * 4, 5)]
    return nn.Sequential(*layers), (channels, size, size)


class Residual(nn.Module):
    def __init__(self, branch: nn.Module):
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.branch(x))


class Cat(nn.Module):
    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random_networks())
def test_random_networks_cost_what_the_flop_counter_says(drawn: tuple[nn.Module, tuple[int, int, int]]) -> None:
    net, size = drawn
    try:
        real = net.eval()(torch.zeros(1, *size))
    except RuntimeError:
        with pytest.raises((InputTooSmall, CannotTrace)):
            convatlas.analyze(net, input_size=size)
        return
    report = convatlas.analyze(net, input_size=size)
    assert capture(net, input_size=size).recorded is None
    assert report.rows[-1].output_shape == tuple(real.shape)
    assert report.totals["params"] == sum(p.numel() for p in net.parameters())
    assert report.totals["macs"] == flop_counter_macs(net, size)


# ---- anybody's network ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224", "resnet18", "efficientnet_b0"])
def test_a_timm_network_costs_what_the_flop_counter_says(name: str) -> None:
    timm = pytest.importorskip("timm")
    report = convatlas.analyze(f"timm:{name}")
    net = timm.create_model(name)
    assert report.totals["params"] == sum(p.numel() for p in net.parameters())
    attention = "scaled_dot_product" if name.startswith("vit") else ""
    assert not attention or any(attention in row.op for row in report.rows)
    if not attention:  # on tensors without data, torch's counter sees attention taken apart
        assert report.totals["macs"] == flop_counter_macs(net, (3, 224, 224))


class Branches(nn.Module):
    """Cannot be traced symbolically: it looks at the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.large(x) if x.shape[-1] > 100 else self.small(x)


def test_what_does_not_trace_is_recorded_at_the_size_that_was_asked_for() -> None:
    net = Branches()
    large, small = convatlas.analyze(net), convatlas.analyze(net, input_size=50, batch=2)
    assert large.rows[1].output_shape == (1, 8, 222, 222)
    assert small.rows[1].output_shape == (2, 4, 48, 48)
    assert small.totals["params"] == sum(p.numel() for p in net.parameters())
    assert small.totals["macs"] == 2 * 4 * 48 * 48 * 27


def test_what_reads_its_values_cannot_be_captured_and_says_why() -> None:
    class Values(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float(x.sum().item())

    with pytest.raises(CannotTrace, match="Values"):
        convatlas.analyze(Values())


def test_an_unknown_operation_makes_the_total_a_bound() -> None:
    @torch.library.custom_op("convatlas_test::mystery", mutates_args=())
    def mystery(x: Tensor) -> Tensor:
        return x.clone()

    mystery.register_fake(lambda x: torch.empty_like(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return mystery(self.conv(x))

    report = convatlas.analyze(Net(), input_size=10)
    assert [row.name for row in report.rows if row.macs is None] == ["mystery"]
    assert report.status["macs"] == "bound"
    assert report.totals["macs"] == 4 * 8 * 8 * 27


@pytest.mark.parametrize("kind", ["attention", "recurrence"])
def test_products_that_nobody_has_told_are_not_counted_as_none(kind: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 4, 4)
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True) if kind == "attention" else None
            self.recurrence = nn.LSTM(16, 16, batch_first=True) if kind == "recurrence" else None

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.conv(x).flatten(2).transpose(1, 2)
            if self.attention is not None:
                return self.attention(tokens, tokens, tokens, need_weights=False)[0]
            return self.recurrence(tokens)[0]

    report = convatlas.analyze(Net(), input_size=32)
    if kind == "attention":
        assert report.totals["macs"] == 64 * 16 * 48 + 64 * (3 * 16 * 16 + 16 * 16) + 2 * 2 * 64 * 64 * 8
    else:
        assert report.unknown("macs")
        assert report.status["macs"] == "bound"


def test_a_torchvision_network_is_shown_at_the_size_of_its_weights() -> None:
    assert convatlas.analyze("torchvision:inception_v3").input_size == (3, 299, 299)


def test_a_shared_layer_has_its_parameters_once_and_its_macs_twice() -> None:
    shared = nn.Conv2d(4, 4, 3, padding=1)
    totals = convatlas.analyze(nn.Sequential(shared, nn.ReLU(), shared), input_size=(4, 8, 8)).totals
    assert (totals["params"], totals["macs"]) == (148, 2 * 4 * 64 * 36)


def test_capturing_leaves_the_module_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    convatlas.analyze(net, input_size=8)
    assert net.training
    assert net[1].training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert math.isclose(float(net[1].running_var.sum()), 4.0)
