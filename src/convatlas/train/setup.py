"""What determines a run, from what the user said to network, data and preprocessing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from convatlas import registry
from convatlas.blocks.init import gaussian, he, initialiser, xavier
from convatlas.data import Arrays, Data, load
from convatlas.data.fitting import is_padded
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.net import ConvNet
from convatlas.registry import SMALL_PICTURE
from convatlas.train.recipe import Recipe, changed, read, recipe, refuse_unused
from convatlas.weights.preprocess import Preprocess
from convatlas.weights.source import find

FILLS = {"he": he("fan_out"), "glorot": xavier, "gaussian": gaussian(0.01)}
"""What a recipe's ``init`` stands for."""


@dataclass(frozen=True)
class Setup:
    """A run's request; with the same code and machine it determines every weight.

    values: what differs from the recipe.  freeze: paths of modules that are not trained.
    options: of ``registry.create``: {"attention": "se", "width": 0.5}.
    fixed: the whole recipe of a run that has begun.
    """

    network: str
    data: str
    kind: str = "modern"
    values: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    weights: str | None = None
    freeze: tuple[str, ...] = ()
    bad_images: str = "stop"
    holdout: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 31:
            raise ConvatlasError(f"a seed is at least 0 and below 2^31, not {self.seed}")

    def anywhere(self) -> Setup:
        """With whole paths in place of relative ones, so that it can be resumed from any folder."""
        kind, _, where = self.data.partition(":")
        weights = self.weights
        if weights is not None and find(self.network, weights).kind == "file":
            weights = _whole(weights)
        return replace(self, data=f"{kind}:{_whole(where)}" if where else self.data, weights=weights)

    @property
    def data_name(self) -> str:
        return self.data.partition(":")[0]

    @property
    def recipe(self) -> Recipe:
        """Raises UnknownName and ConvatlasError for what does not fit."""
        if self.fixed is not None:
            return read(self.fixed, "the run's recipe")
        return changed(recipe(self.network, self.kind, self.data_name), self.values)

    def check(self) -> None:
        """Raises UnknownName and ConvatlasError for values that do not fit, or that nothing would use."""
        refuse_unused(self.recipe, self.values)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "fixed"}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], recipe: Mapping[str, Any] | None = None) -> Setup:
        """recipe: as it was stored with the run, whatever has become of it since."""
        return cls(**{**stored, "freeze": tuple(stored["freeze"])}, fixed=recipe)

    def open(self) -> Data:
        """The data set.  Raises ConvatlasError where it is not as it should be."""
        return load(self.data, seed=self.seed, holdout=self.holdout, bad_images=self.bad_images)


def _whole(where: str) -> str:
    """A path from the root."""
    return str(Path(where).expanduser().absolute())


def options_of(setup: Setup, data: Data) -> dict[str, Any]:
    """What ``registry.create`` is told, so that the network fits data and recipe.

    Raises ConvatlasError for an option that the network does not take.
    """
    plan, own, has = setup.recipe, registry.card(setup.network), registry.options(setup.network)
    grey = isinstance(data.train, Arrays) and data.channels == 1
    options: dict[str, Any] = {"classes": len(data.classes), "dropout": plan.dropout, "drop_path": plan.drop_path}
    if data.channels != own.channels and (grey or own.channels == 1):
        options["channels"] = data.channels
    if isinstance(data.train, Arrays) and data.train.images.shape[-1] < SMALL_PICTURE <= own.input_size:
        options["input_size"] = plan.size or data.train.images.shape[-1]
    if "aux" in has:
        options["aux"] = plan.aux_weight > 0
    elif setup.values.get("aux_weight"):
        raise ConvatlasError(f"{setup.network} has no auxiliary heads, and so no aux_weight")
    options = {name: value for name, value in {**options, **setup.options}.items() if value is not None}
    if "classes" not in has:  # LeNet-5's RBF units are ten, and no other number
        if len(data.classes) != own.classes:
            raise ConvatlasError(f"{setup.network} tells {own.classes} classes apart, and no other number; "
                                 f"{data.spec} has {len(data.classes)}")  # fmt: skip
        del options["classes"]
    return options


def build(setup: Setup, data: Data) -> tuple[ConvNet, Preprocess]:
    """The network, as it is before the first step, and what makes a picture fit it.

    The seed decides the initial weights.  Raises ConvatlasError where weights, channels or frozen modules do not fit.
    """
    import torch

    from convatlas import weights

    plan, options = setup.recipe, options_of(setup, data)
    torch.manual_seed(setup.seed)
    if setup.weights is None:
        net = registry.create(setup.network, **options, initialise=False)
        if plan.init != "own":
            net.fill = initialiser(conv=FILLS[plan.init], linear=FILLS[plan.init])
        net.reset_parameters()
        preprocess = Preprocess.for_input(net.input_size[1], net.input_size[0])
    else:
        if plan.init != "own":
            raise ConvatlasError("init is for fresh weights; these begin with published ones")
        net = weights.pretrained(setup.network, setup.weights, **options)
        preprocess = net.weights.preprocess
    preprocess = fitting(preprocess, data, plan, net.input_size[1], setup.weights is None)
    for path in setup.freeze:
        try:
            net.get_submodule(path).requires_grad_(False)
        except AttributeError:
            raise UnknownName(f"module of {setup.network}", path, [p for p, _ in net.named_modules() if p]) from None
    return net, preprocess


def fitting(preprocess: Preprocess, data: Data, plan: Recipe, own: int, fresh: bool) -> Preprocess:
    """What is done to the pictures of the test; with fresh weights normalised by the data's own mean and deviation.

    own: the side that the network is for.
    """
    side = plan.test_size or plan.size or own
    made = preprocess.at(side)
    if isinstance(data.train, Arrays):
        height, width = data.train.images.shape[2:]
        if is_padded(height, width, side):
            made = replace(made, resize=min(height, width), mode="shorter")
        else:
            made = replace(made, resize=side, mode=made.mode if height == width else "squash", interpolation="bilinear")
    elif "test_crop" in plan.model_fields_set:
        made = replace(made, resize=round(side / plan.test_crop))
    if fresh or len(preprocess.mean) != data.channels:
        made = replace(made, mean=data.mean, std=data.std, scale=255.0, order="L" if data.channels == 1 else "RGB")
    return made


def circumstances() -> dict[str, Any]:
    """What is stored with a run beside its request: versions, commit, command."""
    import torch

    import convatlas

    versions = {"convatlas": convatlas.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return {"versions": versions, "commit": commit(), "command": sys.argv[1:], "threads": torch.get_num_threads(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores"}  # fmt: skip


def commit() -> str | None:
    """Of the code that runs, where it is a checkout: not of one in which an environment with it happens to lie."""
    source = Path(__file__).parents[3]
    command = ["git", "-C", str(source), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        top, _, head = (
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition("\n")
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head if Path(top).resolve() == source.resolve() else None
