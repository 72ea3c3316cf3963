"""A study: numbered tasks in a database, worked off by as many processes as are started, each done once.

The database is Optuna's: SQLite for the processes of one machine, PostgreSQL for many machines. A task is numbered by
us; a trial of Optuna is one attempt at it. A task whose process dies is noticed by its missing heartbeat and begun
again, with the parameters that it had; until then it is taken, and who resumes a killed study at once begins with the
next task. Where two processes begin the same task, the trial with the lower number goes on. What a sampler draws
follows from the study's seed, the task and the trials that are finished: so a study that one process works off is the
same study, stopped and taken up again or not.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from convatlas.errors import ConvatlasError
from convatlas.scaling.place import without_password
from convatlas.train.asked import Stopped

logger = logging.getLogger(__name__)

BEAT = 10
"""Seconds between the signs of life of a running trial; after three times that it counts as dead."""
PATIENCE = 60
"""Seconds that one process waits for another's transaction."""
ATTEMPTS = 5
"""How often a task may die."""
LIVE = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
OVER = (*DONE, TrialState.FAIL)
TASK, REQUEST, TWICE, BEGUN, STOPPED = "task", "request", "twice", "begun", "stopped"
"""Names of attributes in the database."""


class Twice(Exception):
    """Another trial has this task."""


@dataclass(frozen=True)
class Task:
    """index: from 0.  seed: of what the task draws by chance, whatever attempt this is."""

    index: int
    seed: int


@dataclass(frozen=True)
class Finished:
    """A task's outcome.  values: the objective's; of a task that was halved, none.

    reports: by step what was said on the way.  told: attributes that the task has left.
    """

    index: int
    halved: bool
    values: tuple[float, ...]
    params: Mapping[str, Any]
    told: Mapping[str, Any]
    reports: Mapping[int, float]
    seconds: float


Objective = Callable[[Task, Trial], float | Sequence[float]]
Watch = Callable[[str, dict[str, Any]], None]


def nobody(event: str, figures: dict[str, Any]) -> None:
    """Watches nothing."""


@dataclass
class Study:
    """A study in a database.

    storage: a URL: sqlite:///study.db, postgresql://user@host/name.  name: within it.
    goals: of each value "maximize" or "minimize".  request: what determines the tasks; all processes must ask the same.
    fixed: of each task the parameters; None: a sampler draws them.

    Raises ConvatlasError for a database that cannot be reached, and for a study that was begun with another request.
    """

    storage: str
    name: str
    goals: Sequence[Literal["maximize", "minimize"]]
    request: Mapping[str, Any]
    seed: int = 0
    fixed: Sequence[Mapping[str, Any]] | None = None
    pruner: BasePruner | None = None
    beat: int = BEAT
    study: optuna.Study = field(init=False, repr=False)
    database: Database = field(init=False, repr=False)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with reaching(self.storage):
            self.database = database(self.storage, self.beat)
            self.study = optuna.create_study(
                storage=self.database, study_name=self.name, directions=[*self.goals],
                load_if_exists=True, pruner=self.pruner or NopPruner(),
            )  # fmt: skip
            self._agree()

    def _agree(self) -> None:
        """The first process says what the study is, the others must want the same."""
        wanted = json.loads(json.dumps({**self.request, "seed": self.seed, "goals": list(self.goals)}))
        known = self.study.user_attrs.get(REQUEST)
        if known is None:
            self.study.set_user_attr(REQUEST, wanted)
            return
        differing = [f"{key}: {known.get(key)} then, {wanted.get(key)} now"
                     for key in dict.fromkeys((*known, *wanted)) if known.get(key) != wanted.get(key)]  # fmt: skip
        if known.get("what") != wanted.get("what"):
            raise ConvatlasError(f"the study {self.name} is another kind of study, a {known.get('what')}; give another "
                                 "--study or --out")  # fmt: skip
        if differing:
            raise ConvatlasError(f"the study {self.name} was begun otherwise ({'; '.join(differing)}); give another "
                                 "--study or --out")  # fmt: skip

    # ---- what stands in it ------------------------------------------------------------------------------

    def finished(self) -> list[Finished]:
        """The tasks that are done, in their order, each once."""
        holders = self._holders()
        return [_finished(index, trial) for index, trial in sorted(holders.items()) if trial.state in DONE]

    def counts(self) -> dict[str, int]:
        """{"finished", "halved", "running", "waiting", "died", "twice"}: every trial is one of these."""
        found = dict.fromkeys(("finished", "halved", "running", "waiting", "died", "twice"), 0)
        states = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "halved", TrialState.RUNNING: "running",
                  TrialState.WAITING: "waiting"}  # fmt: skip
        for trial in self._trials():
            if TWICE in trial.user_attrs or TASK not in trial.user_attrs:
                found["twice"] += 1
            else:
                found[states.get(trial.state, "died")] += 1
        return found

    def _trials(self) -> list[FrozenTrial]:
        with reaching(self.storage):
            return self.study.get_trials(deepcopy=False)

    def _holders(self) -> dict[int, FrozenTrial]:
        """Of each task that somebody has, or has done, its trial: a done one, else the one with the lowest number."""
        found: dict[int, FrozenTrial] = {}
        for trial in self._trials():
            index = trial.user_attrs.get(TASK)
            if index is None or trial.state not in LIVE:
                continue
            held = found.get(index)
            if held is None or (trial.state in DONE and held.state not in DONE):
                found[index] = trial
        return found

    # ---- the work ---------------------------------------------------------------------------------------

    def work(
        self, total: int, objective: Objective, sampler: Callable[[int], BaseSampler], watch: Watch = nobody
    ) -> list[Finished]:
        """Work off tasks until all ``total`` are done, by this process or by others; wait for these.

        objective: gives a task's values; it may raise optuna's TrialPruned.  sampler: made for each task from a seed.
        watch: is told of "task" and "waiting".

        Raises ConvatlasError where a task has died too often, and whatever the objective raises: then its task is free
        again.
        """
        while True:
            self._bury()
            trials, holders = self._trials(), self._holders()
            free = next((index for index in range(total) if index not in holders), None)
            waiting = next((t for t in trials if t.state == TrialState.WAITING and TASK in t.user_attrs), None)
            if waiting is None and free is None:
                running = [i for i, trial in holders.items() if i < total and trial.state == TrialState.RUNNING]
                if not running:
                    return self.finished()
                watch("waiting", {"running": running})
                time.sleep(min(self.beat, 2))
                continue
            if waiting is None:
                self._queue(free or 0, trials)
            index = waiting.user_attrs[TASK] if waiting is not None else free or 0
            self._one(index, objective, sampler, watch)

    def _queue(self, index: int, trials: Sequence[FrozenTrial]) -> None:
        """A trial for a task that nobody has: with the parameters that it had when it died."""
        before = [t for t in trials if t.user_attrs.get(TASK) == index and TWICE not in t.user_attrs]
        died = [t for t in before if STOPPED not in t.user_attrs]
        if len(died) >= ATTEMPTS:
            raise ConvatlasError(f"task {index} of the study {self.name} has died {len(died)} times; what it is: "
                                 f"{died[-1].params or 'nothing was drawn yet'}")  # fmt: skip
        # Of what died while it was drawn, the rest would not go with the beginning.
        whole = next((t.params.keys() for t in trials if t.state in DONE), None)
        had = next((t.params for t in reversed(before) if t.params.keys() == whole), {})
        params = dict(self.fixed[index]) if self.fixed is not None else dict(had)
        with reaching(self.storage), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.study.enqueue_trial(params, user_attrs={TASK: index})

    def _one(self, index: int, objective: Objective, sampler: Callable[[int], BaseSampler], watch: Watch) -> None:
        """Take the next trial that waits, most likely this task's."""

        begun: list[Trial] = []
        failed: list[BaseException] = []

        def run(trial: Trial) -> float | Sequence[float]:
            begun.append(trial)
            try:
                self.database.record_heartbeat(trial._trial_id)
                trial.set_user_attr(BEGUN, True)
                self._claim(trial)
                own = int(trial.user_attrs[TASK])
                watch("task", {"index": own, "number": trial.number})
                return objective(Task(own, seed_of(self.seed, own)), trial)
            except BaseException as error:
                failed.append(error)
                if isinstance(error, KeyboardInterrupt | Stopped):
                    trial.set_user_attr(STOPPED, True)
                raise

        self.study.sampler = sampler(seed_of(self.seed, index))
        with reaching(self.storage), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            try:
                self.study.optimize(run, n_trials=1, catch=(Twice,))
            except (AssertionError, ValueError, UpdateFinishedTrialError):
                if failed and not isinstance(failed[0], UpdateFinishedTrialError | Twice | optuna.TrialPruned):
                    raise failed[0] from None
                if not begun or self._state(begun[0]) not in OVER:
                    raise
                # This process was taken for dead, and cannot say what it found: another has the task.

    def _state(self, trial: Trial) -> TrialState:
        return next(one.state for one in self._trials() if one.number == trial.number)

    def _claim(self, trial: Trial) -> None:
        """Raises Twice where another trial has the same task, or it has none of ours."""
        index = trial.user_attrs.get(TASK)
        holder = self._holders().get(index) if index is not None else None
        if holder is None or holder.number != trial.number:
            trial.set_user_attr(TWICE, True)
            raise Twice

    def _bury(self) -> None:
        """Trials without a sign of life fail, so that their tasks are free; also those that died before their first."""
        with reaching(self.storage), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)
            latest = datetime.now() - timedelta(seconds=3 * self.beat)
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if BEGUN not in trial.user_attrs and trial.datetime_start is not None and trial.datetime_start < latest:
                    self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def _finished(index: int, trial: FrozenTrial) -> Finished:
    values = tuple(trial.values) if trial.state == TrialState.COMPLETE else ()
    seconds = trial.duration.total_seconds() if trial.duration is not None else 0.0
    told = {key: value for key, value in trial.user_attrs.items() if key not in (TASK, BEGUN)}
    return Finished(index, trial.state == TrialState.PRUNED, values, dict(trial.params), told,
                    dict(trial.intermediate_values), seconds)  # fmt: skip


def seed_of(seed: int, *path: int) -> int:
    """A seed of its own for whatever a path of numbers leads to."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0] >> 1)


# ---- the database -------------------------------------------------------------------------------------------


class Database(optuna.storages.RDBStorage):
    """Optuna's, with signs of life that outlast a moment in which it cannot be reached."""

    def record_heartbeat(self, trial_id: int) -> None:
        try:
            super().record_heartbeat(trial_id)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            logger.warning("no sign of life could be given: %s", " ".join(str(error).split())[:200])


def database(url: str, beat: int) -> Database:
    """Raises ConvatlasError for one that is no database of ours."""
    try:
        return _database(url, beat)
    except (ValueError, OSError) as error:
        if isinstance(error, ConvatlasError):
            raise
        raise ConvatlasError(f"{without_password(url)} is no storage that can be opened: {error}") from error


def _database(url: str, beat: int) -> Database:
    kind, _, rest = url.partition("://")
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if kind == "sqlite":
        path = Path(rest.removeprefix("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        arguments["connect_args"] = {"timeout": PATIENCE, "factory": Logged}
    elif kind in ("postgresql", "postgres"):
        url = f"postgresql+psycopg://{rest}"
        arguments["connect_args"] = {"connect_timeout": 10}
    elif not kind.startswith("postgresql+"):
        raise ConvatlasError(f"{without_password(url)} is no storage: sqlite:///study.db for one machine, "
                             "postgresql://USER@HOST/NAME for many; a journal file knows no sign of life, and is not "
                             "offered")  # fmt: skip
    for again in range(3):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                made = Database(url, engine_kwargs=arguments, heartbeat_interval=beat,
                                                  grace_period=3 * beat)  # fmt: skip
            if kind == "sqlite":
                event.listen(made.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            return made
        except SQLAlchemyError as error:
            # Several processes make the tables at once: all but one find them there.
            if again == 2 or not (isinstance(error, IntegrityError) or "exist" in str(error)):
                raise
            time.sleep(0.5)
    raise AssertionError


class Logged(sqlite3.Connection):
    """A connection to SQLite with a write-ahead log: a transaction need not wait for the disk.

    What a process has written outlives its death; of a machine that loses its power, the last transactions may be lost.
    Python's own transactions begin with the first write: two processes would both read that a trial waits, and both
    take it.  They are begun by hand here, with the right to write.
    """

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **{**named, "isolation_level": None})
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


class reaching:  # noqa: N801
    """Within it, what the database cannot do is a ConvatlasError."""

    def __init__(self, url: str):
        self.shown = without_password(url)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ImportError) and {"postgresql", "postgres"} & {self.shown.partition(":")[0]}:
            raise ConvatlasError("PostgreSQL needs its driver: pip install 'convatlas[postgresql]'") from error
        if isinstance(error, ArgumentError):
            raise ConvatlasError(f"{self.shown} is no storage: {error}") from error
        if isinstance(error, SQLAlchemyError | optuna.exceptions.StorageInternalError):
            while error.__cause__ is not None:
                error = error.__cause__
            said = " ".join(str(error).split())[:300]
            raise ConvatlasError(f"the storage {self.shown} cannot be reached, or is locked: {said}") from error
