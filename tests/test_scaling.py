"""Compound scaling: the constraint's grid, what a scaled network truly costs, and the grid trained."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest

import convatlas
from convatlas import registry
from convatlas.cli import main
from convatlas.cost import analyze
from convatlas.errors import ConvatlasError, InputTooSmall, UnknownOption
from convatlas.scaling.coefficients import PAPER, Coefficients, Factors, below, grid, nearest, thinned
from convatlas.scaling.compound import beside, candidates, compared, distinct, train_grid
from convatlas.scaling.networks import Base, alone, scaled
from convatlas.scaling.place import Place
from convatlas.scaling.published import family
from convatlas.scaling.results import Candidate
from convatlas.scaling.training import Budget, Trainer

# ---- the constraint ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "step", "tolerance"), [(2, 0.05, 0.1), (2, 0.1, 0.1), (4, 0.1, 0.2), (1, 0.05, 0.05)]
)
def test_the_grid_is_what_brute_force_finds(budget, step, tolerance):
    count = math.ceil((budget + tolerance - 1) / step) + 2
    values = [round(1 + i * step, 6) for i in range(count)]
    wanted = {
        (a, b, c)
        for a, b, c in itertools.product(values, repeat=3)
        if abs(a * b * b * c * c - budget) <= tolerance + 1e-9
    }
    found = grid(budget, step, tolerance)
    assert {(one.alpha, one.beta, one.gamma) for one in found} == wanted
    assert len(found) == len(wanted)


def test_the_papers_own_are_on_the_papers_grid():
    assert PAPER in grid()
    assert len(grid()) == 111
    assert abs(PAPER.product - 2) < 0.1


def test_a_constraint_that_nothing_meets_names_what_is_nearest():
    with pytest.raises(
        ConvatlasError, match=r"the nearest is alpha, beta, gamma = \(1, 1, 1\), with 1: a tolerance of 0.02"
    ):
        grid(1.02, 0.05, 0.001)
    for budget in (1.3, 2.0, 3.3):
        best = nearest(budget, 0.1)
        wanted = min(below(budget + 1, 0.1), key=lambda one: abs(one.product - budget))
        assert best.product == pytest.approx(wanted.product)
        grid(budget, 0.1, abs(best.product - budget) + 1e-6)  # what the message promises


@pytest.mark.parametrize(
    "wrong", [dict(budget=0.5), dict(budget=math.nan), dict(step=0), dict(tolerance=-1), dict(budget=1e9)]
)
def test_requests_that_make_no_sense(wrong):
    with pytest.raises(ConvatlasError, match="not"):
        grid(**wrong)


def test_scaling_up_makes_nothing_smaller():
    with pytest.raises(ConvatlasError, match=r"beta is at least 1, not 0.9"):
        Coefficients(1.2, 0.9, 1.1)
    with pytest.raises(ConvatlasError, match="phi is at least 0"):
        PAPER.at(-1)


def test_thinned_evenly_from_the_first_to_the_last():
    every = grid()
    kept = thinned(every, 12)
    assert len(kept) == 12
    assert (kept[0], kept[-1]) == (every[0], every[-1])
    gaps = {every.index(b) - every.index(a) for a, b in itertools.pairwise(kept)}
    assert max(gaps) - min(gaps) <= 1
    assert thinned(every, 500) == every


# ---- what it truly costs ----------------------------------------------------------------------------------


def test_b0_to_b7_come_out_of_the_released_factors():
    found = family()
    assert [one.name for one in found] == [f"efficientnet_b{n}" for n in range(8)]
    for one in found:
        card = registry.card(one.name)
        assert (one.network.params, one.network.macs, one.network.side) == (card.params, card.macs, card.input_size)
    phi = {one.name: one.phi for one in found}
    assert [round(value, 2) for value in phi["efficientnet_b7"].values()] == [6.21, 7.27, 7.05]
    assert [round(value, 2) for value in phi["efficientnet_b1"].values()] == [0.52, 0.0, 0.49]
    assert found[7].network.ratio == pytest.approx(97.8, abs=0.05)
    assert found[7].network.factors.product == pytest.approx(89.0, abs=0.05)


@pytest.mark.parametrize(
    "name", ["efficientnet_b0", "resnet18", "vgg11", "mobilenet_v2_x0_5", "densenet121", "shufflenet_v2_x0_5"]
)
def test_counted_multiply_adds_are_those_of_the_network_itself(name):
    found = scaled(name, PAPER.at(1))
    net = convatlas.create(name, **found.options, initialise=False)
    assert net.input_size == found.input_size
    assert analyze(net).totals["macs"] == found.macs
    assert found.formula == round(scaled(name).macs * PAPER.product)
    assert found.ratio == found.macs / registry.card(name).macs


def test_a_width_that_a_name_has_already_is_multiplied():
    found = scaled("mobilenet_v2_x0_5", Factors(width=2))
    assert found.params == registry.card("mobilenet_v2_x1_0").params
    assert scaled("efficientnet_b1", Factors(depth=2)).options["depth"] == pytest.approx(2.2)


def test_nothing_scaled_is_the_network_of_the_paper():
    assert scaled("resnet50").options == {}
    assert scaled("resnet50").macs == registry.card("resnet50").macs


def test_a_stem_for_small_pictures_is_not_swapped_for_another():
    assert scaled(Base("efficientnet_b0", side=40), Factors(resolution=2)).side == 80
    with pytest.raises(ConvatlasError, match="has a stem for small pictures"):
        scaled(Base("efficientnet_b0", side=64), Factors(resolution=1.6))


def test_what_a_network_does_not_have_is_said():
    with pytest.raises(UnknownOption, match="no option 'depth'"):
        scaled("squeezenet1_0", Factors(depth=2))
    assert [one.kind for one in beside("squeezenet1_1")] == ["base", "width", "resolution"]
    with pytest.raises(InputTooSmall):
        scaled(Base("alexnet", side=20))


@pytest.mark.parametrize("dimension", ["depth", "width", "resolution"])
def test_one_dimension_alone_comes_as_near_the_target_as_it_can(dimension):
    base = Base("efficientnet_b0", side=64)
    target = 2 * scaled(base).macs
    found = alone(base, dimension, target)
    others = {name: getattr(found.factors, name) for name in ("depth", "width", "resolution") if name != dimension}
    assert set(others.values()) == {1.0}
    for factor in (0.97, 0.99, 1.01, 1.03):
        try:
            other = scaled(base, Factors(**{dimension: max(1.0, getattr(found.factors, dimension) * factor)}))
        except ConvatlasError:  # past the small stem
            continue
        assert abs(found.macs - target) <= abs(other.macs - target)


def test_held_by_the_count_every_candidate_has_the_budget():
    found = candidates("resnet18", 2, counted=True)
    assert found
    assert all(abs(one.network.ratio - 2) <= 0.1 for one in found)
    once = distinct(found)
    assert len({(one.network.params, one.network.macs, one.network.side) for one in once}) == len(once) < len(found)
    assert len(candidates("resnet18", 2, counted=True, most=3)) == 3


# ---- the command line -------------------------------------------------------------------------------------


def test_a_dry_run_needs_no_data_and_lists_every_candidate(capsys):
    assert main(["scale", "grid", "efficientnet_b0", "--budget", "2x", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    listed = told["candidates"]
    assert {(one["alpha"], one["beta"], one["gamma"]) for one in listed} == {
        (one.alpha, one.beta, one.gamma) for one in grid()
    }
    assert (1.2, 1.1, 1.15) in {(one["alpha"], one["beta"], one["gamma"]) for one in listed}
    for one in listed[::10]:
        assert abs(one["product"] - 2) <= 0.1 + 1e-9
        net = convatlas.create(one["network"], **one["options"], initialise=False)
        assert analyze(net).totals["macs"] == one["macs"]
    assert [one["kind"] for one in told["alone"]] == ["depth", "width", "resolution"]


def test_a_dry_run_for_data_counts_the_network_that_is_trained(capsys):
    words = ["scale", "grid", "resnet20_cifar", "--input", "6", "--width", "0.5", "--data", "digits"]
    assert main([*words, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["base"]
    net = convatlas.create("resnet20_cifar", width=0.5, input_size=6, classes=10, channels=1, initialise=False)
    assert (told["params"], told["macs"]) == (analyze(net).totals["params"], analyze(net).totals["macs"])


def test_the_verbs_of_scaling(capsys):
    coefficients = ["--alpha", "1.2", "--beta", "1.1", "--gamma", "1.15"]
    assert main(["scale", "apply", "efficientnet_b0", "--phi", "3", *coefficients, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["depth"], told["width"]) == (pytest.approx(1.728), pytest.approx(1.331))
    assert told["input_size"] == [3, 341, 341]
    assert main(["scale", "family", "resnet18", "--phi", "0..2", "--json"]) == 0
    assert [one["phi"] for one in json.loads(capsys.readouterr().out)] == [0, 1, 2]
    assert main(["scale", "released"]) == 0
    assert "97.83" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grid", "efficientnet_b0", "--budget", "0.5", "--dry-run"], "a budget is between 1 and 64"),
        (["grid", "efficientnet_b0", "--budget", "much", "--dry-run"], "no number of times"),
        (["grid", "efficientnet_b0"], "on which pictures"),
        (["grid", "efficientnet_b9", "--dry-run"], "did you mean"),
        (["apply", "resnet18", "--depth", "2", "--phi", "3"], "coefficients, or factors"),
        (["apply", "resnet18", "--depth", "-1"], "factors are above 0"),
        (["family", "resnet18", "--phi", "4..0"], "no range of steps"),
        (["family", "lenet5"], "no option"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(words, said, capsys):
    assert main(["scale", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_only_equal_compute_is_compared():
    def of(name: str, kind: str, macs: int, *accuracies: float, diverged: bool = False) -> Candidate:
        return Candidate(name, kind, "resnet18", {}, {}, macs, 1, accuracies, 0.0, 0, diverged=diverged)

    done = [
        of("base", "base", 100, 0.5, 0.5),
        of("depth alone", "depth", 200, 0.60, 0.62),
        of("a", "compound", 205, 0.70, 0.72),
        of("b", "compound", 330, 0.90, 0.92),
        of("c", "compound", 199, 0.95, 0.95, diverged=True),
    ]
    said = compared(done, 200)
    assert "the best of the grid, a, is 10.00 points above the best single dimension, depth alone." in said[0]
    assert "b 1.65" in said[-1]
    assert "by one seed" in compared([of("a", "compound", 200, 0.7), of("depth alone", "depth", 200, 0.6)], 200)[0]
    assert "--counted" in compared([done[1], done[3]], 200)[0]


def test_a_dimension_alone_is_never_the_base_again():
    base = Base("resnet20_cifar", side=16, width=0.5)
    assert alone(base, "width", 2 * scaled(base).macs).macs > scaled(base).macs


# ---- trained ----------------------------------------------------------------------------------------------


def test_a_grid_is_trained_compared_and_written(tmp_path: Path):
    base, budget = Base("resnet20_cifar", side=6, width=0.5), Budget("digits", epochs=1)
    events = []
    found = train_grid(base, budget, Place(tmp_path / "study"), most=2, seeds=(0, 1),
                       watch=lambda event, figures: events.append(event))  # fmt: skip
    kinds = [one.kind for one in found.candidates]
    assert kinds == ["base", "depth", "width", "resolution", "compound", "compound"]
    assert len({(one.macs, one.params, one.choices["side"]) for one in found.candidates}) == 6  # nothing twice
    assert all(len(one.accuracies) == 2 for one in found.candidates)
    assert found.winner.kind == "compound"
    assert found.winner.accuracy == max(one.accuracy or 0 for one in found.candidates if one.kind == "compound")
    assert found.counts["finished"] == 12
    assert events.count("finished") == 12
    table = (tmp_path / "study" / "table.csv").read_text().splitlines()
    assert len(table) == 1 + len(found.candidates)
    assert json.loads((tmp_path / "study" / "result.json").read_text())["best"] == found.best
    assert "<html" in (tmp_path / "study" / "report.html").read_text()
    again = train_grid(base, budget, Place(tmp_path / "study"), most=2, seeds=(0, 1))
    assert again.to_json() == found.to_json()  # nothing is trained twice
    with pytest.raises(ConvatlasError, match=r"begun otherwise.*seeds"):
        train_grid(base, budget, Place(tmp_path / "study"), most=2, seeds=(0,))


def test_the_same_seed_trains_the_same_network(tmp_path: Path):
    trainer = Trainer(Budget("digits", epochs=1))
    options = Base("resnet20_cifar", side=6, width=0.5).options
    first, second, other = (trainer("resnet20_cifar", options, seed) for seed in (3, 3, 4))
    assert (first.accuracy, first.loss) == (second.accuracy, second.loss)
    assert other.loss != first.loss


def test_data_with_one_class_are_refused(tmp_path: Path, capsys):
    from PIL import Image

    for number in range(4):
        folder = tmp_path / "photos" / "cats"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (number * 50, 90, 20)).save(folder / f"{number}.png")
    assert main(["scale", "grid", "resnet18", "--input", "32", "--data", f"folder:{tmp_path / 'photos'}", "--out",
                 str(tmp_path / "out")]) == 2  # fmt: skip
    said = capsys.readouterr().err
    assert "class" in said
    assert not (tmp_path / "out").exists()
