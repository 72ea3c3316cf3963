"""Activations: every picture shows the values themselves, all channels of a layer on one scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

import convatlas
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.visualize.maps import activations
from convatlas.visualize.photograph import invert
from convatlas.visualize.sheets import WARM
from convatlas.visualize.shown import Shown
from convatlas.weights.preprocess import Preprocess


def photograph(height: int = 40, width: int = 52, seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def hooked(net: nn.Module, path: str, x: Tensor) -> Tensor:
    """What a submodule gives in evaluation."""
    found: list[Tensor] = []
    handle = net.get_submodule(path).register_forward_hook(lambda _module, _given, out: found.append(out.clone()))
    with torch.no_grad():
        net.eval()(x)
    handle.remove()
    return found[-1]


def colour(code: str) -> tuple[int, ...]:
    return tuple(int(code[i : i + 2], 16) for i in (1, 3, 5))


class Small(nn.Module):
    """Writes over its own map, and gives kinds of outputs that have no channels."""

    input_size = (3, 32, 32)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.tokens = nn.Identity()
        self.pair = Pair()
        self.unused = nn.Conv2d(3, 3, 1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        x = self.relu(self.conv(x))
        self.tokens(x.flatten(2).transpose(1, 2))
        self.pair(x)
        return self.fc(x.mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.fixture
def net() -> Small:
    torch.manual_seed(1)
    return Small()


@pytest.fixture(scope="module")
def lenet() -> nn.Module:
    return convatlas.pretrained("lenet5_modern")


# ---- values ------------------------------------------------------------------------------------------------


def test_a_pixel_read_back_through_the_scale_is_the_activation(lenet):
    digit = photograph(28, 28)
    found = activations(lenet, digit, "c3")
    x = torch.from_numpy(lenet.weights.preprocess(digit))[None]
    truth = hooked(lenet, "trunk.c3", x)[0]
    assert torch.equal(found.values, truth)
    assert found.scale.signed
    shades = torch.linspace(-found.scale.limit, found.scale.limit, 511)
    table = {tuple(c): v for c, v in zip(found.scale.colours(shades).tolist(), shades.tolist())}
    for channel, picture in enumerate(found.images):
        read = np.array([[table[tuple(pixel)] for pixel in row] for row in np.asarray(picture).tolist()])
        assert np.abs(read - truth[channel].numpy()).max() <= found.scale.limit / 200


def test_all_channels_have_one_scale_with_its_numbers(lenet, monkeypatch):
    found = activations(lenet, photograph(), "s4")
    small, large = found.values.abs().amax((1, 2)).min(), found.values.abs().max()
    assert found.scale.peak == pytest.approx(float(large))
    assert small < large
    words: list[tuple[int, str]] = []  # where each begins or ends, and what it says
    write = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, at: tuple[float, float], said: str, **how: object) -> None:
        words.append((round(at[0]), said))
        write(self, at, said, **how)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    drawn, limit = np.asarray(found.image), found.scale.limit
    assert min(drawn.shape[:2]) > 300
    assert words[-3:] == [(14, f"{-limit:.3g}"), (114, "0"), (214, f"{limit:.3g}")]
    bar = drawn[-30, 14:214]
    assert bar[[0, -1]].tolist() == found.scale.colours(torch.tensor([-limit, limit])).tolist()
    assert (drawn[-20:, 14:40] < 200).any(), "letters stand below it"
    assert (drawn[-20:, 190:214] < 200).any()


def test_zero_is_the_lightest_colour_of_rectified_and_of_signed_maps(net):
    rectified, signed = activations(net, photograph(), "relu"), activations(net, photograph(), "conv")
    assert (rectified.scale.signed, signed.scale.signed) == (False, True)
    zeros = (rectified.values[0] == 0).nonzero()
    assert len(zeros)
    row, column = zeros[0].tolist()
    assert rectified.images[0].getpixel((column, row)) == colour(WARM[0])
    strongest = rectified.values.flatten().argmax().item()
    channel, rest = divmod(strongest, 32 * 32)
    assert rectified.images[channel].getpixel((rest % 32, rest // 32)) == colour(WARM[-1])


def test_what_is_written_over_later_is_shown_as_it_was(net):
    assert activations(net, photograph(), "conv").values.min() < 0


def test_a_vector_is_bars_as_high_as_its_values(net):
    with torch.no_grad():
        net.fc.weight.zero_()
        net.fc.bias.copy_(torch.tensor([4.0, 2.0, -1.0, 0.0]))
    found = activations(net, photograph(), "fc")
    assert not found.maps
    drawn = np.asarray(found.image)
    positive = (drawn == colour(WARM[3])).all(2).sum(0)
    heights = sorted({int(n) for n in positive if n > 60})
    assert heights[-1] / heights[0] == pytest.approx(2, rel=0.05)


def test_a_longer_vector_is_cells():
    lite = convatlas.pretrained("efficientnet_lite0")
    found = activations(lite, photograph(), "classifier")
    assert len(found.values) == 1000
    assert np.array_equal(np.asarray(found.images[285])[0, 0], found.scale.colours(found.values[285]))
    assert found.image.width > 800


def test_the_strongest_channels_are_those_of_the_largest_norm(net):
    found = activations(net, photograph(), "relu", strongest=3)
    norms = [float(torch.linalg.vector_norm(m)) for m in found.values]
    assert list(found.channels) == sorted(range(5), key=lambda c: -norms[c])[:3]
    assert len(found.images) == 3
    weakest = min(range(5), key=lambda c: norms[c])
    alone = activations(net, photograph(), "relu", channels=[weakest])
    assert alone.scale == found.scale, "the scale is the layer's, whatever is drawn"
    assert activations(net, photograph(), "relu", channels=[4, 0]).channels == (4, 0)


def test_a_tensor_is_a_picture_of_the_size_that_it_has(net):
    picture = torch.rand(3, 20, 24)
    found = activations(net, picture, "conv")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (picture - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    assert torch.allclose(found.values, hooked(net, "conv", x[None])[0], atol=1e-5)
    assert found.picture.size == (24, 20)


@pytest.mark.parametrize("order", ["RGB", "BGR", "L"])
def test_a_picture_is_prepared_as_the_weights_prepare_it(order, net):
    channels = len(order)
    net.conv = nn.Conv2d(channels, 5, 3, padding=1)
    net.input_size = (channels, 32, 32)
    means, deviations = (123.0, 117.0, 104.0)[:channels], (3.0, 2.0, 1.0)[:channels]
    preprocess = Preprocess(crop=32, resize=36, mean=means, std=deviations, scale=1.0, order=order)
    picture = photograph()
    truth = torch.from_numpy(preprocess(picture))[None]
    shown = Shown(net, preprocess)
    torch.testing.assert_close(shown(shown.seen(picture)), truth, rtol=0, atol=1e-4)
    found = activations(net, picture, "conv", preprocess=preprocess)
    torch.testing.assert_close(found.values, hooked(net, "conv", truth)[0], rtol=1e-4, atol=1e-3)


def test_what_is_transparent_lies_on_white_for_everyone(net):
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    white = Image.new("RGB", (32, 32), "white")
    assert Shown(net).seen(clear).equal(torch.ones(1, 3, 32, 32))
    assert torch.equal(activations(net, clear, "conv").values, activations(net, white, "conv").values)
    made, expected = (invert(net, one, "conv", steps=2).pictures for one in (clear, white))
    assert made.equal(expected)


# ---- what is refused --------------------------------------------------------------------------------------


def complaint(net: nn.Module, layer: str, **options) -> str:
    with pytest.raises(ConvatlasError) as caught:
        activations(net, options.pop("picture", photograph()), layer, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_layers_that_do_not_exist_or_give_no_map_are_refused_in_one_line(net):
    with pytest.raises(UnknownName, match="did you mean 'relu'"):
        activations(net, photograph(), "relo")
    assert "1 x 1024 x 5: neither maps" in complaint(net, "tokens")
    assert "no tensor" in complaint(net, "pair")
    assert "does not run" in complaint(net, "unused")


def test_channels_that_are_not_there_are_refused(net):
    assert "channels 0 to 4, not 5" in complaint(net, "conv", channels=[1, 5])
    assert "channels 0 to 4, not -1" in complaint(net, "conv", channels=[-1])
    assert "at least 1 channel" in complaint(net, "conv", strongest=0)
    assert "at least 1 channel" in complaint(net, "conv", strongest=-1)
    assert "at least 1 channel" in complaint(net, "conv", channels=[])


def test_pictures_and_values_that_are_none_are_refused(net):
    assert "(3, H, W)" in complaint(net, "conv", picture=torch.rand(1, 8, 8))
    assert "no file" in complaint(net, "conv", picture="nowhere.png")
    for beyond in (2.0, -0.1, torch.nan):
        assert "lie in [0, 1]" in complaint(net, "conv", picture=torch.full((3, 8, 8), beyond))
    with torch.no_grad():
        net.conv.bias[0] = float("inf")
    assert "conv has values that are not finite" in complaint(net, "conv")


def test_the_network_stays_as_it_is(net):
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.relu.eval()
    assert activations(net, photograph(), "fc").image.size
    assert net.training
    assert not net.relu.training
    assert all(p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
