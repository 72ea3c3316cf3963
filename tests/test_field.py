"""The receptive field: against the support of gradients, and the numbers that others found.

Where every weight is positive and nothing saturates, the pixels on which a unit can depend are those where its gradient
is not zero.  So networks are made linear: see ``positive``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn

from convatlas import registry
from convatlas.blocks.attention import SqueezeExcite
from convatlas.blocks.conv import SamePad2d
from convatlas.cost.boxes import Box, box, pixels
from convatlas.cost.effective import effective_field
from convatlas.cost.field import KERNELS, Field, fields, saturated
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph import atlas
from convatlas.graph.capture import capture
from convatlas.graph.model import Graph
from convatlas.graph.modules import SIMPLE

LAYERS = 8
"""How many layers of a network are compared, spread over its depth."""


class Even(nn.Module):
    """A convolution whose weights are all the same, and add up to 1: computed on the mean of its channels."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv
        taps = math.prod(conv.kernel_size)
        self.weight = torch.full((conv.groups, 1, *conv.kernel_size), 1 / taps, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        conv, groups = self.conv, self.conv.groups
        if x.stride(1) == 0:  # one map behind all channels, as this very module gives it
            x, groups = x[:, :1], 1
        x = x.unflatten(1, (groups, -1)).mean(2)
        x = F.conv2d(x, self.weight[:groups], None, conv.stride, conv.padding, conv.dilation, groups)
        return x.unsqueeze(2).expand(-1, -1, conv.out_channels // groups, -1, -1).flatten(1, 2)


def positive(net: nn.Module, *, gates: bool) -> nn.Module:
    """The network with positive weights: its norms and activations the identity, its max pools averages.

    gates: keep the gates, with a sigmoid, that passes something of everything; else they are left out, too.
    """
    kinds = (*SIMPLE, nn.LocalResponseNorm, nn.modules.dropout._DropoutNd)
    for path, module in list(net.named_modules()):
        new: nn.Module | None = None
        if isinstance(module, nn.Conv2d):
            new = Even(module)
        elif isinstance(module, nn.MaxPool2d):
            new = nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
        elif isinstance(module, SqueezeExcite):
            new = None if gates else nn.Identity()
        elif isinstance(module, kinds) or (hasattr(module, "graph_op") and not isinstance(module, SamePad2d)):
            gate = path.endswith("gate.gate") and gates
            new = nn.Sigmoid() if gate else nn.Identity()
        parent, _, leaf = path.rpartition(".")
        if new is not None and not isinstance(net.get_submodule(parent), nn.Identity):
            setattr(net.get_submodule(parent), leaf, new)
    return net.eval().requires_grad_(False)


def supports(
    run: Callable[[Tensor], object], modules: dict[str, nn.Module], size: tuple[int, ...], units: dict[str, list]
) -> Iterator[tuple[str, int, np.ndarray]]:
    """For each named layer and each of its units, its number and where the gradient of its channels' sum is not 0.

    The units of one layer are as many as those of any other: each has a picture of its own in the batch.
    """
    count = len(next(iter(units.values())))
    outputs: dict[str, Tensor] = {}
    handles = [
        modules[path].register_forward_hook(lambda m, _, out, path=path: void(outputs.setdefault(path, out)))
        for path in units
    ]
    picture = torch.ones(count, *size, dtype=torch.float64, requires_grad=True)
    run(picture)
    for handle in handles:
        handle.remove()
    for path, places in units.items():
        total = sum(outputs[path][k, :, row, column].sum() for k, (row, column) in enumerate(places))
        (gradient,) = torch.autograd.grad(total, picture, retain_graph=True)
        assert gradient.isfinite().all()
        for k, support in enumerate(gradient.sum(1).ne(0).numpy()):
            yield path, k, support


def void(_: object) -> None:
    """A forward hook that answers replaces the output."""


def hull(support: np.ndarray) -> Box:
    return tuple((int(a.min()), int(a.max()) + 1) if len(a) else (0, 0) for a in support.nonzero())


def layers(graph: Graph, modules: dict[str, nn.Module], shapes: list, count: int = LAYERS) -> list[int]:
    """Places of layers of the trunk to compare: those with a kernel and the stages' last ones, thinned out evenly."""
    maps = [
        place
        for place, node in enumerate(graph.nodes)
        if node.name in modules and node.name.startswith("trunk.") and len(shapes[place]) == 4
    ]
    stage = [graph.nodes[place].name.split(".")[1] for place in maps]
    last = {place for place, this, following in zip(maps, stage, [*stage[1:], ""]) if this != following}
    windows = {
        place for place in maps if graph.nodes[place].op in KERNELS and max(graph.nodes[place].attrs["kernel"]) > 1
    }
    chosen = sorted(windows | last)
    step = max(1, math.ceil(len(chosen) / count))
    return chosen[::-step][::-1]


@functools.lru_cache(maxsize=2)
def case(name: str, gates: bool) -> tuple[nn.Module, dict[str, nn.Module]]:
    net = positive(registry.create(name, initialise=False), gates=gates)
    return net, dict(net.named_modules())


def compare(name: str, *, gates: bool) -> None:
    net, modules = case(name, gates)
    graph = atlas.load(name)
    shapes = graph.shapes()
    places = {graph.nodes[place].name: place for place in layers(graph, modules, shapes)}
    units = {}
    for path, place in places.items():
        height, width = shapes[place][2:]
        units[path] = [(0, 0), (0, width // 2), (height // 2, width // 2)]
    with torch.enable_grad():
        for path, k, support in supports(net.endpoints, modules, graph.input_size, units):
            claimed = box(graph, shapes, places[path], units[path][k], gates=gates)
            assert claimed == hull(support), f"{path}, unit {units[path][k]}"


def test_a_box_is_where_the_gradient_of_the_unit_is_not_zero(network_name: str) -> None:
    compare(network_name, gates=False)


def test_behind_a_global_pool_or_a_gate_a_unit_depends_on_the_whole_picture(network_name: str) -> None:
    graph = atlas.load(network_name)
    shapes = graph.shapes()
    known = fields(graph, shapes)
    height, width = graph.input_size[1:]
    whole = [place for place, field in enumerate(known) if field and field.whole]
    assert whole
    for place in {*whole[:: len(whole) // 10 + 1], whole[-1]}:
        centre = [n // 2 for n in shapes[place][2:]]
        (top, bottom), (left, right) = box(graph, shapes, place, centre, gates=True)
        assert (top, left) == (0, 0)
        assert height - 8 < bottom <= height, "strided windows that do not fit leave out a strip"
        assert width - 8 < right <= width
    if any(field and field.whole and field.moves for field in known):
        compare(network_name, gates=True)


def test_the_size_of_a_field_is_that_of_a_unit_far_from_the_edges(network_name: str) -> None:
    """Measured on a picture so large that nothing of the field is cut off, for the last layer that allows it."""
    net, modules = case(network_name, False)
    graph = atlas.load(network_name)
    channels, height, _ = graph.input_size
    limit = 1024 if height > 64 else 256
    known = fields(graph, graph.shapes())
    place = max(place for place in layers(graph, modules, graph.shapes(), 1000) if max(known[place].size) < limit)
    for side in range(32, 4 * limit, 32):  # a multiple of 32, or not all of a network's branches fit together
        if side < max(known[place].size):
            continue
        shapes = graph.shapes((channels, side, side))
        field = fields(graph, shapes)[place]
        unit = shapes[place][2] // 2
        starts = [o + unit * j for o, j in zip(field.offset, field.jump)]
        ends = [start + size for start, size in zip(starts, field.size)]
        if min(starts) >= 0 and max(ends) <= side:
            break
    assert field.status == "exact"
    units = {graph.nodes[place].name: [(unit, unit)]}
    ((_, _, support),) = supports(net.endpoints, modules, (channels, side, side), units)
    assert hull(support) == tuple(zip(starts, ends))


# ---- what others found ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("alexnet", "trunk.conv5.pool", 195),
        ("vgg16", "trunk.block5.pool", 212),
        ("resnet18", "trunk.stage4.1.act", 435),
        ("resnet50", "trunk.stage4.2.act", 483),
        ("resnet50_v1_5", "trunk.stage4.2.act", 427),
        ("mobilenet_v2_x1_0", "trunk.stage9.act", 491),
        ("efficientnet_b0", "trunk.stage9.act", 851),
        ("googlenet_slim", "trunk.inception5b.gate", 379),
    ],
)
def test_a_known_receptive_field(name: str, layer: str, size: int) -> None:
    """VGG-16, ResNet with its stride in the 1x1, and AlexNet: Araujo, Norris and Sim 2019, Table 1."""
    assert of(atlas.load(name), layer).size == (size, size)


def of(graph: Graph, layer: str) -> Field:
    known = fields(graph, graph.shapes())
    field = known[[node.name for node in graph.nodes].index(layer)]
    assert field
    return field


def test_three_stacked_3x3_see_what_one_7x7_sees() -> None:
    three = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)])
    one = nn.Conv2d(1, 1, 7, padding=3)
    assert last_field(three) == last_field(nn.Sequential(one)) == Field((7, 7), (1, 1), (-3, -3))


def last_field(net: nn.Module, size: tuple[int, int, int] = (1, 32, 32)) -> Field | None:
    graph = capture(net, input_size=size)
    return fields(graph, graph.shapes())[-1]


def test_a_gate_makes_the_field_whole_and_leaves_the_local_path() -> None:
    graph = atlas.load("efficientnet_b0")
    before, gate = (of(graph, f"trunk.stage2.0.branch.{name}") for name in ("depthwise.act", "gate.mul"))
    assert not before.whole
    assert gate == before._replace(whole=True)


def test_behind_the_global_pool_every_unit_sees_the_one_window() -> None:
    graph = atlas.load("vgg16")
    last, flat, logits = (of(graph, name) for name in ("trunk.block5.pool", "head.flatten", "head.classifier"))
    assert not last.whole
    assert flat == logits == Field((212 + 6 * 32,) * 2, (0, 0), last.offset, whole=True)
    assert box(graph, graph.shapes(), len(graph.nodes) - 1, ()) == ((0, 224), (0, 224))


def test_a_norm_over_the_map_makes_the_field_whole() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3, padding=1)).double()
    graph = capture(net, input_size=(2, 9, 9))
    shapes = graph.shapes()
    assert fields(graph, shapes)[-1] == Field((5, 5), (1, 1), (-2, -2), whole=True)
    assert box(graph, shapes, 3, (4, 4)) == ((2, 7), (2, 7))
    picture = torch.randn(1, 2, 9, 9, dtype=torch.float64, requires_grad=True)
    net(picture)[0, :, 4, 4].sum().backward()
    assert box(graph, shapes, 3, (4, 4), gates=True) == hull(picture.grad[0].sum(0).ne(0).numpy()) == ((0, 9), (0, 9))


def test_a_map_stretched_over_another_is_a_bound() -> None:
    class Stretched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.map = nn.Conv2d(1, 1, 8), nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.map(x) + self.one(x)

    graph = capture(Stretched(), input_size=(1, 8, 8))
    shapes = graph.shapes()
    field = fields(graph, shapes)[-1]
    assert field
    assert (field.whole, field.status) == (False, "bound")
    assert box(graph, shapes, 3, (7, 0)) == ((0, 8), (0, 8))


def test_what_follows_an_unknown_operation_is_not_known() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.after(torch.softmax(self.before(x), -1))

    graph = capture(Rows(), input_size=(1, 8, 8))
    shapes = graph.shapes()
    assert [field is not None for field in fields(graph, shapes)] == [True, True, False, False]
    assert box(graph, shapes, 3, (0, 0)) is None
    with pytest.raises(ConvatlasError, match="no unit"):
        box(graph, shapes, 1, (6, 0))


class Computed(nn.Module):
    """A convolution with weights that the forward pass computes, from its parameters or from the picture."""

    def __init__(self, dynamic: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1, 3, 3))
        self.dynamic = dynamic

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - (x if self.dynamic else self.weight).mean(), padding=1)


def test_weights_see_nothing_of_the_picture_unless_they_are_made_of_it() -> None:
    assert last_field(Computed(dynamic=False)) == Field((3, 3), (1, 1), (-1, -1))
    assert last_field(Computed(dynamic=True)) is None


def test_a_unit_that_sees_only_padding_has_an_empty_box() -> None:
    graph = capture(nn.Sequential(nn.Conv2d(1, 1, 1, padding=1)), input_size=(1, 5, 5))
    shapes = graph.shapes()
    assert box(graph, shapes, 1, (0, 3)) == ((0, 0), (0, 0))
    assert box(graph, shapes, 1, (1, 3)) == ((0, 1), (2, 3))


# ---- layers that add nothing ------------------------------------------------------------------------------


def test_a_layer_is_saturated_where_its_input_has_seen_the_whole_picture() -> None:
    graph = atlas.load("resnet18")
    found = {}
    for side in (32, 64, 224, 1024):
        shapes = graph.shapes((3, side, side))
        found[side] = saturated(graph, shapes, fields(graph, shapes))
        for place, node in enumerate(graph.nodes):
            if node.op in KERNELS and max(node.attrs["kernel"]) > 1:
                centre = [n // 2 for n in shapes[node.inputs[0]][2:]]
                seen = box(graph, shapes, node.inputs[0], centre)
                assert (place in found[side]) == (seen == ((0, side), (0, side))), (side, node.name)
    # The stem and its pool see 11 pixels, and each 3x3 of the first stage 8 more: 35 behind the third.
    assert graph.nodes[found[32][0]].name == "trunk.stage1.1.conv2.conv"
    assert graph.nodes[found[224][0]].name == "trunk.stage4.1.conv1.conv"
    assert {*found[32]} > {*found[64]} > {*found[224]} > {*found[1024]} == set()


def test_the_centre_unit_is_the_one_behind_the_middle() -> None:
    """Of two units that see 2 of 4 pixels each it is the second; one 3x3 later it sees all 4, and more."""
    net = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1))
    graph = capture(net, input_size=(1, 4, 4))
    shapes = graph.shapes()
    assert saturated(graph, shapes, fields(graph, shapes)) == [3]


# ---- random networks --------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, *branch: nn.Module):
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Cat(nn.Module):
    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Gate(nn.Module):
    """Squeeze-and-excitation as many write it: by a mean, on vectors.  (0, from padding, times a gate would stay 0.)"""

    def __init__(self, channels: int):
        super().__init__()
        self.dense = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return (1 + x) * torch.sigmoid(self.dense(x.mean((2, 3)))).unsqueeze(-1).unsqueeze(-1)


class Crop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 1:, :-1:2]


class Rows(nn.Module):
    """A mean over each row meets the map."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean(3, keepdim=True)


EVEN = ["conv", "conv", "conv", "pool", "residual", "cat", "pad", "crop"]
UNEVEN = [*EVEN, "transposed", "adaptive", "up", "u", "reflect", "replicate", "rows", "gate"]


@st.composite
def stacks(draw: st.DrawFn, kinds: list[str], side: tuple[int, int]) -> tuple[nn.Module, tuple[int, int, int]]:
    """A random stack of layers that each fit on what is left, with positive weights, and its input size."""
    size = (1, draw(st.integers(*side)), draw(st.integers(*side)))
    x = torch.ones(1, *size, dtype=torch.float64)
    layers: list[nn.Module] = []

    def some(most: int, least: int = 1) -> tuple[int, int]:
        return draw(st.integers(least, most)), draw(st.integers(least, most))

    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)):
        width, height = x.shape[1], tuple(x.shape[2:])
        kernel = some(3)
        if kind == "conv":
            layer: nn.Module = nn.Conv2d(width, 2, kernel, some(3), some(2, 0), some(2))
        elif kind == "pool":
            half = (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2)))
            layer = nn.AvgPool2d(kernel, some(3), half, ceil_mode=draw(st.booleans()))
        elif kind == "residual":
            layer = Residual(nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, (1, 5), padding="same"))
        elif kind == "cat":
            step, wide = draw(st.integers(1, 2)), draw(st.integers(0, 2))
            layer = Cat(
                nn.Conv2d(width, 1, 1, step), nn.AvgPool2d(3, step, 1), nn.Conv2d(width, 1, 2 * wide + 1, step, wide)
            )
        elif kind == "pad":
            layer = nn.ZeroPad2d(tuple(draw(st.integers(-1, 2)) for _ in range(4)))
        elif kind == "crop":
            layer = Crop()
        elif kind == "transposed":
            layer = nn.ConvTranspose2d(width, 2, kernel, some(2), some(1, 0), 0, dilation=some(2))
        elif kind == "adaptive":
            layer = nn.AdaptiveAvgPool2d(some(6))
        elif kind == "up":
            layer = nn.Upsample(size=tuple(n + draw(st.integers(0, 3)) for n in height))
        elif kind == "u":
            layer = Residual(nn.AvgPool2d(2), nn.Conv2d(width, width, 3, padding=1), nn.Upsample(size=height))
        elif kind in ("reflect", "replicate"):
            layer = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}[kind](1)
        else:
            layer = Rows() if kind == "rows" else Gate(width)
        layer.double().requires_grad_(False)
        for weight in layer.parameters():
            nn.init.constant_(weight, 1 / math.prod(weight.shape[1:]))
        try:
            out = layer(x)
        except RuntimeError:  # it does not fit on what is left
            continue
        if 0 < out.shape[2] * out.shape[3] <= 200:
            x = out
            layers.append(layer)
    return nn.Sequential(*layers), size


def known_graph(net: nn.Module, size: tuple[int, int, int]) -> Graph:
    """The network's graph, with how it upsamples."""
    graph = capture(net, input_size=size)
    assert graph.recorded is None
    nodes = [replace(n, attrs={"mode": "nearest", **n.attrs}) if n.op == "upsample" else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks(UNEVEN, (4, 14)), st.booleans())
def test_in_random_networks_every_unit_sees_the_pixels_that_its_gradient_says(
    drawn: tuple[nn.Module, tuple[int, int, int]], gates: bool
) -> None:
    net, size = drawn
    graph = known_graph(net, size)
    if not gates:
        net = nn.Sequential(*[nn.Identity() if isinstance(layer, Gate) else layer for layer in net])
    shapes = graph.shapes()
    place = len(graph.nodes) - 1
    field = fields(graph, shapes)[place]
    assert field
    units = list(np.ndindex(*shapes[place][2:]))
    for _, k, support in supports(net, {"": net}, size, {"": units}):
        seen = pixels(graph, shapes, place, units[k], gates=gates)
        assert np.array_equal(seen, support), units[k]
        if support.any() and not gates:
            for axis, (low, high) in enumerate(hull(support)):
                start = field.offset[axis] + units[k][axis] * field.jump[axis]
                mirrored = any(node.attrs.get("mode") in ("reflect", "replicate") for node in graph.nodes)
                assert mirrored or (start <= low + 1e-9 and high <= start + field.size[axis] + 1e-9), units[k]


@settings(max_examples=100, deadline=None)
@given(stacks(EVEN, (8, 14)))
def test_in_random_networks_an_exact_field_is_the_box_of_a_unit_far_from_the_edges(
    drawn: tuple[nn.Module, tuple[int, int, int]],
) -> None:
    net, _ = drawn
    graph = capture(net, input_size=(1, 400, 410))
    shapes = graph.shapes()
    field = fields(graph, shapes)[-1]
    assert field
    assert field.status == "exact"
    unit = [n // 2 for n in shapes[-1][2:]]
    starts = [o + i * j for o, i, j in zip(field.offset, unit, field.jump)]
    assert box(graph, shapes, len(shapes) - 1, unit) == tuple((a, a + s) for a, s in zip(starts, field.size))


# ---- what really reaches ----------------------------------------------------------------------------------


def test_the_effective_field_of_one_average_is_all_of_it_and_of_many_a_part() -> None:
    """A window of equal weights counts whole; stacked ones add up to nearly a Gaussian, whose tails do not count."""
    one = effective_field(nn.Sequential(nn.AvgPool2d(7, 1)), "0", input_size=(1, 31, 31), samples=1)
    assert one.size == 7
    assert one.status == "estimate"
    assert np.count_nonzero(one.map) == 49
    many = effective_field(nn.Sequential(*[nn.AvgPool2d(3, 1, 1) for _ in range(10)]), "9", input_size=(1, 41, 41))
    assert np.count_nonzero(many.map) == 21 * 21
    # Each axis has the variance of ten uniform thirds, 20/3: exp(-r^2 / (2 * 20/3)) falls to 1 - 0.9545 at r = 6.4.
    assert many.size == pytest.approx(math.sqrt(math.pi) * math.sqrt(-2 * 20 / 3 * math.log(1 - 0.9545)), rel=0.05)


def test_the_effective_field_lies_in_the_box_of_the_unit() -> None:
    torch.manual_seed(0)
    net = registry.create("resnet20_cifar")
    found = effective_field(net, "trunk.stage2.0.conv1.conv", samples=2)
    graph = atlas.load("resnet20_cifar")
    place = [node.name for node in graph.nodes].index("trunk.stage2.0.conv1.conv")
    (top, bottom), (left, right) = box(graph, graph.shapes(), place, found.unit)
    assert found.map[top:bottom, left:right].sum() == found.map.sum() > 0
    assert 0 < found.size <= bottom - top


def test_measuring_leaves_the_module_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Conv2d(4, 2, 3))
    net[1].eval()
    net[4].requires_grad_(False)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    random = torch.random.get_rng_state()
    first, again = (effective_field(net, "1", input_size=12, samples=3, seed=5) for _ in range(2))
    assert np.array_equal(first.map, again.map)
    assert not np.array_equal(first.map, effective_field(net, "2", input_size=12, samples=3, seed=6).map)
    assert [m.training for m in net] == [True, False, True, True, True]
    assert [p.requires_grad for p in net[4].parameters()] == [False, False]
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(not m._forward_hooks for m in net.modules())


def test_without_a_layer_the_last_map_is_measured() -> None:
    net = registry.create("lenet_caffe")
    assert effective_field(net, samples=1).layer == "head.pool"
    with pytest.raises(UnknownName, match=r"did you mean 'head\.pool'"):
        effective_field(net, "head.pol")
    with pytest.raises(ConvatlasError, match="gives no map"):
        effective_field(net, "head.flatten")
    with pytest.raises(ConvatlasError, match="does not run on a picture"):
        effective_field(net, "head.pool", input_size=(2, 28, 28))


def test_what_was_written_over_is_what_its_old_name_reads() -> None:
    class Added(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 5, padding=2), nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            y.add_(self.b(x))
            return self.c(y)

    class Part(Added):
        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            y[:, :, 2:] += self.b(x)[:, :, 2:]
            return self.c(y)

    graph = capture(Added(), input_size=(1, 12, 12))
    seen = fields(graph, graph.shapes())[-1]
    assert seen is not None
    assert seen.size == (5, 5)
    graph = capture(Part(), input_size=(1, 12, 12))
    assert fields(graph, graph.shapes())[-1] is None
