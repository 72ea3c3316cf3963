"""What the lecture and the papers say, recomputed: the verdicts, their causes, the command and the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from decimal import Decimal

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convatlas import facts, registry
from convatlas.claims import DIFFERS, HOLDS, NOT_OURS, ROUNDED, VERDICTS, check, checking, claims, model, problems
from convatlas.claims.figures import compare, figure
from convatlas.claims.page import page
from convatlas.cli import main
from convatlas.errors import ConvatlasError, UnknownName

TOPICS = """kernels mnist imagenet lenet alexnet zfnet vgg googlenet resnet senet densenet mobilenet efficientnet
efficiency""".split()
TEXT = (facts.FOLDER / model.FILE).read_text(encoding="utf-8")
EVERY = check()

# What the lecture's slips and the papers' are known to be.
KNOWN = {
    "mnist-pictures": NOT_OURS, "lenet-maxpool": DIFFERS, "lenet-params": HOLDS, "lenet-connections": HOLDS,
    "three-3x3-field": HOLDS, "three-3x3-params": HOLDS, "kernel-range": HOLDS, "alexnet-params": ROUNDED,
    "vgg16-table": ROUNDED, "vgg16-memory": DIFFERS, "vgg16-params": ROUNDED, "vgg16-backward": ROUNDED,
    "vgg16-early-memory": HOLDS, "vgg16-late-params": HOLDS, "googlenet-params": DIFFERS, "googlenet-layers": DIFFERS,
    "googlenet-depth": HOLDS, "inception-naive": ROUNDED, "inception-bottleneck": DIFFERS,
    "senet-macs-original": DIFFERS,
    "senet-gains": HOLDS, "senet-code": NOT_OURS, "densenet-errors": NOT_OURS, "zfnet-paper": NOT_OURS,
    "conv-standard": HOLDS, "conv-depthwise": HOLDS, "conv-pointwise": HOLDS, "conv-separable": HOLDS,
    "compound-product": ROUNDED, "compound-bounds": HOLDS, "compound-twice": DIFFERS, "b0-table": DIFFERS,
    "b0-activation": DIFFERS, "training-44x": ROUNDED, "training-44x-counted": DIFFERS, "xception-year": NOT_OURS,
}  # fmt: skip


def numbers(name: str) -> object:
    return check(name).to_json()["computed"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["claims", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


# ---- the verdict on a figure ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "computed", "verdict"),
    [
        (108, 108, HOLDS),
        (108, 109, DIFFERS),
        ("138M", 138_357_544, ROUNDED),
        ("138M", 138_500_001, DIFFERS),
        ("3.86G", 3_857_973_248, ROUNDED),
        ("3.87G", 3_857_973_248, DIFFERS),
        (Decimal("11.30"), 11.304, ROUNDED),
        (Decimal("11.30"), 11.31, DIFFERS),
        (Decimal("11.3"), 11.31, ROUNDED),
        ("1.2M", 1_281_167, DIFFERS),  # cut and not rounded
        ("1,376", 1376, HOLDS),
        (Decimal("1.51"), Decimal("24.80") - Decimal("23.29"), HOLDS),
        (Decimal("0.3"), 0.1 + 0.2, HOLDS),
        ("> 50", 50.1, HOLDS),
        ("> 50", 50, DIFFERS),
        (">= 1", 1, HOLDS),
        ("< 25M", 23_834_568, HOLDS),
        ("<= 1", 1.45, DIFFERS),
        ("14x14", "14x14", HOLDS),
        ("28x28", "14x14", DIFFERS),
    ],
)
def test_a_figure_holds_is_rounded_or_differs(said, computed, verdict):
    assert compare(figure(said), computed) == verdict


def test_about_takes_the_zeros_at_the_end_for_no_digits():
    assert compare(figure("60M"), 60_965_224) == DIFFERS
    assert compare(figure("60M", about=True), 60_965_224) == ROUNDED
    assert compare(figure("60M", about=True), 65_000_001) == DIFFERS
    assert compare(figure("150K", about=True), 150_528) == ROUNDED
    assert compare(figure("2.0G", about=True), 2_060_000_000) == DIFFERS  # a digit behind the point is one
    assert compare(figure(0, about=True), 1) == DIFFERS


def test_a_bounds_text_and_words_are_kept_for_programs():
    assert [figure(printed).plain for printed in ("24M", "> 50", "1x1", Decimal("3.5"))] == [
        24_000_000,
        "> 50",
        "1x1",
        3.5,
    ]


# ---- the entries ---------------------------------------------------------------------------------------------


def test_there_are_claims_on_every_topic_each_once():
    assert [*dict.fromkeys(claim.topic for claim in claims())] == TOPICS
    assert 80 <= len(claims()) == len({claim.id for claim in claims()})
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", claim.id) for claim in claims())
    assert all(claim.says.endswith(".") and claim.who for claim in claims())


def test_every_claim_has_a_verdict_and_every_difference_its_cause():
    assert {checked.verdict for checked in EVERY} == set(VERDICTS)
    assert [problem for checked in EVERY for problem in problems(checked)] == []
    for checked in EVERY:
        if checked.agreement == DIFFERS:
            assert len(checked.why) > 20, checked.claim.id
        if checked.verdict == NOT_OURS:
            assert checked.claim.source, checked.claim.id
        else:
            assert all(f.verdict for line in checked.lines for f in line.figures), checked.claim.id


@pytest.mark.parametrize("name", KNOWN)
def test_known_verdicts(name):
    assert check(name).verdict == KNOWN[name]


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("vgg16-params", 'said = "138M"', 'said = "139M"', "differs without a why"),
        ("conv-standard", "said = 108", "said = 109", "differs without a why"),
        ("vgg16-table", "102_760_448", "102_760_449", "fc6: differs without a why"),
        ("inception-bottleneck", 'MACs = "358M"', 'MACs = "271M"', "a why without a difference"),
        ("b0-table", '"MBConv6, k5x5", "28x28"', '"MBConv6, k5x5", "14x14"', "6: a why without a difference"),
        ("mnist-pictures", "said = 50_000", "said = 60_000", "a why without a difference"),
        ("imagenet-pictures", 'said = "14M"', 'said = "15M"', "differs without a why"),
        ("zfnet-filters", 'zfnet = "The', 'zfnet_c = "The', "a why for zfnet_c"),
    ],
)
def test_a_broken_figure_is_found(name, old, new, problem):
    start = TEXT.index(f"[{name}]")
    broken = TEXT[:start] + TEXT[start:].replace(old, new, 1)
    assert broken != TEXT
    (claim,) = [claim for claim in model.read(broken) if claim.id == name]
    assert any(problem in found for found in problems(checking.recomputed(claim)))


ENTRY = '[a-b]\ntopic = "vgg"\nwho = "somebody"\nsays = "It is so."\n'


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("said = 1", "must name what computes it"),
        ('compute = "params"', "prints no figure"),
        ("said = 1\nours = false", "needs its source"),
        ('said = 1\ncompute = "params"\nverdict = "holds"', "no field 'verdict'"),
        ('labels = ["vgg16"]\nfact = { what = "params", source = "nowhere" }\ncompute = "params"', "has 0 entries"),
    ],
)
def test_an_entry_that_is_not_well_formed_is_refused(rest, says):
    with pytest.raises(ConvatlasError, match=says):
        model.read(ENTRY + rest)


def test_a_misspelt_function_is_refused():
    (claim,) = model.read(ENTRY + 'said = 1\ncompute = "parms"')
    with pytest.raises(UnknownName, match="did you mean 'params'"):
        checking.recomputed(claim)


def test_every_function_is_used():
    assert {claim.compute for claim in claims() if claim.compute} == set(checking._functions())


# ---- the figures, against what nobody here wrote -------------------------------------------------------------


def test_the_lectures_convolutions_are_torchs():
    made = {
        "conv-standard": nn.Conv2d(3, 4, 3, bias=False),
        "conv-depthwise": nn.Conv2d(3, 3, 3, groups=3, bias=False),
        "conv-pointwise": nn.Conv2d(3, 4, 1, bias=False),
    }
    count = {name: sum(p.numel() for p in layer.parameters()) for name, layer in made.items()}
    assert {name: numbers(name) for name in made} == count == {name: check(name).to_json()["said"] for name in made}


def test_every_row_of_the_lectures_vgg_table_is_the_networks():
    """The slide multiplies its memory out (112*112*64): its rounded figures are of these products."""
    checked = check("vgg16-table")
    memory = [line.figures[0].computed for line in checked.lines]
    sides = [(224, 3), (224, 64), (224, 64), (112, 64), (112, 128), (112, 128), (56, 128), *[(56, 256)] * 3, (28, 256),
             *[(28, 512)] * 3, (14, 512), *[(14, 512)] * 3, (7, 512)]  # fmt: skip
    assert memory == [side * side * channels for side, channels in sides] + [4096, 4096, 1000]
    assert all(line.figures[1].verdict == HOLDS for line in checked.lines)
    assert sum(memory) == numbers("vgg16-memory")["values"] == 15_237_608
    assert sum(line.figures[1].computed for line in checked.lines) == 138_344_128


def test_the_backward_pass_is_what_torch_counts():
    with torch.device("meta"):
        net = registry.create("vgg16", initialise=False)
        picture = torch.empty(1, 3, 224, 224)
    with FlopCounterMode(display=False) as forward:
        out = net(picture)
    with FlopCounterMode(display=False) as back:
        out.sum().backward()
    ratio = back.get_total_flops() / forward.get_total_flops()
    assert numbers("vgg16-backward")["multiply-adds"] == pytest.approx(ratio, rel=1e-9)


def test_b2_is_printed_with_its_running_statistics():
    net = registry.create("efficientnet_b2", initialise=False)
    statistics = sum(b.numel() for key, b in net.named_buffers() if key.endswith(("running_mean", "running_var")))
    trained = numbers("efficientnet-params")["efficientnet_b2"]
    assert round(trained / 1e6, 1) == 9.1
    assert round((trained + statistics) / 1e6, 1) == 9.2


@pytest.mark.parametrize(
    ("name", "computed"),
    [
        ("lenet-connections", 340_908),
        ("inception-naive", {"MACs": 854_196_224, "channels": 672}),
        ("inception-bottleneck", {"MACs": 271_351_808, "channels": 480}),
        ("googlenet-layers", {"": 13, "two for each module": 22}),
        ("three-3x3-params", {"three 3x3": 27, "one 7x7": 49}),
        ("compound-product", pytest.approx(1.92027)),
        ("training-44x", pytest.approx(44.42, abs=0.01)),
    ],
)
def test_computed_figures(name, computed):
    assert numbers(name) == computed


# ---- the command and the page --------------------------------------------------------------------------------


def test_the_table_counts_its_verdicts(capsys):
    status, out, err = run(capsys)
    assert (status, err) == (0, "")
    assert all(f" {checked.claim.id} " in out for checked in EVERY)
    counts = Counter(checked.verdict for checked in EVERY)
    assert all(f"{counts[verdict]} {verdict}" in " ".join(out.split()) for verdict in VERDICTS)


def test_a_topic_and_a_claim_alone(capsys):
    _, out, _ = run(capsys, "--topic", "vgg")
    assert "vgg16-memory" in out
    assert "googlenet-params" not in out
    _, out, _ = run(capsys, "vgg16-memory")
    for word in ("24M", "15,237,608", "60,950,432", "differs", "Why:", "61 MB"):
        assert word in out
    assert "multiply()([in_block, x])" in run(capsys, "senet-code")[1], "what looks like markup is none"


def test_json_has_plain_numbers(capsys):
    status, out, _ = run(capsys, "--json")
    rows = {row["id"]: row for row in json.loads(out)}
    assert status == 0
    assert list(rows) == [claim.id for claim in claims()]
    fields = {"id", "topic", "says", "who", "said", "computed", "unit", "verdict", "agreement", "why", "source", "note"}
    assert all(set(row) == fields for row in rows.values())
    memory = rows["vgg16-memory"]
    assert memory["said"] == {"values": 24_000_000, "bytes": 96_000_000}
    assert (memory["computed"]["bytes"], memory["verdict"]) == (60_950_432, "differs")
    assert (rows["conv-separable"]["said"], rows["three-3x3-field"]["computed"]["one 7x7"]) == (39, 7)
    assert rows["vgg16-table"]["computed"]["fc6"] == {"memory": 4096, "params": 102_760_448}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["vgg16-memorry"], "unknown claim 'vgg16-memorry'; did you mean 'vgg16-memory'"),
        (["--topic", "resnets"], "unknown topic 'resnets'; did you mean 'resnet'"),
        (["vgg16-memory", "--topic", "vgg"], "not both"),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, says):
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_no_torch_is_needed():
    code = "import sys; from convatlas.claims.page import page; page(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_page_has_every_claim_in_a_whole_row():
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [claim.id for claim in claims()]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
