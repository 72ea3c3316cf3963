"""The comparison: nothing mixed in silence, fronts by brute force, and the papers' own figures met again."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convatlas import facts, registry
from convatlas.cli import main
from convatlas.compare import AXES, SOURCES, accuracy, best, compare, front, published, timings
from convatlas.compare.accuracy import ENSEMBLE, MIXED, SINGLE
from convatlas.compare.axes import HIGHER, LOWER, axis
from convatlas.compare.canziani import canziani, his
from convatlas.compare.canziani import table as canziani_table
from convatlas.compare.compute import table as compute_table
from convatlas.compare.exhibits import EXHIBITS, exhibit
from convatlas.compare.figures import DENSE, DEPTHWISE, GROUPED, computed, depth, kind
from convatlas.compare.fit import offsets, power_law
from convatlas.compare.growth import SERIES
from convatlas.compare.lineage import tree
from convatlas.compare.winners import table as winners_table
from convatlas.cost import analyze
from convatlas.errors import ConvatlasError, UnknownName


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["compare", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a mistake gets."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("convatlas: ")
    assert err.count("\n") == 1
    return err


# ---- accuracies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("top", [1, 5])
def test_sources_never_mix_and_no_ensemble_enters(source: str, top: int) -> None:
    begins = {"torchvision": "torchvision ", "torchvision_v2": "torchvision ", "timm": "timm "}
    found = {name: known for name in facts.index() if (known := accuracy(name, top, source))}
    assert found or (source, top) == ("timm", 5)
    for name, known in found.items():
        entry = facts.networks()[name]
        which = next(f for f in (*entry.get("printed", ()), *entry.get("measured", ())) if f["source"] == known.source
                     and f["what"].startswith(f"top{top}") and f.get("note", "") == known.note
                     and known.value in (f["value"], pytest.approx(100 - f["value"])))  # fmt: skip
        assert "data" not in which  # the validation pictures of ImageNet
        assert known.protocol != ENSEMBLE
        assert "nets" not in known.note.replace("1 net", "")
        if source == "paper":
            assert which in entry["printed"]
        elif source in begins:
            assert known.source.startswith(begins[source])
            assert known.source.endswith("_V2") == (source == "torchvision_v2")
        elif source == "single":
            assert known.protocol == SINGLE


def test_several_networks_that_voted_are_an_ensemble() -> None:
    every = [a for name in facts.index() for top in (1, 5) for a in published(name, top)]
    many = [a for a in every if re.search(r"\b([2-9]|1\d) nets|ensemble", a.note)]
    assert {a.source for a in many} == {"arXiv 1311.2901 Table 2"}  # the others' are of the test pictures
    assert all((a.protocol == ENSEMBLE) == (a in many) for a in every)


@pytest.mark.parametrize(
    ("name", "top", "value", "protocol"),
    [
        ("resnet50", 1, 75.3, SINGLE),  # 24.7 of one crop, not Table 3's 22.85 of ten
        ("resnet152", 5, 93.3, SINGLE),  # not the ensemble's 96.43, not the 95.51 of several scales
        ("resnet34", 1, 75.48, "10-crop"),  # there is no other by the paper
        ("vgg16", 1, 74.4, "dense"),
        ("googlenet", 5, 89.93, SINGLE),  # not the 93.33 of seven networks
        ("efficientnet_b0", 1, 77.1, "not said"), ("efficientnet_b4", 1, 82.9, "not said"),
        ("efficientnet_b7", 1, 84.3, "not said"), ("efficientnet_b7", 5, 97.0, "not said"),
    ],
)  # fmt: skip
def test_papers_accuracies_are_those_of_one_network_and_of_a_single_crop_first(
    name: str, top: int, value: float, protocol: str
) -> None:
    found = accuracy(name, top)
    assert found is not None
    assert (found.value, found.protocol) == (pytest.approx(value), protocol)


def test_a_mixed_column_says_whose_each_row_is() -> None:
    found = compare(["resnet50", "resnet50_v1_5", "mobilenet_v2_x0_75"], accuracy="any")
    kinds = {row.name: row.accuracies["top1:any"].kind for row in found.rows}
    assert kinds == {"resnet50": "paper", "resnet50_v1_5": "torchvision", "mobilenet_v2_x0_75": "others"}
    assert "mixed sources" in found.y.title
    lines = {row["network"]: row for row in found.table.rows}
    assert "torchvision resnet50 IMAGENET1K_V1" in str(lines["resnet50_v1_5"]["top1:any tested"])


def test_two_sources_may_stand_side_by_side() -> None:
    found = compare(["efficientnet_b?", "resnext101_32x8d"], x="top1:torchvision", y="top1:torchvision_v2")
    assert [row.name for row in found.rows] == ["resnext101_32x8d", "efficientnet_b1"]
    assert found.rows[1].values == {"top1:torchvision_v2": 79.838, "top1:torchvision": 78.642, "params": 7794184}


def test_costs_are_at_the_input_at_which_the_accuracy_was_measured() -> None:
    found = compare(["preresnet200", "efficientnet_b2", "resnet50"], accuracy="any", also=["activation"])
    by_name = {row.name: row for row in found.rows}
    assert by_name["preresnet200"].input == 320
    assert by_name["preresnet200"].values["macs"] == analyze("preresnet200", input_size=320).totals["macs"]
    torchvision = {row.name: row for row in compare(["efficientnet_b?"], accuracy="torchvision").rows}
    assert torchvision["efficientnet_b2"].input == 288
    assert torchvision["efficientnet_b2"].values["macs"] == pytest.approx(1.088e9, rel=1e-3)


def test_who_has_no_value_is_left_out_and_named() -> None:
    found = compare(["alexnet", "alexnet_owt", "vgg11", "vgg11_bn"])
    assert {row.name for row in found.rows} == {"alexnet", "vgg11"}
    assert "left out, no published top-1 by its paper: alexnet_owt, vgg11_bn" in found.notes
    assert found.to_json()["left_out"] == {"top1:paper": ["alexnet_owt", "vgg11_bn"]}


def test_an_unverified_figure_is_taken_last_and_says_so() -> None:
    found = accuracy("inception_resnet_v1", 1)
    assert found is not None
    assert found.unverified
    assert "unverified" in found.described
    assert not any(a.unverified for n in facts.index() for source in ("single",) if (a := accuracy(n, 1, source)))


# ---- the front -----------------------------------------------------------------------------------------------

VALUES = st.integers(0, 4)  # few values, so that ties are frequent


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=24), st.tuples(*[st.sampled_from([LOWER, HIGHER])] * 3))
def test_front_is_what_brute_force_finds(points: list[tuple[int, int, int]], better: tuple[str, str, str]) -> None:
    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        costs = [(x, y) if way == LOWER else (-x, -y) for x, y, way in zip(a, b, better)]
        return all(x <= y for x, y in costs) and any(x < y for x, y in costs)

    assert front(points, better) == [not any(dominates(other, point) for other in points) for point in points]


def test_equals_are_on_the_front_together() -> None:
    assert front([(1, 70), (1, 70), (2, 70), (2, 71)], [LOWER, HIGHER]) == [True, True, False, True]


def test_a_front_takes_axes_with_a_better_end() -> None:
    with pytest.raises(ConvatlasError, match="lower or higher"):
        front([(1, 2)], [LOWER, "newer"])
    with pytest.raises(ConvatlasError, match="2 values"):
        front([(1,)], [LOWER, HIGHER])
    assert not any(row.front for row in compare("vgg??", x="year", y="top1").rows)


def test_nothing_beats_the_efficientnets_of_the_paper() -> None:
    assert {f"efficientnet_b{n}" for n in range(8)} <= {row.name for row in compare().front}


# ---- within limits -------------------------------------------------------------------------------------------


def test_the_best_is_the_most_accurate_of_those_that_keep_to_the_limits() -> None:
    found = best({"size": 30e6, "macs": 400e6})
    every = [(accuracy(n, 1), registry.card(n)) for n in facts.index()]
    fitting = [(known.value, card.name) for known, card in every
               if known and 4 * card.params <= 30e6 and card.macs <= 400e6]  # fmt: skip
    assert found.winner is not None
    assert (found.winner.values["top1:paper"], found.winner.name) == max(fitting)
    assert [row.name for row in found.fitting] == [name for _, name in sorted(
        fitting, key=lambda one: (-one[0], registry.card(one[1]).params))]  # fmt: skip
    assert {row.name for row, _ in found.fallen}.isdisjoint(row.name for row in found.fitting)
    for row, over in found.fallen:
        assert [limit.axis.key for limit in over] == [
            key for key, most in (("size", 30e6), ("macs", 400e6)) if row.values[key] > most
        ]


def test_whoever_would_be_better_is_named_with_what_it_exceeds_the_nearest_first() -> None:
    found = best({"params": 5e6, "macs": 400e6})
    assert found.better[0][0].name == "efficientnet_b0"
    assert [limit.word for limit in found.better[0][1]] == ["params"]
    assert all(row.values["top1:paper"] > found.winner.values["top1:paper"] for row, _ in found.better)  # type: ignore[union-attr]


def test_no_network_may_be_left() -> None:
    assert best({"params": 1e3}).winner is None
    with pytest.raises(ConvatlasError, match="no better end"):
        best({"year": 2015})


def test_a_floor_is_a_limit_too() -> None:
    found = best({"top1": 80}, by="macs")
    assert found.winner is not None
    assert found.winner.name == "efficientnet_b2"


def test_times_wait_for_a_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"vgg16": 0.5, "vgg11": 0.3, "alexnet": 0.02}
    monkeypatch.setattr(timings, "predicted", lambda name, input_size: times[name])
    computed.cache_clear()
    try:
        assert best({"latency": 0.4}, ["vgg16", "vgg11", "alexnet"]).winner.name == "vgg11"  # type: ignore[union-attr]
    finally:
        computed.cache_clear()


# ---- figures of networks -------------------------------------------------------------------------------------


def test_depth_is_what_the_names_say() -> None:
    said = {"resnet18": 18, "resnet50": 50, "resnet152": 152, "se_resnet50": 50, "densenet121": 121, "densenet201": 201,
            "vgg16": 16, "vgg19": 19, "senet154": 154, "preresnet200": 200, "resnext101_32x4d": 101}  # fmt: skip
    assert {name: depth(name) for name in said} == said
    assert (depth("googlenet"), depth("alexnet"), depth("lenet5_modern")) == (22, 8, 5)


def test_kinds_of_networks() -> None:
    assert {kind(n) for n in ("mobilenet_v2_x1_0", "xception", "efficientnet_b0", "shufflenet_v1_x1_0_g3")} == {
        DEPTHWISE
    }
    assert {kind(n) for n in ("alexnet", "resnext50_32x4d", "senet154")} == {GROUPED}
    assert {kind(n) for n in ("vgg16", "resnet50", "densenet121", "googlenet")} == {DENSE}


def test_axes_are_what_analyze_counts() -> None:
    report = analyze("resnet50", training="momentum")
    assert computed("resnet50", "activation", 224) == report.totals["activation_bytes"]
    assert computed("resnet50", "training", 224) == report.totals["peak_training_bytes"]
    assert computed("resnet50", "size", 224) == report.totals["parameter_bytes"] == 4 * 25557032
    assert computed("vgg16", "field", 224) == 212
    assert {key for key in AXES if key not in ("top1", "top5", "density", "latency", "measured")} == {
        "params", "size", "macs", "activation", "training", "input", "year", "depth", "field",
    }  # fmt: skip


def test_a_law_is_found_again() -> None:
    law = power_law([(x, 3 * x**0.7) for x in (1.0, 2.0, 5.0, 9.0)])
    assert law is not None
    assert (law.exponent, law.factor, law.correlation, law.spread) == pytest.approx((0.7, 3, 1, 1))
    assert offsets(law, {"slow": [(2.0, 2 * law.at(2)), (4.0, 8 * law.at(4))], "none": []}) == pytest.approx(
        {"slow": 4}
    )
    assert power_law([(1, 1), (1, 2), (1, 3)]) is None


# ---- the literature's figures ---------------------------------------------------------------------------------


def test_accuracy_density_meets_canzianis_figure_10() -> None:
    """With his accuracies and our counts his figures come back to their rounding; but for the networks with large
    fully connected layers, which he gives lower, and Inception-v4, of which he gives a figure of fewer parameters."""
    departs = {"alexnet": (0.8, 0.90), "vgg16": (0.4, 0.51), "vgg19": (0.4, 0.49), "inception_v4": (2.5, 1.87),
               "resnet152_v1_5": (1.2, 1.30)}  # fmt: skip
    known = {name: (theirs, his(name, "top1_accuracy")) for name in facts.networks()
             if (theirs := his(name, "accuracy_density"))}  # fmt: skip
    assert {"googlenet", "resnet18", "resnet34", "resnet50_v1_5", "resnet101_v1_5", "inception_v3"} <= set(known)
    for name, (theirs, top1) in known.items():
        assert top1 is not None
        ours = top1 / registry.card(name).params * 1e6
        if name in departs:
            assert (theirs, round(ours, 2)) == (departs[name][0], pytest.approx(departs[name][1], abs=0.011))
        else:
            assert ours == pytest.approx(theirs, abs=0.1)  # his are cut or rounded to one digit


def test_canziani_has_his_values_beside_ours_and_says_where_times_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "remembered", lambda inputs: {})

    def none(name: str, input_size: int) -> float:
        raise ConvatlasError("no calibration of this machine; run convatlas calibrate")

    monkeypatch.setattr(timings, "predicted", none)
    found = canziani()
    table = canziani_table(found)
    alexnet = next(row for row in table.rows if row["network"] == "alexnet")
    assert (alexnet["his_top1"], alexnet["his_density"], alexnet["top1"]) == (54.61, 0.8, 57.1)
    assert alexnet["operations"] == 2 * registry.card("alexnet").macs
    assert any("run convatlas calibrate" in note for note in table.notes)


def test_that_operations_predict_time_is_tested_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {DENSE: 1.0, GROUPED: 2.0, DEPTHWISE: 5.0}
    monkeypatch.setattr(timings, "remembered", lambda inputs: {
        name: 1e-11 * analyze(name, input_size=side).totals["macs"] * slow[kind(name)] for name, side in inputs.items()
    })  # fmt: skip
    times = canziani().times
    assert times.law is not None
    assert times.slower is not None
    assert (times.law.exponent, times.law.correlation) == pytest.approx((1, 1))
    assert times.slower == pytest.approx(slow)
    notes = " ".join(canziani_table(canziani()).notes)
    assert "depthwise ones are 5.0 times slower" in notes


def test_predicted_times_prove_nothing_about_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "remembered", lambda inputs: {})
    monkeypatch.setattr(timings, "predicted", lambda name, side: 1e-11 * analyze(name, input_size=side).totals["macs"])
    monkeypatch.setattr(timings, "doubts", lambda: ("The calibration was measured on a busy machine.",))
    found = canziani()
    assert (found.times.law, found.times.slower) == (None, None)
    notes = " ".join(canziani_table(found).notes)
    assert "cannot say whether operations predict time" in notes
    assert "busy machine" in notes


def test_the_figure_measures_what_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}

    def measure(inputs: dict[str, int], *, allow_busy: bool) -> dict[str, float]:
        seen.update(inputs)
        return dict.fromkeys(inputs, 1.0)

    monkeypatch.setattr(timings, "measured", measure)
    found = canziani(["alexnet", "resnet18", "resnet34"], measured=True)
    assert set(seen) == {"alexnet", "resnet18", "resnet34"}
    assert found.times.how == "measured on this machine"
    with pytest.raises(ConvatlasError, match="has no times"):
        exhibit("compute", measured=True)


def test_44_times_less_compute() -> None:
    rows = {row["network"]: row for row in compute_table().rows}
    assert len(rows) == 16
    assert rows["efficientnet_b0"]["factor_by_printed"] == pytest.approx(44, abs=0.5)
    assert rows["efficientnet_b0"]["days_by_printed"] == pytest.approx(0.069, abs=0.0005)
    for row in rows.values():
        assert row["factor_by_printed"] == pytest.approx(
            row["factor_printed"], abs=0.5 if row["factor_printed"] > 10 else 0.05
        )
        assert 3 * row["epochs"] * row["macs_printed"] * 1.28e6 == pytest.approx(row["training_printed"], rel=0.02)
        assert row["days"] == pytest.approx(row["days_by_printed"] * row["macs"] / row["macs_printed"])
    assert rows["efficientnet_b0"]["factor"] == pytest.approx(42.2, abs=0.05)
    assert [row["network"] for row in rows.values() if row["best"]] == [
        "alexnet", "googlenet", "mobilenet_v1_x1_0", "shufflenet_v1_x1_0_g3", "shufflenet_v2_x1_0", "efficientnet_b0",
    ]  # fmt: skip


def test_winners_of_the_challenge() -> None:
    rows = winners_table().rows
    errors = {2010: 28.2, 2011: 25.8, 2012: 16.4, 2013: 11.7, 2014: 6.67, 2015: 3.57, 2016: 2.99, 2017: 2.25}
    assert {row["year"]: round(float(row["error"]), 2) for row in rows} == errors  # type: ignore[arg-type]
    assert [row["year"] for row in rows if not row["ensemble"]] == [2010, 2011]
    assert {row["name"]: row["depth"] for row in rows if row["depth"]} == {
        "AlexNet": 8, "GoogLeNet": 22, "ResNet": 152, "SENet": 154,
    }  # fmt: skip
    assert {row["name"]: row["single"] for row in rows if row["single"]} == {
        "AlexNet": 18.2, "GoogLeNet": 10.07, "ResNet": 4.49, "SENet": 3.79,
    }  # fmt: skip
    for row in rows:  # what networks.toml has of the same entries is the same
        if row["network"]:
            printed = facts.networks()[str(row["network"])]["printed"]
            assert any(f["value"] == row["error"] and "test" in f.get("data", "") for f in printed)
            assert any(f["value"] == row["single"] and "data" not in f for f in printed)


def test_families_of_the_curves_are_registered_and_grow() -> None:
    for name, networks in SERIES.items():
        params = [registry.card(network).params for network in networks.split()]
        assert params == sorted(params) or name == "MnasNet"  # A1 is smaller than B1


def test_lineage_is_a_forest_in_which_no_child_is_older_than_its_parent() -> None:
    nodes = {node.name: node for node in tree()}
    assert [node.name for node in nodes.values() if node.parent is None] == ["lenet5"]
    seen: set[str] = set()
    for node in tree():  # parents before children: so there are no circles
        assert node.parent is None or node.parent in seen
        assert node.parent is None or (nodes[node.parent].year, nodes[node.parent].date) <= (node.year, node.date)
        seen.add(node.name)
    together = [name for node in nodes.values() for name in node.networks]
    assert sorted(together) == sorted(facts.networks())
    ideas = {idea for node in nodes.values() for idea in node.ideas}
    assert ideas == {entry["idea"] for entry in facts.networks().values() if "idea" in entry}


def test_lineage_says_who_came_after_whom() -> None:
    titles = {node.name: node.title for node in tree()}
    after = {node.title: titles.get(node.parent or "") for node in tree()}
    assert after["GoogLeNet"] == "Network in network"
    assert after["ResNet"] == "VGG"
    assert {after[name] for name in ("DenseNet", "ResNeXt", "SENet", "PreResNet")} == {"ResNet"}
    assert {after[name] for name in ("EfficientNet", "MobileNetV3")} == {"MnasNet"}
    assert after["MobileNet"] == "Xception"


def test_lineage_begins_with_the_idea_and_ends_with_its_controls() -> None:
    ideas = {node.title: node.ideas for node in tree()}
    assert ideas["ResNet"][0].startswith("Layers learn the difference")
    assert ideas["ResNet"][-1].startswith("ResNet's control")
    assert ideas["MnasNet"][0].startswith("A search")


# ---- what is drawn -------------------------------------------------------------------------------------------


def texts(figure: object, *, titles: bool = False) -> list[tuple[str, object]]:
    """Every visible text in a figure's panels with its box in pixels; with their titles, axes and keys."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)  # type: ignore[arg-type]
    canvas.draw()
    found = figure.findobj(
        lambda artist: isinstance(artist, Text) and artist.get_visible() and artist.get_text().strip()
    )  # type: ignore[attr-defined]
    axes_texts = [text for panel in figure.axes for text in panel.texts]  # type: ignore[attr-defined]
    if titles:
        keys = [panel.get_legend() for panel in figure.axes]  # type: ignore[attr-defined]
        axes_texts += [text for key in keys if key is not None for text in key.get_texts()]
        axes_texts += [text for panel in figure.axes for text in (panel._left_title, panel.xaxis.label)]  # type: ignore[attr-defined]
    wanted = [text for text in found if text in axes_texts]
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in wanted]


@pytest.mark.parametrize("name", EXHIBITS)
def test_figures_are_the_same_bytes_every_time_and_no_text_covers_another_or_is_cut_off(
    name: str, tmp_path: Path
) -> None:
    found = exhibit(name)
    figure = found.plot(tmp_path / "a.svg")
    found.plot(tmp_path / "b.svg")
    first = (tmp_path / "a.svg").read_bytes()
    assert first == (tmp_path / "b.svg").read_bytes()
    assert b"<dc:date>" not in first
    boxes = texts(figure)
    frame = figure.bbox
    for text, box in texts(figure, titles=True):
        assert box.x0 >= -1 and box.x1 <= frame.width + 1, text  # type: ignore[attr-defined]  # noqa: PT018
        assert box.y0 >= -1 and box.y1 <= frame.height + 1, text  # type: ignore[attr-defined]  # noqa: PT018
    for n, (text, box) in enumerate(boxes):
        for other, beside in boxes[n + 1 :]:
            wide = min(box.x1, beside.x1) - max(box.x0, beside.x0)  # type: ignore[attr-defined]
            high = min(box.y1, beside.y1) - max(box.y0, beside.y0)  # type: ignore[attr-defined]
            area = wide * high if wide > 0 and high > 0 else 0
            assert area <= 0.06 * box.width * box.height, (text, other)  # type: ignore[attr-defined]


def test_a_label_stands_nearer_to_its_own_point_than_to_anothers() -> None:
    from convatlas.compare.drawing.labels import Label, place
    from convatlas.compare.drawing.style import sheet

    figure = sheet(3.0, 3.0)
    figure.set_layout_engine("none")
    panel = figure.add_axes((0, 0, 1, 1))
    panel.set_xlim(0, 216)  # in points
    panel.set_ylim(0, 216)
    (text,) = place(panel, [Label("PreResNet-200", 180, 100)], size=8, taken=[(143, 106, 3)])
    box = text.get_window_extent().transformed(panel.transData.inverted())

    def far(x: float, y: float) -> float:
        return math.hypot(max(box.x0 - x, x - box.x1, 0), max(box.y0 - y, y - box.y1, 0))

    assert far(180, 100) < 0.6 * far(143, 106)


def test_the_smallest_blob_is_seen_and_no_smaller_than_a_point() -> None:
    from convatlas.compare.drawing.scatter import areas, radius

    found = canziani()
    area = areas(found.rows, axis("params"))
    assert radius(min(area.values())) > 3  # points
    assert area["squeezenet1_0"] == area["shufflenet_v2_x1_0"] == min(area.values())


def test_the_winners_have_a_key() -> None:
    (panel,) = exhibit("ilsvrc").plot().axes
    key = " ".join(text.get_text() for text in panel.get_legend().get_texts())
    for word in ("no network", "ensemble", "one network", "human"):
        assert word in key


def test_the_colour_blind_tell_the_groups_apart() -> None:
    """Any two groups differ clearly in simulated colour (Machado et al. 2009, full severity); markers help besides."""
    from convatlas.compare.drawing.style import COLOURS

    machado = {
        "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
        "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    }

    def linear(colour: str) -> list[float]:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]

    def lab(rgb: list[float]) -> tuple[float, float, float]:
        to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
        white = (0.9505, 1.0, 1.089)
        xyz = [sum(m * c for m, c in zip(row, rgb)) / w for row, w in zip(to_xyz, white)]
        x, y, z = (max(v, 0) ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
        return 116 * y - 16, 500 * (x - y), 200 * (y - z)

    for matrix in machado.values():
        seen = {group: lab([sum(m * c for m, c in zip(row, linear(colour))) for row in matrix])
                for group, colour in COLOURS.items()}  # fmt: skip
        for one in seen:
            for other in seen:
                if one < other:
                    assert math.dist(seen[one], seen[other]) > 20, (one, other)


# ---- the command ---------------------------------------------------------------------------------------------


def test_compare_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "vgg16", "efficientnet_b0", "alexnet", "--json")
    found = json.loads(out)
    assert found["front"] == ["efficientnet_b0"]
    b0 = next(row for row in found["networks"] if row["name"] == "efficientnet_b0")
    assert b0["values"] == {"top1:paper": 77.1, "macs": registry.card("efficientnet_b0").macs, "params": 5288548}
    assert b0["accuracies"]["top1:paper"]["source"] == "arXiv 1905.11946v5 Table 2"


def test_compare_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "resnet*", "--also", "depth")
    assert status == 0
    assert "only" not in out
    assert "Tested 10-crop" in out
    assert "left out, no published top-1 by its paper: resnet18," in out
    status, out, _ = run(capsys, "--max-params", "5M", "--max-macs", "400M")
    assert "best" in out
    assert "mnasnet_a1" in out


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".csv", ".md", ".json"])
def test_compare_writes(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"x{suffix}"
    for more in (["vgg16", "alexnet"], ["--max-params", "5M"], ["--figure", "ilsvrc"]):
        status, out, err = run(capsys, *more, "--out", str(path))
        assert (status, out) == (0, "")
        assert "wrote" in err
        assert path.stat().st_size > 100
    if suffix == ".csv":
        assert path.read_text(encoding="utf-8").startswith("year,team,name,error")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--x", "macz"], "did you mean 'macs'"),
        (["--accuracy", "torchvison"], "did you mean 'torchvision'"),
        (["--y", "top1:tim"], "did you mean 'timm'"),
        (["--x", "macs:timm"], "computed"),
        (["resnet5O"], "did you mean 'resnet50'"),
        (["foo*"], "no network fits 'foo*'"),
        (["vgg16"], "two networks, and only vgg16 has"),
        (["lenet5", "vgg11_bn"], "none of 2 has"),
        (["--out", "x.gif"], ".svg"),
        (["--out", "/proc/x.svg"], "cannot be written"),
        (["--out", "/proc/x.csv"], "cannot be written"),
        (["--figure", "lineag"], "did you mean 'lineage'"),
        (["vgg*", "--figure", "lineage"], "its own networks"),
        (["--figure", "compute", "--max-params", "5M"], "no limits"),
        (["--max-latency", "20"], "write 20ms"),
        (["--max-params", "5M", "--x", "macs"], "limits"),
        (["--measured"], "--max-latency"),
        (["--json", "--out", "x.svg"], "one of them"),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in refused(capsys, *arguments)


def test_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, text: str, encoding: str = "") -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert "No space left" in refused(capsys, "vgg16", "alexnet", "--out", str(tmp_path / "x.csv"))
    assert not any(tmp_path.iterdir())


def test_comparing_needs_neither_torch_nor_matplotlib() -> None:
    code = ("import sys; from convatlas.cli import main; main(['compare', '--json']); main(['compare', '--figure', "
            "'lineage', '--json']); print({'torch', 'matplotlib'} & set(sys.modules), file=sys.stderr)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


def test_times_are_measured_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path))
    times = iter((0.25, 0.5))
    monkeypatch.setattr(timings, "_measure", lambda name, side, allow_busy: next(times))
    assert timings.remembered({"vgg16": 224}) == {}
    assert timings.measured({"vgg16": 224}) == {"vgg16": 0.25}
    assert timings.measured({"vgg16": 224, "vgg11": 224}) == {"vgg16": 0.25, "vgg11": 0.5}
    assert timings.remembered({"vgg16": 224, "vgg11": 192}) == {"vgg16": 0.25}
    (tmp_path / "times.json").write_text("damaged", encoding="utf-8")
    assert timings.remembered({"vgg16": 224}) == {}


def test_a_measured_time_is_of_its_threads_and_of_a_quiet_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convatlas.deploy import benchmark as benchmarks
    from convatlas.deploy.load import Load

    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path))
    monkeypatch.setattr(timings, "_disturbed", set())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = timings._key("lenet5_modern", 32)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert timings._key("lenet5_modern", 32) != one
    monkeypatch.setattr(benchmarks, "checked_load", lambda threads, allow_busy=False: Load(0.0, 0.0, 2, 0.0))
    monkeypatch.setattr(benchmarks, "between", lambda before, after: Load(2.0, 0.0, 2, 5.0))
    with pytest.raises(ConvatlasError, match="others came while lenet5_modern was measured"):
        timings.measured({"lenet5_modern": 32})
    assert timings.remembered({"lenet5_modern": 32}) == {}
    assert timings.disturbed() == ()
    timings.measured({"lenet5_modern": 32}, allow_busy=True)
    assert "lenet5_modern" in timings.disturbed()[0]


def test_a_further_column_changes_no_cost() -> None:
    plain = compare(["efficientnet_lite*", "efficientnet_b?"], x="macs")
    more = compare(["efficientnet_lite*", "efficientnet_b?"], x="macs", also=["top1:timm", "top1:torchvision"])
    assert {row.name: row.values["macs"] for row in plain.rows} == {row.name: row.values["macs"] for row in more.rows}


def test_a_network_is_really_timed_and_on_a_busy_machine_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path))
    assert 1e-6 < timings.measured({"lenet5_modern": 32}, allow_busy=True)["lenet5_modern"] < 1
    assert timings.remembered({"lenet5_modern": 32}) == {}


def test_predicted_times_are_those_of_the_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convatlas.cost.latency import Ceilings, Machine, Rates, latency
    from convatlas.cost.machine import last_cache, processor
    from convatlas.cost.work import KINDS

    monkeypatch.setenv("CONVATLAS_CACHE", str(tmp_path))
    timings._machine.cache_clear()
    computed.cache_clear()
    try:
        with pytest.raises(ConvatlasError, match="no calibration of this machine; run convatlas calibrate"):
            compare("vgg1?", x="latency")
        rates = dict.fromkeys(KINDS, Rates(1e-6, 1e-11, 0, 0, 1e-10, 0, 1e-10))
        machine = Machine(processor(), 1, last_cache(), {}, "2020-01-01",
                          {"eager": Ceilings(rates, {}, 1e-5, 8, 1e-10, 0.1)})  # fmt: skip
        (tmp_path / "machine.json").write_text(json.dumps(machine.to_json()), encoding="utf-8")
        found = {row.name: row.values["latency"] for row in compare("vgg1?", x="latency").rows}
        assert found["vgg16"] == latency("vgg16", machine, "eager").seconds
        assert found["vgg11"] < found["vgg16"]
    finally:
        timings._machine.cache_clear()
        computed.cache_clear()


def test_the_tour_shows_the_front(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rich.console import Console

    from convatlas.cli import compare as verb

    console = Console(record=True, width=120, file=io.StringIO())
    verb.print_tour_figure(console, tmp_path)
    told = console.export_text()
    bars = [(line.count("█"), float(line.split()[1])) for line in told.splitlines() if "█" in line]
    assert {round(bar - verb.WHOLE * accuracy / 100) for bar, accuracy in bars} == {0}
    assert "efficientnet_b7" in told
    assert "vgg16" not in told
    assert (tmp_path / "comparison.png").stat().st_size > 10_000


def test_errors_of_the_library() -> None:
    with pytest.raises(UnknownName, match="did you mean 'ilsvrc'"):
        exhibit("ilsrvc")
    with pytest.raises(UnknownName, match="source of accuracies"):
        accuracy("vgg16", 1, "papr")
    with pytest.raises(ConvatlasError, match="no --accuracy"):
        exhibit("lineage", accuracy="timm")
    assert axis("top1", "timm").name == axis("top1:timm").name == "top1:timm"
    assert set(MIXED) < set(SOURCES)
    assert list(published("lenet5", 1)) == []
