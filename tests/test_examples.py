"""The examples of a data set: the right ones, at the right places, cut to exactly what the unit sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convatlas.data import Arrays
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.source import graph_of
from convatlas.visualize import streamed
from convatlas.visualize.crops import View, crops
from convatlas.visualize.finding import Examples, examples, shape_at
from convatlas.weights import Preprocess

SIDE = 24


class Block(nn.Module):
    """A branch beside a dilated one, added to what they read, the same rectifier twice."""

    def __init__(self, width: int):
        super().__init__()
        self.near, self.far = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=3, dilation=3)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.far(self.act(self.near(x))))


class Net(nn.Module):
    def __init__(self, side: int = SIDE, act: type[nn.Module] = nn.ReLU):
        super().__init__()
        self.input_size = (3, side, side)
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), act())
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.block = Block(6)
        self.last = nn.Conv2d(6, 5, 2)
        self.classifier = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.last(self.block(self.pool(self.stem(x)))).mean((2, 3)))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    made = Net().train()
    made.stem[1].running_mean.uniform_(-0.2, 0.2)
    made.stem[1].running_var.uniform_(0.5, 2)
    with torch.no_grad():
        made.last.weight[3], made.last.bias[3] = 0, 0.25  # a dead unit
    return made


def pictures(count: int = 23, side: int = SIDE) -> Arrays:
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (count, 3, side, side), np.uint8))
    return Arrays(images, torch.zeros(count, dtype=torch.int64), "made", np.arange(count))


def read(found: Examples) -> Tensor:
    """All pictures as the network reads them."""
    return torch.stack([
        torch.from_numpy(found.preprocess(Image.fromarray(found.pictures.picture(n)))) for n in range(found.count)
    ])  # fmt: skip


def maps_of(net: Net, x: Tensor, layer: str) -> Tensor:
    """(N, C, H, W), by running all of the network on all of the pictures at once."""
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda module, given, out: kept.append(out.clone()))
    training = net.training
    with torch.no_grad():
        net.eval()(x)
    net.train(training)
    handle.remove()
    return kept[-1]


def same(a: Examples, b: Examples, close: float = 0) -> None:
    for one, two in ((a.highest, b.highest), (a.lowest, b.lowest)):
        assert torch.equal(one.pictures, two.pictures)
        assert torch.equal(one.places, two.places)
        torch.testing.assert_close(one.values, two.values, rtol=close, atol=close)
    assert a.sampled == b.sampled
    torch.testing.assert_close(a.sample, b.sample, rtol=close, atol=close, equal_nan=True)


# ---- which ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["stem", "pool", "block", "last"])
def test_the_highest_and_lowest_are_those_of_sorting_everything(net, layer):
    found = examples(net, layer, pictures(), batch=5)
    maps = maps_of(net, read(found), layer)
    width = maps.shape[3]
    assert found.shape == maps.shape[1:]
    for channel in range(maps.shape[1]):
        flat = maps[:, channel].flatten(1).numpy().astype(np.float64)
        for listed, sign in ((found.top(channel), -1), (found.bottom(channel), 1)):
            at = (sign * flat).argmin(1)
            ends = flat[np.arange(len(flat)), at]
            order = np.argsort(sign * ends, kind="stable")[:9]
            assert [one.value for one in listed] == pytest.approx(ends[order].tolist(), abs=1e-5)
            if np.diff(np.sort(ends)).min() > 1e-5:  # no ties, so no doubt
                assert [one.picture for one in listed] == order.tolist()
                assert [(one.row, one.column) for one in listed] == [divmod(int(at[n]), width) for n in order]


def test_of_equal_ones_the_earlier_picture_is_first(net):
    found = examples(net, "last", pictures(), batch=4)
    assert found.constant(3)
    assert not found.constant(0)
    assert [(one.value, one.picture, one.row, one.column) for one in found.top(3)] == [
        (0.25, n, 0, 0) for n in range(9)
    ]
    assert found.top(3) == found.bottom(3)


def test_the_batch_size_decides_nothing(net):
    whole = examples(net, "block", pictures(), batch=100)
    for batch in (1, 3, 8):
        same(examples(net, "block", pictures(), batch=batch), whole, close=1e-6)


def test_fewer_pictures_than_were_asked_for_are_all_there(net):
    found = examples(net, "last", pictures(4))
    assert sorted(one.picture for one in found.top(0)) == [0, 1, 2, 3]
    assert len(found.values(0)) == 4 * 5 * 5


def test_the_sample_is_of_the_channel_and_of_random_places(net):
    found = examples(net, "last", pictures(), sample=300, batch=5)
    maps = maps_of(net, read(found), "last").movedim(1, 0).flatten(1)  # (C, N * H * W)
    torch.testing.assert_close(found.sample, maps[:, list(found.sampled)], rtol=0, atol=1e-5)
    assert len(set(found.sampled)) == 300
    assert found.values(1).tolist() == sorted(found.sample[1].tolist())
    other = examples(net, "last", pictures(), sample=300, seed=1)
    assert set(other.sampled) != set(found.sampled)
    assert min(np.bincount(np.array(found.sampled) // 25, minlength=23)) > 3  # of every picture some


def test_the_middle_lies_at_the_quantiles_and_comes_from_different_pictures(net):
    found = examples(net, "last", pictures())
    values = found.values(0)
    middle = found.middle(0, 3)
    assert len({one.picture for one in middle}) == 3
    for one, share in zip(middle, (1 / 6, 1 / 2, 5 / 6)):
        assert one.value == pytest.approx(np.quantile(values, share), abs=0.1 * float(np.ptp(values)))
        assert found.sample[0, found.sampled.index(one.picture * 25 + one.row * 5 + one.column)] == one.value


def test_the_middle_of_a_rectifier_is_of_what_is_above_zero(net):
    with torch.no_grad():
        net.stem[0].bias -= 1.5
    found = examples(net, "stem", pictures())
    mostly = next(c for c in range(6) if 0.5 < (found.values(c) == 0).mean() < 0.98)
    assert all(one.value > 0 for one in found.middle(mostly))


def test_a_vector_has_one_place(net):
    found = examples(net, "classifier", pictures())
    logits = maps_of(net, read(found), "classifier")
    assert found.shape == (4, 1, 1)
    assert [one.picture for one in found.top(2)] == logits[:, 2].argsort(descending=True)[:9].tolist()


def test_the_network_stays_as_it_was(net):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    examples(net, "last", pictures(3))
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


# ---- going on ---------------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch) -> list[object]:
    """What has been read."""
    seen: list[object] = []
    own = streamed.read_picture
    monkeypatch.setattr(streamed, "read_picture", lambda source: seen.append(source) or own(source))
    return seen


def stop_at(number: int):
    def watch(done: int, total: int) -> None:
        if done >= number:
            raise KeyboardInterrupt

    return watch


def test_an_interrupted_pass_goes_on_and_finds_the_same(net, tmp_path, reads):
    whole = examples(net, "block", pictures(), batch=4)
    with pytest.raises(KeyboardInterrupt):
        examples(net, "block", pictures(), batch=4, folder=tmp_path, watch=stop_at(12))
    assert len(list(tmp_path.iterdir())) == 1
    reads.clear()
    told = []
    again = examples(net, "block", pictures(), batch=3, folder=tmp_path, watch=lambda *where: told.append(where))
    assert len(reads) == 23 - 12
    assert told == [(15, 23), (18, 23), (21, 23), (23, 23)]
    same(again, whole, close=1e-6)
    reads.clear()
    same(examples(net, "block", pictures(), folder=tmp_path), again)
    assert not reads


def test_a_killed_pass_goes_on_from_what_was_saved_last(net, tmp_path, reads):
    here, there = tmp_path / "here", tmp_path / "there"

    def watch(done: int, total: int) -> None:
        if done == 14:  # what a kill would leave now
            shutil.copytree(here, there)

    whole = examples(net, "block", pictures(), batch=2, folder=here, every=5, watch=watch)
    reads.clear()
    same(examples(net, "block", pictures(), batch=2, folder=there), whole)
    assert len(reads) == 23 - 12


@pytest.mark.parametrize("change", ["weights", "pictures", "most", "layer", "preprocess", "file"])
def test_what_does_not_fit_begins_anew(net, tmp_path, reads, change):
    examples(net, "block", pictures(), folder=tmp_path)
    options, split, layer = {}, pictures(), "block"
    if change == "weights":
        with torch.no_grad():
            net.last.weight[0, 0, 0, 0] += 1
    elif change == "pictures":
        split.images[7, 0, 0, 0] ^= 1
    elif change == "most":
        options = {"most": 3}
    elif change == "layer":
        layer = "last"
    elif change == "preprocess":
        options = {"preprocess": Preprocess.for_input(SIDE).at(SIDE // 2)}
    else:
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:-100])
    reads.clear()
    same(examples(net, layer, split, folder=tmp_path, **options), examples(net, layer, split, **options))
    assert len(reads) == 2 * 23


# ---- files ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    """Pictures in two folders, the third of which is broken, of several sizes."""
    where = tmp_path / "pictures"
    (where / "more").mkdir(parents=True)
    chance = np.random.RandomState(1)
    for number, name in enumerate(["1.png", "2.png", "3.png", "10.png", "more/4.jpg"]):
        shape = (SIDE + 7 * number, SIDE + 3, 3)
        Image.fromarray(chance.randint(0, 256, shape, np.uint8)).save(where / name)
    (where / "3.png").write_bytes(b"broken")
    (where / "notes.txt").write_text("no picture")
    return where


def test_a_folder_is_read_and_what_is_broken_is_named(net, folder):
    found = examples(net, "last", folder, batch=2)
    assert [Path(found.pictures.names(n)).name for n in range(5)] == ["1.png", "2.png", "3.png", "10.png", "4.jpg"]
    assert found.count == 4
    ((name, reason),) = found.unreadable
    assert name == str(folder / "3.png")
    assert "3.png" in reason
    assert sorted(one.picture for one in found.top(0)) == [0, 1, 3, 4]
    assert len(found.values(0)) == 4 * 25
    assert found.name(4) == "4.jpg"
    same(examples(net, "last", f"folder:{folder}"), found, close=1e-6)


def test_a_broken_picture_stops_where_that_is_asked_for(net, folder):
    with pytest.raises(ConvatlasError, match=r"3\.png"):
        examples(net, "last", folder, bad_images="stop")
    with pytest.raises(UnknownName, match="'stopp'"):
        examples(net, "last", folder, bad_images="stopp")


def test_no_picture_at_all_is_an_error(net, folder):
    with pytest.raises(ConvatlasError, match="none of the 1 pictures can be read"):
        examples(net, "last", [folder / "3.png"])
    with pytest.raises(ConvatlasError, match="no pictures in"):
        examples(net, "last", [])
    with pytest.raises(ConvatlasError, match="no file"):
        examples(net, "last", folder / "absent")


def test_what_is_wrong_is_said_in_a_line(net):
    with pytest.raises(UnknownName, match="unknown layer of Net 'blok'; did you mean 'block'"):
        examples(net, "blok", pictures(2))
    found = examples(net, "last", pictures(2))
    with pytest.raises(ConvatlasError, match="last has channels 0 to 4, no 5"):
        found.top(5)
    with pytest.raises(ConvatlasError, match="batch is at least 1, not 0"):
        examples(net, "last", pictures(2), batch=0)
    with torch.no_grad():
        net.last.bias[1] = torch.nan
    with pytest.raises(ConvatlasError, match="not finite on made 0"):
        examples(net, "last", pictures(2))


def test_what_gives_no_map_is_said(net):
    class Summed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum()

    net = nn.Sequential(nn.Conv2d(3, 2, 1), Summed())
    net.input_size = (3, SIDE, SIDE)
    with pytest.raises(ConvatlasError, match=r"1 gives \(\): neither a map"):
        examples(net, "1", pictures(2))


def test_a_layers_shape_is_what_it_gives(net):
    net.idle = nn.Conv2d(3, 3, 1)
    x = torch.zeros(1, *net.input_size)
    assert shape_at(net, "block") == tuple(maps_of(net, x, "block").shape[1:])
    assert shape_at(net, "classifier") == (*maps_of(net, x, "classifier").shape[1:], 1, 1)
    assert net.training
    with pytest.raises(ConvatlasError, match="does not run"):
        shape_at(net, "idle")


# ---- crops ------------------------------------------------------------------------------------------------


def view_of(net: Net, found: Examples) -> View:
    return View(net, found.layer, found.shape, net.input_size)


@pytest.mark.parametrize("layer", ["stem", "pool", "block.act", "block", "last"])
def test_what_lies_outside_of_a_crop_does_not_matter(net, layer):
    """At the borders too: the extremes of noise lie anywhere, and the corners are looked at besides."""
    found = examples(net, layer, pictures())
    x, view = read(found), view_of(net, found)
    _, height, width = found.shape
    whole = maps_of(net, x, layer)
    for channel in range(found.shape[0]):
        places = [(one.picture, one.row, one.column, one.value) for one in found.top(channel) + found.bottom(channel)]
        places += [(0, r, c, float(whole[0, channel, r, c])) for r in (0, height - 1) for c in (0, width - 1)]
        for picture, row, column, value in places:
            (top, bottom), (left, right) = view.box(row, column)
            masked = torch.full_like(x[picture], 7.5)
            masked[:, top:bottom, left:right] = x[picture][:, top:bottom, left:right]
            assert maps_of(net, masked[None], layer)[0, channel, row, column] == pytest.approx(value, abs=1e-5)


def test_a_graph_finds_the_run_whose_output_is_the_layers(net):
    """The block's rectifier runs twice: what it gives is what its second run does, which follows the addition."""
    graph = graph_of(net, net.input_size)
    assert graph.nodes[graph.nodes[graph.place("block.act")].inputs[0]].op == "add"
    assert graph.place("block.act") == graph.place("block.act#2") == graph.place("block") > graph.place("block.act#1")
    assert graph.nodes[graph.place("")].name == "classifier"
    with pytest.raises(UnknownName):
        graph.place("act", exact=True)  # it only ends so


@pytest.mark.parametrize("place", [(0, 0), (2, 3), (4, 4)])
def test_a_crop_is_as_small_as_the_gradient_allows(place):
    """The box around all pixels through which autograd leads anything, where nothing is rectified away."""
    torch.manual_seed(0)
    net = Net(act=nn.Identity).eval()
    net.pool, net.block.act = nn.AvgPool2d(3, 2, padding=1), nn.Identity()
    kept: list[Tensor] = []
    net.last.register_forward_hook(lambda module, given, out: kept.append(out))
    x = torch.randn(1, 3, SIDE, SIDE, requires_grad=True)
    net(x)
    (gradient,) = torch.autograd.grad(kept[0][0, 0][place], x)
    rows, columns = gradient[0].abs().sum(0).nonzero().T
    box = View(net, "last", (5, 5, 5), net.input_size).box(*place)
    assert box == ((rows.min(), rows.max() + 1), (columns.min(), columns.max() + 1))


def test_a_crop_is_the_pixels_of_its_box_and_knows_where_the_border_is(net):
    found = examples(net, "pool", pictures())
    (crop,) = crops(found, view_of(net, found), found.top(0)[:1])
    own = crop.example
    # Three of the stem's units at a stride of 2, the first of them at 2 * row - 1; each sees 3 pixels from -1 on.
    starts = [4 * own.row - 3, 4 * own.column - 3]
    assert crop.window == tuple((start, start + 7) for start in starts)
    (top, bottom), (left, right) = crop.box
    assert crop.box == tuple((max(start, 0), min(start + 7, SIDE)) for start in starts)
    assert crop.offset == (top - starts[0], left - starts[1])
    pixels = found.pictures.images[own.picture][:, top:bottom, left:right]
    assert torch.equal((crop.picture * 255).round().byte(), pixels)


def test_a_picture_smaller_than_the_field_is_shown_whole():
    torch.manual_seed(0)
    net = Net(side=12)
    found = examples(net, "last", pictures(4, side=12))
    view = view_of(net, found)
    assert min(view.field.size) > 12
    (crop,) = crops(found, view, found.top(0)[:1])
    assert crop.picture.shape == (3, 12, 12)
    assert crop.window[0][1] - crop.window[0][0] == view.field.size[0]
    assert crop.offset[0] > 0


def test_behind_a_gate_the_crop_is_of_the_local_path():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input_size = (3, SIDE, SIDE)
            self.conv, self.gate = nn.Conv2d(3, 4, 5, padding=2), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()

    net = nn.Sequential(Gated(), nn.ReLU())
    net.input_size = (3, SIDE, SIDE)
    found = examples(net, "0", pictures(3))
    view = view_of(net, found)
    assert view.gated
    assert view.box(10, 3) == ((8, 13), (1, 6))


def test_where_the_field_is_not_known_the_reason_is():
    class Rolled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft2(x).real

    net = nn.Sequential(nn.Conv2d(3, 2, 1), Rolled())
    net.input_size = (3, SIDE, SIDE)
    view = View(net, "1", (2, SIDE, SIDE), net.input_size)
    assert view.field is None
    assert view.reason
    assert view.box(3, 3) == ((0, SIDE), (0, SIDE))
