"""facts/networks.toml: complete, sourced, and obeyed by the code to the last parameter."""

from __future__ import annotations

import re
from functools import cache

import pytest

from convatlas import facts, registry

NETWORKS = facts.networks()
FIELDS = {"title", "family", "year", "paper", "parent", "idea", "note", "params", "input", "macs_G", "with_aux", "at",
          "printed", "measured"}  # fmt: skip
FIGURES = {"what", "value", "unit", "data", "input", "source", "note", "unverified"}
WHAT = {
    "params": {None, "M"}, "macs": {"M", "G"}, "layer_params": {None}, "connections": {None}, "neurons": {None},
    "top1_error": {"%"}, "top5_error": {"%"}, "top1_accuracy": {"%"}, "top5_accuracy": {"%"}, "test_error": {"%"},
    "latency": {"ms"}, "file_size": {"MB"}, "keras_total": {None}, "accuracy_density": {"%/M"},
    "epochs_to_alexnet": {None}, "training_ops": {"1e15"}, "alexnet_factor": {None},
}  # fmt: skip

# The line that was set out for the atlas: none of it may be lost.
LINE = """
lenet5 lenet5_modern lenet_caffe alexnet alexnet_ungrouped alexnet_owt zfnet zfnet_b nin_cifar10 nin_cifar100 nin
vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn googlenet googlenet_bn googlenet_slim inception_v2
inception_v3 inception_v4 inception_resnet_v1 inception_resnet_v2 xception plain18 plain34 resnet18_a resnet18
resnet34_a resnet34 resnet34_c resnet50 resnet50_v1_5 resnet101 resnet101_v1_5 resnet152 resnet152_v1_5 preresnet200
preresnet50 wide_resnet50_2 wide_resnet101_2 resnext50_32x4d resnext101_32x4d resnext101_64x4d resnext101_32x8d
se_vgg16_bn se_inception_v2 se_inception_resnet_v2 se_resnet50 se_resnet50_v1_5 se_resnet101 se_resnet101_v1_5
se_resnet152 se_resnet152_v1_5 se_resnext50_32x4d se_resnext101_32x4d senet154 se_mobilenet_v1 se_shufflenet_v1_g3
densenet121 densenet169 densenet201 densenet161 densenet264 densenet264_k48 densenet232_k48 resnet20_cifar
resnet32_cifar resnet44_cifar resnet56_cifar resnet110_cifar resnet1202_cifar plain20_cifar plain56_cifar
resnet20_b_cifar resnet56_b_cifar preresnet110_cifar preresnet164_cifar preresnet1001_cifar wrn16_10_cifar
wrn28_10_cifar resnext29_8x64d_cifar resnext29_16x64d_cifar densenet40_k12_cifar densenet100_k12_cifar
densenet100_k24_cifar densenet_bc100_k12_cifar densenet_bc250_k24_cifar densenet_bc190_k40_cifar mobilenet_v1_x1_0
mobilenet_v1_x0_75 mobilenet_v1_x0_5 mobilenet_v1_x0_25 mobilenet_v2_x1_4 mobilenet_v2_x1_0 mobilenet_v2_x0_75
mobilenet_v2_x0_5 mobilenet_v2_x0_35 mobilenet_v3_large_x1_0 mobilenet_v3_large_x0_75 mobilenet_v3_small_x1_0
mobilenet_v3_small_x0_75 shufflenet_v1_x0_25_g1 shufflenet_v1_x0_25_g3 shufflenet_v1_x0_5_g1 shufflenet_v1_x0_5_g3
shufflenet_v1_x1_0_g1 shufflenet_v1_x1_0_g2 shufflenet_v1_x1_0_g3 shufflenet_v1_x1_0_g4 shufflenet_v1_x1_0_g8
shufflenet_v1_x1_5_g3 shufflenet_v1_x2_0_g3 shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 mnasnet_a1 mnasnet_b1 mnasnet_b1_x0_5 mnasnet_b1_x0_75 mnasnet_b1_x1_3
mnasnet_small efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
efficientnet_b6 efficientnet_b7 efficientnet_lite0 efficientnet_lite1 efficientnet_lite2 efficientnet_lite3
efficientnet_lite4
""".split()


@cache
def counted(name: str, aux: bool | None = None) -> dict[str, int]:
    """What our own network has: parameters, batch norm's running statistics, and the side of its picture."""
    net = registry.create(name, aux=aux, initialise=False)
    return {
        "params": sum(p.numel() for p in net.parameters() if p.requires_grad),
        "statistics": sum(b.numel() for key, b in net.named_buffers() if key.endswith(("running_mean", "running_var"))),
        "input": net.input_size[1],
    }


def figures(name: str, what: str | None = None, source: str = "") -> list[dict]:
    """The printed and measured figures of one network."""
    found = NETWORKS[name].get("printed", []) + NETWORKS[name].get("measured", [])
    return [f for f in found if what in (None, f["what"]) and source in f["source"]]


def test_every_registered_network_has_its_facts_and_every_fact_its_network():
    assert not set(registry.names()) - set(NETWORKS), "registered, without facts"
    assert not set(NETWORKS) - set(registry.names()), "facts, not registered"
    assert registry.names() == list(NETWORKS)


def test_no_network_of_the_line_is_missing():
    assert not [name for name in LINE if name not in NETWORKS]


def test_the_line_is_in_the_order_of_time():
    families = list(dict.fromkeys(fact["family"] for fact in NETWORKS.values()))
    assert families[0] == "LeNet"
    assert families[-2:] == ["EfficientNet", "EfficientNet-Lite"]
    runs = [fact["family"] for fact in NETWORKS.values()]
    assert families == [f for f, before in zip(runs, [None, *runs]) if f != before], "a family is in two places"
    first = [min(f["year"] for f in NETWORKS.values() if f["family"] == family and "year" in f) for family in families]
    assert first == sorted(first)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_exact(name):
    fact = NETWORKS[name]
    assert counted(name)["params"] == fact.get("params", counted(name)["params"])
    assert counted(name)["input"] == fact["input"]
    for f in figures(name, "params"):
        if "unit" not in f:
            assert counted(name)["params"] == f["value"], f
        elif "note" not in f and not f.get("unverified"):
            assert counted(name)["params"] / 1e6 == pytest.approx(f["value"], rel=0.05, abs=0.05), f


@pytest.mark.parametrize("name", [name for name, fact in NETWORKS.items() if "with_aux" in fact])
def test_parameters_with_auxiliary_heads_are_exact(name):
    assert counted(name, aux=True)["params"] == NETWORKS[name]["with_aux"]["params"]
    assert counted(name)["params"] < NETWORKS[name]["with_aux"]["params"]


@pytest.mark.parametrize("name", ["densenet121", "xception", "mobilenet_v1_x1_0", "mobilenet_v2_x1_0"])
def test_keras_total_is_our_parameters_and_the_running_statistics(name):
    (total,) = figures(name, "keras_total")
    assert counted(name)["params"] + counted(name)["statistics"] == total["value"]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_fact_is_well_formed_and_every_figure_has_a_source(name):
    fact = NETWORKS[name]
    assert set(fact) <= FIELDS
    assert {"title", "family", "paper", "input"} <= set(fact)
    assert "year" in fact or "note" in fact, "a network without a year must say why"
    counts = [fact, fact.get("with_aux", {}), *fact.get("at", [])]
    assert all(re.fullmatch(r"\d+\.\d+", count["macs_G"]) for count in counts if "macs_G" in count)
    for f in figures(name):
        assert set(f) <= FIGURES, f
        assert f["source"].strip(), f
        assert f["what"] in WHAT, f
        assert f.get("unit") in WHAT[f["what"]], f
        assert f["value"] > 0, f
        assert f.get("unverified", True) is True, f
        if f.get("unit") == "%":
            assert f["value"] < 100, f
    assert len({repr(f) for f in figures(name)}) == len(figures(name)), "a figure is there twice"


def test_the_family_tree_grows_from_lenet_and_forwards_in_time():
    for name, fact in NETWORKS.items():
        path = [name]
        while parent := NETWORKS[path[-1]].get("parent"):
            assert parent in NETWORKS, f"{path[-1]} grew from {parent}, which is not registered"
            assert parent not in path, f"{path} goes in a circle"
            path.append(parent)
        assert path[-1] == "lenet5", path
        if "parent" in fact and "year" in fact:
            assert NETWORKS[fact["parent"]].get("year", 0) <= fact["year"], path[:2]


def test_every_family_says_what_was_new():
    new = {fact["family"] for fact in NETWORKS.values() if "idea" in fact}
    assert new == {fact["family"] for fact in NETWORKS.values()}


def test_forty_four_times_less_training_reproduces_from_its_own_rows():
    """Hernandez and Brown 2020, Table 3: 3 x epochs x multiply-adds x 1.28e6 pictures, against AlexNet's."""
    source = "arXiv 2005.04305 Table 3"
    rows = {}
    for name in NETWORKS:
        row = {f["what"]: f["value"] for f in figures(name, source=source)}
        if row:
            rows[name] = row
    assert len(rows) == 16
    for row in rows.values():
        training = 3 * row["epochs_to_alexnet"] * row["macs"] * 1e9 * 1.28e6
        assert training / 1e15 == pytest.approx(row["training_ops"], rel=0.03)
        assert rows["alexnet"]["training_ops"] / row["training_ops"] == pytest.approx(row["alexnet_factor"], rel=0.06)
    assert max(row["alexnet_factor"] for row in rows.values()) == rows["efficientnet_b0"]["alexnet_factor"] == 44
