"""Feature visualization finds what is planted, the same each time, and leaves the network as it was."""

from __future__ import annotations

import dataclasses
import io
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import convatlas
from convatlas.cli import main
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.fold import folded
from convatlas.visualize import objectives
from convatlas.visualize.canvas import CANVASES, Fourier, colours_of, imagenets_colours
from convatlas.visualize.fullsheet import drawn, sheet
from convatlas.visualize.objectives import Objective
from convatlas.visualize.optimize import NotFinite, Visualization, visualize
from convatlas.visualize.photograph import dream, invert
from convatlas.visualize.robust import ROBUST, Robust
from convatlas.visualize.sheets import image, tensor
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import Taps
from convatlas.weights import Preprocess

AS_IT_IS = Preprocess(mean=(0, 0, 0), std=(1, 1, 1))
SIDE = 32


def gabor(side: int, waves: float, angle: float) -> Tensor:
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    along = x * math.cos(angle) + y * math.sin(angle)
    return (-(x**2 + y**2) * 3).exp() * (math.pi * waves * along).cos()


def planted() -> dict[str, Tensor]:
    """Pictures (3, SIDE, SIDE) in (0, 1)."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    blob = (-((x - 0.3) ** 2 + (y + 0.2) ** 2) * 8).exp()
    fixed = F.interpolate(torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(3)), SIDE, mode="bicubic")[0]
    return {
        "gabor": 0.5 + 0.35 * gabor(SIDE, 4, 0.6).expand(3, -1, -1),
        "blob": 0.5 + torch.tensor([0.4, -0.3, 0.1])[:, None, None] * blob,
        "fixed": 0.2 + 0.6 * fixed.clamp(0, 1),
    }


class Likes(nn.Module):
    """One unit: w · x - |x|² / 2, which is largest where the picture is w."""

    input_size = (3, SIDE, SIDE)

    def __init__(self, wanted: Tensor):
        super().__init__()
        self.match = nn.Conv2d(3, 1, SIDE, bias=False)
        self.match.weight.data = wanted[None].clone()
        self.unit = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(self.match(x) - x.square().sum((1, 2, 3), keepdim=True) / 2)


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.mark.parametrize("canvas", CANVASES)
@pytest.mark.parametrize("pattern", ["gabor", "blob", "fixed"])
def test_what_is_planted_is_found(pattern: str, canvas: str) -> None:
    wanted = planted()[pattern]
    made = visualize(Likes(wanted), objectives.neuron("unit", 0), canvas=canvas, robust="none", steps=200,
                     preprocess=AS_IT_IS)  # fmt: skip
    assert correlation(made.pictures[0], wanted) > 0.95


def test_a_texture_is_found_at_its_frequency_while_the_picture_moves() -> None:
    kernel = gabor(11, 2.5, 0.0)
    net = nn.Sequential(nn.Conv2d(3, 1, 11), nn.ReLU())
    net[0].weight.data = (kernel - kernel.mean()).expand(1, 3, -1, -1).clone()
    made = visualize(net, objectives.channel("1", 0), size=64, steps=100, preprocess=AS_IT_IS)
    power = torch.fft.rfft2(made.pictures[0].mean(0)).abs().square()
    # 2.5 waves over 11 pixels: one is 4 pixels long, 16 of them on 64.  Beside the same upright.
    assert power[:3, 13:19].mean() > 10 * power[13:19, :3].mean()


def small() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 6, 3),
        nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    )  # fmt: skip
    for module in net:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    return net


def test_the_same_seed_gives_the_same_picture_and_another_another() -> None:
    a, b, c = (visualize(small(), objectives.channel("3", 2), size=24, steps=20, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(a.pictures, b.pictures)
    assert not torch.equal(a.pictures, c.pictures)


def test_the_network_and_chance_stay_as_they_were() -> None:
    net = small().train()
    net[0].requires_grad_(False)
    before = {key: t.clone() for key, t in net.state_dict().items()}
    trained = [p.requires_grad for p in net.parameters()]
    chance = torch.get_rng_state(), random.getstate()
    visualize(net, objectives.channel("5", 1), size=24, steps=3)
    assert all(torch.equal(before[key], t) for key, t in net.state_dict().items())
    assert trained == [p.requires_grad for p in net.parameters()]
    assert all(p.grad is None for p in net.parameters())
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(chance[0], torch.get_rng_state())
    assert chance[1] == random.getstate()


def test_a_network_that_draws_by_itself_gives_the_same_picture_for_a_seed_and_leaves_chance_alone() -> None:
    from convatlas.visualize import activations

    class Restless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = small()[0]

        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(self.conv(x), 0.5, training=True)

    torch.manual_seed(5)
    net, chance = Restless(), torch.get_rng_state()
    a, b, c = (visualize(net, objectives.channel("", 2), size=24, steps=5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(chance, torch.get_rng_state())
    assert torch.equal(a.pictures, b.pictures)
    assert a.values == b.values != c.values
    maps = [activations(net, torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0)), "") for _ in range(2)]
    assert torch.equal(maps[0].values, maps[1].values)
    assert torch.equal(chance, torch.get_rng_state())


def test_folding_changes_no_answer_and_spares_what_is_asked_for() -> None:
    net, x = small().eval(), torch.randn(2, 3, 16, 16)
    whole, spared = folded(net), folded(net, keep=["0"])
    assert torch.allclose(net(x), whole(x), atol=1e-5)
    assert torch.allclose(net(x), spared(x), atol=1e-5)
    assert [type(m) for m in whole].count(nn.BatchNorm2d) == 0
    assert torch.equal(net[0](x), spared[0](x))
    assert isinstance(spared[1], nn.BatchNorm2d)


def test_a_layer_that_ends_in_a_convolution_is_not_folded_into() -> None:
    net, x = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)).eval(), torch.randn(1, 3, 8, 8)
    nn.init.uniform_(net[1].running_mean)
    assert torch.equal(folded(net, keep=["0"])[0](x), net[0](x))
    assert torch.allclose(folded(net)(x), net(x), atol=1e-6)


def test_a_convolution_with_two_names_is_not_folded() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.convs = nn.ModuleList([self.conv])
            nn.init.uniform_(self.norm.running_mean)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.convs[0](x))

    net, x = Twice().eval(), torch.randn(1, 3, 8, 8)
    assert torch.allclose(folded(net)(x), net(x), atol=1e-6)


def test_only_the_rectifier_that_a_layer_ends_in_loses_its_limit() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.last = nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.act(self.conv(x)))

    net, x = Shared().eval(), 50 * torch.randn(1, 3, 8, 8)
    assert torch.allclose(folded(net, uncap=[""])(x), net(x), atol=1e-4)
    assert float(folded(net, uncap=["act"]).act(torch.tensor(9.0))) == 9


@pytest.mark.parametrize("path", ["0", "1", "0.0"])
def test_what_a_hook_sees_or_changes_is_not_folded(path: str) -> None:
    conv = nn.Sequential(nn.Conv2d(3, 4, 3)) if path == "0.0" else nn.Conv2d(3, 4, 3)
    net, x = nn.Sequential(conv, nn.BatchNorm2d(4), nn.ReLU()).eval(), torch.randn(1, 3, 8, 8)
    nn.init.uniform_(net[1].running_mean)
    net.get_submodule(path).register_forward_hook(lambda module, given, out: out.abs())
    assert torch.allclose(folded(net)(x), net(x), atol=1e-6)
    before = nn.Sequential(conv, nn.BatchNorm2d(4))
    before[1].register_forward_pre_hook(lambda module, given: given[0] * 2)
    assert torch.allclose(folded(before.eval())(x), before(x), atol=1e-6)


def normed() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    nn.init.uniform_(net[1].weight, 0.2, 0.4)
    return net.eval()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["old spectral norm", "pruned", "old weight norm", "weight norm"])
def test_a_reparametrised_convolution_is_drawn_as_it_is_or_refused_with_a_remedy(kind: str) -> None:
    from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

    net, x = normed(), torch.randn(1, 3, 16, 16)
    if kind == "pruned":
        prune.l1_unstructured(net[0], "weight", 0.5)
    else:
        {"old spectral norm": spectral_norm, "old weight norm": weight_norm,
         "weight norm": parametrizations.weight_norm}[kind](net[0])  # fmt: skip
    channel = objectives.channel("2", 1)
    if kind in ("pruned", "old weight norm"):
        with pytest.raises(
            ConvatlasError, match=r"cannot be copied .* take that off first, as by prune.remove"
        ) as caught:
            visualize(net, channel, size=16, steps=2)
        assert "\n" not in str(caught.value)
    else:
        assert visualize(net, channel, size=16, steps=2).steps == 2
    net.requires_grad_(False)
    with torch.no_grad():
        net(x)  # after this its weights can be copied
        assert torch.allclose(folded(net)(x), net(x), atol=1e-5)


def kinds_of(net: nn.Module) -> list[type]:
    return [type(module) for module in net.modules()]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_does_not_say_its_size_is_folded_at_the_one_it_reads(channels: int, monkeypatch: Any) -> None:
    from convatlas.visualize import optimize

    made: list[nn.Module] = []
    monkeypatch.setattr(optimize, "folded", lambda *a, **k: made.append(folded(*a, **k)) or made[-1])
    net = nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.Flatten(), nn.Linear(4 * 30 * 30, 3)
    )
    visualize(net, objectives.channel("2", 0), size=32, steps=2)
    assert not {nn.BatchNorm2d, nn.ReLU6} & {*kinds_of(made[0])}
    net.input_size = (channels, 32, 32)
    visualize(net, objectives.channel("2", 0), size=24, steps=2)
    assert not {nn.BatchNorm2d, nn.ReLU6} & {*kinds_of(made[1])}


def test_a_network_of_one_size_that_does_not_say_so_is_drawn_at_that_size() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 32 * 32, 10))
    made = visualize(net, objectives.logit(3), size=32, steps=3)
    assert made.pictures.shape == (1, 3, 32, 32)
    assert worth(objectives.logit(3), net, Shown(net)(made.pictures)) == pytest.approx(made.values[0])
    with pytest.raises(ConvatlasError, match="does not run"):
        visualize(net, objectives.logit(3), size=40, steps=3)


@pytest.mark.parametrize("limit", [nn.ReLU6(), nn.ReLU6(inplace=True), nn.Hardtanh(0, 6)])
@pytest.mark.parametrize("path", ["", "1"])
def test_every_last_rectifier_with_a_limit_loses_it_and_is_else_as_it_was(limit: nn.Module, path: str) -> None:
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), limit), 50 * torch.randn(1, 3, 8, 8)
    without = folded(net, uncap=[path])
    assert torch.equal(without(x), net[0](x).relu())
    assert type(without[1]) is nn.ReLU
    assert without[1].inplace == limit.inplace
    assert type(net[1]) is type(limit)


def test_a_limit_that_is_no_rectifiers_stays() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardtanh())
    assert type(folded(net, uncap=["1"])[1]) is nn.Hardtanh


def test_all_layers_of_an_objective_lose_their_limits() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 4, 3), nn.ReLU6())
    for conv in (net[0], net[2]):
        conv.weight.data.abs_().mul_(20)
    both = objectives.channel("1", 1) + objectives.channel("3", 1)
    options: dict[str, Any] = dict(size=16, steps=30, preprocess=AS_IT_IS)
    on, until = (visualize(net, both, uncapped=uncapped, **options) for uncapped in (True, False))
    before = [worth(objectives.channel("0", 1), net, made.pictures) for made in (on, until)]
    assert before[0] > 1.05 * before[1]


def test_a_rectifier_after_a_function_that_keeps_its_output_can_lose_its_limit() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.ReLU6())
    assert visualize(net, objectives.channel("2", 1), size=16, steps=2).steps == 2


def test_an_early_layer_of_a_network_of_one_size_is_drawn_at_the_size_asked_for() -> None:
    sizes: list[int] = []

    class Fixed(nn.Module):
        input_size = (3, 48, 48)

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4 * 46 * 46, 2)

        def forward(self, x: Tensor) -> Tensor:
            if isinstance(x, Tensor):  # and not what a tracer gives
                sizes.append(x.shape[-1])
            return self.last(self.conv(x).flatten(1))

    visualize(Fixed(), objectives.channel("conv", 0), size=16, steps=3, robust="none")
    assert sizes.count(16) > 3
    sizes.clear()
    visualize(Fixed(), objectives.logit(1), size=16, steps=3, robust="none")
    assert sizes.count(48) > 3


def test_a_silent_picture_leaves_its_companions_gradient_alone() -> None:
    torch.manual_seed(0)

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)
            self.a.bias.data.fill_(-100)
            self.last.weight.data.abs_()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.a(x).relu() + self.b(x).relu()).relu()

    net = Branches()
    net.last.bias.data = torch.tensor([0.0, -100.0])
    options: dict[str, Any] = dict(size=16, steps=4, robust="none", preprocess=AS_IT_IS, begin=torch.rand(2, 3, 16, 16))
    both = visualize(net, objectives.channel("", [0, 1]), count=2, **options)
    without = visualize(net, objectives.channel("", [0, 1]), count=2, waking=0, **options)
    assert torch.equal(both.pictures[0], without.pictures[0])
    assert not torch.equal(both.pictures[1], without.pictures[1])


def test_a_convolution_that_two_read_is_not_folded() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            nn.init.uniform_(self.norm.running_mean)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return y + self.norm(y)

    net, x = Two().eval(), torch.randn(1, 3, 8, 8)
    assert torch.allclose(net(x), folded(net)(x), atol=1e-6)


def test_a_module_with_two_names_is_found_by_both() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)
            self.act1 = self.act2 = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act2(self.conv(x))

    net, x = Named(), torch.rand(1, 3, 8, 8)
    assert worth(objectives.channel("act2", 1), net, x) == worth(objectives.channel("act1", 1), net, x)
    assert visualize(net, objectives.channel("act2", 1), size=8, steps=2).steps == 2


# ---- objectives -------------------------------------------------------------------------------------------


def worth(objective: Objective, net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return objective.value({**Taps(net.eval(), objective.layers, x)(x), objectives.PICTURE: x})


def test_each_objective_is_what_its_name_says() -> None:
    net, x = small().eval(), torch.rand(3, 3, 15, 15)
    with torch.no_grad():
        maps, logits = net[:4](x), net(x)
    assert torch.allclose(worth(objectives.neuron("3", 2, (4, 7)), net, x), maps[:, 2, 4, 7])
    assert torch.allclose(worth(objectives.neuron("3", 2), net, x), maps[:, 2, 11 // 2, 11 // 2])
    assert torch.allclose(worth(objectives.channel("3", [0, 5, 1]), net, x),
                          torch.stack([maps[0, 0], maps[1, 5], maps[2, 1]]).mean((1, 2)))  # fmt: skip
    assert torch.allclose(worth(objectives.layer("3"), net, x), (maps**2).mean((1, 2, 3)))
    assert torch.allclose(worth(objectives.logit(4), net, x), logits[:, 4])
    assert torch.allclose(worth(objectives.probability(4), net, x), logits.softmax(1)[:, 4])
    vector = torch.randn(6)
    expected = torch.einsum("nchw,c->nhw", maps, vector)
    cosine = expected / (maps.norm(dim=1) * vector.norm())
    assert torch.allclose(worth(objectives.direction("3", vector, 2), net, x),
                          (expected * cosine.clamp(min=0.1) ** 2).mean((1, 2)), atol=1e-5)  # fmt: skip
    assert worth(objectives.inversion("3", maps[:1]), net, x)[0] == 0
    both = 2 * objectives.channel("3", 1) - objectives.total_variation()
    variation = x.diff(dim=2).abs().mean((1, 2, 3)) + x.diff(dim=3).abs().mean((1, 2, 3))
    assert torch.allclose(worth(both, net, x), 2 * maps[:, 1].mean((1, 2)) - variation)


def test_diversity_makes_pictures_differ() -> None:
    net, texture = small(), objectives.channel("3", 1)
    alike = visualize(net, texture, count=3, size=24, steps=60)
    apart = visualize(net, texture + 5 * objectives.diversity("3"), count=3, size=24, steps=60)
    each = objectives.diversity("3")
    shown = [Shown(net)(made.pictures) for made in (alike, apart)]
    assert worth(each, net, shown[1]).mean() > worth(each, net, shown[0]).mean()


# ---- silent and dead units --------------------------------------------------------------------------------


def silent(bias: float) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    net[0].weight.data.abs_()
    net[0].bias.data = torch.tensor([bias, 0.5])
    return net


def test_a_unit_that_is_silent_at_first_is_woken() -> None:
    net = silent(0)
    net[0].bias.data[0] = -0.6 * float(net[0].weight[0].detach().sum())
    with torch.no_grad():
        assert not net(torch.full((1, 3, 16, 16), 0.5))[:, 0].any()
    options = dict(size=16, steps=60, robust="none", preprocess=AS_IT_IS)
    woken = visualize(net, objectives.channel("1", 0), **options)
    assert woken.values[0] > 0
    assert not woken.dead[0]
    assert visualize(net, objectives.channel("1", 0), waking=0, **options).dead[0]


def test_a_dead_unit_is_labelled_and_not_drawn() -> None:
    made = visualize(silent(-1e6), objectives.channel("1", [0, 1]), count=2, size=32, steps=40, preprocess=AS_IT_IS)
    assert made.dead == (True, False)
    colours = made.images[0].getcolors()
    assert colours is not None
    assert max(colours)[1] == (244, 244, 242)


def test_a_layer_that_saturates_does_not_end_the_picture() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6())
    net[0].weight.data.abs_().mul_(20)
    options: dict[str, Any] = dict(size=16, steps=60, preprocess=AS_IT_IS)
    on, until = (visualize(net, objectives.channel("2", 1), uncapped=uncapped, **options) for uncapped in (True, False))
    assert on.values[0] == pytest.approx(6)
    before = [worth(objectives.channel("1", 1), net, made.pictures) for made in (on, until)]
    assert before[0] > 1.05 * before[1]
    assert type(net[2]) is nn.ReLU6


# ---- stopping ---------------------------------------------------------------------------------------------


def test_an_interruption_keeps_what_there_is() -> None:
    def watch(done: int, values: list[float], pictures: Tensor) -> None:
        assert pictures.shape == (1, 3, 24, 24)
        if done == 32:
            raise KeyboardInterrupt

    made = visualize(small(), objectives.channel("3", 2), size=24, steps=200, watch=watch)
    assert made.steps == 32
    assert torch.isfinite(made.pictures).all()


def test_an_interruption_keeps_the_best_until_then() -> None:
    """An objective that turns against itself after 20 steps: the picture is the one before, not the last."""
    count, pictures_at = 0, {}

    def value(seen: dict[str, Tensor]) -> Tensor:
        nonlocal count
        count += 1
        return seen["3"].mean((1, 2, 3)) * (1 if count <= 20 else -1)

    def watch(done: int, values: list[float], pictures: Tensor) -> None:
        pictures_at[done] = pictures
        if done == 96:
            raise KeyboardInterrupt

    options: dict[str, Any] = dict(size=24, waking=0, robust="none", preprocess=AS_IT_IS)
    made = visualize(small(), Objective(("3",), value, "it"), steps=200, watch=watch, **options)
    plain = Objective(("3",), lambda seen: seen["3"].mean((1, 2, 3)), "it")
    kept, last = worth(plain, small(), made.pictures), worth(plain, small(), pictures_at[96])
    assert made.interrupted
    assert kept > worth(plain, small(), pictures_at[16]) > last


def test_a_value_that_is_not_finite_stops_with_the_last_good_picture() -> None:
    net = small()
    count = 0

    def value(seen: dict[str, Tensor]) -> Tensor:
        nonlocal count
        count += 1
        return seen["3"].mean((1, 2, 3)) * (math.nan if count == 5 else 1)

    with pytest.raises(NotFinite, match="in step 5") as caught:
        visualize(net, Objective(("3",), value, "it"), size=24, steps=20, waking=0)
    good: Visualization = caught.value.good
    assert good.steps == 4
    three = Objective(("3",), lambda s: s["3"].mean((1, 2, 3)), "it")
    assert torch.equal(good.pictures, visualize(net, three, size=24, steps=3, waking=0).pictures)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (objectives.channel("3", 6), "channels 0 to 5"),
        (objectives.channel("33", 0), "unknown layer"),
        (objectives.neuron("8", 0), "needs a map"),
        (objectives.neuron("3", 0, (99, 0)), "no place 99, 0"),
        (objectives.logit(5), "0 to 4"),
        (objectives.diversity("3"), "at least 2"),
        (objectives.direction("3", torch.ones(4)), "has 6 channels"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(objective: Objective, message: str) -> None:
    with pytest.raises(ConvatlasError, match=message) as caught:
        visualize(small(), objective, size=24, steps=2)
    assert "\n" not in str(caught.value)


def test_options_that_do_not_exist_are_named() -> None:
    for option in ({"canvas": "paper"}, {"robust": "lucids"}):
        with pytest.raises(UnknownName):
            visualize(small(), objectives.channel("3", 0), **option)
    with pytest.raises(ConvatlasError, match="does not run on a picture"):
        visualize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(7, 2)), objectives.channel("1", 0), steps=1)


# ---- canvas and robustness --------------------------------------------------------------------------------


@pytest.mark.parametrize("canvas", CANVASES)
def test_a_canvas_can_begin_with_a_picture(canvas: str) -> None:
    picture = 0.1 + 0.8 * torch.rand(2, 3, 17, 20)
    made = CANVASES[canvas](2, 3, (17, 20), imagenets_colours(), torch.Generator())
    made.fill(picture)
    assert torch.allclose(made(), picture, atol=1e-4)


def test_the_waves_fall_off_with_their_frequency() -> None:
    made = Fourier(200, 1, (32, 32), torch.eye(1), torch.Generator().manual_seed(0))
    power = torch.fft.rfft2(made.uncorrelated().detach(), norm="ortho").abs().square().mean((0, 1))
    assert float(power[0, 4] / power[0, 8]) == pytest.approx(4, rel=0.3)


def test_imagenets_colours_are_the_published_ones() -> None:
    expected = torch.tensor([[0.562829, 0.194825, 0.043295], [0.584476, 0, -0.108236], [0.584476, -0.194825, 0.064942]])
    assert torch.allclose(imagenets_colours(), expected, atol=1e-5)


def test_ones_own_colours_have_ones_pictures_covariance() -> None:
    mixing = torch.tensor([[0.5, 0.1, 0.0], [0.4, -0.2, 0.1], [0.45, 0.0, -0.15]])
    pixels = torch.einsum(
        "dc,nchw->ndhw", mixing, torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    )
    found, wanted = colours_of([pixels]), mixing @ mixing.T
    assert torch.allclose(found @ found.T, wanted / wanted.trace() * (found @ found.T).trace(), atol=0.02)
    assert float(found.norm(dim=0).max()) == pytest.approx(1)


@pytest.mark.parametrize("name", ROBUST)
def test_robustness_moves_and_keeps_the_range(name: str) -> None:
    x = torch.rand(2, 3, 128, 128)
    made = ROBUST[name](x, random.Random(1))
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    if name == "distill":
        large = torch.rand(1, 3, 224, 224)
        assert made.shape == x.shape
        assert all(ROBUST[name](large, random.Random(seed)).shape == large.shape for seed in range(8))
    if name == "none":
        assert torch.equal(made, x)


def test_the_presets_are_the_published_ones() -> None:
    lucid, distill = ROBUST["lucid"], ROBUST["distill"]
    assert (lucid.pad, lucid.jitter, lucid.last_jitter, lucid.crop) == (12, 8, 4, False)
    assert lucid.scales == pytest.approx([0.9, 0.92, 0.94, 0.96, 0.98, 1, 1.02, 1.04, 1.06, 1.08, 1.1])
    assert sorted(lucid.angles) == sorted([*range(-10, 11), 0, 0, 0, 0, 0])
    assert (distill.pad, distill.jitter, distill.last_jitter, distill.crop) == (16, 16, 8, True)
    assert distill.scales == (1, 0.975, 1.025, 0.95, 1.05)
    assert distill.angles == (-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5)
    assert ROBUST["none"] == Robust()
    assert float(Robust(pad=3)(torch.ones(1, 1, 8, 8), random.Random(0))[0, 0, 0, 0]) == 0.5


def test_small_pictures_are_moved_by_amounts_in_proportion() -> None:
    assert ROBUST["lucid"].at(96) == ROBUST["lucid"]
    half = ROBUST["distill"].at(48)
    assert (half.pad, half.jitter, half.last_jitter, half.crop) == (8, 8, 4, True)


def test_a_turn_by_a_right_angle_is_a_turn() -> None:
    from convatlas.visualize.robust import _turned

    x = torch.rand(1, 1, 9, 9)
    turned, _ = _turned(x, 1, math.radians(90))
    assert torch.allclose(turned, x.rot90(1, (2, 3)), atol=1e-4)
    wide = torch.full((1, 1, 21, 31), 0.5)
    wide[0, 0, 10, 15 + 6] = 1  # 6 pixels to the right of the middle
    turned, _ = _turned(wide, 1, math.radians(90))
    assert divmod(int(turned.argmax()), 31) == (10 - 6, 15)
    assert float(turned.max()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("seed", range(6))
def test_where_a_point_of_the_picture_went_is_known(name: str, seed: int) -> None:
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(140.0), indexing="ij")
    blob = 0.5 + 0.5 * (-((y - 30) ** 2 + (x - 100) ** 2) / 18).exp()
    moved, where = ROBUST[name].followed(blob[None, None], random.Random(seed))
    height, width = moved.shape[2:]
    right, down, one = (where @ torch.tensor([100.5 / 70 - 1, 30.5 / 45 - 1, 1])).tolist()
    row, column = divmod(int(moved.argmax()), width)
    assert one == 1
    assert (down + 1) / 2 * height - 0.5 == pytest.approx(row, abs=0.8)
    assert (right + 1) / 2 * width - 0.5 == pytest.approx(column, abs=0.8)


@pytest.mark.parametrize("robust", ["lucid", "distill"])
@pytest.mark.parametrize("at", [(0, 0), (31, 31), (6, 25), None])
def test_a_neuron_is_drawn_at_the_place_that_it_names(at: tuple[int, int] | None, robust: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 9, 2, 4, bias=False))
    blob = (-torch.linspace(-2, 2, 9).square()).exp()
    net[0].weight.data = (blob[:, None] * blob - 0.2).expand(1, 3, -1, -1).clone()
    still, moved = (visualize(net, objectives.neuron("0", 0, at), size=64, steps=60, robust=one, preprocess=AS_IT_IS)
                    for one in ("none", robust))  # fmt: skip
    assert moved.values[0] > 0.5 * still.values[0]


def test_a_place_is_looked_for_on_the_map_at_rest() -> None:
    smaller = Robust(jitter=20)  # what the network sees has a map of 22 x 22
    assert visualize(small(), objectives.neuron("3", 1, (27, 27)), size=32, steps=2, robust=smaller).steps == 2
    with pytest.raises(ConvatlasError, match="map of 28 x 28 here: no place 28, 0"):
        visualize(small(), 2 * objectives.neuron("3", 1, (28, 0)), size=32, steps=2, robust=Robust(pad=20))


def test_a_network_of_one_size_sees_the_picture_scaled() -> None:
    seen: list[Tensor] = []

    class Fixed(nn.Module):
        input_size = (3, 32, 32)

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3 * 32 * 32, 2)

        def forward(self, x: Tensor) -> Tensor:
            if isinstance(x, Tensor):  # and not what a tracer gives
                seen.append(x.detach())
            return self.last(x.flatten(1))

    options: dict[str, Any] = dict(
        size=32, steps=1, preprocess=AS_IT_IS, waking=0, begin=torch.full((1, 3, 32, 32), 0.9)
    )
    visualize(Fixed(), objectives.logit(1), robust=Robust(scales=(0.5,)), **options)
    read = next(x for x in seen if x.shape[2] == 32 and float(x[0, 0, 0, 0]) == pytest.approx(0.5))
    assert float(read[0, 0, 16, 16]) == pytest.approx(0.9, abs=0.01)
    assert float(read[0, 0, 16, 2]) == pytest.approx(0.5)


def test_the_waves_are_lucids() -> None:
    made = Fourier(1, 2, (12, 10), torch.eye(2), torch.Generator().manual_seed(0)).requires_grad_(False)
    assert float(made.values.std()) == pytest.approx(0.01, rel=0.1)
    down, across = torch.fft.fftfreq(12), torch.fft.rfftfreq(10)
    scale = 1 / (down[:, None] ** 2 + across**2).sqrt().clamp(min=1 / 12)
    waves = torch.view_as_complex(made.values) * scale * math.sqrt(12 * 10)
    assert torch.allclose(made.uncorrelated(), torch.fft.irfft2(waves, s=(12, 10)) / 4, atol=1e-6)


def test_the_rows_of_a_batch_are_aligned_as_lucid_does() -> None:
    x = torch.rand(6, 3, 8, 8)
    wanted = -sum((x[i] - x[i + d]).square().mean() / 2**d for d in range(1, 5) for i in range(6 - d))
    assert worth(objectives.alignment(), small(), x).sum().item() == pytest.approx(float(wanted), rel=1e-5)


def test_what_would_push_a_silent_unit_further_away_is_not_let_through() -> None:
    from convatlas.visualize.rules import redirect

    gradient = torch.tensor([[1.0, -2, 3, -4], [1, -2, 3, -4]])
    below, above = torch.tensor([[True, True, False, False]] * 2), torch.tensor([[False, False, True, True]] * 2)
    assert redirect(gradient, below, above).tolist() == [[1, 0, 0, -4]] * 2
    above[1, 2:] = False  # the second picture has a gradient of its own
    assert redirect(gradient, below, above).tolist() == [[1, 0, 0, -4], [0, 0, 3, -4]]


# ---- on photographs, sheets, the command line -------------------------------------------------------------


def photograph(side: int = 96) -> Image.Image:
    return image(F.interpolate(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)), side,
                               mode="bicubic")[0])  # fmt: skip


def test_a_dream_climbs_and_has_the_photographs_size() -> None:
    net = small()
    before = worth(objectives.layer("3"), net, tensor(photograph())[None])
    made = dream(net, photograph(), objectives.layer("3"), preprocess=AS_IT_IS)
    assert made.picture.shape == (3, 96, 96)
    assert worth(objectives.layer("3"), net, made.picture[None]) > 2 * before


def test_an_early_layer_still_knows_the_photograph() -> None:
    net = small()
    net.input_size = (3, 32, 32)
    preprocess = Preprocess(crop=32, resize=32)
    made = invert(net, photograph(), "0", steps=300, preprocess=preprocess)
    seen = tensor(preprocess.picture(photograph()))
    assert correlation(made.pictures[0], seen) > 0.95


def test_a_sheet_has_a_row_for_each_stage() -> None:
    net = convatlas.create("lenet5_modern")
    rows = sheet(net, columns=3, steps=2)
    assert [row.layer for row in rows] == list(net.stages)
    page = drawn(rows, "LeNet-5")
    assert page.height > len(rows) * 32


def test_the_command_line_makes_the_same_file_twice(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    for name in ("a.png", "b.png"):
        status = main(["visualize", "channel", "lenet5_modern", "c3", "1,4", "--steps", "20", "--out",
                       str(tmp_path / name)])  # fmt: skip
        assert status == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert main(["visualize", "channel", "lenet5_modern", "c3", "99", "--out", str(tmp_path / "c.png")]) == 2
    assert "channels 0 to 15" in capsys.readouterr().err
    assert main(["visualize", "channel", "lenet5_modern", "c3", "1", "--out", str(tmp_path / "c.txt")]) == 2
    assert "should end in .png" in capsys.readouterr().err


WORDS = {
    "channel": "NET c3 1,4 --steps 2",
    "neuron": "NET c3 1 --at 2,3 --steps 2",
    "layer": "NET c3 --steps 2",
    "logit": "NET 3 --steps 2",
    "probability": "NET 3 --steps 2",
    "sheet": "NET --columns 2 --steps 2",
    "dream": "NET PHOTO --layer c3 --octaves 2 --steps 2",
    "invert": "NET PHOTO --layer c3 --steps 2",
    "filters": "NET",
    "activations": "NET PHOTO c3",
    "journey": "NET PHOTO",
    "attribute": "NET PHOTO",
    "unit": "NET c3 1 --data folder:PHOTOS --steps 2",
}


def test_every_verb_is_tried() -> None:
    from convatlas.cli.visualize import app

    assert set(WORDS) == {name for name in app if not name.startswith("-")}


@pytest.mark.parametrize("verb", WORDS)
def test_every_verb_writes_what_it_says(verb: str, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number in range(4):
        (photos / str(number % 2)).mkdir(parents=True, exist_ok=True)
        photograph(64).rotate(90 * number).save(photos / str(number % 2) / f"{number}.png")
    words = WORDS[verb].replace("PHOTOS", str(photos)).replace("PHOTO", str(photos / "0" / "0.png"))
    ending = "html" if verb in ("journey", "unit") else "png"
    out = tmp_path / f"out.{ending}"
    given = ["visualize", verb, *words.replace("NET", "lenet5_modern --weights none").split(), "--out", str(out)]
    assert main(given) == 0
    if ending == "html":
        assert "</html>" in out.read_text(encoding="utf-8")
    else:
        with Image.open(out) as made:
            assert min(made.size) >= 5
            assert len(made.convert("L").getcolors()) > 10


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupted_picture_is_told_by_the_status(as_json: bool, tmp_path: Path, monkeypatch: Any) -> None:
    from convatlas.visualize import optimize

    whole = optimize.visualize
    monkeypatch.setattr(optimize, "visualize", lambda *a, **k: dataclasses.replace(whole(*a, **k), interrupted=True))
    words = ["visualize", "channel", "lenet5_modern", "c3", "1", "--steps", "2", "--out", str(tmp_path / "a.png")]
    assert main(words + ["--json"] * as_json) == 130


def net_file(folder: Path) -> str:
    """A network of one size, whose third layer sees 13 x 13 pixels, as the command line names it."""
    file = folder / "net.py"
    file.write_text("""
import torch
from torch import nn

def Net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 7, 1, 3), nn.Conv2d(4, 4, 7, 1, 3), nn.Flatten(), nn.Linear(4 * 32 * 32, 2))
    net.input_size = (3, 32, 32)
    return net
""")
    return f"{file}:Net"


def test_a_picture_smaller_than_what_a_unit_sees_is_told_of_before_it_is_made(tmp_path: Path, capsys: Any) -> None:
    net = net_file(tmp_path)
    words = ["visualize", "channel", net, "1", "99", "--steps", "1", "--out", str(tmp_path / "a.png")]
    assert main([*words, "--size", "16x12"]) == 2
    said = capsys.readouterr().err
    assert (
        "a unit of 1 sees 13 x 13 pixels, more than the 16 x 12 of the picture: --size 32 would show all of it" in said
    )
    assert said.index("sees 13 x 13") < said.index("channels 0 to 3")
    assert main([*words, "--size", "16"]) == 2
    assert "sees" not in capsys.readouterr().err
    assert main(["visualize", "channel", "lenet5_modern", "c3", "99", "--size", "8", "--weights", "none"]) == 2
    assert "sees" not in capsys.readouterr().err, "8 pixels become the 32 that it reads"


def test_the_colours_are_those_of_the_pictures_that_are_named(tmp_path: Path, capsys: Any) -> None:
    from convatlas.cli.picturing import colours_from

    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.png").write_bytes(b"none")
    green = torch.full((3, 48, 32), 0.2)
    green[1] = torch.rand(48, 32, generator=torch.Generator().manual_seed(0))
    image(green).save(photos / "green.png")
    net = small()
    net.input_size = (3, 32, 32)
    found = colours_from(f"folder:{photos}", net)
    assert found[1].abs().max() > 0.99
    assert found[[0, 2]].abs().max() < 0.01
    words = ["visualize", "channel", net_file(tmp_path), "1", "0", "--steps", "3", "--size", "16"]
    for name, more in (("own.png", ["--colours", f"folder:{photos}"]), ("usual.png", [])):
        assert main([*words, *more, "--out", str(tmp_path / name)]) == 0
    own, usual = (tensor(Image.open(tmp_path / name)) for name in ("own.png", "usual.png"))
    assert own[1].std() > 10 * own[0].std()
    assert usual[1].std() < 10 * usual[0].std()
    capsys.readouterr()
    assert main([*words, "--colours", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_last_good_picture_is_kept_where_a_value_is_not_finite(tmp_path: Path) -> None:
    from convatlas.cli.picturing import keeping

    good = Visualization("it", torch.rand(2, 3, 16, 16), (), (False, False), 4)
    with pytest.raises(NotFinite, match="in step 5"), keeping(tmp_path / "a.png"):
        raise NotFinite("in step 5", good)
    with Image.open(tmp_path / "a.png") as kept:
        assert kept.size[0] >= 32


def test_on_a_terminal_the_picture_so_far_is_in_its_file(tmp_path: Path, monkeypatch: Any) -> None:
    from rich.console import Console

    from convatlas.cli import output, picturing

    out = tmp_path / "a.png"
    for terminal in (False, True):
        console = Console(file=io.StringIO(), force_terminal=terminal)
        monkeypatch.setattr(output, "console", lambda stderr=False, console=console: console)
        with picturing.watching("it", 20, out) as watch:
            watch(16, [1.0], torch.rand(1, 3, 16, 16))
            assert out.exists() == terminal


@pytest.mark.parametrize("shape", [(3, 32, 48), (1, 24, 16)])
def test_a_network_that_reads_no_square_sees_the_middle_of_its_own_shape(shape: tuple[int, int, int]) -> None:
    from convatlas.visualize import activations

    channels, height, width = shape
    net = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(4 * (height - 2) * (width - 2), 2))
    net.input_size = shape
    made = activations(net, photograph(), "0")
    assert made.values.shape == (4, height - 2, width - 2)
    assert made.picture.size == (width, height)
    assert visualize(net, objectives.logit(1), steps=1).pictures.shape == (1, *shape)


def test_a_network_of_four_channels_is_refused_with_the_way_out() -> None:
    net = nn.Sequential(nn.Conv2d(4, 2, 3))
    with pytest.raises(ConvatlasError, match="reads 4 channels, and pictures have 1 or 3: wrap it") as caught:
        visualize(net, objectives.channel("0", 0), steps=1)
    assert "\n" not in str(caught.value)
    assert visualize(nn.Sequential(nn.Conv2d(3, 4, 1), net), objectives.channel("1", 0), size=8, steps=1).steps == 1


def test_what_timm_says_of_its_weights_is_heeded() -> None:
    net = small()
    net.pretrained_cfg = dict(input_size=(3, 240, 240), mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7), crop_pct=0.882,
                              interpolation="bicubic")  # fmt: skip
    wanted = Preprocess(240, 272, "bicubic", (0.5, 0.4, 0.3), (0.5, 0.6, 0.7))
    assert Shown(net).preprocess == wanted
    assert Shown(net, AS_IT_IS).preprocess == AS_IT_IS
    net.pretrained_cfg |= dict(crop_mode="squash", crop_pct=1.0, interpolation="random")
    assert Shown(net).preprocess == dataclasses.replace(wanted, resize=240, mode="squash", interpolation="bilinear")


def test_objectives_are_summed() -> None:
    net, both = small(), [objectives.layer("0"), objectives.layer("3")]
    x = torch.rand(1, 3, 32, 32)
    assert worth(sum(both), net, x) == pytest.approx(sum(worth(one, net, x) for one in both))
