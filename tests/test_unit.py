"""The unit's page: what is drawn, found and said of one unit."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convatlas
from convatlas.cli import looking
from convatlas.data import Arrays, loading
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.visualize import optimize, units
from convatlas.visualize import unit_parts as parts
from convatlas.visualize.control import untrained
from convatlas.visualize.crops import View, crops
from convatlas.visualize.finding import examples
from convatlas.visualize.projection import project
from convatlas.visualize.shown import Shown
from convatlas.visualize.unit_page import html, write_unit
from convatlas.visualize.unit_picture import PAPER, picture
from convatlas.visualize.units import Unit, unit
from convatlas.weights.labels import named

SIDE = 16


def network() -> nn.Sequential:
    """Its channel 0 answers to red, 1 is dead, 2 and 3 are as they fall."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    net.input_size = (3, SIDE, SIDE)
    with torch.no_grad():
        net[0].weight[:2], net[0].bias[:2] = 0, 0
        net[0].weight[0, :, 1, 1] = torch.tensor([2.0, -1.0, -1.0])
        net[0].bias[1] = -1
        net[2].weight[:2], net[2].bias[:2] = 0, 0
        net[2].weight[0, 0, 1, 1] = 1
        net[2].bias[1] = 0.5
    return net.train()


@pytest.fixture
def net() -> nn.Sequential:
    return network()


def pictures(count: int = 12) -> Arrays:
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (count, 3, SIDE, SIDE), np.uint8))
    return Arrays(images, torch.zeros(count, dtype=torch.int64), "made", np.arange(count))


@pytest.fixture(scope="module")
def made() -> Unit:
    return unit(network(), "2", 2, pictures(), steps=4)


class Page(HTMLParser):
    """The images of a page and its words."""

    def __init__(self, text: str):
        super().__init__()
        self.images: list[tuple[str, Image.Image]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            told = dict(attrs)
            kind, data = told["src"].split(",", 1)
            assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
            self.images.append((told["alt"], Image.open(io.BytesIO(base64.b64decode(data)))))

    def handle_data(self, data: str) -> None:
        self.words += data + "\n"


# ---- what is drawn ----------------------------------------------------------------------------------------


def test_a_unit_that_answers_to_red_is_drawn_red(net):
    found = unit(net, "0", 0, pictures(), steps=48)
    red, green, blue = found.positive.picture.mean((1, 2))
    assert red > max(green, blue) + 0.05
    red, green, blue = found.negative.picture.mean((1, 2))
    assert red < min(green, blue) - 0.05
    assert found.negative.value < 0 < found.positive.value
    red, green, blue = found.control.picture.mean((1, 2))
    assert red < max(green, blue)


def test_what_is_never_below_zero_has_nothing_against_it(net):
    found = unit(net, "1", 0, pictures(), steps=2)
    assert (found.negative, found.lowest, found.floor) == (None, (), 0)
    assert found.quiet == pytest.approx(float((found.found.sample[0] == 0).float().mean()))
    assert "never below 0" in Page(html(found)).words


def test_a_dead_unit_is_labelled(net):
    found = unit(net, "1", 1, pictures(), steps=20, control=False)
    assert found.positive.dead
    words = Page(html(found)).words
    assert "This unit is dead" in words
    assert "It gives 0 at every place of every picture" in words
    assert found.highest == found.lowest == found.middle == ()
    assert parts.drawn(found)[0].words == "dead"


def test_the_control_is_another_network_of_the_same_shape(net):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    one, two = untrained(net, seed=3)[0], untrained(net, seed=3)[0]
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
        assert not torch.equal(value, one.state_dict()[name])
        assert torch.equal(one.state_dict()[name], two.state_dict()[name])


def test_the_controls_batch_norms_see_the_pictures_first(net):
    """As in a first training step: each then gives mean 0 and deviation 1, as numpy has it, on these pictures."""
    net[1] = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())
    x = torch.randn(5, 3, SIDE, SIDE) * 3 + 1
    blank = untrained(net, x=x)[0]
    with torch.no_grad():
        values = blank[1][0](blank[0](x)).movedim(1, 0).flatten(1).numpy()
    np.testing.assert_allclose(values.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(1), 1, atol=1e-2)


def test_the_control_leaves_the_random_numbers_alone(net, monkeypatch):
    """On every device: torch.manual_seed would seed those too that the network is not on."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.random.get_rng_state()
    untrained(net, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert seeded == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nor_does_it_touch_those_of_the_device_that_it_fills(net):
    net.cuda()
    before = torch.cuda.get_rng_state()
    one, two = untrained(net, seed=3)[0], untrained(net, seed=3)[0]
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert torch.equal(one[0].weight, two[0].weight)


@pytest.mark.parametrize("title", ["drawing the unit", "drawing the control"])
def test_what_was_drawn_before_it_was_interrupted_is_on_the_page(net, title):
    def watch(doing: str, done: int, of: int) -> None:
        if doing == title:
            raise KeyboardInterrupt

    found = unit(net, "2", 2, pictures(), steps=96, watch=watch)
    assert found.interrupted
    assert found.notes[0].endswith(f"of {96} steps.")
    assert "nterrupted after" in Page(html(found)).words
    assert (found.control is None) == (title == "drawing the unit")
    assert found.negative is not None
    assert len(found.highest) == 9
    assert found.highest[0].projection is not None


def test_a_control_that_is_interrupted_before_its_first_step_leaves_the_rest(net, monkeypatch):
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(units, "untrained", interrupted)
    found = unit(net, "2", 2, pictures(), steps=2)
    assert (found.control, found.interrupted) == (None, True)
    assert "Interrupted before the control was drawn." in Page(html(found)).words


def test_a_flat_background_is_no_floor(net):
    """A linear layer's lowest value, on most of every picture, is not a value below which it never is."""
    flat = torch.full((4, 3, SIDE, SIDE), 20, dtype=torch.uint8)
    flat[:, 0, 6:9, 6:9] = 250
    with torch.no_grad():
        net[0].weight[2], net[0].bias[2] = 0.1, 0
    found = unit(net, "0", 2, Arrays(flat, torch.zeros(4, dtype=torch.int64), "made", np.arange(4)), steps=1)
    values = found.found.values(2)
    assert (values[: len(values) // 2] > found.found.bottom(2)[0].value - 1e-6).all()
    assert found.floor is None
    assert found.negative is not None
    assert len(found.lowest) == 4


def test_a_unit_that_is_constant_has_neither_end(net):
    found = unit(net, "2", 1, pictures(3), steps=1, control=False)
    assert (found.floor, found.highest, found.lowest) == (None, (), ())


def test_parameters_that_nothing_fills_are_named():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.conv = nn.Parameter(torch.ones(1)), nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) * self.scale

    net = nn.Sequential(Scaled())
    net.input_size = (3, SIDE, SIDE)
    assert untrained(net)[1] == ["0.scale"]
    assert any(
        "keeps 1 parameters" in note and "0.scale" in note for note in unit(net, "0", 1, pictures(), steps=1).notes
    )


# ---- what is found ----------------------------------------------------------------------------------------


def test_one_pass_serves_all_units(net, made):
    found = examples(net, "2", pictures())
    again = unit(net, "2", 2, found, steps=4)
    assert [crop.example for crop in again.highest] == [crop.example for crop in made.highest] == found.top(2)
    assert [crop.example for crop in again.lowest] == found.bottom(2)
    assert torch.equal(again.positive.picture, made.positive.picture)
    with pytest.raises(ConvatlasError, match="examples of 2, not of 0"):
        unit(net, "0", 2, found, steps=1)


def test_the_spectrum_rises(made):
    values = [float(cell.value.removeprefix("mean ").replace("−", "-")) for cell in parts.spectrum(made)]
    assert len(values) == 1 + 3 + 3 + 3 + 1
    assert values[1:-1] == sorted(values[1:-1])


def test_a_projection_is_what_deconvnet_leads_back_to_the_crop(net, made):
    assert made.unprojected == ""
    crop = made.highest[0]
    x = Shown(net)(made.found.pictures.images[crop.example.picture][None] / 255)
    led = project(net, x, "2", 2, at=[(crop.example.row, crop.example.column)])[0]
    (top, bottom), (left, right) = crop.box
    torch.testing.assert_close(crop.projection, led[:, top:bottom, left:right])
    led[:, top:bottom, left:right] = 0
    assert not led.any()  # nothing is led to what the crop leaves out


def test_where_deconvnet_is_not_defined_the_page_says_why(net):
    net[1] = nn.SiLU()
    found = unit(net, "2", 2, pictures(), steps=1)
    assert all(crop.projection is None for crop in found.highest)
    assert "No projections: deconvnet is defined for networks of rectifiers" in Page(html(found)).words


def test_a_gate_is_told_of():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return x * x.mean((2, 3), keepdim=True).sigmoid()

    net = nn.Sequential(Gated())
    net.input_size = (3, SIDE, SIDE)
    assert any("local path" in note for note in unit(net, "0", 1, pictures(), steps=1).notes)


def test_the_bars_are_of_this_channel(made):
    bars = parts.bars(made)
    values = made.found.sample[2].numpy()
    counts = np.histogram(values, parts.BARS, (made.lowest[0].example.value, made.highest[0].example.value))[0]
    np.testing.assert_allclose(bars.heights, counts / counts.max())
    assert bars.at(made.highest[0].example.value) == 1


# ---- the page ---------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_beside_itself(made):
    text = html(made)
    assert "://" not in text
    assert "url(" not in text
    page = Page(text)
    assert len(page.images) == 3 + 11 + 2 * 9 + 9
    assert "Channel 2 of 2" in page.words


def test_the_page_shows_the_very_pixels(made):
    crop = made.highest[0]
    shown = next(picture for alt, picture in Page(html(made)).images if alt == crop.name)
    top, left = crop.offset
    pixels = np.asarray(shown)[top:, left:][: crop.picture.shape[1], : crop.picture.shape[2]]
    assert shown.size == (5, 5)
    assert (pixels[..., 3] == 255).all()
    np.testing.assert_array_equal(pixels[..., :3], (crop.picture * 255).round().byte().permute(1, 2, 0).numpy())
    assert (np.asarray(shown)[..., 3] == 255).sum() == crop.picture[0].numel()


def test_a_crop_at_the_border_lies_where_it_lies_in_the_window(net):
    found = unit(net, "0", 3, pictures(1), steps=1, most=1)
    crop = found.highest[0]
    view = View(net, "0", (4, SIDE, SIDE), (3, SIDE, SIDE))
    (corner,) = crops(found.found, view, [replace(crop.example, row=0, column=SIDE - 1)])
    for one, hatched in ((corner, True), (replace(corner, window=corner.box), False)):
        assert ("What is hatched lies beyond" in html(replace(found, highest=(one,), unprojected="no"))) == hatched
    alpha = np.asarray(parts.cell(found, corner).picture)[..., 3] > 0
    assert alpha.tolist() == [[False] * 3, [True, True, False], [True, True, False]]


def test_the_same_seed_gives_the_same_page(made, net):
    assert html(unit(net, "2", 2, pictures(), steps=4)) == html(made)


@pytest.mark.parametrize("name", ["unit.html", "unit.png"])
def test_it_is_written_whole(made, tmp_path, name):
    write_unit(made, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name == "unit.png":
        with Image.open(tmp_path / name) as picture:
            assert picture.width == 1600
            assert picture.height > 1000
    with pytest.raises(ConvatlasError, match=r"should end in \.html, \.png"):
        write_unit(made, tmp_path / "unit.txt")
    with pytest.raises(ConvatlasError, match=f"{name}/{name} cannot be written"):
        write_unit(made, tmp_path / name / name)  # its folder is a file
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_picture_grows_with_what_is_on_it(made):
    """So many crops need 17,000 rows; the last rows before the margin are not empty."""
    many = replace(made, highest=made.highest * 14, lowest=made.lowest * 14)
    page = np.asarray(picture(many))
    assert len(page) > 12_000
    assert (page[-48:] == PAPER).all()
    assert all(np.unique(part).size > 8 for part in np.array_split(page[:-48], len(page) // 400))


def test_a_name_that_no_page_has_is_refused_before_any_work(monkeypatch):
    def never(*given: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(looking, "network_of", never)
    monkeypatch.setattr(loading, "load", never)
    with pytest.raises(ConvatlasError, match=r"x\.txt should end in \.html"):
        looking.unit("lenet5_modern", "stage1", 0, data="folder:nowhere", out=Path("x.txt"))
    for verb, given in (("filters", []), ("activations", ["photo.png", "c3"]), ("journey", ["photo.png"])):
        with pytest.raises(ConvatlasError, match=r"x\.txt should end in \."):
            getattr(looking, verb)("lenet5_modern", *given, out=Path("x.txt"))


def test_an_interrupted_page_is_told_by_the_status(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(looking, "network_of", lambda *given: network())
    for interrupted, status in ((False, 0), (True, 130)):
        monkeypatch.setattr(units, "unit", lambda *a, how=interrupted, **k: replace(made, interrupted=how))
        assert looking.unit("NET", "2", 2, data=f"folder:{tmp_path}", out=tmp_path / "a.html") == status
        assert ("interrupted: the page is what there was" in capsys.readouterr().err) == interrupted


def test_where_a_value_is_no_number_the_last_good_picture_is_kept(tmp_path, monkeypatch):
    for number in range(2):
        Image.new("RGB", (SIDE, SIDE), (90 * number, 40, 7)).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(looking, "network_of", lambda *given: network())
    good = optimize.Visualization("channel 2 of 2", torch.rand(1, 3, SIDE, SIDE), (), (False,), 4)

    def broken(*given: object, **options: object) -> None:
        raise optimize.NotFinite("channel 2 of 2 is no finite number in step 5", good)

    monkeypatch.setattr(units, "visualize", broken)
    with pytest.raises(ConvatlasError, match="in step 5"):
        looking.unit("NET", "2", 2, data=f"folder:{tmp_path}", out=tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()
    with Image.open(tmp_path / "a-drawn.png") as kept:
        assert kept.size == (SIDE, SIDE)


def test_the_class_of_a_logit_is_named():
    net = convatlas.create("lenet5_modern")
    grey = Arrays(torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8), torch.zeros(3), "made", np.arange(3))
    found = unit(net, "classifier", 3, grey, steps=1, control=False)
    assert parts.title(found) == "Unit 3 of head.classifier"
    assert "sees the whole picture" in parts.facts(found)
    net.weights = SimpleNamespace(labels=named("digits", 10), preprocess=found.found.preprocess)
    found = unit(net, "classifier", 3, grey, steps=1, control=False)
    assert parts.title(found) == "Unit 3 of head.classifier: 3"
    assert "Unit 3 of head.classifier: 3\n" in Page(html(found)).words


def test_what_does_not_exist_is_said_in_a_line(net):
    with pytest.raises(UnknownName, match="unknown layer"):
        unit(net, "7", 0, pictures(), steps=1)
    with pytest.raises(ConvatlasError, match="2 has channels 0 to 3, no 4"):
        unit(net, "2", 4, pictures(), steps=1)
    with pytest.raises(ConvatlasError, match="no -1"):
        unit(net, "2", -1, pictures(), steps=1)


@pytest.mark.parametrize("pooled", [True, False])
def test_a_page_says_where_deconvnet_has_no_switches_to_follow(pooled: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *([nn.MaxPool2d(2)] if pooled else []), nn.Conv2d(4, 4, 3))
    net.input_size = (3, 32, 32)
    made = unit(net, "3" if pooled else "2", 0, pictures(), steps=2, control=False)
    assert made.switched is pooled
    assert ("with none on the way" in parts.about_highest(made)) is not pooled
