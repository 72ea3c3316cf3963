"""Architecture search: which network of a space is the most accurate, at about so many multiply-adds or so much time.

The reward is MnasNet's, accuracy x (cost / target) ** w (Tan et al. 2018, arXiv 1807.11626, equation 2, w = -0.07); or
accuracy and cost are goals of their own, and the outcome is a front.  What is far over the target is thrown out before
it is trained.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import Trial, TrialState

from convatlas.cost.latency import Machine, calibrated
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.files import write_whole
from convatlas.numbers import counted, short
from convatlas.scaling.place import Place
from convatlas.scaling.results import Candidate, Result
from convatlas.scaling.samplers import FIRST, SAMPLERS, Halving, Within, sampler
from convatlas.scaling.space import MIDDLE, NETWORK, SPACES, WIDTHS, Space, fitting, refuse_below, source
from convatlas.scaling.speed import Stopwatch, stopwatch
from convatlas.scaling.study import Finished, Study, Task, Watch, nobody
from convatlas.scaling.training import Budget, Trainer

WEIGHT = -0.07
"""MnasNet's w: half the cost is worth 5 % of the accuracy."""
OVER = 1.5
"""Times the target that a candidate may cost and be trained all the same."""
FOUND = "found"
"""The name of the best network, and of its file."""


@dataclass(frozen=True)
class Aim:
    """What is sought.

    macs: multiply-adds of a picture, or seconds: predicted for this machine, that a network should have; None of both:
    any.  weight: the reward's w.  over: times the target beyond which a candidate is thrown out.
    front: accuracy and cost are two goals.  engine: whose predicted time.

    Raises ConvatlasError for two targets, for none where there is to be a front of time, and values that make no sense.
    """

    macs: float | None = None
    seconds: float | None = None
    weight: float = WEIGHT
    over: float = OVER
    front: bool = False
    engine: str = "onnxruntime"

    def __post_init__(self) -> None:
        if self.macs is not None and self.seconds is not None:
            raise ConvatlasError("one target: multiply-adds or time")
        target = self.target
        if target is not None and not target > 0:
            raise ConvatlasError(f"a target is above 0, not {target:g}")
        if not self.over >= 1:
            raise ConvatlasError(f"a candidate may cost at least the target: over is at least 1, not {self.over:g}")
        if self.weight > 0:
            raise ConvatlasError(
                f"the reward's weight is at most 0, not {self.weight:g}: what costs more is worth less"
            )

    @property
    def target(self) -> float | None:
        return self.macs if self.macs is not None else self.seconds

    @property
    def cost(self) -> Literal["macs", "latency"]:
        """What is held against the target: "macs" or "latency"."""
        return "latency" if self.seconds is not None else "macs"

    def reward(self, accuracy: float, cost: float) -> float:
        return accuracy if self.target is None else accuracy * (cost / self.target) ** self.weight

    def to_json(self) -> dict[str, Any]:
        return {"target_macs": self.macs, "target_seconds": self.seconds, "weight": self.weight, "over": self.over,
                "front": self.front, "engine": self.engine if self.seconds is not None else None}  # fmt: skip


def search(
    budget: Budget,
    place: Place,
    aim: Aim = Aim(),
    *,
    trials: int = 64,
    kind: str = "mbconv",
    by: str = "tpe",
    side: int | None = None,
    width: float | None = None,
    halving: bool = False,
    seed: int = 0,
    beat: int = 10,
    watch: Watch = nobody,
) -> Result:
    """Search a space; write the result, and the best network as a file, into the folder.

    trials: networks that are trained.  kind: of SPACES.  by: a sampler of SAMPLERS.
    side: of the pictures, by default the data's.  width: of the space, times MobileNetV2's; by default so that the
    target lies in its middle.  halving: end poor candidates early, by successive halving.

    Started again it goes on; started elsewhere with the same storage it shares the work.
    Raises UnknownName, ConvatlasError for a target below the smallest network, data with one class, a machine that is
    not calibrated where time is the target, a storage that cannot be reached.
    """
    if kind not in SPACES:
        raise UnknownName("search space", kind, SPACES)
    if by not in SAMPLERS:
        raise UnknownName("sampler", by, SAMPLERS)
    if trials < 1:
        raise ConvatlasError(f"at least 1 trial, not {trials}")
    if halving and aim.front:
        raise ConvatlasError("successive halving ranks by one goal: not with a front")
    trainer, machine = Trainer(budget), calibrated() if aim.seconds is not None else None
    space = space_for(trainer, aim, machine, side, width)
    request = {"what": "search", "space": kind, "side": space.side, "width": space.width, "sampler": by,
               "halving": halving, **aim.to_json(), **budget.to_json()}  # fmt: skip
    goals: list[Literal["maximize", "minimize"]] = ["maximize", "minimize"] if aim.front else ["maximize"]
    study = Study(place.url, place.name, goals, request, seed, pruner=Halving() if halving else None, beat=beat)
    place.claim()

    def objective(task: Task, trial: Trial) -> float | tuple[float, float]:
        chosen = {name: trial.suggest_categorical(name, values) for name, values in space.choices.items()}
        (macs, params), cost = space.cost(chosen), _cost(space, chosen, aim, machine)
        told_of = {"macs": macs, "params": params, "refused": getattr(study.study.sampler, "refused", 0),
                   **({} if machine is None else {"latency": cost})}  # fmt: skip
        for name, value in told_of.items():
            trial.set_user_attr(name, value)
        watch("candidate", {"name": f"{task.index + 1}", "macs": macs})

        def told(epoch: int, accuracy: float) -> None:
            watch("epoch", {"epoch": epoch, "accuracy": accuracy})
            if halving and epoch < trainer.epochs(NETWORK):
                trial.report(aim.reward(accuracy, cost), epoch)
                if trial.should_prune():
                    trial.set_user_attr("halved_at", accuracy)
                    watch("finished", {"name": f"{task.index + 1}", "accuracy": accuracy, "done": task.index + 1,
                                       "total": trials, "halved": epoch})  # fmt: skip
                    raise optuna.TrialPruned

        found = trainer(NETWORK, space.options(chosen), task.seed, told)
        for name in ("accuracy", "seconds", "diverged"):
            trial.set_user_attr(name, getattr(found, name))
        watch("finished", {"name": f"{task.index + 1}", "accuracy": found.accuracy, "done": task.index + 1,
                           "total": trials})  # fmt: skip
        return (found.accuracy, cost) if aim.front else aim.reward(found.accuracy, cost)

    watch("begin", {"total": trials, "done": len(study.finished())})

    def fits(chosen: Mapping[str, Any]) -> bool:
        return aim.target is None or _cost(space, chosen, aim, machine) <= aim.over * aim.target

    finished = study.work(trials, objective, lambda number: Within(sampler(by, number), space.choices, fits), watch)
    made = _result(space, aim, finished, study, trainer, machine, by, trials)
    made.write(place.folder)
    chosen = made.winner.choices
    texts = {"py": source(FOUND, space, chosen, [made.title + ".", *made.about]),
             "json": json.dumps(space.design(chosen), indent=1)}  # fmt: skip
    for kind_of_file, text in texts.items():
        path = place.folder / f"{FOUND}.{kind_of_file}"
        write_whole(path, lambda beside, text=text: beside.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    return made


def space_for(trainer: Trainer, aim: Aim, machine: Machine | None, side: int | None, width: float | None) -> Space:
    """The space for the data.  Raises ConvatlasError for a target below its smallest network."""
    options = trainer.options(NETWORK, {} if side is None else {"input_size": side})
    own, channels = options.get("input_size", 224), options.get("channels", 3)
    if width is not None:
        if not width > 0:
            raise ConvatlasError(f"a width is above 0, not {width:g}")
        space = Space(own, len(trainer.data.classes), channels, width)
        if aim.macs is not None:
            refuse_below(space, aim.macs)
    elif aim.seconds is not None and machine is not None:
        spaces = [Space(own, len(trainer.data.classes), channels, one) for one in WIDTHS]
        times = {one: one.latency(one.alike(MIDDLE), machine, aim.engine) for one in spaces}
        space = min(spaces, key=lambda one: abs(math.log(times[one] / (aim.seconds or 1))))
    else:
        space = fitting(own, len(trainer.data.classes), channels, aim.macs)
    if aim.seconds is not None and machine is not None:
        least = space.latency(space.smallest(), machine, aim.engine)
        if least > aim.seconds:
            raise ConvatlasError(f"a target of {1e3 * aim.seconds:g} ms is below the smallest network of the space, "
                                 f"for which {1e3 * least:.3g} ms are predicted; smaller pictures (--input), or a "
                                 "narrower space (--width)")  # fmt: skip
    return space


def _cost(space: Space, chosen: Mapping[str, Any], aim: Aim, machine: Machine | None) -> float:
    """What is held against the target: multiply-adds, or predicted seconds."""
    return space.cost(chosen)[0] if machine is None else space.latency(chosen, machine, aim.engine)


def _result(
    space: Space,
    aim: Aim,
    finished: Sequence[Finished],
    study: Study,
    trainer: Trainer,
    machine: Machine | None,
    by: str,
    trials: int,
) -> Result:
    timed = stopwatch(aim.engine if machine is not None else None)
    done = [_candidate(one, space, aim, timed) for one in finished]
    full = [one for one in done if one.accuracy is not None]
    sound = [one for one in full if not one.diverged] or full
    best = max(sound, key=lambda one: (one.reward or 0.0, -one.macs))
    data = trainer.data
    target = "" if aim.target is None else f" at about {_said(aim)}"
    about = (
        f"{counted(len(done), 'network')} of the space of MnasNet for {space.side} pixels, width {space.width:g} "
        f"({space.count:.1e} in all), drawn by {SAMPLERS[by].partition(' (')[0]}{target}.",
        f"Each {trainer.epochs(NETWORK):g} epochs of {len(data.train):,} pictures of {data.name}, one seed; accuracies "
        f"are of {len(data.validation):,} validation pictures, the test pictures were not seen.",
    )
    notes = [
        "The best of many is chosen by the pictures that it is judged by here: train it anew and test it, before its "
        "accuracy is believed."
    ]
    if aim.target is not None and not aim.front:
        notes.append(f"Ranked by accuracy x (cost / target) ^ {aim.weight:g}.")
    if diverged := [one.name for one in full if one.diverged]:
        notes.append(f"The loss of {', '.join(diverged)} was no finite number in the end: not ranked.")
    notes += timed.notes
    targets: dict[str, float] = {} if aim.target is None else {aim.cost: aim.target}
    counts = {**study.counts(), "thrown_out": sum(int(one.told.get("refused", 0)) for one in finished)}
    return Result(f"Search for a network on {data.name}{target}", about, tuple(done), best.name, counts,
                  _importance(study, done), targets, tuple(notes), aim.cost)  # fmt: skip


def _said(aim: Aim) -> str:
    return f"{short(aim.macs)} multiply-adds" if aim.macs is not None else f"{1e3 * (aim.seconds or 0.0):g} ms"


def _candidate(one: Finished, space: Space, aim: Aim, timed: Stopwatch) -> Candidate:
    told = one.told
    accuracy = told.get("accuracy")
    macs, latency = int(told["macs"]), told.get("latency")
    reward = None if accuracy is None else aim.reward(accuracy, float(macs if latency is None else latency))
    if latency is None:
        latency = timed(space.graph(one.params), space.side)
    return Candidate(
        str(one.index + 1), "searched", NETWORK, space.options(one.params), one.params, macs, int(told["params"]),
        () if accuracy is None else (accuracy,), float(told.get("seconds", one.seconds)), one.index + 1, latency,
        reward, told.get("halved_at"), bool(told.get("diverged")),
    )  # fmt: skip


def _importance(study: Study, done: Sequence[Candidate]) -> dict[str, float]:
    """Of each choice, its share in what tells the best tenth from the others; {} where too few are known."""
    full = study.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(full) < 2 * FIRST or len({one.accuracy for one in done}) < 2:
        return {}
    first = None if len(study.goals) == 1 else lambda trial: -trial.values[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study.study, evaluator=PedAnovaImportanceEvaluator(), target=first
        )
    return {name: float(share) for name, share in found.items()}
