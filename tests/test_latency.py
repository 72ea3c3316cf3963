"""Predicted time: what is counted is what ONNX Runtime runs, and the estimate follows from the rates alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

import convatlas
from convatlas.cli import main
from convatlas.cost import machine as here
from convatlas.cost.latency import Ceilings, Machine, Rates, calibrated, latency
from convatlas.cost.work import KINDS, Work, works
from convatlas.deploy.calibrate import block_of, calibrate, fitted
from convatlas.deploy.micro import Piece, conv, pieces
from convatlas.deploy.onnxing import to_onnx
from convatlas.deploy.sessions import opened
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.source import graph_of

FLAT = Rates(call=1e-5, mac=1e-11, byte=1e-10, weight=1e-10)


def machine(**rates: Rates) -> Machine:
    """One with the same rates for every kind, except those given."""
    ceilings = Ceilings({kind: rates.get(kind, FLAT) for kind in KINDS}, 1e-4, 16, 1e-10, 0.1)
    engines = {"onnxruntime": ceilings, "eager": replace(ceilings, call=5e-4)}
    return Machine(here.processor(), 2, 1 << 40, {}, "2026-01-01", engines)


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """A calibration where the commands look for it."""
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path))
    (tmp_path / "machine.json").write_text(json.dumps(machine().to_json()))
    return tmp_path / "machine.json"


def counted(name: str) -> list[Work]:
    graph = graph_of(name)
    return works(graph, graph.shapes(), fuses=True, block=block_of("onnxruntime"))


# ---- what is run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["resnet18", "squeezenet1_1", "mobilenet_v2_x0_35", "preresnet50", "efficientnet_b0", "mobilenet_v3_small_x1_0"],
)
def test_as_many_operations_are_counted_as_onnx_runtime_runs_after_fusion(name, tmp_path):
    net = convatlas.create(name, initialise=True).eval()
    to_onnx(net, tmp_path / "net.onnx", input_size=net.input_size)
    opened(tmp_path / "net.onnx", 1, keep=tmp_path / "run.onnx")
    run = onnx.load(tmp_path / "run.onnx").graph.node
    theirs = Counter("Conv" if node.op_type == "FusedConv" else node.op_type for node in run)
    summed = sum(1 for node in run if node.op_type == "Conv" and len(node.input) > 3 and node.input[3])
    ours = counted(name)
    kinds = Counter(work.kind for work in ours)
    convolutions = sum(kinds[kind] for kind in ("conv", "stem", "pointwise", "depthwise", "grouped"))
    norms = sum(1 for work in ours if work.kind == "map" and work.weights)  # run as depthwise convolutions
    graph = graph_of(name)
    adds = {node.name for node in graph.nodes if node.op == "add"}
    assert convolutions + norms == theirs["Conv"]
    assert sum(1 for work in ours if len(work.names) > 1 and adds & set(work.names)) == summed
    assert kinds["silu"] == theirs["QuickGelu"]
    assert kinds["linear"] == theirs["Gemm"] + theirs["FusedGemm"]


def test_every_operation_is_counted_once():
    for name in ("googlenet", "densenet121", "shufflenet_v2_x1_0", "lenet5", "inception_resnet_v2"):
        names = [one for work in counted(name) for one in work.names]
        assert len(names) == len(set(names))
        left = {node.name for node in graph_of(name).nodes} - set(names)
        assert {node.op for node in graph_of(name).nodes if node.name in left} <= {
            "input", "identity", "dropout", "drop_path", "flatten", "adaptive_avg_pool2d", "same_pad2d",
        }  # fmt: skip


def test_multiply_adds_are_the_graphs_where_channels_need_no_filling():
    graph = graph_of("vgg16")
    found = works(graph, graph.shapes(), fuses=True, block=1)
    assert sum(work.macs for work in found if work.kind != "pool") == convatlas.card("vgg16").macs
    filled = works(graph, graph.shapes(), fuses=True, block=16)
    assert sum(work.macs for work in filled if work.kind != "pool") == convatlas.card("vgg16").macs


def test_narrow_layers_are_filled_up_to_what_is_computed_at_once():
    graph = graph_of("shufflenet_v2_x1_0")  # 58, 116 and 232 channels
    narrow, filled = (works(graph, graph.shapes(), fuses=True, block=block) for block in (1, 16))
    assert sum(work.macs for work in filled) > 1.05 * sum(work.macs for work in narrow)


# ---- the estimate -----------------------------------------------------------------------------------------


def test_the_seconds_are_those_of_the_layers_and_of_the_call():
    found = latency("resnet18", machine())
    assert found.seconds == pytest.approx(sum(layer.seconds for layer in found.layers) + 1e-4)
    assert sum(found.bounds().values()) == pytest.approx(1)
    assert found.status == "estimate"


def test_the_largest_term_bounds_a_layer():
    def bounds(**rates):
        return Counter(layer.bound for layer in latency("mobilenet_v2_x1_0", machine(**rates)).layers)

    same = {"mac": 0.0, "byte": 0.0, "weight": 0.0, "call": 0.0}
    for term, name in (("mac", "arithmetic"), ("byte", "bandwidth"), ("call", "overhead")):
        rates = Rates(**{**same, term: 1e-9})
        found = bounds(depthwise=rates)
        assert found[name] >= 17


def test_slow_depthwise_layers_make_a_network_of_fewer_operations_the_slower_one():
    slow = machine(depthwise=Rates(1e-5, 1e-9, 1e-10, 1e-10))
    fewer, more = "mobilenet_v2_x1_0", "resnet18"
    assert convatlas.card(fewer).macs < convatlas.card(more).macs
    assert latency(fewer, slow).seconds > latency(more, slow).seconds
    assert latency(fewer, machine()).seconds < latency(more, machine()).seconds


def test_a_batch_costs_its_pictures_but_one_call():
    one, eight = (latency("resnet50", machine(), batch=batch) for batch in (1, 8))
    assert one.seconds < eight.seconds < 8 * one.seconds
    assert latency("resnet50", machine(), input_size=320).seconds > one.seconds


def test_weights_that_fit_no_cache_come_out_of_memory():
    small = replace(machine(), cache=1 << 20)
    slow = {name: replace(told, stream=1e-8) for name, told in small.engines.items()}
    assert latency("alexnet", replace(small, engines=slow)).seconds > 2 * latency("alexnet", small).seconds


def test_it_takes_no_torch_and_a_few_milliseconds(kept):
    program = (
        "import sys; from convatlas.cost.latency import calibrated, latency; m = calibrated(); "
        "print(latency('resnet50', m).seconds > 0, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


# ---- calibration ------------------------------------------------------------------------------------------


def test_rates_that_made_the_times_are_found_again():
    true = {"conv": Rates(2e-6, 1e-11, 0, 0), "map": Rates(1e-6, 0, 2e-10, 0)}
    chance = np.random.default_rng(0)
    rows = []
    for _ in range(40):
        row = [
            Work("", "conv", int(chance.integers(1, 200) * 1e6), 0, 0),
            Work("", "map", 0, int(chance.integers(1, 90) * 1e5), 0),
        ]
        rows.append((row, sum(sum(true[work.kind].terms(work)) for work in row)))
    rates, error = fitted(rows)
    assert error < 1e-3
    assert rates["conv"].mac == pytest.approx(1e-11, rel=1e-3)
    assert rates["map"].byte == pytest.approx(2e-10, rel=1e-2)
    assert set(rates) >= set(KINDS)


SOME = [Piece("conv", lambda: conv(16, 16, 3), (16, 20, 20)), Piece("conv", lambda: conv(32, 32, 1), (32, 10, 10)),
        Piece("linear", lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU()), (64,))]  # fmt: skip


def test_a_calibration_is_written_and_read_again(tmp_path):
    told = []
    made = calibrate(threads=1, out=tmp_path / "machine.json", chosen=SOME, watch=lambda *one: told.append(one))
    assert set(made.engines) == {"onnxruntime", "eager"}
    assert calibrated(tmp_path / "machine.json") == made
    assert ("eager", len(SOME), len(SOME)) in told
    for engine in made.engines:
        assert latency("resnet20_cifar", made, engine).seconds > 0


def test_a_calibration_that_is_cut_short_changes_nothing(tmp_path):
    def stop(engine: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    (tmp_path / "machine.json").write_text("before")
    with pytest.raises(KeyboardInterrupt):
        calibrate(["eager"], out=tmp_path / "machine.json", chosen=SOME, watch=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["machine.json"]
    assert (tmp_path / "machine.json").read_text() == "before"


def test_no_piece_is_a_network_and_every_kind_has_one():
    seen = set()
    from convatlas.deploy.calibrate import _works
    from convatlas.deploy.micro import repeated

    every = list(pieces())
    for piece in every:
        if len(piece.shape) == 1 or piece.shape[-1] <= 56:  # the larger ones are of the same kinds
            seen |= {work.kind for work in _works([repeated(piece, 1), repeated(piece, 2)], piece, "onnxruntime", 16)}
            assert sum(1 for module in piece.make().modules() if isinstance(module, nn.Conv2d)) <= 3
    assert seen >= set(KINDS) - {"gelu", "scaled_tanh", "tanh", "sigmoid", "hardsigmoid", "hardswish", "stem"}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 0}', '{"version": 1, "engines": {"eager": {}}}'])
def test_a_damaged_calibration_is_refused_in_words(tmp_path, damage):
    (tmp_path / "machine.json").write_text(damage)
    with pytest.raises(ConvatlasError, match="damaged, or of another version; run convatlas calibrate"):
        calibrated(tmp_path / "machine.json")


def test_another_machines_calibration_is_refused(tmp_path):
    (tmp_path / "machine.json").write_text(json.dumps(replace(machine(), processor="a slide rule").to_json()))
    with pytest.raises(ConvatlasError, match="of another processor, a slide rule"):
        calibrated(tmp_path / "machine.json")


def test_requests_that_make_no_sense():
    with pytest.raises(UnknownName, match="did you mean 'onnxruntime'"):
        latency("resnet18", machine(), "onnxruntme")
    with pytest.raises(ConvatlasError, match="not calibrated for eager"):
        latency("resnet18", replace(machine(), engines={"onnxruntime": machine().engines["onnxruntime"]}), "eager")
    with pytest.raises(UnknownName, match="there are onnxruntime, eager"):
        calibrate(["cuda"])


# ---- the command line -------------------------------------------------------------------------------------


def test_show_has_the_time_of_every_layer_and_they_add_up(kept, capsys):
    assert main(["show", "mobilenet_v2_x1_0", "--latency", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    whole = found["latency"]
    assert whole["status"] == "estimate"
    assert sum(row.get("seconds", 0) for row in found["layers"]) == pytest.approx(whole["seconds"] - whole["rest"])
    assert main(["show", "mobilenet_v2_x1_0", "--latency", "--depth", "1"]) == 0
    said = capsys.readouterr().out
    assert "bound by" in said
    assert f"About {1e3 * whole['seconds']:.2f} ms a call by onnxruntime" in " ".join(said.split())
    assert main(["show", "mobilenet_v2_x1_0", "--latency", "--input", "128,224"]) == 0
    assert "predicted time" in capsys.readouterr().out


def test_show_without_a_calibration_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path))
    assert main(["show", "resnet18", "--latency"]) == 2
    assert capsys.readouterr().err == "convatlas: no calibration of this machine; run convatlas calibrate\n"


def test_a_table_has_the_times_in_columns(kept, tmp_path):
    assert main(["show", "resnet18", "--latency", "--out", str(tmp_path / "table.csv")]) == 0
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0].endswith("global,seconds,bound")
    assert {line.rpartition(",")[2] for line in lines[1:]} <= {"arithmetic", "bandwidth", "overhead", ""}


def test_the_calibration_can_be_shown(kept, capsys):
    assert main(["calibrate", "--show"]) == 0
    said = capsys.readouterr().out
    assert "GMAC/s" in said
    assert "pointwise" in said
    assert main(["calibrate", "--show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engines"]["eager"]["kinds"]["conv"]["GMACs"] == pytest.approx(100)
