"""Times are compared in the same rounds, on a quiet machine, and layer by layer; no claim depends on this machine's."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch
from torch import nn

import convatlas
from convatlas.cli import benchmark as verb
from convatlas.cli import main
from convatlas.cost.machine import default_threads
from convatlas.deploy import benchmark as benchmarking
from convatlas.deploy import layers as layering
from convatlas.deploy import load, timing
from convatlas.deploy.benchmark import benchmark
from convatlas.deploy.layers import BETWEEN, Layers, layers
from convatlas.deploy.load import Counters, Load, between, counters
from convatlas.deploy.origins import OTHER, REORDER, Origins
from convatlas.deploy.timing import Timing, interleaved, quartiles, ratio
from convatlas.errors import ConvatlasError, UnknownName

SMALL = "lenet5_modern"
QUIET = Load(0.01, 0.0, 2, 0.1)
LOUD = Load(1.5, 0.25, 2, 3.0)


class Clock:
    """A clock that only its own sleep moves."""

    def __init__(self):
        self.now, self.told = 0.0, []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.told.append(f"pause {seconds}")

    def subject(self, name: str, *seconds: float):
        """A call that takes so long, the last for ever."""
        left = list(seconds)

        def call() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]
            self.told.append(name)

        return call


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=made.perf_counter, sleep=made.sleep))
    return made


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A quiet machine, and a cache of the test's own; called with a load, one that has it."""
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path / "cache"))

    def has(found: Load, later: Load | None = None) -> None:
        monkeypatch.setattr(load, "busy", lambda: found)
        for module in (benchmarking, layering):
            monkeypatch.setattr(module, "between", lambda before, after: later or found)

    has(QUIET)
    return has


def complaint(call, *args, error=ConvatlasError, **options) -> str:
    with pytest.raises(error) as caught:
        call(*args, **options)
    return str(caught.value)


# ---- by turns ---------------------------------------------------------------------------------------------


def test_a_time_is_a_median_with_quartiles_and_the_least():
    found = Timing.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.median, found.low, found.high, found.least, found.rounds) == (3, 2, 4, 1, 5)
    assert found.series == (5, 1, 2, 4, 3)
    assert quartiles([1.0, 2.0]) == (1.25, 1.75)
    assert quartiles([7.0]) == (7, 7)
    assert json.loads(json.dumps(found.to_json()))["median"] == 3


def test_calls_are_timed_by_turns_after_a_pause_and_a_waking_call(clock):
    found = interleaved({"a": clock.subject("a", 0.25), "b": clock.subject("b", 0.5)}, rounds=2, seconds=0.5)
    pause = f"pause {timing.SETTLE}"
    warm = clock.told.index(pause)
    assert clock.told[:warm] == ["a", "a", "b", "b"]
    # One wakes it; two, or one, are timed.
    assert clock.told[warm:] == [pause, "a", "a", "a", pause, "b", "b"] * 2
    assert [found[name].calls for name in "ab"] == [2, 1]
    assert [found[name].median for name in "ab"] == pytest.approx([0.25, 0.5])


def test_a_measurement_takes_five_milliseconds_however_slow_the_first_calls_were(clock):
    found = interleaved({"a": clock.subject("a", 0.3, 0.2, 0.001)}, rounds=3)
    assert found["a"].calls == 1  # half a second was enough to warm it up
    found = interleaved({"a": clock.subject("a", 0.3, 0.1, 0.001)}, rounds=3)
    assert found["a"].calls in (5, 6)
    assert found["a"].median == pytest.approx(0.001)


def test_what_disturbs_a_round_does_not_change_the_ratio():
    quiet = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0]
    slowed = [1.0, 9.0, 4.0, 7.0, 1.0, 5.0, 1.0]  # everything, in four rounds of seven
    a = Timing.of([3 * t * s for t, s in zip(quiet, slowed)])
    b = Timing.of([t * s for t, s in zip(quiet, slowed)])
    found = ratio(a, b)
    assert (found.median, found.low, found.high) == pytest.approx((3, 3, 3))
    assert a.median / Timing.of(quiet).median > 6  # as the times themselves are


def test_a_ratio_is_the_median_of_ratios_not_the_ratio_of_medians():
    a, b = Timing.of([3 * 1.0, 2 * 10.0, 4 * 5.0]), Timing.of([1.0, 10.0, 5.0])
    assert (ratio(a, b).median, a.median / b.median) == (3, 4)


def test_of_one_disturbed_subject_the_ratio_is_that_of_the_other_rounds():
    a, b = Timing.of([2.0, 2.0, 40.0, 2.0, 2.0]), Timing.of([1.0] * 5)
    assert ratio(a, b).median == 2
    assert ratio(a, b).high == 2


def test_a_ratio_is_of_the_same_rounds():
    assert "by turns" in complaint(ratio, Timing.of([1.0]), Timing.of([1.0, 2.0]))


def test_wide_quartiles_are_unsteady():
    assert Timing.of([1.0, 1.0, 1.2, 1.2]).unsteady
    assert not Timing.of([1.0, 1.0, 1.1, 1.1]).unsteady
    assert not Timing.of([1.0, 1.0, 1.0, 1.0, 90.0]).unsteady


@pytest.mark.parametrize("options", [{"rounds": 0}, {"seconds": 0.0}, {"seconds": float("nan")}])
def test_no_rounds_and_no_length_are_refused(options):
    complaint(interleaved, {"a": lambda: None}, **options)


def test_nothing_is_not_timed():
    assert complaint(interleaved, {}) == "nothing to time"


# ---- the machine's load -----------------------------------------------------------------------------------


def test_what_others_take_is_what_we_do_not():
    # Ten seconds of two cores: 8 busy, of them 1 stolen; we took 5.
    found = between(Counters(100, 50, 3, 20), Counters(120, 58, 4, 25))
    assert (found.others, found.stolen) == pytest.approx((3 * load.cores() / 20, load.cores() / 20))


def test_a_system_that_counts_nothing_is_unknown_and_not_refused():
    for before, after in [(None, None), (Counters(0, 0, 0, 0), Counters(0, 0, 0, 0.1))]:
        found = between(before, after)
        assert found.others is None
        assert not found.too_busy(1)
        assert "unknown" in str(found)
        assert found.to_json()["share"] is None


def test_the_counters_are_those_of_the_cores_that_we_may_use(tmp_path, monkeypatch):
    rows = ["cpu  9 9 9 9 9 9 9 9 9 9", "cpu0 100 10 20 600 70 5 5 40 30 0", "cpu1 9 9 9 9 9 9 9 9 9 9", "intr 1 2"]
    (tmp_path / "stat").write_text("\n".join(rows))
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "stat").write_text("7 (a) b (c) R 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0")
    monkeypatch.setattr(load, "PROC", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    found = counters()
    assert found == Counters(total=8.5, busy=1.8, stolen=0.4, own=2.0)
    monkeypatch.setattr(load, "PROC", tmp_path / "none")
    assert counters() is None


def test_our_own_work_is_not_the_load_of_others():
    before = counters()
    if before is None or not before.total:
        pytest.skip("no counters here")
    start = time.process_time()
    while time.process_time() < start + 0.3:
        pass
    ours, after = time.process_time() - start, counters()
    assert after.own - before.own == pytest.approx(ours, abs=0.1)
    assert after.busy - before.busy >= ours - 0.1  # it is in what everybody took


def test_others_may_take_a_third_of_a_core_or_a_quarter_of_those_to_spare():
    def most(others: float, cores: int, threads: int) -> bool:
        return not Load(others, 0, cores, None).too_busy(threads)

    assert most(0.33, 2, 2)
    assert not most(0.35, 2, 2)
    assert not most(0.35, 2, 1)
    assert most(11.9, 64, 16)
    assert not most(12.1, 64, 16)


def test_a_busy_machine_is_refused_in_a_line_that_says_what_to_do(machine):
    machine(LOUD)
    said = complaint(benchmark, SMALL)
    assert "1.50 of 2 cores (0.25 of it stolen" in said
    assert "--busy" in said
    assert complaint(layers, SMALL) == said


def test_what_was_measured_beside_others_says_so(machine):
    machine(LOUD)
    found = benchmark(SMALL, rounds=1, engines=("eager",), allow_busy=True)
    assert found.notes[0].startswith("BUSY")
    assert found.to_json()["notes"][0].startswith("BUSY")
    assert found.to_json()["load"]["before"]["others"] == 1.5
    machine(QUIET, later=LOUD)
    assert "measure again" in benchmark(SMALL, rounds=1, engines=("eager",)).notes[0]
    machine(QUIET)
    assert not any("BUSY" in note for note in benchmark(SMALL, rounds=1, engines=("eager",)).notes)


# ---- networks ---------------------------------------------------------------------------------------------


def test_every_model_is_timed_by_every_engine_in_one_run():
    found = benchmark(["lenet5*"], engines=("eager", "onnxruntime"), batch=2, threads=1, rounds=2)
    assert [(row.network, row.engine) for row in found.rows] == [
        (name, kind) for name in ("lenet5", SMALL) for kind in ("eager", "onnxruntime")
    ]
    assert all(row.timing.rounds == 2 and row.threads == 1 and row.batch == 2 for row in found.rows)
    assert found.rows[0].ratio.median == 1
    last = found.rows[-1]
    assert last.pictures_per_second == 2 / last.timing.median
    assert last.ratio == ratio(last.timing, found.rows[0].timing)
    told = json.loads(json.dumps(found.to_json()))
    assert told["machine"]["torch"]
    assert told["machine"]["cores"] >= 1
    assert len(told["rows"][3]["timing"]["series"]) == 2
    lines = [*csv.DictReader(io.StringIO(found.to_csv()))]
    assert float(lines[2]["median"]) == found.rows[2].timing.median
    assert lines[2]["input_size"] == "1x32x32"


def test_modules_and_other_sizes_can_be_timed():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    found = benchmark(net, engines=("eager",), input_size=20, rounds=1)
    assert found.rows[0].network == "Sequential"
    assert found.rows[0].input_size == (3, 20, 20)


def test_more_threads_than_cores_are_noted():
    found = benchmark(SMALL, engines=("eager",), threads=3, rounds=1)
    assert any("3 threads on 2 cores" in note for note in found.notes)


def test_an_unsteady_time_is_noted():
    notes = benchmarking.notes_of(QUIET, QUIET, 1, [("a", Timing.of([1.0, 2.0])), ("b", Timing.of([1.0, 1.0]))])
    assert [note for note in notes if "unsteady" in note] == [
        "unsteady: a, whose quartiles are 33% of the median apart"
    ]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    convatlas.export(SMALL, "onnx", path, weights="none")
    return path


def test_an_exported_file_has_its_own_weights_and_one_size(exported):
    found = benchmark(exported, rounds=1)
    assert (found.rows[0].network, found.rows[0].engine) == ("net.onnx", "onnxruntime")
    assert "export the network again" in complaint(benchmark, str(exported), input_size=64)


def test_a_file_of_weights_that_names_its_network_is_a_model(tmp_path):
    convatlas.export(SMALL, "safetensors", tmp_path / "net.safetensors", weights="none")
    found = benchmark([SMALL, str(tmp_path / "net.safetensors")], engines=("eager",), rounds=1)
    assert [row.network for row in found.rows] == [SMALL, str(tmp_path / "net.safetensors")]


def test_what_cannot_be_timed_is_refused():
    assert "did you mean 'onnxruntime'" in complaint(benchmark, SMALL, engines=("onxruntime",), error=UnknownName)
    assert "did you mean 'resnet50'" in complaint(benchmark, "resnet5O", error=UnknownName)
    assert "fits 'zz*'" in complaint(benchmark, "zz*")
    assert "at least 1 picture, not 0" in complaint(benchmark, SMALL, batch=0)
    assert "at least 1, not 0" in complaint(benchmark, SMALL, threads=0)
    assert "rounds" in complaint(benchmark, SMALL, rounds=0)
    assert "which network" in complaint(benchmark, [])
    assert "timed by turns" in complaint(benchmark, "*")
    assert "not by compile" in complaint(layers, SMALL, "compile")
    assert "not of 2" in complaint(layers, "lenet5*")


# ---- layers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["eager", "onnxruntime"])
def test_the_layers_cover_what_computes_in_the_networks_order_and_their_shares_sum_to_one(kind):
    found = layers("mobilenet_v1_x0_25", kind, input_size=64, batch=2, threads=1, rounds=1)
    report = convatlas.analyze("mobilenet_v1_x0_25", input_size=64, batch=2)
    computing = [layer for layer in found.layers if layer.macs]
    assert {row.name: row.macs for row in report.rows if row.macs} == {each.name: each.macs for each in computing}
    assert not any("not timed" in note for note in found.notes)  # which names those without a time
    assert found.macs == report.totals["macs"]
    assert sum(map(found.share, found.layers)) == pytest.approx(1)
    assert sum(map(found.macs_share, found.layers)) == pytest.approx(1)
    names = [layer.name for layer in found.layers]
    inside = [name for name in names if name not in (REORDER, OTHER, BETWEEN)]
    assert inside == [row.name for row in report.rows if row.name in inside]
    assert names[-1] == BETWEEN
    assert 0 < sum(layer.seconds for layer in computing) < found.seconds
    stages = found.summed(1)
    assert [layer.name for layer in stages.layers][:3] == ["stem", "stage1", "stage2"]
    assert stages.seconds == pytest.approx(found.seconds)
    assert stages.macs == found.macs


def test_a_disturbed_call_is_in_no_layers_time():
    calls = [(1.0, {"a": 0.5, "b": 0.25})] * 3 + [(9.0, {"a": 8.5, "b": 0.25}), (0.1, {"a": 0.05, "b": 0.05})]
    found, missing = layering._rows(calls, None)
    assert [(layer.name, layer.seconds) for layer in found] == [("a", 0.5), ("b", 0.25), (BETWEEN, 0.25)]
    assert not missing


def test_a_slow_layer_has_the_time():
    class Slow(nn.Module):
        def forward(self, x):
            for _ in range(60):
                x = x @ torch.eye(x.shape[-1])
            return x

    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Slow(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = layers(net.eval(), "eager", input_size=64, threads=1, rounds=2)
    conv, slow = (next(layer for layer in found.layers if layer.name == path) for path in ("0", "1"))
    assert slow.seconds > 2 * conv.seconds
    assert (conv.macs, slow.macs) == (64 * 64 * 4 * 27, 60 * 4 * 64**3)


def test_a_layer_that_runs_twice_has_a_row_for_each():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(self.conv(x)).mean((2, 3))

    found = layers(Twice().eval(), "eager", input_size=16, rounds=1)
    assert [layer.name for layer in found.layers if layer.macs] == ["conv", "conv#2"]
    assert not any("not timed" in note for note in found.notes)


def test_the_layers_of_an_exported_file_are_those_of_its_network(exported):
    found = layers(exported, rounds=1)
    assert found.macs == convatlas.analyze(SMALL).totals["macs"]
    assert not any("not timed" in note for note in found.notes)


def test_the_layers_of_a_foreign_file_are_its_nodes(tmp_path, exported):
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    for value in onnx.load(tmp_path / "foreign.onnx").graph.input:
        assert value.type.tensor_type.shape.dim[2].dim_value == 32
    found = layers(tmp_path / "foreign.onnx", rounds=1)
    assert len(found.layers) > 5
    assert not found.macs


def test_a_layer_without_a_time_of_its_own_is_named():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x):
            return nn.functional.conv2d(self.conv(x), self.conv.weight).mean((2, 3))

    found = layers(Bare().eval(), "eager", input_size=16, rounds=1)
    assert [note for note in found.notes if "not timed" in note] == ["not timed on their own: conv2d"]


def test_fused_and_renamed_nodes_are_told():
    def node(op: str, name: str, inputs: list[str], output: str):
        return onnx.helper.make_node(op, inputs, [output], name=name)

    graph = SimpleNamespace(node=[
        node("Conv", "/stem/conv/Conv", ["input", "trunk.stem.conv.weight"], "/stem/conv/Conv_output_0"),
        node("Relu", "/stem/act/Relu", ["/stem/conv/Conv_output_0"], "/stem/act/Relu_output_0"),
        node("BatchNormalization", "/s/s.0/norm/BatchNormalization", ["/stem/act/Relu_output_0"], "bn"),
        node("Add", "/s/s.0/Add_1", ["bn", "bn"], "sum"),
    ])  # fmt: skip
    rows = ["input", "trunk.stem.conv", "trunk.stem.act", "trunk.s.0.norm", "trunk.s.0.add", "trunk.s.0.add#2"]
    layer = Origins(SimpleNamespace(graph=graph), rows).layer
    assert layer("/stem/act/Relu_output_0_nchwc", "Conv") == "trunk.stem.conv"
    assert layer("/stem/conv/Conv", "FusedConv") == "trunk.stem.conv"
    assert layer("/stem/act/Relu", "Relu") == "trunk.stem.act"
    assert layer("/stem/act/Relu/QuickGeluFusion/", "QuickGelu") == "trunk.stem.act"
    assert layer("bn_bn_nchwc", "Conv") == "trunk.s.0.norm"
    assert layer("/s/s.0/Add_1", "Add") == "trunk.s.0.add#2"
    assert layer("ReorderOutput_token_3", "ReorderOutput") == REORDER
    assert layer("Reshape_token_4", "Reshape") == OTHER


# ---- the command line -------------------------------------------------------------------------------------


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_table_states_the_machine_and_its_load(capsys):
    status, out, _ = run(capsys, "benchmark", SMALL, "--engine", "eager,onnxruntime", "--rounds", "1")
    assert status == 0
    for words in ("onnxruntime", "pictures/s", "x first", "quartiles", f"{default_threads()} thread",
                  "other processes take 0.01 of 2 cores", "torch "):  # fmt: skip
        assert words in out


def test_layers_are_printed_with_their_sum_beside_the_whole(capsys, machine):
    machine(LOUD)
    status, out, _ = run(capsys, "benchmark", SMALL, "--layers", "--depth", "1", "--rounds", "1", "--busy")
    assert status == 0
    for words in ("GMAC/s", "of time", "between layers", "sum", "The whole network takes", "BUSY"):
        assert words in out


def test_json_and_files_hold_the_same(capsys, tmp_path, machine):
    machine(LOUD)
    options = (SMALL, "--engine", "eager", "--rounds", "1", "--busy")
    status, out, err = run(capsys, "benchmark", *options, "--json")
    assert (status, json.loads(out)["rows"][0]["network"]) == (0, SMALL)
    assert "BUSY" in err
    assert run(capsys, "benchmark", *options, "--out", str(tmp_path / "a.csv"))[0] == 0
    assert (tmp_path / "a.csv").read_text().startswith("network,engine,batch")
    assert run(capsys, "benchmark", *options, "--layers", "--out", str(tmp_path / "a.json"))[0] == 0
    assert json.loads((tmp_path / "a.json").read_text())["layers"][0]["share"] > 0


@pytest.mark.parametrize(("arguments", "said"), [
    ((), "which network?"),
    (("lenet6",), "did you mean 'lenet5'"),
    ((SMALL, "--engine", "eagr"), "did you mean 'eager'"),
    ((SMALL, "--engine", "eager,"), "empty part"),
    ((SMALL, "--batch", "0"), "at least 1 picture"),
    ((SMALL, "--batch", "1.5"), "no whole number"),
    ((SMALL, "--threads", "0"), "threads is at least 1"),
    ((SMALL, "--rounds", "0"), "rounds is at least 1"),
    ((SMALL, "--input", "wide"), "no input size"),
    ((SMALL, "--depth", "1"), "goes with --layers"),
    ((SMALL, "--layers", "--depth", "0"), "--depth is at least 1"),
    ((SMALL, "lenet5", "--layers"), "one network and one engine"),
    ((SMALL, "--json", "--out", "a.json"), "one of them"),
    ((SMALL, "--out", "a.xml"), "unknown kind of file '.xml'"),
    (("gone.onnx",), "no file gone.onnx"),
])  # fmt: skip
def test_mistakes_are_one_line(capsys, arguments, said):
    status, out, err = run(capsys, "benchmark", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_busy_machine_is_one_line_and_status_2(capsys, machine):
    machine(LOUD)
    status, out, err = run(capsys, "benchmark", SMALL)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "too busy" in err


def test_milliseconds_have_three_digits():
    assert [verb.milliseconds(t) for t in (1.2345, 0.1, 0.012345, 0.0012345, 0.000012345)] == [
        "1,234", "100", "12.3", "1.23", "0.012",
    ]  # fmt: skip


def test_a_sum_of_layers_keeps_what_is_no_layer():
    timed = Timing.of([1.0])
    one = layering.Layer("trunk.stage1.0.conv", "conv 3x3", 1.0, 10)
    found = Layers("a", "eager", 1, 1, (1, 8, 8), (one, replace(one, name=BETWEEN, macs=None)), timed, timed, {},
                   QUIET, QUIET)  # fmt: skip
    assert [(layer.name, layer.macs) for layer in found.summed(1).layers] == [("stage1", 10), (BETWEEN, None)]
