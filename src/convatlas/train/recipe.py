"""Recipes: how a network is trained, as data.

``recipes/MODULE.toml`` holds those of the networks of ``nets/MODULE.py``: a table ``paper``, its authors' own, and
``modern``; a table ``paper_…`` goes before ``paper`` for its ``networks``, a list of names and patterns.
``recipes/small.toml`` holds those that suit a data set instead, ``shared.toml`` what several families have in common:
``like`` names a table, of the same file or as FILE.TABLE, whose values hold where a table has none of its own.  Every
value names its source.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from convatlas import facts, registry
from convatlas.errors import ConvatlasError, UnknownName

FOLDER = files("convatlas") / "train" / "recipes"


Positive = Annotated[float, Field(gt=0)]


class Recipe(BaseModel):
    """How a network is trained.  Numbers of epochs may be fractions: schedules go by the step."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # ---- how long, how many at once
    epochs: float = Field(gt=0)
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] = 128
    """Pictures a step, over all processes.  "auto": the largest power of two whose predicted peak fits, and that leaves
    20 steps an epoch."""
    accumulate: int = Field(1, ge=1)
    """Parts that a step's pictures are taken in, one after another."""

    # ---- the step
    optimizer: Literal["sgd", "nesterov", "adam", "adamw", "rmsprop", "rmsprop_tf", "lamb"] = "sgd"
    learning_rate: float = Field(gt=0)
    reference_batch: int | None = Field(None, ge=1)
    """The batch that the learning rate is for; it grows in proportion.  None: it is for any."""
    momentum: float = Field(0.9, ge=0, lt=1)
    decay: float = Field(0.9, ge=0, lt=1)
    """Of RMSprop's mean square; Adam's second beta is 0.999."""
    eps: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    decay_all: bool = True
    """Whether norms and biases decay too."""
    clip: float | None = Field(None, gt=0)
    """The largest norm of the gradient."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the average of the weights, a step; 0: none is kept."""

    # ---- the learning rate's course
    schedule: Literal["constant", "steps", "exponential", "cosine", "one_cycle", "linear"] = "constant"
    steps: tuple[float, ...] = ()
    """Epochs at which the rate is multiplied by ``factor``."""
    factor: float = Field(0.1, gt=0)
    every: float | None = Field(None, gt=0)
    """exponential: epochs after which the rate is multiplied by ``factor``, at once."""
    warmup: float = Field(0.0, ge=0)
    """Epochs in which the rate rises in a line from ``warmup_from`` times its value."""
    warmup_from: float = Field(0.0, ge=0)
    final: float = Field(0.0, ge=0)
    """The rate at the end of cosine, linear and one_cycle, as a part of the highest."""

    # ---- the pictures
    size: int | None = Field(None, ge=1)
    """Side of the training pictures in pixels; None: the network's own.  test_size: of the others, by default alike."""
    test_size: int | None = Field(None, ge=1)
    test_crop: float = Field(0.875, gt=0, le=1)
    """Part of the shorter side that is seen at test time (pictures from files); of published weights unless given."""
    crop: Literal["none", "pad", "resized", "random"] = "none"
    """pad: a random place after padding by ``padding``; resized: ``scale`` of the area at ``ratio``, resized; random:
    a random place of the picture, its shorter side resized to size / test_crop."""
    padding: int = Field(4, ge=0)
    scale: tuple[Positive, Positive] = (0.08, 1.0)
    ratio: tuple[Positive, Positive] = (0.75, 4 / 3)
    flip: bool = False
    shift: int = Field(0, ge=0)
    """Pixels by which a picture is moved at most, either way; zeros come in."""
    colour: Literal["none", "pca", "jitter"] = "none"
    policy: Literal["none", "trivial", "autoaugment", "randaugment"] = "none"
    erase: float = Field(0.0, ge=0, le=1)
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)

    # ---- the loss and the network
    smoothing: float = Field(0.0, ge=0, lt=1)
    aux_weight: float = Field(0.0, ge=0)
    """Of the auxiliary heads' losses; 0: the network has none."""
    dropout: float | None = Field(None, ge=0, lt=1)
    drop_path: float | None = Field(None, ge=0, lt=1)

    init: Literal["own", "he", "glorot", "gaussian"] = "own"
    """What convolutions and linear layers begin with.  own: what the network's paper says; he: N(0, 2 / fan_out);
    glorot: uniform with variance 2 / (fan_in + fan_out); gaussian: N(0, 0.01^2), as AlexNet and VGG; with these three,
    biases are 0."""

    # ---- how it runs
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = True
    """Faster on most processors, the same to rounding."""
    checkpointing: bool = False

    # ---- where it comes from
    title: str = ""
    note: str = ""
    sources: dict[str, str] = {}

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.schedule == "steps" and not self.steps:
            raise PydanticCustomError("steps", "the schedule steps needs its steps: the epochs at which the rate falls")
        if self.schedule == "exponential" and self.every is None:
            raise PydanticCustomError("every", "the schedule exponential needs every: after how many epochs it falls")
        return self

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.optimizer == "nesterov" and not self.momentum:
            raise PydanticCustomError("nesterov", "nesterov needs a momentum above 0")
        return self


WORDS = frozenset({"title", "note", "sources"})
"""What a recipe says of itself; all else decides a run."""


USES: dict[str, tuple[str, frozenset[Any]]] = {
    "steps": ("schedule", frozenset({"steps"})),
    "every": ("schedule", frozenset({"exponential"})),
    "factor": ("schedule", frozenset({"steps", "exponential"})),
    "final": ("schedule", frozenset({"cosine", "linear", "one_cycle"})),
    "decay": ("optimizer", frozenset({"rmsprop", "rmsprop_tf"})),
    "eps": ("optimizer", frozenset({"adam", "adamw", "rmsprop", "rmsprop_tf", "lamb"})),
    "padding": ("crop", frozenset({"pad"})),
    "scale": ("crop", frozenset({"resized"})),
    "ratio": ("crop", frozenset({"resized"})),
}
"""What is used only where another value is one of these."""


def recipe(network: str, kind: str = "modern", data: str | None = None) -> Recipe:
    """A recipe by its kind: "paper", "modern", or any that is found for the network or its data set.

    A data set's own ("mnist", "digits") goes before the network's "modern".
    Raises UnknownName with those that there are.
    """
    found = recipes(network, data)
    if kind not in found:
        raise UnknownName(f"recipe for {network}", kind, found)
    return found[kind]


def recipes(network: str, data: str | None = None) -> dict[str, Recipe]:
    """Every recipe for a network, by kind; with a data set, what suits that is its "modern"; "general" is for any.

    A table of the network's file is for the ``networks`` and the ``data`` that it names, by default for all; one that
    names data goes before the data set's own.
    """
    module = registry.card(network).module if network in facts.index() else registry.module_of(network)
    found: dict[str, dict[str, Any]] = {}

    def take(*, with_data: bool) -> None:
        for table, entry in sorted(_file(module).items(), key=lambda item: "networks" in item[1]):
            fits = _named(network, entry.get("networks")) and _named(data, entry.get("data"))
            if fits and ("data" in entry) == with_data:
                found[table.partition("_")[0]] = table_of(module, table)

    take(with_data=False)
    if data in _file("small") or "modern" not in found:
        found["modern"] = table_of("small", data if data and data in _file("small") else "general")
    take(with_data=True)
    found.setdefault("general", table_of("small", "general"))
    return {kind: read(entry, f"{network}, {kind}") for kind, entry in found.items()}


def table_of(file: str, table: str) -> dict[str, Any]:
    """A recipe's table with what it takes from those that it is like."""
    own = _file(file)[table]
    where, _, base = own.get("like", "").rpartition(".")
    values: dict[str, Any] = table_of(where or file, base) if base else {}
    sources = {**values.get("sources", {}), **own.get("sources", {})}
    own = {key: value for key, value in own.items() if key not in ("like", "networks", "data")}
    return {**values, **own, **({"sources": sources} if sources else {})}


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with some values changed.

    Raises UnknownName for one it does not have (did you mean …?), ConvatlasError for a value that does not fit.
    """
    for name in values:
        if name not in Recipe.model_fields:
            raise UnknownName("recipe value", name, Recipe.model_fields)
    sources = {**recipe.sources, **dict.fromkeys(values, "given")}
    return read({**recipe.model_dump(exclude_unset=True), **values, "sources": sources}, "recipe")


def refuse_unused(recipe: Recipe, values: Iterable[str]) -> None:
    """Raises ConvatlasError for one of the values given that nothing of the recipe would use."""
    for name in values:
        by, kinds = USES.get(name, ("", frozenset()))
        if by and getattr(recipe, by) not in kinds:
            raise ConvatlasError(f"{name} is for {by} {' or '.join(sorted(kinds))}; here it is {getattr(recipe, by)}")
    if "warmup_from" in values and not recipe.warmup:
        raise ConvatlasError("warmup_from is for a warm-up, and here there is none; give warmup too")


def read(entry: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from its values; where: what it is called in messages.

    Raises UnknownName for a value that no recipe has, ConvatlasError for one that does not fit.
    """
    try:
        return Recipe.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"] if not isinstance(part, str) or part.isidentifier())
        if first["type"] == "extra_forbidden":
            raise UnknownName(f"value of the recipe {where}", name, Recipe.model_fields) from None
        given = f"{name} = {first['input']!r}: " if name else ""
        raise ConvatlasError(f"{where}: {given}{first['msg'].lower()}") from None


def _named(name: str | None, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatchcase(name or "", pattern) for pattern in patterns)


@cache
def _file(module: str) -> dict[str, dict[str, Any]]:
    path = FOLDER / f"{module}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
