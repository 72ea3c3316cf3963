"""Architecture search: the space and what its networks cost, the aim, the search itself."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import convatlas
from convatlas.cli import main
from convatlas.cost import analyze
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.source import module_of
from convatlas.scaling.place import Place
from convatlas.scaling.search import Aim, search
from convatlas.scaling.space import MIDDLE, NETWORK, Space, fitting, source
from convatlas.scaling.training import Budget
from convatlas.train.asked import Stopped

DIGITS = Space(8, 10, 1, 0.1)
FEW = Budget("digits", epochs=1)


def drawn(space: Space, seed: int) -> dict[str, object]:
    chance = random.Random(seed)
    return {name: chance.choice(values) for name, values in space.choices.items()}


# ---- the space --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space", [DIGITS, Space(28, 10, 1, 0.35), Space(33, 7), Space(224, 1000, 3, 0.5)], ids=lambda s: f"{s.side}"
)
def test_counted_block_by_block_a_candidate_costs_what_its_graph_does(space):
    for seed in range(12):
        chosen = drawn(space, seed)
        totals = analyze(space.graph(chosen)).totals
        assert space.cost(chosen) == (totals["macs"], totals["params"])


def test_what_was_counted_before_is_known_in_well_below_a_millisecond():
    import time

    chosen = drawn(DIGITS, 0)
    DIGITS.cost(chosen)
    start = time.perf_counter()
    for _ in range(100):
        DIGITS.cost(chosen)
    assert (time.perf_counter() - start) / 100 < 1e-3


def test_a_candidate_has_what_was_chosen_for_it():
    chosen = {**DIGITS.alike(MIDDLE), "stage3.expand": 0, "stage3.kernel": 5, "stage4.gate": True, "stage5.skip": False,
              "stage6.layers": 1}  # fmt: skip
    net = convatlas.create(NETWORK, **DIGITS.options(chosen), classes=10, channels=1)
    stages = [list(getattr(net.trunk, f"stage{n}")) for n in range(2, 7)]
    assert type(stages[1][0]).__name__ == "PlainConv"
    assert stages[1][0].branch.conv.conv.kernel_size == (5, 5)
    assert all(hasattr(block.branch, "gate") for block in stages[2])
    assert not any(block.residual for block in stages[3])
    assert [block.residual for block in stages[2]] == [
        block is not stages[2][0] or DIGITS.design(chosen)["rows"][1][3] == DIGITS.design(chosen)["rows"][2][3]
        for block in stages[2]
    ]
    assert [len(stage) for stage in stages] == [1, 2, 3, 4, 4]


def test_maps_stay_large_enough_for_small_pictures():
    for side in (6, 8, 16, 28, 64):
        space = Space(side, 10)
        graph = space.graph(space.smallest())
        last = [shape for shape in graph.shapes() if len(shape) == 4 and shape[2] > 1][-1]
        assert last[2] >= min(4, side)


def test_the_smallest_network_is_the_smallest():
    least = DIGITS.cost(DIGITS.smallest())[0]
    assert all(DIGITS.cost(drawn(DIGITS, seed))[0] >= least for seed in range(200))


def test_the_space_is_laid_around_the_target():
    for target in (1e6, 1e7, 1e8):
        space = fitting(32, 10, 3, target)
        middle = space.cost(space.alike(MIDDLE))[0]
        assert target / 2.5 < middle < target * 2.5
    with pytest.raises(
        ConvatlasError, match=r"below the smallest network of the space, which has 4\d\d K at 32 pixels"
    ):
        fitting(32, 10, 3, 1e4)


def test_the_best_is_printed_as_a_file_of_nets(tmp_path):
    chosen = {**drawn(DIGITS, 5), "stage2.skip": False}
    (tmp_path / "found.py").write_text(source("found", DIGITS, chosen, ["From a test."]))
    net = module_of(f"{tmp_path / 'found.py'}:found")
    totals = analyze(net).totals
    assert (totals["macs"], totals["params"]) == DIGITS.cost(chosen)
    assert max(map(len, (tmp_path / "found.py").read_text().splitlines())) <= 120
    # Put into nets/, it is registered.
    code = ("import importlib.util, sys; from convatlas import registry; spec = importlib.util.spec_from_file_location("
            "'convatlas.nets.found', sys.argv[1]); module = importlib.util.module_from_spec(spec); "
            "spec.loader.exec_module(module); net = registry.create('found'); "
            "print(sum(p.numel() for p in net.parameters()))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "found.py")], capture_output=True, text=True)
    assert done.stdout.strip() == str(DIGITS.cost(chosen)[1]), done.stderr


@pytest.mark.parametrize("design", [{}, {"rows": [], "stem": 8, "top": 8}, {"rows": [(3, 1)], "stem": 8, "top": 8},
                                    {"rows": [(3, 1, 1, 8, 0, False)], "stem": 8, "top": 8}, [1, 2]])  # fmt: skip
def test_what_is_no_design_is_said(design):
    with pytest.raises(ConvatlasError, match="a design is"):
        convatlas.create(NETWORK, design=design)


# ---- the aim ----------------------------------------------------------------------------------------------


def test_the_reward_is_mnasnets():
    aim = Aim(macs=1e6)
    assert aim.reward(0.8, 1e6) == pytest.approx(0.8)
    assert aim.reward(0.8, 2e6) == pytest.approx(0.8 * 2**-0.07)
    assert aim.reward(0.8, 5e5) > 0.8
    assert Aim(macs=1e6, weight=0).reward(0.8, 9e6) == 0.8


@pytest.mark.parametrize(
    "wrong", [dict(macs=1e6, seconds=1), dict(macs=0), dict(macs=1e6, over=0.5), dict(macs=1, weight=0.1)]
)
def test_aims_that_make_no_sense(wrong):
    with pytest.raises(ConvatlasError):
        Aim(**wrong)


# ---- the search -------------------------------------------------------------------------------------------


def test_a_search_from_the_command_line(tmp_path: Path, capsys):
    out = tmp_path / "study"
    words = ["search", "--data", "digits", "--target-macs", "200K", "--over", "1.2", "--epochs", "1", "--out", str(out)]
    assert main([*words, "--trials", "3"]) == 0
    told = capsys.readouterr()
    assert "found.json" not in told.err
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert len(rows) == 3
    assert all(int(row["macs"]) <= 1.2 * 200e3 for row in rows)
    result = json.loads((out / "result.json").read_text())
    assert result["counts"]["thrown_out"] > 0
    best = max(result["candidates"], key=lambda one: one["reward"])
    assert result["best"] == best["name"]
    net = module_of(f"{out / 'found.py'}:found")
    assert sum(p.numel() for p in net.parameters()) == best["params"]
    assert main([*words, "--trials", "4", "--json"]) == 0  # goes on
    again = json.loads(capsys.readouterr().out)
    assert again["candidates"][:3] == result["candidates"]
    assert len(again["candidates"]) == 4
    assert main(["train", "mnasnet_a1", "--design", str(out / "found.json"), "--data", "digits", "--epochs", "1",
                 "--out", str(tmp_path / "run"), "--quiet", "--json"]) == 0  # fmt: skip
    capsys.readouterr()
    assert main(["show", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["params"] == json.loads((out / "result.json").read_text())[
        "candidates"][int(again["best"]) - 1]["params"]  # fmt: skip


def test_a_folder_with_another_studys_report_is_not_written_over(tmp_path: Path, capsys):
    words = ["search", "--data", "digits", "--target-macs", "200K", "--epochs", "1", "--trials", "1", "--out",
             str(tmp_path / "s")]  # fmt: skip
    assert main([*words, "--storage", f"sqlite:///{tmp_path / 'a.db'}", "--study", "one"]) == 0
    before = (tmp_path / "s" / "report.html").read_text()
    assert main([*words, "--storage", f"sqlite:///{tmp_path / 'b.db'}", "--study", "two"]) == 2
    assert "holds the report of the study one" in capsys.readouterr().err
    assert (tmp_path / "s" / "report.html").read_text() == before


@pytest.mark.parametrize("by", ["random", "evolution", "tpe"])
def test_stopped_and_taken_up_again_it_is_the_same_study(tmp_path: Path, by, monkeypatch):
    """Training is left out: a candidate's accuracy follows from its multiply-adds and seed."""
    from convatlas.scaling import training

    def accuracy(self, network, options, seed, told=None):
        rows = options["design"]["rows"]
        value = 0.5 + sum(row[0] == 5 for row in rows) / 20 + (seed % 997) / 1e5
        return training.Result(value, 1.0, 1.0, 0.0)

    monkeypatch.setattr(training.Trainer, "__call__", accuracy)
    whole = search(FEW, Place(tmp_path / "whole"), Aim(macs=2e5), trials=24, by=by, seed=3)
    cut = Place(tmp_path / "cut")
    for stop in (2, 11, 17):
        seen: list[int] = []

        def interrupted(self, network, options, seed, told=None, stop=stop, seen=seen):
            seen.append(seed)
            if len(seen) > stop // 2:
                raise Stopped
            return accuracy(self, network, options, seed)

        monkeypatch.setattr(training.Trainer, "__call__", interrupted)
        with pytest.raises(Stopped):
            search(FEW, cut, Aim(macs=2e5), trials=24, by=by, seed=3)
    monkeypatch.setattr(training.Trainer, "__call__", accuracy)
    resumed = search(FEW, cut, Aim(macs=2e5), trials=24, by=by, seed=3)
    mine, theirs = (
        [(one.name, one.choices, one.accuracies, one.reward) for one in found.candidates] for found in (whole, resumed)
    )
    assert mine == theirs
    assert resumed.best == whole.best
    assert resumed.counts["died"] == 3


def test_two_goals_give_a_front_and_halving_ends_the_poor_early(tmp_path: Path, monkeypatch):
    from convatlas.scaling import training

    def accuracy(self, network, options, seed, told=lambda *_: None):
        chance = np.random.default_rng(seed)
        final = chance.uniform(0.3, 0.9)
        for epoch in range(1, 10):
            told(epoch, final * epoch / 9)
        return training.Result(final, 1.0, 9.0, 0.0)

    monkeypatch.setattr(training.Trainer, "__call__", accuracy)
    found = search(FEW, Place(tmp_path / "front"), Aim(macs=3e5, front=True), trials=30)
    front = found.front()
    assert front
    for one in front:
        assert not any(other.accuracy > one.accuracy and other.macs < one.macs for other in found.candidates)
    assert [one.macs for one in front] == sorted(one.macs for one in front)
    halved = search(Budget("digits", epochs=9), Place(tmp_path / "halved"), Aim(macs=3e5), trials=30, halving=True)
    ended = [one for one in halved.candidates if one.accuracy is None]
    assert len(ended) == halved.counts["halved"] > 10
    assert all(one.halved_at is not None for one in ended)
    assert halved.winner.accuracy is not None
    with pytest.raises(ConvatlasError, match="not with a front"):
        search(FEW, Place(tmp_path / "both"), Aim(macs=3e5, front=True), halving=True)


def test_time_as_the_target_needs_a_calibration(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path / "cache"))
    assert main(["search", "--data", "digits", "--target-ms", "1", "--out", str(tmp_path / "s")]) == 2
    assert "convatlas calibrate" in capsys.readouterr().err
    from convatlas.cost.latency import Ceilings, Machine, Rates
    from convatlas.cost.machine import default_threads, processor
    from convatlas.cost.work import KINDS

    flat = Rates(call=1e-5, mac=1e-11, edge=0.0, narrow=0.0, byte=1e-10, far=0.0, weight=1e-10)
    ceilings = Ceilings(dict.fromkeys(KINDS, flat), {}, 1e-4, 16, 1e-10, 0.1)
    machine = Machine(processor(), default_threads(), 1 << 40, {}, "2026-01-01", {"onnxruntime": ceilings})
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "machine.json").write_text(json.dumps(machine.to_json()))
    assert main(["search", "--data", "digits", "--target-ms", "0.01", "--out", str(tmp_path / "s")]) == 2
    assert "below the smallest network" in capsys.readouterr().err
    assert main(["search", "--data", "digits", "--target-ms", "1", "--epochs", "1", "--trials", "2", "--out",
                 str(tmp_path / "s"), "--json"]) == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert all(0 < one["latency"] < 1.5e-3 for one in told["candidates"])
    assert told["target"] == {"latency": 1e-3}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "digits"], "for which target"),
        (["--data", "digits", "--target-macs", "1K"], "below the smallest network"),
        (["--data", "digits", "--target-macs", "1M", "--sampler", "tpr"], "did you mean 'tpe'"),
        (["--data", "digits", "--target-macs", "1M", "--space", "mbconf"], "did you mean 'mbconv'"),
        (["--data", "digits", "--target-macs", "1M", "--trials", "0"], "at least 1 trial"),
        (["--data", "digits", "--target-macs", "1M", "--target-ms", "3"], "one target"),
        (["--data", "nosuch", "--target-macs", "1M"], "unknown data set"),
        (["--data", "digits", "--target-macs", "1M", "--storage", "mysql://x"], "is no storage"),
        (["--data", "digits", "--target-macs", "1M", "--recipe", "nosuch"], "unknown recipe"),
        (
            ["--data", "digits", "--target-macs", "1M", "--storage", "postgresql://me:secret@127.0.0.1:1/x"],
            "cannot be reached",
        ),
    ],
)
def test_what_is_asked_wrongly_is_one_line(tmp_path: Path, words, said, capsys):
    assert main(["search", *words, "--out", str(tmp_path / "s")]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert "secret" not in told


def test_another_sampler_is_another_name():
    from convatlas.scaling.samplers import sampler

    with pytest.raises(UnknownName, match="did you mean 'evolution'"):
        sampler("evolutoin", 0)
