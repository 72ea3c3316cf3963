"""What every network promises, whatever its paper: the same answers by every way of running it.

Each network is built as its paper has it and runs on pictures as small as leave it a last map of 2 x 2, after one batch
of noise has set the running statistics of its norms (without which a thousand residual blocks overflow).
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from conftest import representatives
from torch import Tensor, fx, nn

from convatlas import registry
from convatlas.blocks.attention import SqueezeExcite
from convatlas.blocks.residual import DropPath
from convatlas.errors import ConvatlasError
from convatlas.graph.capture import capture
from convatlas.graph.model import Graph
from convatlas.net import ConvNet

BATCH = 2
EXPORT_ALL = "CONVATLAS_TEST_EXPORT"
"""Environment variable: torch.export takes seconds to minutes a network; set, it runs for all of them."""


@dataclass
class Case:
    """A network that no test may change (``fresh`` gives a copy), its graph, a batch, and what it makes of it."""

    net: ConvNet
    graph: Graph
    pictures: Tensor
    endpoints: dict[str, Tensor]
    logits: Tensor

    def fresh(self, *, training: bool = False) -> ConvNet:
        return copy.deepcopy(self.net).train(training)

    def noise(self, channels: int) -> Tensor:
        return torch.randn(BATCH, channels, *self.pictures.shape[2:], generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def case(network_name: str) -> Case:
    torch.manual_seed(0)
    net = registry.create(network_name)
    graph = capture(net)
    pictures = torch.randn(BATCH, *_small_input(net, graph))
    settle(net, pictures)
    with torch.no_grad():
        return Case(net, graph, pictures, net.endpoints(pictures), net(pictures))


def _small_input(net: ConvNet, graph: Graph) -> tuple[int, int, int]:
    """The least input, in steps of 32 pixels, that leaves a last map of 2 x 2."""
    channels, full, _ = net.input_size
    for side in [*range(32, full, 32), full]:
        try:
            shapes = graph.shapes((channels, side, side))
        except ConvatlasError:
            continue
        if min(stage_shapes(net, graph, shapes)[net.stages[-1]][2:]) >= 2:
            return channels, side, side
    return net.input_size


def stage_shapes(net: ConvNet, graph: Graph, shapes: list[tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Each stage's output: what the last of its nodes gives."""
    return {
        stage: next(
            shape
            for node, shape in zip(reversed(graph.nodes), reversed(shapes))
            if f"{node.name}.".startswith(f"trunk.{stage}.")
        )
        for stage in net.stages
    }


def settle(net: ConvNet, pictures: Tensor) -> None:
    """Running statistics from this very batch; the network is left in evaluation mode."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [m.momentum for m in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        net.train()(pictures)
    for norm, momentum in zip(norms, kept):
        norm.momentum = momentum
    net.eval()


def step(net: ConvNet, pictures: Tensor) -> dict[str, Tensor | None]:
    """Gradients of one training step through every head, each logit with a weight of its own."""
    torch.manual_seed(2)
    logits, aux = net.with_aux(pictures)
    weights = torch.linspace(-1, 2, net.classes)
    sum((head * weights).sum() for head in (logits, *aux.values())).backward()
    return {path: p.grad for path, p in net.named_parameters()}


def off(a: Tensor, b: Tensor) -> float:
    """How far a is from b, in parts of b's size."""
    return ((a - b).double().norm() / b.double().norm()).item()


# ---- answers ----------------------------------------------------------------------------------------------


def test_in_training_and_in_evaluation_the_answer_is_one_logit_per_class(case: Case) -> None:
    with torch.no_grad():
        trained = case.fresh(training=True)(case.pictures)
    for logits in (case.logits, trained):
        assert logits.shape == (BATCH, case.net.classes)
        assert logits.isfinite().all()
        assert logits.std() > 0


def test_endpoints_are_the_stages_and_have_the_traced_shapes(case: Case) -> None:
    assert tuple(case.endpoints) == case.net.stages
    _, *size = case.pictures.shape
    traced = stage_shapes(case.net, case.graph, case.graph.shapes(tuple(size), batch=BATCH))
    assert {stage: tuple(out.shape) for stage, out in case.endpoints.items()} == traced


def test_run_to_stops_at_the_stage(case: Case) -> None:
    net = case.fresh()
    ran: list[str] = []
    for stage in net.stages:
        net.trunk.get_submodule(stage).register_forward_hook(lambda *_, stage=stage: ran.append(stage))
    for number in {0, len(net.stages) // 2, len(net.stages) - 1}:
        ran.clear()
        with torch.no_grad():
            out = net.run_to(case.pictures, net.stages[number])
        assert torch.equal(out, case.endpoints[net.stages[number]])
        assert tuple(ran) == net.stages[: number + 1]


def test_features_are_what_the_classifier_reads(case: Case) -> None:
    read: list[Tensor] = []
    net = case.fresh()
    net.head.classifier.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with torch.no_grad():
        net(case.pictures)
        features = net.features(case.pictures)
    assert torch.equal(features, read[0].mean((2, 3)) if read[0].dim() == 4 else read[0])
    assert len(read) == 1  # features did not run the classifier


# ---- another task -----------------------------------------------------------------------------------------


def test_another_number_of_classes_changes_the_classifiers_alone(case: Case) -> None:
    net = case.fresh()
    if "classes" not in registry.options(net.name):
        with pytest.raises(ConvatlasError, match="fixed number of classes"):
            net.set_classes(7)
        return
    net.set_classes(7)
    assert changed(case.net, net) == {"head.classifier.weight", "head.classifier.bias"}
    with torch.no_grad():
        assert net(case.pictures).shape == (BATCH, 7)


def test_another_number_of_channels_changes_the_first_layer_alone(case: Case) -> None:
    had = case.net.input_size[0]
    for channels in {1, 2, 5, 2 * had} - {had}:
        net = case.fresh().set_channels(channels)
        first = next(path for path, tensor in case.net.state_dict().items() if tensor.dim() == 4)
        assert changed(case.net, net) == {first}
        assert net.input_size == (channels, *case.net.input_size[1:])
        grey = case.noise(1)
        with torch.no_grad():
            before = case.net.run_to(grey.expand(-1, had, -1, -1), net.stages[0])
            after = net.run_to(grey.expand(-1, channels, -1, -1), net.stages[0])
        assert off(after, before) < 1e-5  # equal channels, equal answer: but for the order of a few sums


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    old, new = before.state_dict(), after.state_dict()
    assert list(old) == list(new)
    return {path for path in old if not torch.equal(old[path], new[path])}


def test_the_same_seed_builds_the_same_network_for_another_task(case: Case) -> None:
    task = dict(classes=7, channels=2)
    options = {option: value for option, value in task.items() if option in registry.options(case.net.name)}
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(registry.create(case.net.name, **options))
    assert not changed(*nets)
    with torch.no_grad():
        logits = nets[0].eval()(case.noise(nets[0].input_size[0]))
    assert logits.shape == (BATCH, options.get("classes", case.net.classes))


# ---- learning ---------------------------------------------------------------------------------------------


def test_gradients_reach_every_parameter(case: Case) -> None:
    assert not without_gradient(case.fresh(training=True), case.pictures)


def without_gradient(net: ConvNet, pictures: Tensor) -> list[str]:
    """The parameters that a training step leaves as they are when nothing is dropped.

    Nor switched off: of the two or four units that a narrow gate squeezes to, an untrained one may start with none.
    """
    for module in net.modules():
        if isinstance(module, nn.Dropout | DropPath):
            module.eval()
        elif isinstance(module, SqueezeExcite):
            module.act = nn.LeakyReLU()
    gradients = step(net, pictures)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients.values())
    return [path for path, gradient in gradients.items() if gradient is None or not gradient.any()]


def test_auxiliary_heads_answer_when_asked_and_learn_with_the_rest(case: Case) -> None:
    if "aux" not in registry.options(case.net.name):
        with torch.no_grad():
            logits, aux = case.net.with_aux(case.pictures)
        assert torch.equal(logits, case.logits)
        assert not aux
        return
    torch.manual_seed(0)
    net = registry.create(case.net.name, aux=True).eval()
    pictures = torch.randn(BATCH, *_small_input(net, capture(net, aux=True)))
    with torch.no_grad():
        logits, aux = net.with_aux(pictures)
        assert torch.equal(logits, net(pictures))
    assert tuple(aux) == tuple(net.aux)
    assert set(aux) < set(net.stages)
    assert {head.shape for head in aux.values()} == {logits.shape}
    assert not without_gradient(net.set_classes(7).train(), pictures)
    assert {head.shape for head in net.with_aux(pictures)[1].values()} == {(BATCH, 7)}


def test_checkpointing_changes_neither_gradients_nor_running_statistics(case: Case) -> None:
    plain, thrifty = case.fresh(training=True), case.fresh(training=True)
    thrifty.checkpointing = True
    runs: Counter[str] = Counter()
    for path in thrifty.checkpoints:
        thrifty.get_submodule(path).register_forward_pre_hook(lambda *_, path=path: runs.update([path]))
    pictures = case.noise(case.net.input_size[0])
    expected, gradients = step(plain, pictures), step(thrifty, pictures)
    assert runs == dict.fromkeys(thrifty.checkpoints, 2)  # so it did save memory
    for path, gradient in expected.items():
        assert (gradient is None and gradients[path] is None) or torch.equal(gradients[path], gradient), path
    statistics = {path for path in plain.state_dict() if path.endswith(("running_mean", "running_var", "tracked"))}
    assert changed(case.net, plain) == statistics
    assert not changed(plain, thrifty)


# ---- other ways of running it -----------------------------------------------------------------------------


class Tracer(fx.Tracer):
    """Modules that read shapes at run time stay whole, as in ``capture``."""

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return hasattr(module, "graph_op") or super().is_leaf_module(module, path)


def test_the_traced_network_gives_the_same_answer(case: Case) -> None:
    traced = fx.GraphModule(case.net, Tracer().trace(case.net))
    assert_same_answer(case, traced)


def test_the_exported_network_gives_the_same_answer(case: Case) -> None:
    if case.net.name not in representatives() and not os.environ.get(EXPORT_ALL):
        pytest.skip(f"set {EXPORT_ALL} to export every network")
    exported = torch.export.export(case.net, (case.pictures,)).module()
    assert_same_answer(case, exported)


def assert_same_answer(case: Case, other: Callable[[Tensor], Any]) -> None:
    """To the last bit: the same operations in the same order."""
    with torch.no_grad():
        assert torch.equal(other(case.pictures), case.logits)


def test_channels_last_gives_the_same_answer(case: Case) -> None:
    """In double precision, for depth multiplies rounding: by ten million in 110 plain layers without training."""
    net, pictures = case.fresh().double(), case.pictures.double()
    with torch.no_grad():
        logits = net(pictures)
        net.to(memory_format=torch.channels_last)
        assert off(net(pictures.contiguous(memory_format=torch.channels_last)), logits) < 1e-6
