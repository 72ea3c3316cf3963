"""One candidate trained: the same recipe and the same number of epochs for all, judged on the validation pictures.

The test pictures are not looked at: what was chosen by them would not be tested by them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from convatlas.data import Data
from convatlas.errors import ConvatlasError
from convatlas.train.feed import Feed
from convatlas.train.log import Log
from convatlas.train.loop import Loop, NotFinite
from convatlas.train.memory import batch_of
from convatlas.train.running import Running, accelerator_for
from convatlas.train.setup import Setup, build, options_of

Told = Callable[[int, float], None]
"""(epoch, validation accuracy)"""


@dataclass(frozen=True)
class Budget:
    """What every candidate gets: data, recipe, epochs (None: the recipe's), values of the recipe that differ."""

    data: str
    recipe: str = "general"
    epochs: float | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    holdout: float | None = None
    running: Running = Running(readers=0)  # noqa: RUF009

    @property
    def changed(self) -> dict[str, Any]:
        return {**self.values, **({} if self.epochs is None else {"epochs": self.epochs})}

    def to_json(self) -> dict[str, Any]:
        return {"data": self.data, "recipe": self.recipe, "values": self.changed, "holdout": self.holdout}


@dataclass(frozen=True)
class Result:
    """accuracy, loss: on the validation pictures after the best epoch; diverged: the loss was no finite number."""

    accuracy: float
    loss: float | None
    epoch: float
    seconds: float
    diverged: bool = False


class Trainer:
    """Trains networks of one data set, which is opened once.

    division: the seed by which pictures are held out, the same for all candidates.
    Raises ConvatlasError for data that cannot be opened, or that has one class.
    """

    def __init__(self, budget: Budget, division: int = 0):
        self.budget, self._division = budget, division

    @cached_property
    def data(self) -> Data:
        opened = self._setup("mnasnet_a1", {}, self._division).open()
        if len(opened.classes) < 2:
            raise ConvatlasError(
                f"{self.budget.data} has one class, {opened.classes[0]}: there is nothing to tell apart"
            )
        return opened

    def _setup(self, network: str, options: Mapping[str, Any], seed: int) -> Setup:
        budget = self.budget
        setup = Setup(network, budget.data, budget.recipe, budget.changed, seed, holdout=budget.holdout,
                      options=dict(options))  # fmt: skip
        setup.check()
        return setup.anywhere()

    def options(self, network: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those of ``registry.create`` with which a network is trained on these data."""
        return options_of(self._setup(network, options, self._division), self.data)

    def epochs(self, network: str) -> float:
        return self._setup(network, {}, self._division).recipe.epochs

    def __call__(self, network: str, options: Mapping[str, Any], seed: int, told: Told = lambda *_: None) -> Result:
        """Train a network of ``registry.create``'s options from scratch.

        told: after each epoch; what it raises ends the training.  Raises Stopped where the process is asked to stop.
        """
        setup = self._setup(network, options, seed)
        plan, data = setup.recipe, self.data
        accelerator = accelerator_for(plan.precision, self.budget.running)
        net, preprocess = build(setup, data)
        batch = batch_of(plan, net, preprocess, len(data.train), 1, str(accelerator.device))

        def watch(event: str, figures: Mapping[str, Any]) -> None:
            if event == "epoch":
                told(round(figures["epoch"]), figures["accuracy"])

        with tempfile.TemporaryDirectory(prefix="convatlas-") as folder:
            readers, side = self.budget.running.readers, net.input_size[1]
            loop = Loop(
                net, data, lambda chosen: Feed(plan, preprocess, chosen, readers, side), plan, batch=batch, seed=seed,
                folder=Path(folder), accelerator=accelerator, watch=watch,
            )  # fmt: skip
            log = Log(Path(folder), True)
            diverged = False
            try:
                loop.run(log)
            except NotFinite:
                diverged = True
            finally:
                log.close()
        best = loop.state.best
        if diverged:
            return Result(best.get("accuracy", 0.0), None, best.get("epoch", 0.0), loop.state.seconds, True)
        return Result(best["accuracy"], best["loss"], best["epoch"], loop.state.seconds)
