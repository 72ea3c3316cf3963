"""The command line as a person and as a program meets it."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

import convatlas
from convatlas import registry
from convatlas.cli import main, output, table
from convatlas.compare.exhibits import exhibit
from convatlas.cost.tables import label
from convatlas.deploy.export import export

MINE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4 * 26 * 26, 10)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))

class Untraceable(nn.Module):
    def forward(self, x):
        return x * float(x.sum().item())

class Broken(nn.Module):
    def __init__(self):
        raise RuntimeError("no disk")

class Misfit(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(7, 10)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))

thing = 3
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a mistake gets: status 2, nothing on standard output, no traceback."""
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("convatlas: ")
    assert err.count("\n") == 1
    return err


def test_the_command_line_starts_without_what_only_its_verbs_need():
    heavy = ("numpy", "PIL", "torch", "onnx", "onnxruntime", "matplotlib", "safetensors", "scipy")
    program = f"import sys, convatlas.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_list_json_has_one_object_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "list", "--json")
    rows = json.loads(out)
    assert status == 0
    assert {row["name"] for row in rows} == set(registry.names())
    for row in rows:
        assert {"name", "family", "year", "input_size", "params", "macs"} <= set(row)
        assert all(type(row[key]) is int for key in ("year", "input_size", "params", "macs"))
    resnet50 = next(row for row in rows if row["name"] == "resnet50")
    assert (resnet50["params"], resnet50["macs"], resnet50["input_size"]) == (25557032, 3857973248, 224)


def test_show_json_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", "resnet50", "--input", "320", "--batch", "2", "--json")
    report = json.loads(out)
    assert (report["name"], report["input_size"], report["batch"]) == ("resnet50", 320, 2)
    assert sum(layer["params"] for layer in report["layers"]) == report["totals"]["params"] == 25557032
    assert sum(layer["macs"] for layer in report["layers"]) == report["totals"]["macs"] == 2 * 7871283200
    stem = next(layer for layer in report["layers"] if layer["op"] == "conv2d")
    assert stem["output_shape"] == [2, 64, 160, 160]


def test_list_for_people_filters(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "list", "res*", "--params-below", "30M")
    assert "resnet50" in out
    assert "resnet101" not in out


def test_nothing_found_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "list", "vgg*", "--params-below", "1K")
    assert (status, out) == (0, "")
    assert "no network" in err
    assert run(capsys, "list", "vgg*", "--params-below", "1K", "--json")[1].strip() == "[]"


def test_show_sums_up_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", "resnet50", "--depth", "1")
    for stage in ("stem", "stage1", "stage4", "head", "25,557,032"):
        assert stage in out
    assert "stage1.0" not in out


def test_a_card_shows_what_is_printed_beside_what_is_computed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "card", "vgg16")
    assert "138,357,544" in out
    assert "138 M" in out
    card = json.loads(run(capsys, "card", "vgg16", "--json")[1])
    assert card["facts"]["printed"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("shw", "vgg16"), "show"),
        (("show", "resnet5O"), "did you mean 'resnet50'"),
        (("show", "vgg16", "--inptu", "3"), "--input"),
        (("show", "vgg16", "--input", "big"), "no input size"),
        (("show", "vgg16", "--input", "16"), "the least is 32 x 32"),
        (("show", "vgg16", "--input", "0"), "at least 1 pixel"),
        (("show", "vgg16", "--input", "1x224x224"), "reads 3 channels, not 1"),
        (("show", "vgg16", "--batch", "0"), "at least 1 picture"),
        (("show", "vgg16", "--batch", "many"), "many"),
        (("show", "vgg16", "--batch", "1.5"), "no whole number"),
        (("show", "vgg16+aux"), "no auxiliary heads"),
        (("show", "mine.py"), "mine.py:Class"),
        (("card", "timm:resnet18"), "convatlas show timm:resnet18"),
        (("predict",), "which picture"),
        (("predict", ""), "empty name"),
        (("predict", "nofile.jpg"), "no file nofile.jpg"),
        (("predict", "nofile.jpg", "--top", "0"), "top is at least 1"),
        (("show", "vgg16", "--depth", "0"), "at least 1"),
        (("show", "vgg16", "--input", "224,"), "empty part"),
        (("show", "vgg16", "--batch", "8,-1"), "at least 1 picture"),
        (("show", "vgg16", "--dtype", "float23"), "did you mean 'float32'"),
        (("show", "vgg16", "--training", "adma"), "did you mean 'adam'"),
        (("show", "vgg16", "--training", "lion"), "there are sgd, momentum, adam"),
        (("show", "vgg16", "--checkpointing"), "goes with --training"),
        (("show", "vgg16", "--memory", "8GiB"), "which optimizer"),
        (("show", "vgg16", "--memory", "8 apples", "--training", "sgd"), "no amount of memory"),
        (("show", "vgg16", "--layer", "conv1"), "several layers 'conv1': block1.conv1, block2.conv1"),
        (("show", "vgg16", "--layer", "block6"), "did you mean 'block5'"),
        (("show", "vgg16", "--layer", "block5", "--field", "--unit", "7,0"), "no unit (7, 0)"),
        (("show", "vgg16", "--layer", "block5", "--field", "--input", "64,96"), "takes one input size"),
        (("show", "vgg16", "--unit", "0,0"), "go with --layer and --field"),
        (("show", "lenet5", "--width", "0.5"), "width"),
        (("show", "mobilenet_v2_x1_0", "--width", "0"), "no positive number"),
        (("show", "timm:resnet18", "--width", "0.5"), "--width is for"),
        (("show", "vgg16", "--out", "table.xls"), "unknown kind of file '.xls'"),
        (("show", "vgg16", "--out", "nowhere/table.csv"), "No such file"),
        (("claims", "vgg16-memori"), "did you mean 'vgg16-memory'"),
        (("show",), "MODEL"),
        (("show", "timm:convnext_tinny"), "did you mean 'convnext_tiny'"),
        (("show", "torchvision:resnet5"), "did you mean 'resnet50'"),
        (("show", "tmm:resnet50"), "kind of model"),
        (("show", "nowhere.py:Net"), "no file nowhere.py"),
        (("list", "--family", "VGGG"), "did you mean 'VGG'"),
        (("list", "--params-below", "lots"), "no number"),
        (("list", "--year", "then"), "no year"),
        (("list", "vgg61"), "'vgg16'"),
        (("card", "gogglenet"), "did you mean 'googlenet'"),
    ],
)
def test_a_mistake_gets_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(capsys, *arguments)


def test_a_module_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    _, out, _ = run(capsys, "show", f"{file}:Net", "--input", "1x28x28", "--json")
    totals = json.loads(out)["totals"]
    assert (totals["params"], totals["macs"]) == (40 + 27050, 4 * 26 * 26 * 9 + 27040)
    assert "did you mean 'Net'" in refused(capsys, "show", f"{file}:Nett")
    assert "cannot capture" in refused(capsys, "show", f"{file}:Untraceable")
    assert "no disk" in refused(capsys, "show", f"{file}:Broken")
    assert "not a torch.nn.Module" in refused(capsys, "show", f"{file}:thing")
    assert "cannot capture" in refused(capsys, "show", f"{file}:Misfit", "--input", "28")
    neighbour = tmp_path / "neighbour.py"
    neighbour.write_text("from mine import Net")
    assert run(capsys, "show", f"{neighbour}:Net", "--input", "28")[0] == 0
    file.write_text("import sys; sys.exit(3)")
    assert "does not run: SystemExit" in refused(capsys, "show", f"{file}:Net")
    file.write_text("def broken(:")
    assert "does not run: SyntaxError" in refused(capsys, "show", f"{file}:Net")


def test_help_comes_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("list", "show", "card", "claims", "predict", "tour"):
        status, out, _ = run(capsys, verb, "--help")
        assert status == 0
        assert f"convatlas {verb}" in out


@pytest.mark.parametrize(
    "arguments",
    [("list", "--json"), ("show", "resnet50", "--json"), ("show", "resnet50", "--json", "--training", "adam")],
)
def test_reading_the_atlas_is_quick_and_needs_no_torch(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys; from convatlas.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(status or ('torch' in sys.modules) * 3)"
    )
    taken = []  # seconds of processor time, which other work stretches less than those of the clock
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        taken.append((after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime))
    assert min(taken) < 0.5


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m convatlas list --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_told_in_a_line() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m convatlas list > /dev/full"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_narrow_terminal_never_cuts_a_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(output, "console", lambda stderr=False: Console(width=columns, highlight=False))
    report = convatlas.analyze("efficientnet_b7", batch=256)
    table.print_report(report)
    shown = {cell for line in capsys.readouterr().out.splitlines() for cell in re.split(r"\s{2,}", line.strip())}
    for row in report.rows:
        if row.op == "conv2d":
            assert {label(row.name), " x ".join(map(str, row.output_shape)), f"{row.macs:,}"} <= shown


def test_one_bad_picture_among_several_is_told_and_changes_the_status(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("no picture")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "empty").mkdir()
    status, out, err = run(capsys, "predict", str(tmp_path), str(tmp_path / "empty"), "--top", "1")
    assert status == 1
    assert "good.png" in out
    assert "bad.png" not in out
    assert [name in err for name in ("bad.png", "gone.png", "empty")] == [True] * 3


# ---- amounts, limits, narrow terminals ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount"),
    [("30M", 30e6), ("30MB", 30e6), ("30mb", 30e6), ("1.5G", 1.5e9), ("4KB", 4e3), ("30MiB", 30 * 2**20),
     ("8Gi", 8 * 2**30)],
)  # fmt: skip
def test_an_amount_of_memory_is_decimal_unless_an_i_says_otherwise(text: str, amount: float) -> None:
    assert output.memory(text) == amount


def test_limits_that_nothing_keeps_to_say_so_and_name_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "compare", "vgg*", "resnet*", "--max-params", "1")
    assert status == 0  # as of `list`: nothing found is no mistake
    assert "No network fits; the nearest is resnet18_a, with parameters of 11.5 M." in out
    assert "No network fits" not in run(capsys, "compare", "vgg*", "resnet*", "--max-params", "12M")[1]


@pytest.mark.parametrize("columns", [80, 90, 100, 110, 200])
@pytest.mark.parametrize("figure", ["ilsvrc", "compute", "lineage", "efficientnet"])
def test_a_table_fits_its_terminal_and_breaks_no_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, figure: str, columns: int
) -> None:
    monkeypatch.setattr(output, "console", lambda stderr=False: Console(width=columns, highlight=False))
    status, out, _ = run(capsys, "compare", "--figure", figure)
    assert status == 0
    assert max(len(line) for line in out.splitlines()) <= columns
    table = exhibit(figure).people
    cells = [cell for column in table.columns for cell in (column.title, *map(column.cell, table.rows))]
    whole = {word for text in (table.title, *table.notes, *exhibit(figure).notes, *cells) for word in text.split()}
    long = [word for word in whole if len(word) > output.WORD]
    for word in out.split():
        assert word in whole or set(word) == {"─"} or any(word in one for one in long), word


@pytest.mark.parametrize("figure", ["ilsvrc", "compute", "lineage", "efficientnet"])
def test_the_columns_of_a_figures_table_have_titles_of_their_own(figure: str) -> None:
    titles = [column.title for column in exhibit(figure).people.columns if column.told]
    assert len(titles) == len(set(titles))


# ---- models that are not there ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with exported files that are cut off in their weights."""
    folder = tmp_path_factory.mktemp("cut")
    for kind in ("onnx", "safetensors"):
        file = export("lenet5_modern", kind, folder / f"cut.{kind}").path
        file.write_bytes(file.read_bytes()[:20_000])
    return folder


@pytest.mark.parametrize("verb", ["evaluate", "quantize", "benchmark"])
@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("gone.onnx", "no file gone.onnx"),
        ("gone.safetensors", "no file gone.safetensors"),
        ("gone.pth", "no file gone.pth"),
        ("cut.onnx", "cut.onnx is damaged, or no ONNX file"),
        ("cut.safetensors", "cut.safetensors is damaged, or no safetensors file"),
        ("runs/gone", "no run in runs/gone"),
        ("vgg61", "did you mean"),
    ],
)
def test_what_is_wrong_with_a_model_is_said_before_anything_is_asked_or_measured(
    cut: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, model: str, says: str
) -> None:
    monkeypatch.chdir(cut)
    assert says in refused(capsys, verb, model)


# ---- interrupted --------------------------------------------------------------------------------------------

INTERRUPTED = """
import runpy, sys
class Interrupting:
    def find_spec(self, name, *more):
        if name == "cyclopts":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
sys.argv = ["convatlas", "list"]
runpy.run_module("convatlas", run_name="__main__")
"""


def test_an_interrupt_while_it_is_still_being_imported_is_a_word_and_status_130() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "convatlas: interrupted\n")


def test_the_command_enters_where_nothing_is_imported_yet() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, function = project["project"]["scripts"]["convatlas"].partition(":")
    program = f"import sys; from {module} import {function}; print('cyclopts' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
