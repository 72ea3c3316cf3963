"""The grid search of compound scaling: which alpha, beta and gamma scale a network best, on one's own data.

Tan and Le 2019, "EfficientNet" (arXiv 1905.11946), section 3.3, step 1: phi is 1, the compute about twice the
base's, and a small grid over alpha, beta and gamma is trained.  Beside it, as in the paper's Figure 8, the base scaled
in one dimension alone to the same multiply-adds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import Trial

from convatlas.data import Arrays, Data
from convatlas.errors import ConvatlasError, UnknownOption
from convatlas.numbers import counted, short
from convatlas.scaling.coefficients import BUDGET, STEP, TOLERANCE, Coefficients, below, grid, thinned
from convatlas.scaling.networks import DIMENSIONS, Base, Scaled, alone, scaled
from convatlas.scaling.place import Place
from convatlas.scaling.results import Candidate, Result
from convatlas.scaling.samplers import sampler
from convatlas.scaling.speed import Stopwatch, stopwatch
from convatlas.scaling.study import Finished, Study, Task, Watch, nobody
from convatlas.scaling.training import Budget, Trainer

MOST, SEEDS = 12, (0, 1, 2)
OFF = 0.1
"""How far counted multiply-adds may be off the budget, in parts, before that is said."""


@dataclass(frozen=True)
class Scaling:
    """A network of the grid.  kind: "base", "compound", or the dimension that alone was scaled."""

    kind: str
    network: Scaled
    coefficients: Coefficients | None = None

    @property
    def name(self) -> str:
        if self.coefficients is not None:
            return f"{self.coefficients.alpha:g} {self.coefficients.beta:g} {self.coefficients.gamma:g}"
        return self.kind if self.kind == "base" else f"{self.kind} alone"

    def to_json(self) -> dict[str, Any]:
        own = self.coefficients
        letters = {} if own is None else {"alpha": own.alpha, "beta": own.beta, "gamma": own.gamma,
                                          "product": own.product}  # fmt: skip
        return {**letters, "kind": self.kind, **self.network.to_json()}


def candidates(
    base: Base | str,
    budget: float = BUDGET,
    step: float = STEP,
    tolerance: float = TOLERANCE,
    *,
    most: int | None = None,
    counted: bool = False,
) -> list[Scaling]:
    """The networks of the grid, each with its counted multiply-adds.

    budget: times the base's compute.  most: keep at most so many different networks, evenly; None: all, also those
    that round to the same network.
    counted: hold the constraint by counted multiply-adds instead of the formula's, which may be far off, for repeats
    are rounded up.

    Raises what ``coefficients.grid`` and ``scaled`` do, ConvatlasError where nothing is left.
    """
    points = below(budget + tolerance, step) if counted else grid(budget, step, tolerance)
    found = [Scaling("compound", scaled(base, one.at(1)), one) for one in points]
    if counted:
        near = [one for one in found if abs(one.network.ratio - budget) <= tolerance]
        if not near:
            best = min(found, key=lambda one: abs(one.network.ratio - budget))
            raise ConvatlasError(f"no candidate has {budget:g} times the base's counted multiply-adds; the nearest is "
                                 f"{best.name}, with {best.network.ratio:.2f} times")  # fmt: skip
        found = near
    return found if most is None else thinned(distinct(found), most)


def distinct(found: Sequence[Scaling]) -> list[Scaling]:
    """Each network once: several coefficients round to the same."""
    first = {(id(one.network.graph), one.network.side): one for one in reversed(found)}
    return [one for one in found if first[id(one.network.graph), one.network.side] is one]


def beside(base: Base | str, budget: float = BUDGET) -> list[Scaling]:
    """The base itself, and scaled in each dimension alone to so many times its multiply-adds, as near as there is.

    A dimension that the network does not have is left out.
    """
    plain = scaled(base)
    found = [Scaling("base", plain)]
    for dimension in DIMENSIONS:
        try:
            found.append(Scaling(dimension, alone(base, dimension, budget * plain.macs)))
        except UnknownOption:
            continue
    return found


def fitted(base: Base, trainer: Trainer) -> Base:
    """The base for a trainer's data set: with its classes, channels and, where its pictures are small, their size."""
    own = trainer.options(base.name, base.options)
    side = own.get("input_size", base.side)
    return replace(base, side=side, classes=own.get("classes"), channels=own.get("channels"))


def train_grid(
    base: Base | str,
    budget: Budget,
    place: Place,
    *,
    times: float = BUDGET,
    step: float = STEP,
    tolerance: float = TOLERANCE,
    most: int = MOST,
    counted: bool = False,
    seeds: Sequence[int] = SEEDS,
    beat: int = 10,
    watch: Watch = nobody,
) -> Result:
    """Train the grid, and the base scaled in one dimension alone, each once a seed; write the result into the folder.

    times: the budget of compute, in times the base's.  Started again it goes on; started elsewhere with the same
    storage it shares the work.

    Raises ConvatlasError for data with one class, a storage that cannot be reached, and what ``candidates`` does.
    """
    base = Base(base) if isinstance(base, str) else base
    if not seeds:
        raise ConvatlasError("at least one seed")
    trainer = Trainer(budget)
    base = fitted(base, trainer)
    singles = beside(base, times)
    # What rounds to the base, or to a dimension alone, is there already.
    grid = distinct([*singles, *candidates(base, times, step, tolerance, counted=counted)])[len(singles) :]
    if not grid:
        raise ConvatlasError("every candidate rounds to the base, or to one dimension alone; a larger base would not")
    every = [*singles, *thinned(grid, most)]
    tasks = [{"candidate": number, "seed": seed} for seed in seeds for number in range(len(every))]
    request = {"what": "grid", "network": base.name, "base": base.options, "budget": times, "step": step,
               "tolerance": tolerance, "most": most, "counted": counted, "seeds": list(seeds),
               **budget.to_json()}  # fmt: skip
    study = Study(place.url, place.name, ["maximize"], request, fixed=tasks, beat=beat)
    place.claim()

    def objective(task: Task, trial: Trial) -> float:
        chosen = trial.suggest_categorical("candidate", list(range(len(every))))
        seed = trial.suggest_categorical("seed", list(seeds))
        network = every[chosen].network
        watch("candidate", {"name": every[chosen].name, "seed": seed, "macs": network.macs})

        def told(epoch: int, accuracy: float) -> None:
            watch("epoch", {"epoch": epoch, "accuracy": accuracy})

        found = trainer(base.name, network.options, seed, told)
        trial.set_user_attr("seconds", found.seconds)
        trial.set_user_attr("diverged", found.diverged)
        watch("finished", {"name": every[chosen].name, "accuracy": found.accuracy, "done": task.index + 1,
                           "total": len(tasks)})  # fmt: skip
        return found.accuracy

    watch("begin", {"total": len(tasks), "candidates": len(every), "done": len(study.finished())})
    finished = study.work(len(tasks), objective, lambda seed: sampler("random", seed), watch)
    made = _result(base, every, finished, study.counts(), budget, seeds, times, trainer)
    made.write(place.folder)
    return made


def _result(
    base: Base,
    every: Sequence[Scaling],
    finished: Sequence[Finished],
    counts: Mapping[str, int],
    budget: Budget,
    seeds: Sequence[int],
    times: float,
    trainer: Trainer,
) -> Result:
    timed = stopwatch()
    done = [_candidate(place, one, base, finished, timed) for place, one in enumerate(every)]
    compound = [one for one in done if one.kind == "compound"]
    sound = [one for one in compound if not one.diverged] or compound
    best = max(sound, key=lambda one: (one.accuracy or 0.0, -one.macs))
    data, target = trainer.data, times * every[0].network.macs
    size = f"{every[0].network.side} pixels and {short(every[0].network.macs)} multiply-adds"
    seen = f"{len(data.validation):,} validation pictures; the test pictures were not seen"
    about = (
        f"{base.name} of {size}, scaled to {times:g} times as many: {counted(len(compound), 'candidate')} of the grid, "
        "and each dimension alone.",
        f"{counted(len(seeds), 'seed')}, each {trainer.epochs(base.name):g} epochs of {len(data.train):,} pictures of "
        f"{data.name}; accuracies are of {seen}.",
    )
    notes = (*compared(done, target), *_notes(done, data, every), *timed.notes)
    return Result(f"Compound scaling of {base.name} on {data.name}", about, tuple(done), best.name, counts,
                  target={"macs": target}, notes=notes)  # fmt: skip


def _candidate(place: int, one: Scaling, base: Base, finished: Sequence[Finished], timed: Stopwatch) -> Candidate:
    own = [each for each in finished if each.params.get("candidate") == place]
    letters = one.coefficients
    choices = {"depth": one.network.factors.depth, "width": one.network.factors.width,
               "resolution": one.network.factors.resolution, "side": one.network.side}  # fmt: skip
    if letters is not None:
        choices = {"alpha": letters.alpha, "beta": letters.beta, "gamma": letters.gamma, "product": letters.product,
                   "side": one.network.side}  # fmt: skip
    return Candidate(
        one.name, one.kind, base.name, one.network.options, choices, one.network.macs, one.network.params,
        tuple(each.values[0] for each in own), sum(float(each.told.get("seconds", 0.0)) for each in own),
        max((each.index + 1 for each in own), default=0), latency=timed(one.network.graph, one.network.side),
        diverged=any(each.told.get("diverged") for each in own),
    )  # fmt: skip


def compared(done: Sequence[Candidate], target: float) -> list[str]:
    """Compound scaling against one dimension alone, among those of equal compute."""
    equal = [one for one in done if abs(one.macs / target - 1) <= OFF and not one.diverged]
    off = [f"{one.name} {one.macs / target:.2f}" for one in done if one.kind != "base" and one not in equal]
    said = []
    compound = [one for one in equal if one.kind == "compound"]
    singles = [one for one in equal if one.kind in DIMENSIONS]
    if compound and singles:
        best, rival = (max(some, key=lambda one: one.accuracy or 0.0) for some in (compound, singles))
        gap = (best.accuracy or 0.0) - (rival.accuracy or 0.0)
        way = "above" if gap > 0 else "below"
        said.append(f"At equal compute the best of the grid, {best.name}, is {100 * abs(gap):.2f} points {way} the "
                    f"best single dimension, {rival.name}{_worth(best, rival, gap)}.")  # fmt: skip
        mean = statistics.fmean([one.accuracy or 0.0 for one in compound])
        said.append(f"It is the best of {len(compound)}, chosen by the pictures that judge it; their mean is "
                    f"{100 * mean:.2f} %.")  # fmt: skip
    base = next((one for one in done if one.kind == "base"), None)
    if base is not None and (base.accuracy or 0.0) > max((one.accuracy or 0.0 for one in compound), default=0.0):
        said.append("The base, with less compute, is above every candidate of the grid: so short a training does not "
                    "pay for larger networks.")  # fmt: skip
    if singles and not compound:
        said.append("No candidate of the grid has the budget by the count, so that none can be compared with a "
                    "dimension alone; --counted holds it by the count.")  # fmt: skip
    if off:
        said.append(f"Multiply-adds in parts of the budget, where they are more than 10 % off: {', '.join(off)}.")
    return said


def _worth(best: Candidate, rival: Candidate, gap: float) -> str:
    """What a gap says, beside the spread of the seeds."""
    if best.spread is None or rival.spread is None:
        return ", by one seed, which says little"
    noise = statistics.fmean([best.spread, rival.spread])
    return "" if abs(gap) > 2 * noise else ": less than twice the spread of the seeds, which says little"


def _notes(done: Sequence[Candidate], data: Data, every: Sequence[Scaling]) -> list[str]:
    """What makes the figures doubtful."""
    said = []
    if isinstance(data.train, Arrays):
        own, largest = data.train.images.shape[-1], max(one.network.side for one in every)
        if largest > own:
            said.append(f"The pictures have {own} pixels: a resolution above that ({largest}) only enlarges them.")
    if diverged := [one.name for one in done if one.diverged]:
        said.append(f"The loss of {', '.join(diverged)} was no finite number in the end: not ranked.")
    return said
