"""What a training step costs: backward multiply-adds, saved bytes and the peak, against torch while it trains."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

import convatlas
from convatlas import registry
from convatlas.cost import largest_batch
from convatlas.cost.memory import OPTIMIZERS
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph import atlas
from convatlas.graph.capture import capture
from convatlas.train.watermark import Watermark

# ---- backward ---------------------------------------------------------------------------------------------


class BruteForce(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts a grouped convolution's gradients one group at a time, each by counting its products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.forward = self.backward = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            x, weight, groups = args[0], args[1], args[8]
            self.forward += groups * self._one_group(x.shape, weight.shape, out.shape, groups)
        elif func is torch.ops.aten.convolution_backward.default:
            grad, x, weight, groups = args[0], args[1], args[2], args[9]
            one = groups * self._one_group(x.shape, weight.shape, grad.shape, groups)
            self.backward += sum(one for wanted in args[10][:2] if wanted)
        elif func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            a, b = args[-2:]
            count = a.shape[0] * a.shape[1] * b.shape[1]
            if func is torch.ops.aten.addmm.default:
                self.forward += count
            else:
                self.backward += count
        return out

    @staticmethod
    def _one_group(x: Any, weight: Any, out: Any, groups: int) -> int:
        own = [out[0], out[1] // groups, *out[2:]]
        kernels = [weight[0] // groups, *weight[1:]]
        return int(conv_flop_count([x[0], x[1] // groups, *x[2:]], kernels, own)) // 2


def meta_step(name: str, counter: Any, batch: int = 2) -> None:
    net = registry.create(name, initialise=False).to("meta").train()
    picture = torch.empty(batch, *net.input_size, device="meta")
    with counter:
        net(picture).sum().backward()


def test_backward_is_what_a_counter_that_knows_groups_counts(network_name: str) -> None:
    counter = BruteForce()
    meta_step(network_name, counter)
    totals = convatlas.analyze(network_name, batch=2).totals
    assert totals["macs"] == counter.forward
    assert totals["macs_backward"] == counter.backward


@pytest.mark.parametrize("name", ["vgg11", "resnet18", "googlenet", "densenet121", "se_resnet50"])
def test_without_groups_backward_is_what_torchs_own_counter_says(name: str) -> None:
    counter = FlopCounterMode(display=False)
    meta_step(name, counter)
    totals = convatlas.analyze(name, batch=2).totals
    assert totals["flops"] + 2 * totals["macs_backward"] == counter.get_total_flops()


def test_torchs_own_counter_loses_the_groups_of_a_depthwise_convolution() -> None:
    """Red when torch mends it; then the brute-force counter above is needed no longer."""
    conv = nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False)
    with FlopCounterMode(display=False) as counter:
        conv(torch.zeros(1, 64, 8, 8, requires_grad=True)).sum().backward()
    assert counter.get_total_flops() > 10 * 3 * 2 * 64 * 64 * 9


# ---- saved for backward -----------------------------------------------------------------------------------


def saved_bytes(net: nn.Module, picture: Tensor) -> int:
    """Unique storages that autograd keeps in a forward pass, parameters and buffers left out."""
    own = {t.untyped_storage()._cdata for t in (*net.parameters(), *net.buffers())}
    found: dict[int, int] = {}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            found[storage._cdata] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        net.train()(picture)
    return sum(found.values())


def test_saved_bytes_are_what_autograd_keeps(network_name: str) -> None:
    net = registry.create(network_name, initialise=False)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.01)
    report = convatlas.analyze(network_name, batch=2)
    real = saved_bytes(net, torch.randn(2, *net.input_size))
    assert report.totals["saved_bytes"] == pytest.approx(real, rel=0.001)
    assert report.status["saved_bytes"] == "exact"
    assert sum(row.saved_bytes or 0 for row in report.rows) == report.totals["saved_bytes"]


class Apply(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def halves(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return torch.cat([a * torch.sigmoid(b), b], 1)


def added(x: Tensor) -> Tensor:
    y = torch.tanh(x)
    y += x
    return y


KINDS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "relu in place": nn.ReLU(inplace=True),
    "relu6 in place": nn.ReLU6(inplace=True),
    "silu in place": nn.SiLU(inplace=True),
    "hardswish": nn.Hardswish(),
    "hardsigmoid": nn.Hardsigmoid(),
    "sigmoid": nn.Sigmoid(),
    "gelu": nn.GELU(),
    "leaky relu in place": nn.LeakyReLU(inplace=True),
    "elu in place": nn.ELU(inplace=True),
    "prelu": nn.PReLU(),
    "softmax": nn.Softmax(1),
    "batch norm": nn.BatchNorm2d(8),
    "group norm": nn.GroupNorm(2, 8),
    "layer norm": nn.LayerNorm([8, 12, 12]),
    "local response norm": nn.LocalResponseNorm(5),
    "dropout": nn.Dropout(0.3),
    "dropout in place": nn.Dropout(0.3, inplace=True),
    "dropout of maps": nn.Dropout2d(0.3),
    "no dropout": nn.Dropout(0.0),
    "max pool": nn.MaxPool2d(3, 2),
    "average pool": nn.AvgPool2d(2),
    "global pool": nn.AdaptiveAvgPool2d(1),
    "adaptive pool": nn.AdaptiveAvgPool2d(5),
    "zero padding": nn.ZeroPad2d(2),
    "reflection": nn.ReflectionPad2d(2),
    "same, odd": nn.Conv2d(8, 8, 4, padding="same"),
    "shuffle": nn.ChannelShuffle(4),
    "halves": Apply(halves),
    "a slice": Apply(lambda x: x[:, 2:6] * 2.0),
    "a square": Apply(lambda x: x * x),
    "added in place": Apply(added),
    "flattened after a permutation": Apply(lambda x: torch.tanh(x.permute(0, 2, 3, 1).flatten(1))),
    "a mean": Apply(lambda x: x * x.mean((2, 3), keepdim=True)),
    "upsampled": nn.Upsample(scale_factor=2),
    "transposed": nn.ConvTranspose2d(8, 4, 3, 2),
    "a reciprocal": Apply(lambda x: 1 / (x + 3.0)),
    "over a number": Apply(lambda x: (x + 3.0) / 2.0),
    "all dropped": nn.Dropout(1.0),
    "layer norm without weights": nn.LayerNorm([8, 12, 12], elementwise_affine=False),
    "an old name of what was written over": Apply(lambda x: (torch.tanh(x).relu_(), x)[1] * 2.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_kind_of_operation_keeps(kind: str) -> None:
    """Between two convolutions, of which the second keeps its own input too."""
    module = KINDS[kind]
    with torch.no_grad():
        shape = module(torch.zeros(2, 8, 12, 12)).shape
    last: nn.Module = nn.Conv2d(shape[1], 3, 1) if len(shape) == 4 else nn.Linear(shape[1], 3)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), module, last)
    report = convatlas.analyze(net, input_size=14, batch=2)
    real = saved_bytes(net, torch.randn(2, 3, 14, 14))
    assert abs(report.totals["saved_bytes"] - real) <= 16  # a number or two that torch keeps as a tensor


def test_frozen_layers_keep_and_count_nothing() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)
    )
    net[:2].requires_grad_(False)
    net[5].requires_grad_(False)
    report = convatlas.analyze(net, input_size=16, batch=2, training="adam")
    assert report.totals["saved_bytes"] == saved_bytes(net, torch.randn(2, 3, 16, 16))
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert report.totals["params"] == trained
    assert report.totals["gradient_bytes"] == 4 * trained
    assert report.totals["parameter_bytes"] == sum(p.nbytes for p in net.parameters())
    counter = BruteForce()
    with counter:
        net(torch.randn(2, 3, 16, 16)).sum().backward()
    assert report.totals["macs_backward"] == counter.backward


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.tanh(x)[:, :, 1:].flatten(1),
        lambda x: torch.tanh(x).chunk(2, 2)[0].flatten(1),
        lambda x: torch.tanh(x.permute(0, 2, 3, 1)).flatten(1),
    ],
)
def test_a_view_or_a_copy_is_not_called_exact(function: Callable[[Tensor], Tensor]) -> None:
    report = convatlas.analyze(nn.Sequential(nn.Conv2d(3, 8, 3), Apply(function)), input_size=14)
    assert report.status["saved_bytes"] == "estimate"


def test_what_the_answer_does_not_depend_on_gets_no_gradient() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.dead = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            y = self.body(x)
            self.dead(y)
            return self.head(y)

    net, counter = Net(), BruteForce()
    with counter:
        net(torch.randn(2, 3, 16, 16)).sum().backward()
    assert convatlas.analyze(net, input_size=16, batch=2).totals["macs_backward"] == counter.backward


class Thrice(nn.Module):
    def __init__(self, shared: bool):
        super().__init__()
        self.first, self.prelu = nn.Conv2d(3, 64, 1), nn.PReLU()
        self.conv = nn.Conv2d(64, 64, 3, padding=1)
        self.shared, self.head = shared, nn.Linear(64, 5)
        delattr(self, "prelu" if shared else "conv")

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.conv(self.conv(self.conv(x))) if self.shared else self.prelu(x)
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("shared", [True, False])
def test_the_peak_with_a_shared_weight_and_with_a_large_gradient_of_a_small_one(shared: bool) -> None:
    net = Thrice(shared)
    real = tracked_peak(net, torch.randn(4, 3, 32, 32), torch.optim.SGD(net.parameters(), 1e-3))
    peak = convatlas.analyze(net, input_size=32, batch=4, training="sgd").totals["peak_training_bytes"]
    assert peak == pytest.approx(real, rel=0.03)


def test_a_graph_that_was_analysed_is_freed() -> None:
    graph = capture(registry.create("lenet5_modern"))
    convatlas.analyze(graph, training="adam")
    gone: list[int] = []
    weakref.finalize(graph.cache["costs"], gone.append, 1)
    del graph
    gc.collect()
    assert gone == [1]


def test_axes_of_length_one_may_move_without_a_copy() -> None:
    net = nn.Sequential(nn.Linear(8, 6), Apply(lambda x: torch.softmax(x, -1).unsqueeze(-1).permute(0, 1, 2, 4, 3)),
                        Apply(lambda y: torch.sigmoid(y.reshape(1, -1)) * y.reshape(1, -1)))  # fmt: skip
    report = convatlas.analyze(net, input_size=(3, 5, 8))
    assert report.totals["saved_bytes"] == saved_bytes(net, torch.randn(1, 3, 5, 8))


# ---- the peak ---------------------------------------------------------------------------------------------

TORCH_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 1e-3),
    "momentum": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, 1e-3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-5),
    "rmsprop_momentum": lambda p: torch.optim.RMSprop(p, 1e-5, momentum=0.9),
}


def tracked_peak(net: nn.Module, picture: Tensor, optimizer: torch.optim.Optimizer) -> int:
    """The most bytes of all tensors in the second of two training steps, as torch's MemTracker sees them."""
    target = torch.zeros(len(picture), dtype=torch.long)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(net.train()(picture), target).backward()
        optimizer.step()

    step()
    optimizer.zero_grad()
    tracker = MemTracker()
    tracker.track_external(net, optimizer, picture, target)
    with tracker:
        step()
        tracker.reset_mod_stats()
        step()
    return int(tracker.get_tracker_snapshot("peak")[picture.device]["Total"])


@pytest.mark.parametrize(
    ("name", "batch", "side", "optimizer"),
    [
        ("vgg11", 2, 64, "momentum"),
        ("resnet18", 4, 112, "adam"),
        ("resnet50", 4, 112, "sgd"),
        ("googlenet", 4, 112, "rmsprop"),
        ("densenet121", 2, 128, "momentum"),
        ("mobilenet_v2_x1_0", 4, 128, "rmsprop_momentum"),
        ("efficientnet_b0", 4, 128, "rmsprop"),
        ("shufflenet_v2_x1_0", 4, 128, "momentum"),
        ("squeezenet1_1", 8, 128, "adam"),
        ("alexnet", 4, 227, "momentum"),
    ],
)
def test_the_peak_is_what_torchs_tracker_sees(name: str, batch: int, side: int, optimizer: str) -> None:
    net = registry.create(name)
    real = tracked_peak(net, torch.randn(batch, 3, side, side), TORCH_OPTIMIZERS[optimizer](net.parameters()))
    report = convatlas.analyze(name, batch=batch, input_size=side, training=optimizer)
    assert report.totals["peak_training_bytes"] == pytest.approx(real, rel=0.005)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "efficientnet_b0"])
def test_the_peak_with_activation_checkpointing(name: str) -> None:
    net = registry.create(name)
    net.checkpointing = True
    real = tracked_peak(net, torch.randn(4, 3, 128, 128), TORCH_OPTIMIZERS["momentum"](net.parameters()))
    options: dict[str, Any] = dict(batch=4, input_size=128, training="momentum")
    report = convatlas.analyze(name, checkpointing=True, **options)
    assert report.totals["peak_training_bytes"] == pytest.approx(real, rel=0.01)
    assert report.totals["peak_training_bytes"] < convatlas.analyze(name, **options).totals["peak_training_bytes"]


@pytest.mark.parametrize("name", ["vgg11", "resnet50", "googlenet", "densenet121", "efficientnet_lite0", "nin"])
def test_the_peak_where_only_the_classifier_is_trained(name: str) -> None:
    net = registry.create(name)
    net.trunk.requires_grad_(False)
    picture, target = torch.randn(4, 3, 128, 128), torch.zeros(4, dtype=torch.long)
    with Watermark([*net.parameters(), *net.buffers(), picture, target]) as watermark:  # the tracker needs gradients
        F.cross_entropy(net.train()(picture), target).backward()
    report = convatlas.analyze(net, batch=4, input_size=128, training="sgd")
    assert report.totals["peak_training_bytes"] == pytest.approx(watermark.most, rel=0.001)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_optimizers_state_is_what_it_holds_after_a_step(optimizer: str) -> None:
    net = registry.create("lenet5_modern")
    made = TORCH_OPTIMIZERS[optimizer](net.parameters())
    net(torch.zeros(2, *net.input_size)).sum().backward()
    made.step()
    held = [t for state in made.state.values() for t in state.values() if isinstance(t, Tensor)]
    report = convatlas.analyze("lenet5_modern", training=optimizer)
    assert report.totals["optimizer_bytes"] == sum(t.nbytes for t in held)
    assert report.totals["gradient_bytes"] == sum(p.grad.nbytes for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["resnet18", "lenet5", "mobilenet_v3_small_x1_0"])
def test_parameters_and_buffers_take_what_torch_gives_them(name: str) -> None:
    net = registry.create(name, initialise=False)
    totals = convatlas.analyze(name).totals
    assert totals["parameter_bytes"] == sum(p.nbytes for p in net.parameters())
    assert totals["buffer_bytes"] == sum(b.nbytes for b in net.buffers())


def test_half_the_dtype_takes_half_the_bytes() -> None:
    single, half = (convatlas.analyze("resnet50", dtype=dtype, training="adam") for dtype in ("float32", "bfloat16"))
    assert 2 * half.totals["activation_bytes"] == single.totals["activation_bytes"]
    assert 2 * half.totals["parameter_bytes"] == single.totals["parameter_bytes"]
    assert half.status["saved_bytes"] == "estimate"


def test_the_largest_batch_fits_and_the_next_does_not() -> None:
    memory = 3 * 2**30
    batch = largest_batch("resnet50", memory, training="adam")

    def peak(batch: int) -> int:
        return convatlas.analyze("resnet50", batch=batch, training="adam").totals["peak_training_bytes"]

    assert peak(batch) <= memory < peak(batch + 1)
    assert largest_batch("resnet50", memory, training="adam", checkpointing=True) > batch
    assert largest_batch("vgg16", 1e9, training="adam") == 0


# ---- forward ----------------------------------------------------------------------------------------------


def test_vgg16_is_the_lectures_table_row_for_row() -> None:
    """The slide's values and its parameters without biases; its own total, 24 M values, is not their sum."""
    slide = [
        (150_528, 0), (3_211_264, 1_728), (3_211_264, 36_864), (802_816, 0), (1_605_632, 73_728), (1_605_632, 147_456),
        (401_408, 0), (802_816, 294_912), (802_816, 589_824), (802_816, 589_824), (200_704, 0), (401_408, 1_179_648),
        (401_408, 2_359_296), (401_408, 2_359_296), (100_352, 0), (100_352, 2_359_296), (100_352, 2_359_296),
        (100_352, 2_359_296), (25_088, 0), (4_096, 102_760_448), (4_096, 16_777_216), (1_000, 4_096_000),
    ]  # fmt: skip
    report = convatlas.analyze("vgg16")
    rows = [row for row in report.rows if row.activation_bytes]
    biases = [row.output_shape[1] if row.params else 0 for row in rows]
    assert [(r.activation_bytes // 4, r.params - b) for r, b in zip(rows, biases)] == slide
    assert report.totals["activation_bytes"] == 4 * 15_237_608 == 60_950_432


def test_every_operation_counts_as_the_conventions_say() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    )
    rows = {row.op: row for row in convatlas.analyze(net, input_size=8, batch=2).rows}
    assert {op: row.macs_all for op, row in rows.items()} == {
        "input": 0,
        "conv2d": 2 * 4 * 36 * 27 + 2 * 4 * 36,
        "batch_norm": 2 * 4 * 36,
        "relu": 2 * 4 * 36,
        "max_pool2d": 2 * 4 * 9 * 4,
        "flatten": 0,
        "linear": 2 * 5 * 36 + 2 * 5,
    }
    conv = rows["conv2d"]
    assert conv.traffic_bytes == 4 * (2 * 3 * 64 + 112 + 2 * 4 * 36)
    assert conv.intensity is not None
    assert math.isclose(conv.intensity, 2 * 2 * 4 * 36 * 27 / conv.traffic_bytes)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (dict(dtype="float23"), UnknownName, "did you mean 'float32'"),
        (dict(training="adma"), UnknownName, "did you mean 'adam'"),
        (dict(batch=0), ConvatlasError, "at least 1 picture"),
    ],
)
def test_what_does_not_exist_is_refused(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        convatlas.analyze("resnet18", **options)


def test_a_layer_is_found_by_its_path_or_the_end_of_it() -> None:
    graph = atlas.load("resnet18")
    assert graph.nodes[graph.place("stage4")].name == "trunk.stage4.1.act"
    assert graph.place("trunk.stage4.1.act") == graph.place("stage4.1.act") == graph.place("stage4")
    with pytest.raises(ConvatlasError, match="several layers 'conv1'"):
        graph.place("conv1")
    with pytest.raises(UnknownName, match="did you mean 'stage4'"):
        graph.place("stage5")


def test_what_has_no_rule_is_named_and_makes_the_total_a_bound() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sort(self.conv(x), dim=1)[0]

    report = convatlas.analyze(Sorted(), input_size=10, training="sgd")
    (row,) = [row for row in report.rows if row.op == "sort"]
    assert row.saved_bytes is None
    assert row.status["saved_bytes"] == "unavailable"
    assert row.receptive_field is None
    assert report.unknown("saved_bytes") == [row.name]
    assert report.status["saved_bytes"] == report.status["peak_training_bytes"] == "bound"
