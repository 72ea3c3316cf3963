"""A network in 8 bits: what it loses is measured on other pictures than calibrate it, and it is kept where it gains."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from convatlas import carried, data
from convatlas.cli import main
from convatlas.deploy import eightbit
from convatlas.deploy.engine import engine
from convatlas.deploy.export import export
from convatlas.deploy.load import Load
from convatlas.deploy.quantize import Quantized, _verdict, quantize
from convatlas.deploy.samples import Sample, samples
from convatlas.deploy.sessions import Session
from convatlas.deploy.trial import Comparison, Trial
from convatlas.errors import ConvatlasError
from convatlas.train import Running, evaluate
from convatlas.weights import Label

PHOTOS = Path(pytest.importorskip("skimage").data_dir)
HERE = Running(readers=0)
QUIET, LOUD = Load(0.0, 0.0, 2, 0.0), Load(1.5, 0.0, 2, 1.5)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """A machine on which nothing else runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convatlas.deploy.load.busy", lambda: QUIET)
        patch.setattr("convatlas.deploy.quantize.between", lambda before, after: QUIET)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    """A LeNet-5 that was trained on MNIST, tested on other digits."""
    out = tmp_path_factory.mktemp("made") / "small.onnx"
    return quantize("lenet5_modern", "digits", out, method="whole", max_drop=100, force=True, weight_bits=8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs without classes, one of them broken."""
    folder = tmp_path_factory.mktemp("photos")
    for number, file in enumerate(("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")):
        with Image.open(PHOTOS / file) as opened:
            photo = opened.convert("RGB")
        for turn in range(4):
            photo.rotate(90 * turn).resize((96, 96)).save(folder / f"{number}{turn}.png")
    (folder / "broken.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 for small pictures, as a file of ONNX."""
    return export("efficientnet_lite0", "onnx", tmp_path_factory.mktemp("lite0") / "lite0.onnx", input_size=64).path


# ---- what is written --------------------------------------------------------------------------------------


def test_the_figures_are_those_that_evaluate_finds(made: Quantized) -> None:
    before, after = (evaluate(model, "digits", running=HERE) for model in ("lenet5_modern", str(made.path)))
    assert (made.before.accuracy, made.after.accuracy) == pytest.approx((before["accuracy"], after["accuracy"]))
    assert made.tested == before["pictures"] == 359
    assert made.drop == pytest.approx(100 * (before["accuracy"] - after["accuracy"]), abs=1e-4)


def test_the_file_is_a_model_that_says_what_it_was_and_what_it_lost(made: Quantized, tmp_path: Path) -> None:
    assert made.path is not None
    told = carried.read(made.path)
    quantized = told.pop("quantized")
    assert told == carried.read(export("lenet5_modern", "onnx", tmp_path / "float.onnx").path)
    assert (quantized["method"], quantized["data"], quantized["calibrated"]) == ("whole", "digits", 200)
    assert quantized["after"]["size"] == pytest.approx(made.path.stat().st_size, rel=0.1)
    onnx.checker.check_model(onnx.load(made.path), full_check=True)
    net = engine(made.path)
    assert net(np.zeros((3, *net.input_size), np.float32)).shape == (3, 10)


def test_every_weight_has_8_bits_and_each_channel_its_scale(made: Quantized) -> None:
    graph = onnx.load(made.path).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    read = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 5
    for layer in layers:
        weight, scale = (stored[name] for name in read[layer.input[1]].input[:2])
        assert weight.dtype == np.int8
        assert len(scale) in weight.shape
        assert np.abs(weight).max() > 64


def test_7_bits_leave_room_for_sums(tmp_path: Path) -> None:
    made = quantize("lenet5_modern", "digits", tmp_path / "net.onnx", max_drop=100, force=True, weight_bits=7)
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(made.path).graph.initializer]
    assert max(int(np.abs(one).max()) for one in weights if one.dtype == np.int8 and one.ndim > 1) == 64


def test_without_vnni_7_bits_are_chosen_and_8_are_warned_of(
    made: Quantized, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(eightbit.platform, "machine", lambda: "x86_64")
    for flags, wanted in ((("avx2", "avx512f"), True), (("avx2", "avx_vnni"), False), ((), True)):
        monkeypatch.setattr(eightbit, "flags", lambda flags=flags: frozenset(flags))
        assert eightbit.saturates() == wanted
    engine(made.path)
    assert "--weight-bits 7" in caplog.text
    monkeypatch.setattr(eightbit.platform, "machine", lambda: "arm64")
    assert not eightbit.saturates()


def test_layers_that_stay_in_float_stay_so_in_onnx_runtime_too(lite0: Path, photos: Path, tmp_path: Path) -> None:
    """It quantizes a float convolution between nodes of 8 bits by itself, all channels by one scale, and loses much."""
    made = quantize(lite0, f"folder:{photos}", tmp_path / "net.onnx", method="first3", force=True, weight_bits=8)
    convolutions = [node for node in onnx.load(made.path).graph.node if node.op_type == "Conv"]
    stored = {tensor.name for tensor in onnx.load(made.path).graph.initializer if tensor.data_type == 1}
    assert [node.input[1] in stored for node in convolutions[:5]] == [True, True, True, False, False]
    rounded = {node.output[0] for node in onnx.load(made.path).graph.node if node.op_type == "DequantizeLinear"}
    assert not rounded & {node.input[0] for node in convolutions[:3]}
    net = engine(made.path)
    pictures = np.stack([net.weights.preprocess(Image.open(photos / f"{n}0.png")) for n in range(4)])
    plain, optimised = _unoptimised(made.path)(pictures), net(pictures)
    assert np.abs(plain - optimised).max() < 0.1 * np.abs(plain).max()


def _unoptimised(path: Path) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return Session(onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))


# ---- what is kept -----------------------------------------------------------------------------------------


def test_what_is_calibrated_on_the_wrong_pictures_is_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ranges by black pictures cut off what digits give."""
    digits = data.load("digits").test
    assert digits is not None
    for place in range(120):
        for split, pixels in (("train", np.zeros((8, 8), np.uint8)), ("test", digits.picture(place)[..., 0])):
            folder = tmp_path / split / str(int(digits.labels[place]))
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{place}.png")
    out = tmp_path / "net.onnx"
    command = ["quantize", "lenet5_modern", "--data", f"folder:{tmp_path}", "--method", "whole", "--out", str(out)]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "float32" in said.out
    assert "nothing was written: the accuracy falls by" in said.err
    assert not out.exists()
    assert main([*command, "--force", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kept"], told["path"]) == (False, str(out))
    assert out.exists()


@pytest.mark.parametrize(
    ("drop", "faster", "smaller", "kept"),
    [(1.0, 1.5, 3.5, True), (1.1, 1.5, 3.5, False), (0, 0.9, 3.5, True), (0, 0.5, 3.5, False), (0, 1.0, 1.5, False),
     (-2.0, 1.2, 1.0, True)],
)  # fmt: skip
def test_a_gain_is_to_be_faster_or_half_as_large_and_to_lose_little(
    drop: float, faster: float, smaller: float, kept: bool
) -> None:
    seen = Comparison(100, 0.99, drop, 0.9, 0.9 - drop / 100)
    assert _verdict(seen, faster, smaller, 1.0)[0] == kept


def test_a_few_test_pictures_decide_nothing_and_under_a_hundred_not_by_their_accuracy() -> None:
    kept, reason = _verdict(Comparison(3, 1.0, 0.0, 1.0, 1.0), 1.5, 3.5, 1.0)
    assert not kept
    assert "3 test pictures cannot show what it loses" in reason
    assert _verdict(Comparison(20, 1.0, 0.0), 1.5, 3.5, 1.0)[0]
    assert [Comparison(count, 1.0, 0.0, 0.9, 0.9).judged_by for count in (99, 100)] == ["agreement", "accuracy"]


def test_few_pictures_with_classes_are_judged_by_the_answers(tmp_path: Path) -> None:
    made = quantize("lenet5_modern", "digits", tmp_path / "net.onnx", method="whole", tested=40, max_drop=100)
    assert (made.tested, made.judged_by) == (40, "agreement")
    assert made.before.accuracy is not None
    assert any("40 test pictures cannot tell a point" in note for note in made.notes)


def test_what_is_printed_agrees(made: Quantized, capsys: pytest.CaptureFixture[str]) -> None:
    """The ratio is that of the times in the table."""
    from convatlas.cli.benchmark import milliseconds
    from convatlas.cli.quantize import print_quantized

    assert made.faster == made.before.latency / made.after.latency
    assert f"{made.faster:.2f} times as fast" in made.reason or "falls" in made.reason
    print_quantized(made)
    said = " ".join(capsys.readouterr().out.split())
    assert f"{milliseconds(made.before.latency)} ms" in said
    assert "ratio of these medians" in said


def test_a_busy_machine_is_refused_and_what_came_meanwhile_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.onnx"
    command = ["quantize", "lenet5_modern", "--data", "digits", "--method", "whole", "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr("convatlas.deploy.load.busy", lambda: LOUD)
        assert main(command) == 2
        said = capsys.readouterr()
        assert "too busy to time anything" in said.err
        assert "--busy" in said.err
        assert "allow_busy" not in said.err
    monkeypatch.setattr("convatlas.deploy.quantize._verdict", lambda *_: (True, "a gain"))
    monkeypatch.setattr("convatlas.deploy.quantize.between", lambda before, after: LOUD)
    assert main(command) == 1
    assert "busy while it was timed" in capsys.readouterr().err
    assert not out.exists()
    assert main([*command, "--busy"]) == 0
    assert out.exists()


def test_the_first_method_that_holds_is_taken_else_the_one_that_loses_least(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drops = {"whole": 3.0, "entropy": 0.7, "first3": 2.0, "first6": 0.4, "first6entropy": 0.0}

    def compare(self: Trial, file: Path, sample: Sample) -> Comparison:
        return Comparison(100, 1, drops[file.stem], 1, 1)

    monkeypatch.setattr(Trial, "compare", compare)
    monkeypatch.setattr(Trial, "_quantize", lambda *_: 200)
    tried = Trial(tmp_path, "lenet5_modern", "default", 1, 8)
    found = samples("digits", {}, "", tried.travelling.labels, pictures=9, tested=9, seed=0)
    made = tried.attempt(found, [*eightbit.METHODS], 1.0, lambda doing: None)
    assert (made.method, [*made.tried]) == ("first6", ["whole", "entropy", "first3", "first6"])
    made = tried.attempt(found, ["whole", "entropy", "first3"], 1.0, lambda doing: None)
    assert made.method == "entropy"


# ---- pictures ---------------------------------------------------------------------------------------------


def test_training_pictures_calibrate_validation_pictures_choose_and_test_pictures_test() -> None:
    whole = data.load("digits")
    found = samples("digits", {}, "", whole.labels, pictures=200, tested=10_000, seed=0)
    for sample, split, count in ((found.calibrate, whole.train, 200), (found.choose, whole.validation, 144),
                                 (found.test, whole.test, 359)):  # fmt: skip
        assert split is not None
        assert len(sample) == count
        assert isinstance(sample.split, data.Arrays)
        assert isinstance(split, data.Arrays)
        assert np.array_equal(sample.split.numbers, split.numbers)


def test_a_folder_that_is_not_divided_never_tests_what_it_calibrates_on(photos: Path) -> None:
    found = samples(f"folder:{photos}", {}, "", [Label("a")], pictures=200, tested=10_000, seed=0)
    calibrate, test = set(found.calibrate.places.tolist()), set(found.test.places.tolist())
    assert not calibrate & test
    assert len(calibrate | test) == 17
    few = samples(f"folder:{photos}", {}, "", [Label("a")], pictures=3, tested=5, seed=0)
    assert (len(few.calibrate), len(few.test)) == (3, 5)


def test_without_classes_answers_are_compared(lite0: Path, photos: Path, tmp_path: Path) -> None:
    """What is lost is what the network in float expects to lose, by its own probabilities."""
    made = quantize(lite0, f"folder:{photos}", tmp_path / "net.onnx", method="whole", max_drop=100, weight_bits=8,
                    force=True)  # fmt: skip
    assert not made.kept  # 8 pictures
    assert (made.judged_by, made.before.accuracy) == ("agreement", None)
    assert made.calibrated + made.tested == 16
    assert ["broken.png" in reason for reason in made.unread] == [True]
    assert any("no classes" in note for note in made.notes)
    chosen = samples(f"folder:{photos}", {}, "", [Label("a")], pictures=200, tested=10_000, seed=0).test
    plain, small = engine(lite0), engine(made.path)
    pictures = np.concatenate([one for one, _ in chosen.batches(plain.weights.preprocess, 5, set())])
    wanted, found = plain(pictures), small(pictures)
    assert made.agreement == pytest.approx((wanted.argmax(1) == found.argmax(1)).mean())
    odds = np.exp(wanted - np.log(np.exp(wanted).sum(1, keepdims=True)))
    lost = [row[row.argmax()] - row[answer] for row, answer in zip(odds, found.argmax(1))]
    assert made.drop == pytest.approx(100 * np.mean(lost), abs=1e-3)


def test_classes_that_the_network_does_not_know_are_told_and_answers_compared(
    lite0: Path, photos: Path, tmp_path: Path
) -> None:
    for number in range(16):
        (tmp_path / "data" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / f"{number // 4}{number % 4}.png", tmp_path / "data" / "ab"[number % 2])
    spec = f"folder:{tmp_path / 'data'}"
    made = quantize(lite0, spec, tmp_path / "net.onnx", method="whole", max_drop=100, force=True)
    assert made.judged_by == "agreement"
    assert "2 classes, the network 1000" in made.notes[0]


def test_one_batch_is_in_memory_and_no_more() -> None:
    """What calibrates reads a batch when the one before is done with; where pictures are missing the last stands in."""
    held = 0

    def batches() -> Iterator[np.ndarray]:
        nonlocal held
        for size in (2, 2):
            held += 1
            yield np.zeros((size, 1, 4, 4), np.float32)

    reader = eightbit._Reader("input", batches(), 3)
    assert held == 0
    for turn in range(3):
        reader.set_range(turn, turn + 1)
        assert reader.get_next()["input"].shape == (2, 1, 4, 4)
        assert held == min(turn + 1, 2)
        assert reader.get_next() is None
    assert reader.count == 4


# ---- mistakes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("lenet5_modern",), "on which pictures"),
        (("lenet5_modern", "--data", "digits", "--method", "wole"), "did you mean 'whole'"),
        (("lenet5_modern", "--data", "digits", "--pictures", "0"), "pictures is at least 1"),
        (("lenet5_modern", "--data", "digits", "--max-drop", "nan"), "number of points"),
        (("lenet5_modern", "--data", "digits", "--weight-bits", "4"), "7 or 8"),
        (("lenet5_modern", "--data", "digits", "--out", "net.pt2"), "ends in .onnx"),
        (("lenet5_modern", "--data", "digits", "--weights", "none"), "random weights"),
        (("lenet5_modern", "--data", "folder:nowhere"), "no folder nowhere"),
        (("nowhere.onnx", "--data", "digits"), "no file nowhere.onnx"),
        (("resnet5O", "--data", "digits"), "did you mean 'resnet50'"),
    ],
)
def test_a_mistake_gets_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str) -> None:
    assert main(["quantize", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert said.err.count("\n") == 1


def test_8_bits_random_weights_and_files_of_others_are_refused(made: Quantized, tmp_path: Path) -> None:
    with pytest.raises(ConvatlasError, match="in 8 bits already"):
        quantize(str(made.path), "digits")
    fresh = export("lenet5_modern", "onnx", tmp_path / "fresh.onnx", weights="none").path
    with pytest.raises(ConvatlasError, match="random weights"):
        quantize(fresh, "digits")
    foreign = onnx.load(fresh)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ConvatlasError, match="does not say how pictures are prepared"):
        quantize(tmp_path / "foreign.onnx", "digits")


def test_pictures_none_of_which_can_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ConvatlasError, match="none of the pictures can be read"):
        quantize("lenet5_modern", f"folder:{tmp_path}", tmp_path / "net.onnx")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        if target.parent == tmp_path:
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        shutil.copy(source, target)

    monkeypatch.setattr("convatlas.deploy.quantize.shutil.copyfile", full)
    with pytest.raises(ConvatlasError, match="No space left"):
        quantize("lenet5_modern", "digits", tmp_path / "net.onnx", method="whole", max_drop=100, force=True)
    assert not list(tmp_path.iterdir())
