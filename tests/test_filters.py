"""Filters: every picture shows the weights themselves, all of a layer on one symmetric scale."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convatlas
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.visualize.kernels import filters
from convatlas.visualize.sheets import Scale
from convatlas.weights import Preprocess


class Two(nn.Module):
    """A first convolution of colours, then one of each kind."""

    input_size = (3, 16, 16)

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.block = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.point = nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(4, 2)


@pytest.fixture
def net() -> Two:
    torch.manual_seed(0)
    return Two()


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def holds(sheet: Image.Image, tile: Image.Image, times: int) -> bool:
    """Whether a sheet has a tile on it, each of its pixels a square of ``times``."""
    whole = pixels(sheet.convert("RGB"))
    part = pixels(tile.convert("RGB")).repeat(times, 0).repeat(times, 1)
    height, width = part.shape[:2]
    return any(
        np.array_equal(whole[top : top + height, left : left + width], part)
        for top in range(whole.shape[0] - height + 1)
        for left in np.flatnonzero((whole[top, : whole.shape[1] - width + 1] == part[0, 0]).all(1))
    )


# ---- the first layer --------------------------------------------------------------------------------------


def test_kernels_that_read_the_picture_are_little_pictures_on_one_symmetric_scale(net):
    found = filters(net)
    weights = net.first.weight.detach().numpy()
    limit = np.abs(weights).max()
    assert (found.layer, found.kind, found.scale.limit) == ("first", "pictures", pytest.approx(limit))
    for kernel, picture in zip(weights, found.images, strict=True):
        expected = (0.5 + kernel.transpose(1, 2, 0) / (2 * limit)) * 255
        assert np.abs(pixels(picture) - expected).max() <= 0.5 + 1e-3


def test_zero_is_mid_grey_and_a_dead_filter_is_flat_beside_live_ones(net):
    with torch.no_grad():
        net.first.weight[1] = 0
        net.first.weight[2] = 0.001 * torch.rand(3, 3, 3)
    images = filters(net).images
    assert set(pixels(images[1]).flatten().tolist()) == {128}
    assert np.abs(pixels(images[2]).astype(int) - 128).max() <= 1, "a silent filter was stretched to look alive"
    assert np.ptp(pixels(images[0])) > 50


def test_a_network_that_reads_bgr_shows_its_kernels_in_rgb(net):
    straight = [pixels(i) for i in filters(net).images]
    net.weights = SimpleNamespace(preprocess=Preprocess(crop=16, resize=16, order="BGR"))
    assert all(np.array_equal(pixels(i), s[..., ::-1]) for i, s in zip(filters(net).images, straight))


def test_kernels_that_read_one_channel_are_grey():
    net = convatlas.pretrained("lenet5_modern")
    found, weights = filters(net), net.trunk.c1.conv.weight.detach().numpy()[:, 0]
    assert found.kind == "pictures"
    for kernel, picture in zip(weights, found.images, strict=True):
        assert picture.mode == "L"
        assert np.abs(pixels(picture) - (0.5 + kernel / (2 * np.abs(weights).max())) * 255).max() <= 0.5 + 1e-3


def test_enlarging_repeats_each_weight_and_smooths_nothing(net):
    found = filters(net)
    assert all(holds(found.image, one, 43) for one in found.images)  # 128 pixels, the largest, in three


# ---- deeper layers ----------------------------------------------------------------------------------------


def test_a_deeper_layer_is_the_matrix_of_its_kernels_norms(net):
    found = filters(net, "block")  # the one convolution in it
    kernels = net.block[0].weight.detach()
    norms = torch.tensor([[torch.linalg.matrix_norm(k) for k in unit] for unit in kernels])
    assert (found.layer, found.kind) == ("block.0", "matrix")
    assert torch.allclose(found.drawn, norms, rtol=1e-5)
    assert np.array_equal(pixels(found.images[0]), found.scale.colours(norms.T)), "the longer side goes across"
    assert not found.scale.signed


def test_a_1x1_convolution_is_its_signed_weights_and_a_depthwise_one_its_kernels(net):
    point, depthwise = filters(net, "point"), filters(net, "depthwise")
    assert (point.kind, point.scale.signed, depthwise.kind) == ("matrix", True, "kernels")
    assert torch.equal(point.drawn, net.point.weight[:, :, 0, 0])
    assert torch.equal(depthwise.drawn, net.depthwise.weight[:, 0])


def test_a_units_kernels_share_the_scale_of_all_units(net):
    found = filters(net, "block.0", unit=5)
    assert torch.equal(found.drawn, net.block[0].weight[5])
    assert found.scale == filters(net, "block.0", unit=0).scale
    values = net.block[0].weight[5].detach()
    assert all(np.array_equal(pixels(i), found.scale.colours(v)) for i, v in zip(found.images, values, strict=True))


# ---- the scale --------------------------------------------------------------------------------------------


def test_a_scale_is_symmetric_and_each_shade_is_a_value():
    scale = Scale.of(torch.tensor([-2.0, 1.0]), "it")
    values = torch.linspace(-2, 2, 511)
    shades = [tuple(c) for c in scale.colours(values).tolist()]
    assert len(set(shades)) > 480
    assert shades[255] == tuple(scale.colours(torch.tensor(0.0)))
    lightness = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in shades]
    assert np.all(np.diff(lightness[:256]) > -1e-9)  # darker with strength on either side, so in grey too
    assert np.all(np.diff(lightness[255:]) < 1e-9)
    assert abs(lightness[0] - lightness[-1]) < 15


def test_what_lies_beyond_a_scale_is_said():
    values = torch.cat([torch.linspace(0, 1, 2000), torch.tensor([9.0])])
    assert Scale.of(values, "it").limit == 9
    cut = Scale.of(values, "it", beyond=0.001)
    assert cut.limit < 1.01
    assert "up to 9" in cut.words


# ---- what is refused --------------------------------------------------------------------------------------


def complaint(of, *args, **options) -> str:
    with pytest.raises(ConvatlasError) as caught:
        of(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_has_no_kernels_is_refused_in_one_line(net):
    assert "Linear" in complaint(filters, net, "head")
    assert "no 2-d convolution" in complaint(filters, nn.Linear(2, 2))
    assert "units 0 to 5, not 6" in complaint(filters, net, unit=6)
    assert "units 0 to 5, not -1" in complaint(filters, net, unit=-1)
    with pytest.raises(UnknownName, match="did you mean 'point'"):
        filters(net, "pont")
    lite = convatlas.create("efficientnet_lite0", initialise=False)
    assert "several convolutions: stage4.0.branch.expand.conv" in complaint(filters, lite, "stage4")


def test_weights_that_are_not_finite_are_refused(net):
    with torch.no_grad():
        net.first.weight[0, 0, 0, 0] = float("nan")
    assert "first of Two has values that are not finite" in complaint(filters, net)


def test_the_network_stays_as_it_is(net):
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = filters(net)
    found.weights.zero_()
    assert found.image.size
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
