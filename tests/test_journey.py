"""A picture's path through a network: the values, what units see, and a page that carries both."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convatlas
from convatlas.cost.boxes import box
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.source import graph_of
from convatlas.visualize.sights import sights
from convatlas.visualize.travelling import journey, stops


def photograph(height: int = 40, width: int = 40, seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


class Net(nn.Module):
    """Strides that leave a border over, padding, a gate, dropout, and a rectifier that writes over what came before."""

    input_size = (3, 40, 40)

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.mid = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True))
        self.gate = Gate(6)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(6 * 5 * 5, 7)

    def forward(self, x):
        return self.fc(self.flatten(self.gate(self.mid(self.stem(x)))))


class Gate(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.pool, self.mix = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x * self.mix(self.pool(x)).sigmoid()


class Crop(nn.Module):
    """A border is cut off a map, and a padded convolution reads across where it was."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.second(self.first(x)[:, :, 2:, :-3])


@pytest.fixture
def net() -> Net:
    torch.manual_seed(2)
    return Net()


# ---- the stages -------------------------------------------------------------------------------------------


def test_the_stages_are_the_children_in_order_without_those_that_change_nothing(net):
    found = journey(net, photograph())
    assert [s.name for s in found.stages] == ["stem.0", "stem.1", "mid.0", "mid.1", "gate", "fc"]
    assert [s.activations.shape for s in found.stages][:3] == ["4 x 10 x 10", "4 x 10 x 10", "6 x 10 x 10"]
    assert [s.answer for s in found.stages] == [False] * 5 + [True]
    assert found.stages[0].activations.values.min() < 0, "shown as it was before the rectifier"
    given = journey(net, photograph(), layers=["mid", "stem"])
    assert [s.name for s in given.stages] == ["stem", "mid"], "in the order in which they run"


def test_a_convnets_stages_and_its_heads_vectors_are_all_on_the_way():
    lenet = convatlas.pretrained("lenet5_modern")
    found = journey(lenet, photograph())
    assert [s.name for s in found.stages] == [*lenet.stages, "f5", "act5", "f6", "act6", "classifier"]
    x = torch.from_numpy(lenet.weights.preprocess(photograph()))[None]
    with torch.no_grad():
        maps, logits = lenet.endpoints(x), lenet(x)[0]
    for stage, truth in zip(found.stages, maps.values()):
        assert torch.equal(stage.activations.values, truth[0])
    best = logits.softmax(0).topk(5)
    assert [label for label, _ in found.answers] == best.indices.tolist()
    assert [share for _, share in found.answers] == pytest.approx(best.values.tolist())
    assert found.labels[3] == "3"


def test_a_module_with_many_maps_of_its_own_is_not_opened():
    layers = [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()) for _ in range(6)]
    assert [s.name for s in journey(nn.Sequential(*layers), photograph()).stages] == list("012345")
    assert len(journey(nn.Sequential(*layers[:5]), photograph()).stages) == 10


class Listed(nn.Module):
    """Its stages are a list, which itself never runs."""

    input_size = (3, 16, 16)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stages = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 5, 3, stride=2)])
        self.dropout, self.fc = nn.Dropout(), nn.Linear(5, 3)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.fc(self.dropout(x).mean((2, 3)))


def test_stops_are_the_stages_of_a_convnet_and_the_children_with_maps_of_any_other(net):
    lenet = convatlas.create("lenet5_modern")
    assert stops(lenet) == list(lenet.stages)
    assert stops(net) == ["stem.0", "stem.1", "mid.0", "mid.1", "gate"]
    assert stops(Listed()) == ["stem", "stages.0", "stages.1"]
    assert [s.name for s in journey(Listed(), torch.rand(3, 16, 16)).stages] == ["stem", "stages.0", "stages.1", "fc"]
    assert net.training
    with pytest.raises(ConvatlasError, match="no child of Vectors gives maps"):
        stops(Vectors())


class Kept(Net):
    """Its forward keeps what it computes, by name and in a list."""

    def __init__(self):
        super().__init__()
        self.seen, self.runs = None, []

    def forward(self, x):
        self.seen = self.mid(self.stem(x))
        self.runs.append(self.seen)
        self.gates = self.gate(self.seen)
        return self.fc(self.flatten(self.gates))


class Branches(nn.Module):
    """A plain dict of modules, which itself never runs."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"first": nn.Conv2d(3, 4, 3), "second": nn.Conv2d(4, 2, 3)})

    def forward(self, x):
        return self.parts["second"](self.parts["first"](x)).mean((2, 3))


def test_a_dict_of_modules_is_opened_like_a_list():
    assert stops(Branches()) == ["parts.first", "parts.second"]
    assert [s.name for s in journey(Branches(), torch.rand(3, 16, 16)).stages] == ["parts.first", "parts.second"]


# ---- what units see ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["stem.0", "mid.0", "mid.1", "gate", "fc"])
def test_every_units_sight_is_its_exact_box(net, layer):
    graph = graph_of(net)
    shapes, place = graph.shapes(), graph.place(layer)
    seen = sights(graph, shapes, place)
    assert seen is not None
    if layer == "fc":
        assert (seen.rows[0], seen.columns[0]) == box(graph, shapes, place, ())
        return
    for row in range(shapes[place][2]):
        for column in range(shapes[place][3]):
            assert (seen.rows[row], seen.columns[column]) == box(graph, shapes, place, (row, column))


def test_the_border_that_no_unit_reads_is_seen_by_none(net):
    stages = {s.name: s for s in journey(net, photograph()).stages}
    assert stages["mid.0"].sight.rows[-1] == (32, 39)  # the field goes on to pixel 42, the stem reads up to 38
    assert stages["gate"].sight.field.whole
    assert not stages["mid.1"].sight.field.whole


def test_behind_a_crop_units_see_what_is_left():
    net = Crop().eval()
    graph = graph_of(net, (3, 12, 12))
    shapes, place = graph.shapes(), graph.place("second")
    seen = sights(graph, shapes, place)
    assert (seen.rows[0], seen.columns[-1]) == ((2, 4), (7, 9))
    assert (seen.rows[0], seen.columns[-1]) == box(graph, shapes, place, (0, shapes[place][3] - 1))


# ---- the page and the figure ------------------------------------------------------------------------------


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_the_page_carries_the_values_and_the_sights(net):
    found = journey(net, photograph())
    data = data_of(found.page(channels=3))
    assert [s["name"] for s in data["stages"]] == [s.name for s in found.stages]
    for told, stage in zip(data["stages"], found.stages):
        whole = np.frombuffer(base64.b64decode(told["values"]), "<i2") * told["peak"] / 32767
        values = stage.activations.values
        if stage.activations.maps:
            assert told["channels"] == list(stage.activations.channels[:3])
            values = values[told["channels"]]
        assert np.abs(whole - values.flatten().numpy()).max() <= told["peak"] / 65534 * 1.01
        assert [tuple(r) for r in told["sight"]["rows"]] == list(stage.sight.rows)


def test_the_page_needs_nothing_else_and_no_name_can_break_it(net):
    net.name = "</script><b>"
    page = journey(net, photograph()).page()
    assert not re.search(r"""(src|href)=["'](?!data:)|https?://|@import|url\(""", page)
    assert page.count("</script>") == 2
    assert data_of(page)["network"] == net.name


def test_one_value_is_an_answer_without_classes():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 1))
    found = journey(net, torch.rand(3, 16, 16))
    assert (found.answers, found.labels, found.stages[-1].answer) == ((), (), True)
    page = found.page()
    assert page.count("all.labels[") == page.count("all.labels.length ?") + 1, "each is asked whether there are any"
    assert len(found.stages[-1].activations.values) == data_of(page)["stages"][-1]["shape"][0] == 1


def test_pages_stay_small():
    lenet = convatlas.pretrained("lenet5_modern")
    assert len(journey(lenet, photograph()).page()) < 1_000_000
    wide = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU()).eval()
    stages = data_of(journey(wide, torch.rand(3, 224, 224)).page())["stages"]
    assert [len(s["channels"]) for s in stages] == [8, 8], "as many values as 32 maps of 112 x 112 have"


def test_the_figure_is_saved_as_its_name_says(net, tmp_path):
    found = journey(net, photograph())
    for name, begins in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.html", b"<!doctype html>")):
        found.save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)
    assert b"stem.0" in (tmp_path / "a.html").read_bytes()
    with pytest.raises(ConvatlasError, match=r"\.html, \.png"):
        found.save(tmp_path / "a.txt")


# ---- what is refused --------------------------------------------------------------------------------------


class Vectors(nn.Module):
    """No child of it gives a map."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


class Words(nn.Module):
    """Its child runs but gives tokens."""

    def __init__(self):
        super().__init__()
        self.conv, self.tokens = nn.Conv2d(3, 4, 4, stride=4), nn.Flatten(2)

    def forward(self, x):
        return self.tokens(self.conv(x)).mean(2)


class Strict(Vectors):
    """Its forward refuses its input in its own way."""

    def forward(self, x):
        if x.shape[-1] != 99:
            raise ValueError("99 pixels wide")
        return super().forward(x)


def test_what_cannot_be_followed_is_refused_in_one_line(net):
    with pytest.raises(ConvatlasError, match=r"^no child of Vectors gives maps"):
        journey(Vectors(), photograph())
    with pytest.raises(ConvatlasError, match=r"^tokens of Words gives neither maps nor a vector$"):
        journey(Words(), photograph(), layers=["conv", "tokens"])
    with pytest.raises(UnknownName, match="did you mean 'stem'"):
        journey(net, photograph(), layers=["stemm"])
    with pytest.raises(ConvatlasError, match="does not run on a picture"):
        journey(net, torch.rand(3, 64, 64))
    with pytest.raises(ConvatlasError, match="lie in"):
        journey(net, torch.full((3, 40, 40), 1.5))
    with pytest.raises(ConvatlasError, match=r"^Strict does not run on a picture \(3, 40, 40\): 99 pixels wide$"):
        journey(Strict(), torch.rand(3, 40, 40), layers=["fc"])


def test_no_tracers_stand_in_stays_in_the_network():
    net = Kept().train()
    journey(net, torch.rand(3, 40, 40))
    assert type(net.seen) is type(net.gates) is torch.Tensor, "what its own run has kept"
    assert [type(kept) for kept in net.runs] == [torch.Tensor]
    net = Kept()
    assert graph_of(net, (3, 40, 40)).place("mid.1")
    assert (net.seen, net.runs, hasattr(net, "gates")) == (None, [], False)


def test_the_network_stays_as_it_is(net):
    before = {key: value.clone() for key, value in net.state_dict().items()}
    journey(net, photograph()).page()
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
