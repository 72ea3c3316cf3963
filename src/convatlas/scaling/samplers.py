"""Who proposes the next candidate, and who ends a poor one early."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from convatlas.errors import ConvatlasError, UnknownName

SAMPLERS = {
    "tpe": "a tree-structured Parzen estimator (Bergstra et al. 2011): what good candidates have and poor ones lack",
    "evolution": "regularised evolution (Real et al. 2018): a good one of the last 20, with one choice changed",
    "random": "chance alone",
}
DRAWS = 5000
"""Candidates that are drawn at most for one that fits."""
FIRST = 10
"""Candidates that TPE and evolution draw by chance before they have anything to go by."""
POPULATION, TOURNAMENT = 20, 5
"""Of regularised evolution: the youngest that are alive, and of how many a parent is the best.  The paper's 100 and 25
are for 20,000 candidates."""


def sampler(kind: str, seed: int) -> BaseSampler:
    """A sampler by its name in SAMPLERS.  Raises UnknownName."""
    if kind not in SAMPLERS:
        raise UnknownName("sampler", kind, SAMPLERS)
    if kind == "random":
        return RandomSampler(seed)
    if kind == "evolution":
        return Evolution(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # constant_liar: what other processes are at work on counts as poor, so that not all try the same.
        return TPESampler(seed=seed, n_startup_trials=FIRST, multivariate=True, constant_liar=True)


class Evolution(BaseSampler):
    """Regularised evolution.  Real, Aggarwal, Huang and Le 2018 (arXiv 1802.01548), Algorithm 1, of categories.

    The parent is the best of a few of the youngest candidates; the child has one choice of it changed.  The oldest is
    forgotten, however good: what was lucky once must prove itself in its children.
    """

    def __init__(self, seed: int, population: int = POPULATION, tournament: int = TOURNAMENT):
        self._chance, self._by_chance = np.random.default_rng(seed), RandomSampler(seed)
        self._population, self._tournament = population, tournament

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(optuna.search_space.intersection_search_space(_complete(study)))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        alive = _complete(study)[-self._population :]
        if len(alive) < FIRST or not search_space:
            return {}
        places = self._chance.choice(len(alive), min(self._tournament, len(alive)), replace=False)
        parent = self._best([alive[place] for place in sorted(places)], study)
        child = {name: parent.params[name] for name in search_space}
        changing = [name for name, one in search_space.items() if len(_choices(one)) > 1]
        name = changing[self._chance.integers(len(changing))]
        others = [choice for choice in _choices(search_space[name]) if choice != child[name]]
        child[name] = others[self._chance.integers(len(others))]
        return child

    def _best(self, some: list[FrozenTrial], study: optuna.Study) -> FrozenTrial:
        """By one goal, or by a random mixture of the ranks in several."""
        signs = [1 if way == StudyDirection.MAXIMIZE else -1 for way in study.directions]
        goods = np.array([[sign * value for sign, value in zip(signs, one.values)] for one in some])
        ranks = goods.argsort(0).argsort(0)
        shares = self._chance.dirichlet(np.ones(len(signs))) if len(signs) > 1 else np.ones(1)
        return some[int((ranks @ shares).argmax())]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._by_chance.sample_independent(study, trial, param_name, param_distribution)


class Within(BaseSampler):
    """Another sampler's candidates, of which those that are not fit are thrown out before anybody hears of them.

    choices: of each parameter the possibilities.  fits: whether a candidate is to be tried.
    refused: how many were thrown out before the last.  Raises ConvatlasError where none fits.
    """

    def __init__(
        self, inner: BaseSampler, choices: Mapping[str, tuple[Any, ...]], fits: Callable[[Mapping[str, Any]], bool]
    ):
        self._inner, self._fits, self.refused = inner, fits, 0
        self._space = {name: CategoricalDistribution(values) for name, values in choices.items()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        for self.refused in range(DRAWS):
            # Before anything is known, the inner sampler has nothing to say of all choices together.
            known = self._inner.infer_relative_search_space(study, trial)
            drawn = self._inner.sample_relative(study, trial, known) if known else {}
            for name, one in search_space.items():
                if name not in drawn:
                    drawn[name] = self._inner.sample_independent(study, trial, name, one)
            if self._fits(drawn):
                return drawn
        raise ConvatlasError(f"of {DRAWS:,} candidates that were drawn none is within the target; a larger one, or a "
                             "narrower space, would leave some")  # fmt: skip

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _choices(one: BaseDistribution) -> tuple[Any, ...]:
    assert isinstance(one, CategoricalDistribution)
    return one.choices


class Halving(BasePruner):
    """Asynchronous successive halving.  Li et al. 2018 (arXiv 1810.05934): at each rung only the best 1 / ``factor`` of
    those that came so far go on.

    first: the step of the first rung; the next lie ``factor`` times as far.  Only trials that count are compared: one
    that died, and was begun again, is there once.  Raises ConvatlasError for values that make no rungs.
    """

    def __init__(self, first: int = 1, factor: int = 3):
        if first < 1 or factor < 2:
            raise ConvatlasError(
                f"halving begins at step 1 or later, with a factor of at least 2, not {first}, {factor}"
            )
        self._first, self._factor = first, factor

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None or not self._is_rung(step):
            return False
        counting = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        others = [one.intermediate_values[step] for one in study.get_trials(deepcopy=False, states=counting)
                  if one.number != trial.number and step in one.intermediate_values]  # fmt: skip
        own, sign = trial.intermediate_values[step], 1 if study.direction == StudyDirection.MAXIMIZE else -1
        stay = (len(others) + 1) // self._factor
        return stay > 0 and sum(sign * (other - own) > 0 for other in others) >= stay

    def _is_rung(self, step: int) -> bool:
        rung = self._first
        while rung < step:
            rung *= self._factor
        return rung == step
