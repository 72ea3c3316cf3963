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

import convatlas
from convatlas.cli import main
from convatlas.compare import rows, timings
from convatlas.compare.figures import computed
from convatlas.cost import analyze
from convatlas.cost import machine as here
from convatlas.cost.latency import Ceilings, Machine, Rates, calibrated, latency, position
from convatlas.cost.work import KINDS, Work, works
from convatlas.deploy.calibrate import block_of, calibrate, fitted
from convatlas.deploy.export import export
from convatlas.deploy.micro import Piece, conv, op, repeated
from convatlas.deploy.micro_onnx import onnx_bytes
from convatlas.deploy.onnxing import to_onnx
from convatlas.deploy.pieces import pieces
from convatlas.deploy.sessions import Session, opened
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.source import graph_of

FLAT = Rates(call=1e-5, mac=1e-11, edge=0.0, narrow=0.0, byte=1e-10, far=0.0, weight=1e-10)


def machine(**rates: Rates) -> Machine:
    """One with the same rates for every kind, except those given."""
    ceilings = Ceilings({kind: rates.get(kind, FLAT) for kind in KINDS}, {}, 1e-4, 16, 1e-10, 0.1)
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
    return works(graph, graph.shapes(), "onnxruntime", block_of("onnxruntime"))


# ---- what is run ------------------------------------------------------------------------------------------


CONVOLUTIONS = ("conv", "stem", "pointwise", "depthwise", "grouped", "plain")


def run(path: Path, content: bytes | None = None) -> list[onnx.NodeProto]:
    """What ONNX Runtime runs of a file, after its optimisations."""
    opened(content if content is not None else path, 1, keep=path.with_suffix(".run.onnx"))
    return list(onnx.load(path.with_suffix(".run.onnx")).graph.node)


def agree(ours: list[Work], nodes: list[onnx.NodeProto]) -> None:
    """As many convolutions, copies between layouts, joints and additions; and as many of these fused."""
    kinds = Counter(work.kind for work in ours)
    theirs = Counter("Conv" if node.op_type == "FusedConv" else node.op_type for node in nodes)
    assert sum(kinds[kind] for kind in CONVOLUTIONS) == theirs["Conv"]
    assert kinds["reorder"] == theirs["ReorderInput"] + theirs["ReorderOutput"]
    assert kinds["silu"] == theirs["QuickGelu"]
    assert kinds["norm"] == theirs["BatchNormalization"]
    assert kinds["linear"] == theirs["Gemm"] + theirs["FusedGemm"]


@pytest.mark.skipif(block_of("onnxruntime") == 1, reason="ONNX Runtime has no blocks on this processor")
@pytest.mark.parametrize(
    "name",
    ["resnet20_cifar", "squeezenet1_1", "mobilenet_v2_x0_35", "densenet40_k12_cifar", "efficientnet_b0",
     "mobilenet_v3_small_x1_0"],
)  # fmt: skip
def test_what_is_counted_is_what_onnx_runtime_runs_after_fusion(name, tmp_path):
    net = convatlas.create(name, initialise=True).eval()
    to_onnx(net, tmp_path / "net.onnx", input_size=net.input_size)
    nodes = run(tmp_path / "net.onnx")
    ours = counted(name)
    agree(ours, nodes)
    summed = sum(1 for node in nodes if node.op_type == "Conv" and len(node.input) > 3 and node.input[3])
    adds = {node.name for node in graph_of(name).nodes if node.op == "add"}
    assert sum(1 for work in ours if len(work.names) > 1 and adds & set(work.names)) == summed


def test_a_joint_of_maps_that_fill_no_blocks_costs_copies():
    kinds = Counter(work.kind for work in counted("densenet40_k12_cifar"))  # grows by 12
    assert kinds["reorder"] > kinds["cat"] == 36
    assert Counter(work.kind for work in counted("densenet121"))["reorder"] == 1  # grows by 32


def test_every_operation_is_counted_once():
    for name in ("googlenet", "densenet121", "shufflenet_v2_x1_0", "lenet5", "inception_resnet_v2"):
        names = [one for work in counted(name) if work.kind != "reorder" for one in work.names]
        assert len(names) == len(set(names))
        left = {node.name for node in graph_of(name).nodes} - set(names)
        assert {node.op for node in graph_of(name).nodes if node.name in left} <= {
            "input", "identity", "dropout", "drop_path", "flatten", "getitem", "adaptive_avg_pool2d", "same_pad2d",
        }  # fmt: skip


def test_multiply_adds_are_the_graphs_where_channels_need_no_filling():
    graph = graph_of("vgg16")
    found = works(graph, graph.shapes(), "eager", 1)
    assert sum(work.macs for work in found if work.kind != "pool") == convatlas.card("vgg16").macs
    filled = works(graph, graph.shapes(), "onnxruntime", 16)
    assert sum(work.macs for work in filled if work.kind != "pool") == convatlas.card("vgg16").macs


def test_narrow_layers_are_filled_up_to_what_is_computed_at_once():
    graph = graph_of("shufflenet_v2_x1_0")  # 58, 116 and 232 channels
    narrow, filled = (works(graph, graph.shapes(), "eager", block) for block in (1, 16))
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

    same = dict.fromkeys(("mac", "edge", "narrow", "byte", "far", "weight", "call"), 0.0)
    for term, name in (("mac", "arithmetic"), ("byte", "bandwidth"), ("call", "overhead")):
        rates = Rates(**{**same, term: 1e-9})
        found = bounds(depthwise=rates, relu6=Rates(**same))
        assert found[name] >= 17


def test_slow_depthwise_layers_make_a_network_of_fewer_operations_the_slower_one():
    slow = machine(depthwise=replace(FLAT, mac=1e-9))
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
    true = {"conv": Rates(2e-6, 1e-11, 0, 0, 0, 0, 0), "cat": Rates(1e-6, 0, 0, 0, 2e-10, 0, 0)}
    chance = np.random.default_rng(0)
    rows = []
    for _ in range(40):
        row = [
            Work("", "conv", int(chance.integers(1, 200) * 1e6), 0, 0, 0, 0),
            Work("", "cat", 0, 0, 0, int(chance.integers(1, 90) * 1e5), 0),
        ]
        rows.append((row, sum(sum(true[work.kind].terms(work, 1 << 30)) for work in row)))
    rows[7] = (rows[7][0], 5 * rows[7][1])  # one that was disturbed
    found = fitted(rows, 16, 1 << 30, 1 << 30)
    assert found.error < 0.01
    assert found.rates["conv"].mac == pytest.approx(1e-11, rel=0.01)
    assert found.rates["cat"].byte == pytest.approx(2e-10, rel=0.02)
    assert set(found.rates) == set(KINDS)


def test_a_shape_takes_as_much_longer_as_the_measured_one_that_it_is_like():
    slow = Work("", "conv", 10**8, 0, 0, 10**6, 10**5)
    ceilings = replace(machine().engines["eager"], pieces={"conv": ((*position(slow), np.log(2)),)})
    assert ceilings.factor(slow) == pytest.approx(2, rel=0.1)
    assert ceilings.factor(replace(slow, macs=10**5, moved=10**4)) == pytest.approx(1, rel=0.01)
    assert ceilings.factor(replace(slow, kind="pointwise")) == 1


SOME = [repeated("conv", (16, 20, 20), conv(16, 16, 3)), repeated("conv", (32, 10, 10), conv(32, 32)),
        repeated("silu", (16, 20, 20), op("silu"))]  # fmt: skip


def test_a_calibration_is_written_and_read_again(tmp_path):
    told = []
    made = calibrate(threads=1, out=tmp_path / "machine.json", chosen=SOME, watch=lambda *one: told.append(one))
    assert set(made.engines) == {"onnxruntime", "eager"}
    assert calibrated(tmp_path / "machine.json") == made
    assert all(any(name == engine and done == total for name, done, total in told) for engine in made.engines)
    for engine in made.engines:
        assert latency("resnet20_cifar", made, engine).seconds > 0


def test_one_engine_is_calibrated_beside_another(tmp_path):
    file = tmp_path / "machine.json"
    calibrate(["eager"], threads=1, out=file, chosen=SOME)
    calibrate(["onnxruntime"], threads=1, out=file, chosen=SOME)
    assert set(calibrated(file).engines) == {"eager", "onnxruntime"}
    calibrate(["eager"], threads=2, out=file, chosen=SOME)  # of other threads nothing is kept
    assert set(calibrated(file).engines) == {"eager"}


def test_a_busy_calibration_is_said_with_every_prediction(kept, capsys, monkeypatch):
    told = machine()
    busy = {name: replace(one, note="measured on a busy machine: 2 of 2 cores") for name, one in told.engines.items()}
    number = here.default_threads()
    kept.write_text(json.dumps(replace(told, threads=number, engines=busy).to_json()))
    monkeypatch.setattr(timings, "_machine", calibrated)
    monkeypatch.setattr(rows, "computed", computed.__wrapped__)
    assert main(["show", "resnet18", "--latency"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "measured on a busy machine: 2 of 2 cores" in said
    assert "within a fifth" not in said
    assert main(["show", "resnet18", "--latency", "--json"]) == 0
    assert "several times off" in json.loads(capsys.readouterr().out)["latency"]["notes"][0]
    assert main(["compare", "vgg16", "resnet34", "--x", "latency"]) == 0
    assert "several times off" in " ".join(capsys.readouterr().out.split())
    assert main(["compare", "vgg16", "resnet34", "--max-latency", "1s"]) == 0
    assert "several times off" in " ".join(capsys.readouterr().out.split())
    kept.write_text(json.dumps(replace(told, threads=number + 1).to_json()))
    assert main(["show", "resnet18", "--latency"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"for {number + 1} threads, and {number} would run: convatlas calibrate --threads {number}" in said


def test_multiply_adds_of_what_has_no_pieces_cost_something():
    from torch import nn

    from convatlas.graph.capture import capture

    graph = capture(nn.Sequential(nn.ConvTranspose2d(64, 64, 3)), name="up", input_size=(64, 56, 56))
    up = latency(graph, machine(), "eager").layers[0]
    assert up.bound == "arithmetic"


def test_pieces_that_do_not_go_together_are_no_calibration(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)

    def at_random(engine, measured, threads, watch=None):
        found = list(np.exp(4 * rng.standard_normal(len(measured))))
        return found, found

    monkeypatch.setattr("convatlas.deploy.calibrate.seconds", at_random)
    with pytest.raises(ConvatlasError, match="do not go together"):
        calibrate(["eager"], threads=1, out=tmp_path / "machine.json")
    assert not list(tmp_path.iterdir())


def test_a_calibration_that_is_cut_short_changes_nothing(tmp_path):
    def stop(engine: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    (tmp_path / "machine.json").write_text("before")
    with pytest.raises(KeyboardInterrupt):
        calibrate(["eager"], out=tmp_path / "machine.json", chosen=SOME, watch=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["machine.json"]
    assert (tmp_path / "machine.json").read_text() == "before"


@pytest.mark.parametrize("engine", ["onnxruntime", "eager"])
def test_every_kind_of_work_has_a_piece_and_none_is_a_network(engine):
    seen = set()
    for piece in pieces(engine):
        assert sum(node.op == "conv2d" for node in piece.graph.nodes) <= 7
        seen |= {work.kind for work in works(piece.graph, piece.graph.shapes(), engine, 16)}
    missing = {"onnxruntime": {"idle"}, "eager": {"reorder", "plain", "slice"}}[engine]
    assert seen == set(KINDS) - missing


def test_every_piece_runs_in_onnx_runtime():
    smallest = {piece.name: piece for piece in sorted(pieces("onnxruntime"), key=lambda one: -one.graph.input_size[1])}
    for piece in smallest.values():
        pictures = np.zeros((piece.batch, *piece.graph.input_size), np.float32)
        assert Session(opened(onnx_bytes(piece.graph), 1))(pictures) is not None


@pytest.mark.skipif(block_of("onnxruntime") == 1, reason="ONNX Runtime has no blocks on this processor")
def test_onnx_runtime_runs_of_a_piece_what_is_counted(tmp_path):
    small: dict[str, Piece] = {}
    for piece in pieces("onnxruntime"):
        if piece.graph.input_size[1] <= 56:
            small[piece.name] = piece
    small.pop("response norm"), small.pop("linear")  # of several small operations; more of them than inputs
    for piece in small.values():
        if piece.name not in ("scale", "slice", "pad"):  # whose sizes are asked at run time, by products too
            shapes = piece.graph.shapes()
            agree(works(piece.graph, shapes, "onnxruntime", block_of("onnxruntime")),
                  run(tmp_path / "piece.onnx", onnx_bytes(piece.graph)))  # fmt: skip


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 0}', '{"version": 1, "engines": {"eager": {}}}'])
def test_a_damaged_calibration_is_refused_in_words(tmp_path, damage):
    (tmp_path / "machine.json").write_text(damage)
    with pytest.raises(ConvatlasError, match="damaged, or of another version; run convatlas calibrate"):
        calibrated(tmp_path / "machine.json")


def test_another_machines_calibration_is_refused(tmp_path):
    (tmp_path / "machine.json").write_text(json.dumps(replace(machine(), processor="a slide rule").to_json()))
    with pytest.raises(ConvatlasError, match="of another processor, a slide rule"):
        calibrated(tmp_path / "machine.json")


def test_a_calibration_of_another_version_of_the_engine_is_refused(tmp_path):
    old = replace(machine(), versions={"onnxruntime": "0.1"})
    (tmp_path / "machine.json").write_text(json.dumps(old.to_json()))
    with pytest.raises(ConvatlasError, match=r"of onnxruntime 0.1; run convatlas calibrate"):
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


def test_figures_of_a_file_in_8_bits_are_said_to_be_of_the_network_in_float(kept, tmp_path, capsys):
    onnx_file = export("lenet5_modern", "onnx", tmp_path / "net.onnx").path
    model = onnx.load(onnx_file)
    told = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps({**told, "quantized": {}})
    onnx.save(model, tmp_path / "small.onnx")
    for file, wanted in (("net.onnx", False), ("small.onnx", True)):
        for more in (["--latency"], ["--latency", "--json"], ["--input", "32,48"]):
            assert main(["show", str(tmp_path / file), *more]) == 0
            said = capsys.readouterr().out
            assert ("in 8 bits" in said) == wanted
    assert "in 8 bits" in analyze(str(tmp_path / "small.onnx")).to_markdown()


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
    assert "µs a call" in said
    assert "next: convatlas show NAME --latency" in said
    assert main(["calibrate", "--show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engines"]["eager"]["kinds"]["conv"]["GMACs"] == pytest.approx(100)
