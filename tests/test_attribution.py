"""Attribution against what is written by hand from the papers, and the cases where a plain gradient would pass for it.

The networks here are small and random; what they answer means nothing, what moves their answers is known exactly.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from convatlas.blocks.attention import SqueezeExcite
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.visualize.attribution import METHODS, Attribution, attribute, class_of, project
from convatlas.visualize.gradients import last_map
from convatlas.visualize.occlusion import windows
from convatlas.visualize.rules import Rectifiers, deconvnet
from convatlas.visualize.taps import OUTPUT
from convatlas.visualize.targets import Aim
from convatlas.weights.labels import Label, imagenet
from convatlas.weights.preprocess import Preprocess

SIDE = 12
PLAIN = Preprocess(crop=SIDE, resize=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
GREY = Preprocess(crop=SIDE, resize=None, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


class Small(nn.Module):
    """Two convolutions, a pool and a classifier; ``act`` is called three times, ``pool`` once."""

    def __init__(self, act, pool=None):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.third, self.classifier = nn.Conv2d(5, 6, 3, padding=1), nn.Linear(6, 7)
        self.act, self.pool = act, pool or nn.MaxPool2d(2)
        for p in self.parameters():
            p.data *= 3

    def forward(self, x):
        x = self.pool(self.act(self.first(x)))
        x = self.act(self.third(self.act(self.second(x))))
        return self.classifier(x.mean((2, 3)))


def small(act=F.relu, pool=None) -> Small:
    return Small(act, pool).eval()


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def plain_gradient(net: nn.Module, x: Tensor, target: int) -> Tensor:
    x = x[None].clone().requires_grad_()
    return torch.autograd.grad(net(x)[0, target], x)[0][0]


def complaint(*args, **options) -> str:
    with pytest.raises(ConvatlasError) as caught:
        attribute(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- deconvnet and guided backpropagation ---------------------------------------------------------------------


def unpooled(net: Small, x: Tensor, unit: int) -> Tensor:
    """Zeiler and Fergus, section 2.1, step by step: unpool by the switches, rectify, filter with transposed kernels."""
    with torch.no_grad():
        pooled, switches = F.max_pool2d(net.first(x).relu(), 2, return_indices=True)
        second = net.second(pooled).relu()
        here = second[:, unit] == second[:, unit].amax()
        kept = torch.zeros_like(second)
        kept[:, unit] = second[:, unit] * here
        back = F.conv_transpose2d(kept.relu(), net.second.weight, padding=1)
        back = F.max_unpool2d(back, switches, 2)
        return F.conv_transpose2d(back.relu(), net.first.weight, padding=1)


@pytest.mark.parametrize("unit", range(5))
def test_deconvnet_is_unpooling_rectifying_and_transposed_filters(unit, picture):
    class Two(Small):
        def forward(self, x):
            return self.last(self.second(self.pool(self.act(self.first(x)))))

    net = Two(nn.ReLU())
    net.last = nn.ReLU()
    nn.init.constant_(net.second.bias, 1.0)
    expected = unpooled(net, picture[None], unit)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(project(net, picture[None], "last", unit), expected)
    made = attribute(net, picture, method="deconvnet", layer="last", unit=unit, preprocess=PLAIN)
    torch.testing.assert_close(made.signal, expected[0])
    assert made.map.equal(expected[0].gather(0, expected[0].abs().argmax(0, keepdim=True))[0])


def test_a_batch_is_projected_picture_by_picture_each_from_its_own_place(picture):
    net = small()
    x = torch.stack([picture, picture.flip(2), picture.square()])
    whole = project(net, x, "second", 0)
    apart = torch.cat([project(net, one[None], "second", 0) for one in x])
    torch.testing.assert_close(whole, apart)
    seen = net.second(net.pool(net.first(x).relu()))[:, 0].flatten(1).argmax(1)
    places = [(int(i) // 6, int(i) % 6) for i in seen]
    assert len({*places}) > 1
    torch.testing.assert_close(project(net, x, "second", 0, at=places), whole)
    assert not torch.allclose(project(net, x, "second", 0, at=(0, 0)), whole)


def test_a_silent_unit_projects_to_nothing_and_is_no_attribution(picture):
    net = small()
    nn.init.constant_(net.second.bias, -9)
    assert not project(net, picture[None], "second", 0).any()
    assert "silent" in complaint(net, picture, method="deconvnet", layer="second", unit=0, preprocess=PLAIN)


class InPlace(Small):
    def forward(self, x):
        x = self.first(x)
        x.relu_()
        x = self.second(F.max_pool2d(x, 2))
        torch.relu_(x)
        return self.classifier(F.relu(self.third(x), inplace=True).mean((2, 3)))


FORMS = {
    "reused module": lambda: small(nn.ReLU()),
    "reused module, in place": lambda: small(nn.ReLU(inplace=True)),
    "F.relu": lambda: small(F.relu),
    "torch.relu": lambda: small(torch.relu),
    "method": lambda: small(lambda x: x.relu()),
    "in place, functional pool": lambda: InPlace(F.relu).eval(),
    "in place on a view": lambda: small(lambda x: x.view(x.shape).relu_()),
    "in place on a slice": lambda: small(lambda x: (x[:, :2].relu_(), x[:, 2:].relu_(), x)[2]),
    "clamp": lambda: small(lambda x: x.clamp(min=0)),
    "clamp_min": lambda: small(lambda x: torch.clamp_min(x, 0)),
    "threshold": lambda: small(nn.Threshold(0, 0)),
    "hardtanh": lambda: small(nn.Hardtanh(0, 1e9)),
    "functional pool": lambda: small(F.relu, lambda x: F.max_pool2d(x, 2)),
    "pool with indices": lambda: small(F.relu, lambda x: F.max_pool2d(x, 2, return_indices=True)[0]),
    "adaptive pool": lambda: small(F.relu, nn.AdaptiveMaxPool2d(6)),
    "channels last": lambda: small(nn.ReLU()).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["guided", "deconvnet"])
def test_every_way_to_call_a_rectifier_gives_the_same(form, method, picture):
    reference = by_hooks(small(nn.ReLU()), picture, method)
    made = attribute(FORMS[form](), picture, method=method, target=2, preprocess=PLAIN)
    torch.testing.assert_close(made.signal, reference)
    assert F.cosine_similarity(made.signal.flatten(), plain_gradient(small(), picture, 2).flatten(), 0) < 0.95


def by_hooks(net: Small, picture: Tensor, method: str) -> Tensor:
    """The same by three rectifiers' hand-written derivatives, from the classifier down."""
    with torch.no_grad():
        first = net.first(picture[None])
        pooled, switches = F.max_pool2d(first.relu(), 2, return_indices=True)
        second = net.second(pooled)
        third = net.third(second.relu())
        logit = net.classifier(third.relu().mean((2, 3)))[0, 2]
        back = net.classifier.weight[2].view(1, -1, 1, 1).expand_as(third) / third[0, 0].numel()
        for x, conv in ((third, net.third), (second, net.second), (first, net.first)):
            back = F.max_unpool2d(back, switches, 2) if x is first else back
            back = back.relu() * ((x > 0) if method == "guided" else 1)
            back = F.conv_transpose2d(back, conv.weight, padding=1)
        return back[0] * (1 if method == "guided" else logit.abs())


def test_deconvnet_starts_with_the_logits_magnitude_and_guided_is_by_the_picture(picture):
    net = small()
    net.classifier.bias.data[2] -= 50
    made = attribute(net, picture, method="deconvnet", target=2, preprocess=PLAIN)
    assert made.score < -40
    torch.testing.assert_close(made.signal, by_hooks(net, picture, "deconvnet"))
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (GREY.mean, GREY.std))
    guided = attribute(net, picture, method="guided", target=2, preprocess=GREY).signal
    torch.testing.assert_close(guided, by_hooks(net, (picture - mean) / std, "guided") / std)


@pytest.mark.parametrize("act", [nn.ReLU6(), F.relu6, lambda x: x.clamp(0, 6), nn.Hardtanh(0, 6)])
def test_guided_backpropagation_stops_where_relu6_is_flat_at_its_upper_end_too(act, picture):
    net = small(act)
    nn.init.constant_(net.first.weight[0], 2.0)
    assert (net.first(picture[None]) > 6).any()
    guided = attribute(net, picture, method="guided", target=2, preprocess=PLAIN).signal
    assert F.cosine_similarity(plain_gradient(net, picture, 2).flatten(), guided.flatten(), 0) < 0.95
    x = picture[None].clone().requires_grad_()

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward((x > 0) & (x < 6))
            return x.clamp(0, 6)

        @staticmethod
        def backward(ctx, gradient):
            return gradient.relu() * ctx.saved_tensors[0]

    same = small(Guided.apply)
    same.load_state_dict(net.state_dict())
    torch.testing.assert_close(guided, torch.autograd.grad(same(x)[0, 2], x)[0][0])


class Named(torch.autograd.Function):
    """Not linear, whatever autograd calls it."""

    @staticmethod
    def forward(ctx, x):
        return x.sigmoid()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


Add = type("Add", (Named,), {})


class Attention(nn.Module):
    def forward(self, x):
        flat = x.flatten(2)
        return (flat @ flat.mT @ flat).view_as(x)


BENT = {
    "SiLU": nn.SiLU(),
    "SiLU ": nn.SiLU(inplace=True),
    "hard swish": nn.Hardswish(),
    "a gate": lambda x: F.relu(x) * F.hardsigmoid(x),
    "GELU": nn.GELU(),
    "leaky ReLU": nn.LeakyReLU(),
    "PReLU": nn.PReLU(),
    "ELU": nn.ELU(),
    "a clamp that is no rectifier": lambda x: x.clamp(-1, 1),
    "a threshold that is no rectifier": nn.Threshold(0.1, 0),
    "a sigmoid": torch.sigmoid,
    "a softmax": lambda x: x.softmax(1),
    "own statistics": nn.BatchNorm2d(1, track_running_stats=False),
    "group norm": lambda x: F.group_norm(x, 1),
    "a product of two": Attention(),
    "a maximum of two": lambda x: torch.maximum(x, torch.zeros(())),
    "a choice": lambda x: torch.where(torch.ones(x.shape, dtype=torch.bool), x, 0.0),
    "comparison": lambda x: x * (x > 0),
    "a mask": lambda x: x.masked_fill(torch.zeros(x.shape, dtype=torch.bool), 0),
    "sigmoid written into a part": lambda x: (x[:, 0].sigmoid_(), x)[1],
    "a ReLU out of reach": torch.ops.aten.relu.default,
    "Add": Add.apply,
    "a division": lambda x: x / (1 + x.abs()),
}


@pytest.mark.parametrize("word", BENT)
@pytest.mark.parametrize("method", ["guided", "deconvnet"])
def test_what_would_give_the_plain_gradient_under_another_name_is_refused_with_the_reason(word, method, picture):
    act = BENT[word]
    if isinstance(act, nn.BatchNorm2d):
        act = nn.Sequential(nn.Flatten(1, 2), nn.Unflatten(1, (1, -1)), act, nn.Flatten(1, 2), nn.Unflatten(1, (4, -1)))
    net = small()
    net.middle = act

    def bent(x: Tensor) -> Tensor:
        return net.classifier(net.third(net.second(net.pool(act(net.first(x))))).mean((2, 3)))

    net.forward = bent
    said = complaint(net, picture, method=method, target=2, preprocess=PLAIN)
    assert word in said
    assert "saliency" in said
    attribute(net, picture, method="saliency", target=2, preprocess=PLAIN)


def without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.sigmoid()


HIDDEN = {
    "data": lambda x: x * (x.data > 0),
    "detach, compared": lambda x: x * (x.detach() > 0).float(),
    "detach, bent": lambda x: x * x.detach().sigmoid(),
    "detached in place": lambda x: x * x.clone().detach_().sigmoid(),
    "torch.detach": lambda x: x * torch.detach(x).sigmoid(),
    "no_grad": lambda x: x * without_gradient(x),
    "the second argument": lambda x: x * torch.lt(torch.zeros(()), x),
    "bool": lambda x: x * x.relu().bool(),
    "written beneath": lambda x: (x.data.mul_(x.data > 0), x)[1],
}

seen: list[Tensor] = []


@pytest.mark.parametrize("form", HIDDEN)
@pytest.mark.parametrize("method", ["guided", "deconvnet"])
def test_a_rectifier_that_autograd_does_not_see_is_refused(form, method, picture):
    net = small(HIDDEN[form])
    assert "its own values" in complaint(net, picture, method=method, target=2, preprocess=PLAIN)
    with pytest.raises(ConvatlasError, match="its own values"):
        project(net, picture[None], "third", 0, rule=method)


@pytest.mark.parametrize("look", [
    lambda x: seen.append(x.detach().mean()), lambda x: seen.append((x > 0).float().mean()),
    lambda x: seen.append(x.detach().clone().mul_(2).add_(1)),
])  # fmt: skip
def test_values_that_are_only_looked_at_bend_nothing(look, picture):
    """As a hook that records activations does."""
    seen.clear()
    plain, watched = small(torch.relu), small(torch.relu)
    watched.second.register_forward_hook(lambda module, given, out: look(out))
    maps = [attribute(net, picture, method="guided", target=2, preprocess=PLAIN).map for net in (plain, watched)]
    assert torch.equal(*maps)
    assert seen


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)])
def test_a_norm_by_the_pictures_own_statistics_is_not_linear(norm, picture):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(400, 3))
    assert "own statistics" in complaint(net, picture, method="guided", preprocess=PLAIN)


def test_squeeze_and_excitation_is_refused_as_a_gate(picture):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), SqueezeExcite(8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert "squeeze-and-excitation" in complaint(net, picture, method="deconvnet", preprocess=PLAIN)


LINEAR = {
    "conv": nn.Conv2d(3, 4, 3, 2, 1),
    "grouped conv": nn.Conv2d(3, 6, 3, groups=3),
    "transposed conv": nn.ConvTranspose2d(3, 4, 2, 2),
    "reflecting conv": nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
    "circular conv": nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
    "batch norm": nn.BatchNorm2d(3),
    "max pool": nn.MaxPool2d(3, 2, 1),
    "max pool, dilated, ceil": nn.MaxPool2d(3, 2, dilation=2, ceil_mode=True),
    "average pool": nn.AvgPool2d(3, 2, 1),
    "adaptive average pool": nn.AdaptiveAvgPool2d(5),
    "adaptive max pool": nn.AdaptiveMaxPool2d(5),
    "global average": lambda x: x.mean((2, 3)),
    "global average, one unit": nn.AdaptiveAvgPool2d(1),
    "global max": lambda x: x.amax((2, 3)),
    "max over channels": lambda x: x.max(1).values,
    "sum": lambda x: x.sum(1),
    "cat": lambda x: torch.cat([x, 2 * x, x.chunk(3, 1)[1]], 1),
    "stack": lambda x: torch.stack([x, -x], 1),
    "add": lambda x: x + 1 + x / 3 - x.roll(1, 2),
    "add in place": lambda x: x.clone().add_(x).mul_(0.5),
    "in place on parts": lambda x: (lambda y: (y[:, 0].add_(1), y[:, 1].mul_(2), y)[2])(x.clone()),
    "one minus": lambda x: 1 - x,
    "flatten, linear": nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4)),
    "linear over an axis": nn.Linear(SIDE, 4),
    "pad": lambda x: F.pad(x, (1, 2, 0, -1)),
    "replicate": nn.ReplicationPad2d(1),
    "channel shuffle by hand": lambda x: x.view(1, 3, 1, -1).transpose(1, 2).reshape(x.shape),
    "channel shuffle": nn.ChannelShuffle(3),
    "pixel shuffle": lambda x: F.pixel_unshuffle(x, 2),
    "chunk": lambda x: torch.cat(x.chunk(3, 1)[::-1], 1),
    "split": lambda x: x.split([1, 2], 1)[1],
    "index": lambda x: x[:, [2, 0], 1:, ::2],
    "unbind": lambda x: x.unbind(1)[2],
    "permute": lambda x: x.permute(0, 2, 3, 1).contiguous(),
    "dropout": nn.Dropout(0.5),
    "upsample": nn.Upsample(scale_factor=2),
    "upsample, bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "smaller, antialiased": lambda x: F.interpolate(x, (5, 5), mode="bilinear", antialias=True),
    "unfold": lambda x: F.unfold(x, 3),
    "einsum": lambda x: torch.einsum("nchw,dc->ndhw", x, torch.ones(2, 3)),
    "grid": lambda x: F.grid_sample(x, torch.zeros(1, 3, 3, 2), align_corners=False),
    "constant factor": lambda x: x * torch.arange(3.0).view(3, 1, 1),
    "another type": lambda x: x.double().float(),
    "made in its shape": lambda x: x + torch.ones_like(x) + x.new_zeros(x.shape),
    "checked": lambda x: x if x.isfinite().all() else None,
}


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_linear_goes_through_as_its_gradient(name, picture):
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = LINEAR[name]

        def forward(self, x):
            out = self.part(x).flatten(1)
            return torch.stack([out.sum(1) + 1000, (out * torch.linspace(-1, 1, out.shape[1])).sum(1)], 1)

    net = One().eval().requires_grad_(False)
    made = attribute(net, picture, method="guided", target=1, preprocess=PLAIN)
    torch.testing.assert_close(made.signal, plain_gradient(net, picture, 1))


def test_local_response_norm_divides_by_a_divisor_that_gets_no_gradient(picture):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.LocalResponseNorm(5, 0.5, 0.75, 2.0), nn.ReLU())
    x = picture[None]
    with torch.no_grad():
        before, after = net[0](x), net[:2](x)
        divisor = before / after
        with Rectifiers(deconvnet, fixed=True):
            torch.testing.assert_close(net[1](before), after)
        kept = torch.zeros_like(after)
        place = after[0, 2].argmax().item()
        kept[0, 2].view(-1)[place] = after[0, 2].max()
        expected = F.conv_transpose2d(kept / divisor, net[0].weight)
    torch.testing.assert_close(project(net, x, "2", 2), expected, rtol=1e-4, atol=1e-6)


# ---- gradients ------------------------------------------------------------------------------------------------


def test_saliency_is_the_slope_that_finite_differences_measure(picture):
    net = small(torch.tanh).double()
    made = attribute(net, picture.double(), method="saliency", target=4, preprocess=GREY)
    mean, std = (torch.tensor(three).double().view(3, 1, 1) for three in (GREY.mean, GREY.std))
    step = 1e-5
    with torch.no_grad():
        slopes = torch.zeros_like(picture.double()).flatten()
        for i in range(len(slopes)):
            up, down = (picture.double().flatten() for _ in range(2))
            up[i] += step
            down[i] -= step
            both = torch.stack([up, down]).view(2, 3, SIDE, SIDE)
            high, low = net((both - mean) / std)[:, 4]
            slopes[i] = (high - low) / (2 * step)
    torch.testing.assert_close(made.map, slopes.view(3, SIDE, SIDE).abs().amax(0), rtol=1e-6, atol=1e-9)
    assert not made.scale.signed


def test_smoothgrad_averages_the_gradients_of_noisy_copies(picture):
    net = small(torch.tanh)
    made = attribute(net, picture, method="smoothgrad", target=1, preprocess=GREY, samples=7, noise=0.2, seed=5)
    draw, total = torch.Generator().manual_seed(5), torch.zeros(3, SIDE, SIDE)
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (GREY.mean, GREY.std))
    for _ in range(7):
        noise = torch.randn(1, 3, SIDE, SIDE, generator=draw)[0] * 0.2 * (picture.max() - picture.min())
        total += plain_gradient(net, (picture + noise - mean) / std, 1) / std
    torch.testing.assert_close(made.map, (total / 7).abs().amax(0))
    saliency = attribute(net, picture, method="saliency", target=1, preprocess=GREY)
    assert not torch.allclose(made.map, saliency.map, rtol=0.01)
    still = attribute(net, picture, method="smoothgrad", target=1, preprocess=GREY, noise=0.0)
    torch.testing.assert_close(still.map, saliency.map)


def test_the_size_of_a_batch_changes_nothing_and_the_seed_decides(picture):
    def run(**options) -> Tensor:
        return attribute(small(), picture, method="smoothgrad", preprocess=GREY, samples=5, **options).map

    torch.testing.assert_close(run(batch=2), run(batch=5))
    assert run().equal(run())
    assert not torch.allclose(run(), run(seed=1))


@pytest.mark.parametrize("act", [nn.ReLU(), nn.ReLU(inplace=True), nn.SiLU(inplace=True)])
@pytest.mark.parametrize("layer", ["second", "act", None])
def test_grad_cam_is_the_channels_weighed_by_their_mean_gradients(act, layer, picture):
    net = small(act)
    made = attribute(net, picture, method="grad-cam", target=3, layer=layer, preprocess=PLAIN)
    own = copy.deepcopy(act)
    if isinstance(own, nn.ReLU | nn.SiLU):
        own.inplace = False
    first = net.pool(own(net.first(picture[None])))
    second = net.second(first)
    last = own(net.third(own(second)))
    maps = second if layer == "second" else last
    maps.retain_grad()
    net.classifier(last.mean((2, 3)))[0, 3].backward()
    cam = (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
    expected = F.interpolate(cam, (SIDE, SIDE), mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(made.map, expected.detach())
    assert made.layer == (layer or "act")
    assert made.scale.peak == pytest.approx(expected.max().item())


class Branches(nn.Module):
    """What its root adds up itself is no module's map; ``before`` is the last that everything goes through."""

    def __init__(self):
        super().__init__()
        self.before, self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        x = self.before(x)
        return (self.left(x) + self.right(x)).mean((2, 3))


class Fan(nn.Module):
    """More branches than are tried, and no module before them."""

    def __init__(self):
        super().__init__()
        self.b = nn.ModuleList([nn.Conv2d(3, 2, 1) for _ in range(40)])

    def forward(self, x):
        return sum(branch(x) for branch in self.b)


def test_the_last_map_is_the_outermost_part_that_gives_it_and_no_branch():
    assert last_map(Branches().requires_grad_(False), torch.rand(1, 3, 8, 8)) == "before"
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    flat.requires_grad_(False)
    assert last_map(flat, torch.rand(1, 3, 8, 8)) == "1"  # what the convolution gave is no more
    nested = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nested.requires_grad_(False)
    assert last_map(nested, torch.rand(1, 3, 8, 8)) == "0"
    fan = nn.Sequential(Fan(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).requires_grad_(False)
    with pytest.raises(ConvatlasError, match="no one last map that everything goes through: name a layer"):
        last_map(fan[0], torch.rand(1, 3, 8, 8))
    assert last_map(fan, torch.rand(1, 3, 8, 8)) == "0"
    with pytest.raises(ConvatlasError, match="nothing to weigh"):
        last_map(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.rand(1, 3, 2, 2))


def test_a_unit_is_explained_like_a_class(picture):
    net = small()
    made = attribute(net, picture, method="saliency", layer="third", unit=2, at=(1, 4), preprocess=PLAIN)
    x = picture[None].clone().requires_grad_()
    value = net.third(net.second(net.pool(net.first(x).relu())).relu())[0, 2, 1, 4]
    torch.testing.assert_close(made.map, torch.autograd.grad(value, x)[0][0].abs().amax(0))
    assert made.score == pytest.approx(value.item())
    assert (made.label, made.layer) == ("channel 2 of third at 1, 4", "third")


# ---- occlusion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "stride"), [(4, 2), ((5, 3), (2, 3)), (5, 4), (1, 1), (SIDE, 1)])
def test_occlusion_is_what_one_window_after_the_other_gives(window, stride, picture):
    net = small(torch.tanh)
    made = attribute(net, picture, method="occlusion", target=5, window=window, stride=stride, batch=7, preprocess=GREY)
    (high, wide), (down, right) = ((n, n) if isinstance(n, int) else n for n in (window, stride))
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (GREY.mean, GREY.std))
    falls, counts = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    with torch.no_grad():
        score = net(((picture - mean) / std)[None])[0, 5]
        for row in {*range(0, SIDE - high + 1, down), SIDE - high}:
            for column in {*range(0, SIDE - wide + 1, right), SIDE - wide}:
                hidden = picture.clone()
                hidden[:, row : row + high, column : column + wide] = mean
                fall = score - net(((hidden - mean) / std)[None])[0, 5]
                falls[row : row + high, column : column + wide] += fall.item()
                counts[row : row + high, column : column + wide] += 1
    assert counts.min() > 0
    np.testing.assert_allclose(made.map.numpy(), falls / counts, atol=1e-5)
    assert made.scale.signed or (falls >= 0).all()


def test_the_window_is_what_the_last_units_see_and_no_more_than_a_quarter_of_the_picture():
    def chosen(*layers: nn.Module, side: int, **given):
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        aim = Aim(OUTPUT, 0, (), "")
        return windows(net, aim, torch.zeros(1, 3, side, side), given.get("window"), given.get("stride"))

    two = nn.Conv2d(3, 4, 5, 2, 2), nn.Conv2d(4, 4, 3, 2, 1)  # sees 5 + 2 * 2 = 9, units 4 apart
    assert chosen(*two, side=64) == ((9, 9), (4, 4))
    assert chosen(*two, side=32) == ((8, 8), (4, 4))
    assert chosen(*two, side=20) == ((5, 5), (2, 2))
    assert chosen(*two, side=64, window=3) == ((3, 3), (1, 1))
    assert chosen(*two, side=64, stride=2) == ((9, 9), (2, 2))
    far = nn.Conv2d(3, 4, 16, 16), nn.Conv2d(4, 4, 3, 1, 1)  # sees 48, units 16 apart
    assert chosen(*far, side=32) == ((16, 16), (8, 8))


def test_a_network_that_cannot_be_traced_is_occluded_all_the_same(picture):
    class Odd(Small):
        def forward(self, x):
            return super().forward(x) * (2 if float(x.sum()) > 0 else 1)

    made = attribute(Odd(F.relu), picture, method="occlusion", preprocess=PLAIN)
    assert made.map.shape == (SIDE, SIDE)


# ---- the network, the picture, the class ----------------------------------------------------------------------


class Restless(nn.Dropout):
    """Draws in evaluation, too."""

    def forward(self, x):
        return F.dropout(x, 0.1, training=True)


@pytest.mark.parametrize("method", METHODS)
def test_the_network_and_the_random_numbers_stay_as_they_were(method, picture):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), Restless(), nn.Conv2d(4, 5, 3),
                        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip
    net.train()
    net[1].eval()
    net[0].bias.requires_grad_(False)
    net(picture[None]).sum().backward()
    state = copy.deepcopy(net.state_dict())
    grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    modes, wanted = [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]
    random, given = torch.get_rng_state(), picture.clone()
    with torch.no_grad():
        attribute(net, picture, method=method, preprocess=PLAIN)
    if method in ("guided", "deconvnet"):
        project(net, picture[None], "2", 1, rule=method)
    assert all(state[key].equal(value) for key, value in net.state_dict().items())
    for p, grad in zip(net.parameters(), grads):
        assert p.grad is grad is None or p.grad.equal(grad)
    assert [m.training for m in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters()] == wanted
    assert torch.get_rng_state().equal(random)
    assert picture.equal(given)
    assert not any(m._forward_hooks for m in net.modules())


def test_a_photograph_is_prepared_as_the_weights_want_it(tmp_path):
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
    wide.save(tmp_path / "wide.png")
    bgr = Preprocess(crop=SIDE, resize=16, mean=(104.0, 117.0, 123.0), std=(1.0, 2.0, 3.0), scale=1.0, order="BGR")
    net = small()
    made = attribute(net, tmp_path / "wide.png", method="saliency", target=0, preprocess=bgr)
    assert made.picture.size == (SIDE, SIDE)
    assert made.map.equal(attribute(net, wide, method="saliency", target=0, preprocess=bgr).map)
    read = torch.from_numpy(bgr(wide))
    slope = plain_gradient(net, read, 0) * 255 / torch.tensor(bgr.std).view(3, 1, 1)
    torch.testing.assert_close(made.map, slope.abs().amax(0), rtol=1e-4, atol=1e-5)
    projected = attribute(net, wide, method="deconvnet", target=0, preprocess=bgr).signal
    net.first.weight.data = net.first.weight.data.flip(1)
    rgb = Preprocess(crop=SIDE, resize=16, mean=(123.0, 117.0, 104.0), std=(3.0, 2.0, 1.0), scale=1.0)
    torch.testing.assert_close(attribute(net, wide, method="deconvnet", target=0, preprocess=rgb).signal, projected)


def test_without_a_class_the_likeliest_is_explained(picture):
    net = small()
    likeliest = net(picture[None])[0].argmax().item()
    made = attribute(net, picture, method="saliency", preprocess=PLAIN)
    assert made.label == f"class {likeliest}"
    assert made.score == pytest.approx(net(picture[None])[0].max().item())
    assert made.map.equal(attribute(net, picture, method="saliency", target=str(likeliest), preprocess=PLAIN).map)


def test_classes_are_found_by_name_number_and_wordnet_id():
    labels = imagenet()
    for called in ("Egyptian cat", "EGYPTIAN CAT", " egyptian ", "285", 285, "n02124075"):
        assert class_of(labels, called) == 285
    with pytest.raises(ConvatlasError, match=r"classes have 'cat' in their names: .*285 Egyptian cat"):
        class_of(labels, "cat")
    assert class_of(labels, "crane") == 517  # a whole name, though 134 is the crane bird
    assert class_of(labels, "n02012849") == class_of(labels, "crane bird") == 134
    with pytest.raises(ConvatlasError, match="2 classes are called 'crane': 0 crane, 1 crane"):
        class_of([Label("crane"), Label("crane")], "crane")
    with pytest.raises(UnknownName, match="did you mean"):
        class_of(labels, "Egiptian cat")
    for number in ("1000", 1000, -1):
        with pytest.raises(ConvatlasError, match="0 to 999"):
            class_of(labels, number)
    for nothing in ("", "  ", "-1"):
        with pytest.raises(UnknownName):
            class_of(labels, nothing)


def test_a_name_that_is_a_number_goes_before_the_number():
    labels = [Label("10"), Label("2"), Label("2 euro")]
    assert class_of(labels, "2") == 1
    assert class_of(labels, 2) == 2
    assert class_of(labels, "0") == 0
    assert class_of(None, "7") == 7
    with pytest.raises(ConvatlasError, match="give a number"):
        class_of(None, "cat")


# ---- what is shown --------------------------------------------------------------------------------------------


def test_the_map_lies_over_the_picture_in_colours_of_its_sign(picture):
    values = torch.zeros(8, 8)
    values[0, 0], values[7, 7], values[0, 7] = 2.0, -2.0, 1.0
    from convatlas.visualize.sheets import Scale

    grey = Image.new("RGB", (8, 8), (128, 128, 128))
    made = Attribution(values, "occlusion", "a class", 3.0, "", Scale.of(values, "it"), grey)
    pixels = np.asarray(made.over()).astype(int)
    assert pixels.shape == (8, 8, 3)
    assert len({*pixels[3, 3].tolist()}) == 1
    assert pixels[0, 0, 0] > pixels[0, 0, 2]
    assert pixels[7, 7, 0] < pixels[7, 7, 2]
    weaker = np.asarray(made.over(limit=4.0)).astype(int)
    assert weaker[0, 0].tolist() == pixels[0, 7].tolist(), "2 of 4 is as strong as 1 of 2"
    assert weaker[0, 0].tolist() != pixels[0, 0].tolist()
    assert made.scale.peak == 2.0
    with pytest.raises(ConvatlasError, match="8 x 8"):
        made.over(Image.new("RGB", (9, 8)))


@pytest.mark.parametrize("method", METHODS)
def test_a_sheet_can_be_drawn_of_every_method_also_of_grey_pictures(method):
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    grey = Preprocess(crop=8, resize=None, mean=(0.5,), std=(0.5,), order="L")
    made = attribute(net, torch.rand(1, 8, 9), method=method, preprocess=grey)
    assert made.map.shape == (8, 9)
    assert made.over().size == (9, 8)
    assert made.image.width > 3 * 200


# ---- bad input ------------------------------------------------------------------------------------------------


def test_what_cannot_be_explained_is_refused_with_the_reason(picture):
    net = small(nn.ReLU())

    def said(**options) -> str:
        return complaint(net, options.pop("picture", picture), **{"method": "saliency", "preprocess": PLAIN, **options})

    assert "did you mean 'grad-cam'" in said(method="gradcam")
    assert "no option window" in said(window=3)
    assert "no option unit" in said(method="grad-cam", layer="second", unit=1)
    assert "give" in said(method="grad-cam", layer="classifier")
    assert "before its map is pooled" in said(method="grad-cam", layer="classifier")
    assert "unknown layer" in said(layer="nowhere", unit=0)
    assert "channels 0 to 4" in said(layer="second", unit=5)
    assert "map of 6 x 6" in said(layer="second", unit=0, at=(6, 0))
    assert "together" in said(layer="second")
    assert "either a class or a unit" in said(layer="second", unit=0, target=1)
    assert "a place" in said(at=(0, 0))
    assert "0 to 6" in said(target=7)
    assert "(3, H, W)" in said(picture=picture[:1])
    assert "[0, 1]" in said(picture=picture * 3 - 1)
    assert "[0, 1]" in said(picture=picture * torch.nan)
    assert "does not run" in said(picture=torch.rand(3, 1, 1))
    assert "at least 1" in said(method="smoothgrad", samples=0)
    assert "covers every pixel" in said(method="occlusion", window=3, stride=4)
    assert "1 to 12" in said(method="occlusion", window=13)
    assert "no file" in said(picture="nowhere.png")
    net.classifier.weight.data[2] = torch.nan
    assert "gives nan for class 2" in said(target=2)


@pytest.mark.parametrize("method", METHODS)
def test_it_goes_in_inference_mode_too(method, picture):
    net = small(nn.ReLU())
    with torch.inference_mode():
        within = attribute(net, picture * 1, method=method, target=1, preprocess=GREY)
    assert within.map.equal(attribute(net, picture, method=method, target=1, preprocess=GREY).map)


def test_a_forward_that_checks_its_input_is_refused_in_one_line(picture):
    class Strict(Small):
        def forward(self, x):
            raise AssertionError

    said = complaint(Strict(nn.ReLU()), picture, method="grad-cam", preprocess=PLAIN)
    assert said == "Strict does not run on a picture (3, 12, 12): AssertionError"


def test_a_score_without_a_gradient_is_no_black_map(picture):
    class Cut(Small):
        def forward(self, x):
            with torch.no_grad():
                return super().forward(x)

    assert "no gradient" in complaint(Cut(F.relu), picture, method="saliency", preprocess=PLAIN)
    net = small()
    net.side = nn.Conv2d(3, 2, 1)

    def forward(x: Tensor) -> Tensor:
        net.side(x)
        return Small.forward(net, x)

    net.forward = forward
    assert "no gradient" in complaint(net, picture, method="grad-cam", layer="side", preprocess=PLAIN)


class Normalizing(nn.Module):
    """Takes a mean off its input and divides it, in place: a second run on the same tensor gives something else."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.in_place = nn.Conv2d(3, 4, 3), nn.ReLU(), True

    def forward(self, x):
        x = x.sub_(0.4).div_(0.2) if self.in_place else (x - 0.4) / 0.2
        return self.act(self.conv(x)).amax((2, 3))


def test_a_network_that_writes_over_its_input_answers_as_one_that_does_not(picture):
    from convatlas.visualize import activations, objectives, visualize

    net, same = Normalizing(), Normalizing()
    same.in_place = False
    given, x = picture.clone(), torch.stack([picture, picture])
    for method in METHODS:
        made, wanted = (attribute(one, picture, method=method, preprocess=PLAIN) for one in (net, same))
        torch.testing.assert_close(made.map, wanted.map)
    projected = project(net, x, "conv", 0)
    assert projected[0].equal(projected[1])
    torch.testing.assert_close(projected, project(same, x, "conv", 0))
    maps = [activations(one, picture, "conv", preprocess=PLAIN).values for one in (net, same)]
    torch.testing.assert_close(*maps)
    drawn = [visualize(one, objectives.channel("conv", 1), size=12, steps=3, preprocess=PLAIN) for one in (net, same)]
    assert drawn[0].values == pytest.approx(drawn[1].values)
    assert x.equal(torch.stack([given, given]))
    assert picture.equal(given)
