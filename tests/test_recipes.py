"""Recipes are data: every network has two, every value its source, and the papers' numbers are the papers'."""

from __future__ import annotations

import importlib
import json
import math
from fnmatch import fnmatchcase

import pytest

from convatlas import facts, registry
from convatlas.cli import main
from convatlas.cli import recipe as verb
from convatlas.data.division import how_many
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.train.order import Order
from convatlas.train.rate import learning_rate
from convatlas.train.recipe import Recipe, changed, recipe, recipes, table_of
from convatlas.train.setup import Setup

MODULE = importlib.import_module("convatlas.train.recipe")
WORDS = {"title", "note", "sources"}
NETWORKS = list(facts.index())
NAMES = [path.name.removesuffix(".toml") for path in MODULE.FOLDER.iterdir() if path.name.endswith(".toml")]
FILES = {name: MODULE._file(name) for name in sorted(NAMES)}
TABLES = [(file, table) for file, tables in FILES.items() for table in tables]
GENERAL = {"small", "shared"}
IMAGENET = 1_281_167
"""Training pictures of ILSVRC."""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


# ---- all of them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_its_papers_recipe_and_one_of_today(network: str) -> None:
    found = recipes(network)
    assert {"paper", "modern"} <= set(found)
    options = registry.options(network)
    for entry in found.values():
        assert entry.title
        values = entry.model_fields_set
        assert {"epochs", "batch", "optimizer", "learning_rate", "weight_decay", "schedule"} <= values
        assert "steps" in values if entry.schedule == "steps" else "steps" not in values
        assert "every" in values if entry.schedule == "exponential" else "every" not in values
        assert list(entry.steps) == sorted(entry.steps)
        assert all(step < entry.epochs for step in entry.steps)
        assert ("eps" in values) >= (entry.optimizer in ("rmsprop", "rmsprop_tf"))
        # What a recipe asks of the network, the network has.
        assert {"dropout", "drop_path"} & values <= set(options)
        assert ("aux_weight" in values) <= ("aux" in options)


def test_networks_with_auxiliary_heads_say_what_these_weigh() -> None:
    for network in (name for name in NETWORKS if "aux" in registry.options(name)):
        for kind in ("paper", "modern"):
            assert "aux_weight" in recipes(network)[kind].sources


@pytest.mark.parametrize(("file", "table"), TABLES)
def test_every_value_has_a_source_and_every_source_a_value(file: str, table: str) -> None:
    entry = table_of(file, table)
    values, sources = set(entry) - WORDS, entry["sources"]
    assert values == set(sources)
    assert all(text.strip() for text in sources.values())
    # A table that changes a value that it took says where the new one comes from.
    own = FILES[file][table]
    assert set(own) - WORDS - {"like", "networks", "data"} == set(own.get("sources", ()))
    Recipe.model_validate(entry)


def test_a_table_for_some_networks_meets_some_and_no_network_meets_two() -> None:
    for file, tables in FILES.items():
        if file in GENERAL:
            continue
        names = [name for name in NETWORKS if registry.card(name).module == file]
        assert names, f"{file}.toml is for no module of nets"
        special = {table: entry["networks"] for table, entry in tables.items() if "networks" in entry}
        assert set(tables) - set(special) == {"paper", "modern"}
        for table, patterns in special.items():
            assert table.partition("_")[0] in ("paper", "modern")
            for pattern in patterns:
                assert any(fnmatchcase(name, pattern) for name in names), f"{file}.{table}: {pattern}"
        for name in names:
            for kind in ("paper", "modern"):
                met = [t for t, patterns in special.items() if t.startswith(kind)
                       and any(fnmatchcase(name, pattern) for pattern in patterns)]  # fmt: skip
                assert sum("data" not in tables[t] for t in met) < 2, f"{name}: {met}"
                named = [set(tables[t]["data"]) for t in met if "data" in tables[t]]
                assert sum(map(len, named)) == len(set().union(*named)), f"{name}: {met}"


def test_a_table_that_names_data_goes_before_the_data_sets_own() -> None:
    assert recipe("lenet5_modern", data="mnist").epochs != recipe("lenet_caffe", data="mnist").epochs
    assert recipe("lenet5_modern", data="mnist").batch == recipe("lenet_caffe", data="mnist").batch
    assert recipe("lenet5_modern", data="digits") == recipe("lenet_caffe", data="digits")


def test_a_network_for_small_pictures_is_not_trained_by_a_recipe_for_imagenet() -> None:
    for network in NETWORKS:
        for entry in (recipes(network)[kind] for kind in ("paper", "modern")):
            small = registry.card(network).input_size <= 32
            assert ("ImageNet" not in entry.title) == small, network
            assert entry.crop in (("none", "pad") if small else ("random", "resized"))


def test_the_recipes_of_a_data_set_are_for_any_network() -> None:
    assert recipe("resnet50", data="mnist") == recipe("lenet_caffe", data="mnist")
    assert recipe("lenet5", data="mnist").optimizer == "adamw"  # by the SGD of the others it ends at chance
    assert recipe("resnet50", data="imagenet") == recipe("resnet50")
    assert recipe("resnet50", data="npz").epochs == recipe("resnet50", "general").epochs < recipe("resnet50").epochs
    assert recipe("resnet50", data="npz").size is None
    assert recipe("resnet50", "paper", data="mnist") == recipe("resnet50", "paper")


# ---- the papers' numbers ----------------------------------------------------------------------------------

FB = dict(epochs=90, batch=256, learning_rate=0.1, steps=(30, 60), factor=0.1, momentum=0.9, weight_decay=1e-4)
CIFAR = dict(batch=128, learning_rate=0.1, factor=0.1, weight_decay=1e-4, crop="pad", padding=4, flip=True,
             optimizer="sgd")  # fmt: skip
INCEPTION = dict(optimizer="rmsprop_tf", decay=0.9, eps=1.0, learning_rate=0.045, factor=0.94, every=2, smoothing=0.1)
SENET = dict(epochs=100, batch=1024, learning_rate=0.6, steps=(30, 60, 90))
SHUFFLE = dict(epochs=240, batch=1024, learning_rate=0.5, schedule="linear", final=0.0, weight_decay=4e-5)
PRINTED = {
    "lenet5": dict(epochs=20, steps=(2, 5, 8, 12)),
    "alexnet": dict(epochs=90, batch=128, learning_rate=0.01, weight_decay=5e-4, dropout=0.5, colour="pca"),
    "alexnet_owt": dict(epochs=90, learning_rate=0.01, colour="none"),
    "zfnet": dict(epochs=70, batch=128, learning_rate=0.01),
    "vgg16": dict(epochs=74, batch=256, learning_rate=0.01, weight_decay=5e-4, factor=0.1),
    "googlenet": dict(momentum=0.9, factor=0.96, every=8, aux_weight=0.3, dropout=0.4, scale=(0.08, 1.0)),
    "inception_v3": INCEPTION | dict(clip=2.0, epochs=100),
    "inception_v4": INCEPTION | dict(clip=None),
    "inception_resnet_v2": INCEPTION,
    "se_inception_resnet_v2": SENET,
    "resnet50": FB,
    "plain34": FB,
    "resnext50_32x4d": FB | dict(optimizer="nesterov"),
    "se_resnet50": SENET,
    "senet154": dict(batch=2048, learning_rate=1.0),
    "resnet20_cifar": CIFAR | dict(warmup=0),
    "resnet56_cifar": CIFAR | dict(warmup=0),
    "resnet110_cifar": CIFAR | dict(warmup=1, warmup_from=0.1),
    "plain110_cifar": CIFAR | dict(warmup=1, warmup_from=0.1),
    "preresnet164_cifar": CIFAR | dict(warmup=1, warmup_from=0.1),
    "resnext29_8x64d_cifar": dict(epochs=300, steps=(150, 225), weight_decay=5e-4),
    "wrn28_10_cifar": dict(epochs=200, steps=(60, 120, 160), factor=0.2, weight_decay=5e-4, optimizer="nesterov"),
    "densenet121": FB | dict(optimizer="nesterov"),
    "densenet161": dict(epochs=100, batch=128, learning_rate=0.1, reference_batch=128),
    "densenet264_k48": dict(schedule="cosine"),
    "densenet40_k12_cifar": dict(epochs=300, batch=64, steps=(150, 225), learning_rate=0.1, optimizer="nesterov"),
    "xception": dict(optimizer="sgd", learning_rate=0.045, factor=0.94, every=2, weight_decay=1e-5),
    "mobilenet_v2_x1_0": dict(optimizer="rmsprop_tf", learning_rate=0.045, factor=0.98, every=1, weight_decay=4e-5),
    "shufflenet_v1_x1_0_g3": SHUFFLE,
    "shufflenet_v2_x1_0": SHUFFLE,
    "mobilenet_v3_large_x1_0": dict(batch=4096, learning_rate=0.1, factor=0.99, every=3, weight_decay=1e-5),
    "mnasnet_a1": dict(epochs=350, warmup=5, factor=0.97, every=2.4, weight_decay=1e-5),
    "efficientnet_b0": dict(
        optimizer="rmsprop_tf", decay=0.9, momentum=0.9, eps=1e-3, learning_rate=0.016, reference_batch=256,
        factor=0.97, every=2.4, warmup=5, weight_decay=1e-5, ema=0.9999, smoothing=0.1, epochs=350,
    ),
}  # fmt: skip


@pytest.mark.parametrize("network", PRINTED)
def test_the_papers_recipe_is_the_papers(network: str) -> None:
    found = recipe(network, "paper")
    assert {field: getattr(found, field) for field in PRINTED[network]} == PRINTED[network]


@pytest.mark.parametrize(
    ("network", "pictures", "steps"),
    [
        ("vgg16", IMAGENET, 370_000),
        ("shufflenet_v1_x1_0_g3", IMAGENET, 300_000),
        ("efficientnet_b0", IMAGENET, 218_949),
        ("squeezenet1_0", IMAGENET, 85_000),
        ("nin_cifar10", 50_000, 120_000),
        ("nin", IMAGENET, 450_000),
        ("googlenet", IMAGENET, 10_000_000),
        ("inception_v2", IMAGENET, 6_000_000),
    ],
)
def test_epochs_and_batch_give_the_number_of_steps_that_is_printed(network: str, pictures: int, steps: int) -> None:
    found = recipe(network, "paper")
    assert isinstance(found.batch, int)
    assert found.epochs * pictures / found.batch == pytest.approx(steps, rel=0.01)


@pytest.mark.parametrize("network", ["resnet20_cifar", "resnet110_cifar", "preresnet164_cifar"])
def test_cifars_steps_on_the_45000_pictures_that_are_not_held_out_are_the_papers(network: str) -> None:
    """arXiv 1512.03385, section 4.2: divided by 10 at 32k and 48k, ended at 64k, on a 45k/5k split."""
    found = recipe(network, "paper")
    assert isinstance(found.batch, int)
    steps = Order(50_000 - how_many(50_000, None), found.batch).steps
    rates = [learning_rate(found, found.batch, step, steps) for step in range(round(found.epochs * steps))]
    drops = [step for step in range(steps, len(rates)) if rates[step] < 0.5 * rates[step - 1]]
    assert (*drops, len(rates)) == (32_000, 48_000, 64_000)


def test_efficientnets_rate_at_4096_is_the_papers() -> None:
    found = recipe("efficientnet_b0", "paper")
    assert found.reference_batch is not None
    assert found.learning_rate * 4096 / found.reference_batch == 0.256


def test_torchvisions_average_decays_as_its_script_has_it() -> None:
    """1 - 0.99998, times batch x 32 / epochs, every 32 steps."""
    found = recipe("resnet50")
    assert isinstance(found.batch, int)
    decay = 1 - (1 - 0.99998) * found.batch * 32 / found.epochs
    assert found.ema == pytest.approx(math.pow(decay, 1 / 32), abs=1e-6)
    assert (found.size, found.test_size, round(found.test_size / found.test_crop)) == (176, 224, 232)


def test_networks_without_batch_norm_start_at_a_tenth() -> None:
    assert recipe("vgg16_bn").learning_rate == 10 * recipe("vgg16").learning_rate == 0.1
    for network in ("alexnet", "zfnet", "nin", "googlenet", "squeezenet1_0"):
        assert recipe(network).learning_rate == 0.01


# ---- mistakes ---------------------------------------------------------------------------------------------


def test_a_misspelt_value_says_what_was_near() -> None:
    with pytest.raises(UnknownName, match="did you mean 'learning_rate'"):
        changed(recipe("resnet50"), {"learning_rat": 0.1})


def test_a_misspelt_value_in_a_file_says_what_was_near(monkeypatch: pytest.MonkeyPatch) -> None:
    real = MODULE._file
    broken = {**real("vgg"), "paper": {**real("vgg")["paper"], "warm_up": 3}}
    monkeypatch.setattr(MODULE, "_file", lambda file: broken if file == "vgg" else real(file))
    with pytest.raises(UnknownName, match=r"vgg16, paper.*did you mean 'warmup'"):
        recipe("vgg16", "paper")


@pytest.mark.parametrize(
    ("field", "value"),
    [("momentum", 1.5), ("epochs", 0), ("learning_rate", -1), ("optimizer", "adamx"), ("dropout", 1), ("batch", "all")],
)
def test_a_value_out_of_range_says_which(field: str, value: object) -> None:
    with pytest.raises(ConvatlasError, match=rf"{field}.* = {value!r}: input should be"):
        changed(recipe("resnet50"), {field: value})


def test_an_unknown_kind_names_those_that_there_are() -> None:
    with pytest.raises(UnknownName, match="'papers'; did you mean 'paper'"):
        recipe("resnet50", "papers")
    with pytest.raises(UnknownName, match="did you mean 'resnet50'"):
        recipe("resnet5O")


def test_a_changed_value_no_longer_names_the_old_source() -> None:
    found = changed(recipe("resnet50", "paper"), {"epochs": 3, "clip": 1.0})
    assert (found.epochs, found.clip) == (3, 1.0)
    assert found.sources["epochs"] == found.sources["clip"] == "given"
    assert found.sources["momentum"] == recipe("resnet50", "paper").sources["momentum"]


# ---- the command line -------------------------------------------------------------------------------------


def test_the_groups_that_are_shown_hold_every_value_once() -> None:
    shown = [field for fields in verb.GROUPS.values() for field in fields]
    assert sorted(shown) == sorted(set(Recipe.model_fields) - WORDS)


def test_list_names_both_recipes_of_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "recipe", "list", "resnet50", "densenet*_cifar")
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["resnet50", "paper", "90", "256", "sgd"] in [line[:5] for line in lines]
    assert ["resnet50", "modern", "600", "1024", "sgd"] in [line[:5] for line in lines]
    assert ["densenet40_k12_cifar", "paper", "300", "64", "nesterov"] in [line[:5] for line in lines]


def test_list_as_json_has_all(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "recipe", "list", "--json")
    rows = json.loads(out)
    assert status == 0
    assert {(row["network"], row["kind"]) for row in rows} >= {(n, k) for n in NETWORKS for k in ("paper", "modern")}


def test_show_prints_values_beside_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "recipe", "show", "resnet110_cifar", "--recipe", "paper")
    assert status == 0
    line = next(line for line in out.splitlines() if line.strip().startswith("weight_decay"))
    assert line.split()[:4] == ["weight_decay", "0.0001", "arXiv", "1512.03385,"]
    assert "Note: The paper trains at 0.01 until" in " ".join(out.split())
    assert "accumulate" not in out  # not set


def test_show_as_json_is_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "recipe", "show", "lenet5_modern", "--data", "mnist", "--json")
    found = json.loads(out)
    assert status == 0
    assert (found.pop("network"), found.pop("kind")) == ("lenet5_modern", "modern")
    assert Recipe.model_validate(found) == recipe("lenet5_modern", data="mnist")


@pytest.mark.parametrize("data", ["folder:flowers", "npz:cells.npz", "imagenet:/data", "cifar10"])
def test_show_has_the_recipe_that_training_takes(capsys: pytest.CaptureFixture[str], data: str) -> None:
    _, out, _ = run(capsys, "recipe", "show", "resnet18", "--data", data, "--json")
    found = json.loads(out)
    del found["network"], found["kind"]
    assert Recipe.model_validate(found) == Setup("resnet18", data).recipe


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "resnet5O"), "did you mean 'resnet50'"),
        (("show", "resnet50", "--recipe", "papr"), "did you mean 'paper'"),
        (("show", "resnet50", "--recipe", "a2"), "there are"),
        (("show", "resnet50", "--data", "mnits"), "did you mean 'mnist'"),
        (("show", "resnet50", "--data", "general"), "unknown data set"),
        (("list", "resnet5O"), "did you mean 'resnet50'"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str) -> None:
    status, out, err = run(capsys, "recipe", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert says in err
