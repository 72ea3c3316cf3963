"""Studies: every task once, whatever dies, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from convatlas.errors import ConvatlasError, UnknownName
from convatlas.scaling import study as module
from convatlas.scaling.samplers import FIRST, Evolution, Halving, Within, sampler
from convatlas.scaling.study import ATTEMPTS, Study, Task

CHOICES = {name: tuple(range(4)) for name in "abcdef"}
GOALS = ["maximize"]


def drawn(trial: optuna.Trial) -> dict[str, int]:
    return {name: trial.suggest_categorical(name, values) for name, values in CHOICES.items()}


def value(params: dict[str, int]) -> float:
    return sum(number * (1 + place) for place, number in enumerate(params.values())) / 10


def easy(task: Task, trial: optuna.Trial) -> float:
    return value(drawn(trial))


def by_chance(seed: int) -> optuna.samplers.BaseSampler:
    return sampler("random", seed)


def made(url: str, name: str = "test", **options) -> Study:
    return Study(url, name, GOALS, {"what": "test"}, **{"beat": 1, **options})


def lite(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


WORKER = """
import sys, time, os
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_study import made, easy, by_chance

url, total, folder, slow = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]

def objective(task, trial):
    found = easy(task, trial)
    with (folder / f"run-{{task.index}}-{{trial.number}}-{{os.getpid()}}").open("w") as file:
        file.write(repr(sorted(trial.params.items())))
    if str(task.index) == slow:
        time.sleep(600)
    time.sleep(0.05)
    return found

made(url).work(total, objective, by_chance)
print("done", flush=True)
"""


def worker(url: str, total: int, folder: Path, slow: str = "none") -> subprocess.Popen[str]:
    code = WORKER.format(tests=str(Path(__file__).parent))
    return subprocess.Popen([sys.executable, "-c", code, url, str(total), str(folder), slow], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


# ---- a real server ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A PostgreSQL of the tests' own, on loopback."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []
    if not found:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    pytest.importorskip("psycopg")
    folder, tools = Path(tempfile.mkdtemp(prefix="convatlas-postgresql-")), found[-1]
    user: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        subprocess.run(["chown", "postgres:", folder], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    subprocess.run(
        [*user, tools / "initdb", "-D", data, "-U", "me", "-A", "trust", "-E", "UTF8", "--locale=C"], **quiet
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    start = [*user, tools / "pg_ctl", "-D", data, "-l", folder / "log", "-o", options, "-w", "start"]
    subprocess.run(start, **quiet)
    try:
        yield f"postgresql://me@127.0.0.1:{port}/"
    finally:
        subprocess.run(
            [*user, tools / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], **{**quiet, "check": False}
        )
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return lite(tmp_path)
    import psycopg

    address, name = request.getfixturevalue("server"), f"d{time.time_ns()}"
    with psycopg.connect(f"{address}postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return address + name


# ---- every task once --------------------------------------------------------------------------------------


def test_every_task_is_done_once_and_more_can_be_asked_for(url: str):
    found = made(url).work(5, easy, by_chance)
    assert [one.index for one in found] == [0, 1, 2, 3, 4]
    assert all(one.values == (value(dict(one.params)),) for one in found)
    more = made(url)
    assert more.work(8, easy, by_chance)[:5] == found
    assert more.counts() == {"finished": 8, "halved": 0, "running": 0, "waiting": 0, "died": 0, "twice": 0}


def test_fixed_parameters_are_those_that_are_run(tmp_path: Path):
    wanted = [{name: (i + place) % 4 for place, name in enumerate(CHOICES)} for i in range(6)]
    found = made(lite(tmp_path), fixed=wanted).work(6, easy, by_chance)
    assert [one.params for one in found] == wanted


def test_a_killed_workers_task_is_done_again_and_nothing_twice(url: str, tmp_path: Path):
    marks = tmp_path / "marks"
    marks.mkdir()
    doomed = worker(url, 12, marks, slow="3")
    until = time.monotonic() + 60
    while not list(marks.glob("run-3-*")) and time.monotonic() < until:
        time.sleep(0.05)
    other = worker(url, 12, marks)
    time.sleep(0.5)
    doomed.send_signal(signal.SIGKILL)
    doomed.communicate()
    assert "done" in ended(other)
    study = made(url)
    found, counts = study.finished(), study.counts()
    assert [one.index for one in found] == list(range(12))
    assert (counts["finished"], counts["died"], counts["running"], counts["waiting"]) == (12, 1, 0, 0)
    assert sum(counts.values()) == len(study.study.trials)
    first, second = sorted(marks.glob("run-3-*"), key=lambda path: int(path.name.split("-")[2]))
    assert first.read_text() == second.read_text()  # with the same parameters
    for index in set(range(12)) - {3}:
        assert len(list(marks.glob(f"run-{index}-*"))) == 1


def test_workers_that_start_at_once_share_the_tasks(url: str, tmp_path: Path):
    marks = tmp_path / "marks"
    marks.mkdir()
    for done in [ended(one) for one in [worker(url, 24, marks) for _ in range(3)]]:
        assert "done" in done
    study = made(url)
    assert [one.index for one in study.finished()] == list(range(24))
    assert study.counts()["finished"] == 24
    assert len(list(marks.iterdir())) == 24  # what two began at once, one left before it did anything
    assert len({path.name.rpartition("-")[2] for path in marks.iterdir()}) > 1


def test_a_worker_that_was_taken_for_dead_counts_once_and_works_on(tmp_path: Path):
    marks = tmp_path / "marks"
    marks.mkdir()
    sleeper = worker(lite(tmp_path), 40, marks)
    until = time.monotonic() + 60
    while not list(marks.glob("run-2-*")) and time.monotonic() < until:
        time.sleep(0.01)
    sleeper.send_signal(signal.SIGSTOP)
    other = worker(lite(tmp_path), 40, marks)
    ended(other)
    sleeper.send_signal(signal.SIGCONT)
    ended(sleeper)
    study = made(lite(tmp_path))
    assert [one.index for one in study.finished()] == list(range(40))
    assert study.counts()["finished"] == 40


# ---- interrupted and gone on with -------------------------------------------------------------------------


def halving(task: Task, trial: optuna.Trial) -> float:
    found = value(drawn(trial))
    for step in range(1, 10):
        trial.report(found * step / 9 + (task.seed % 7) / 100, step)
        if step < 9 and trial.should_prune():
            raise optuna.TrialPruned
    return found


def interrupted(objective: Callable[[Task, optuna.Trial], float], at: int, where: str):
    def run(task: Task, trial: optuna.Trial) -> float:
        if task.index == at and where == "before":
            raise KeyboardInterrupt
        if task.index == at and where == "between":
            trial.suggest_categorical("a", CHOICES["a"])
            trial.suggest_categorical("b", CHOICES["b"])
            raise KeyboardInterrupt
        try:
            return objective(task, trial)
        finally:
            if task.index == at:
                raise KeyboardInterrupt

    return run


@pytest.mark.parametrize("kind", ["random", "evolution", "tpe"])
@pytest.mark.parametrize("halved", [False, True])
def test_interrupted_it_is_the_same_study(tmp_path: Path, kind: str, halved: bool):
    objective = halving if halved else easy
    pruner = Halving() if halved else None

    def within(seed: int) -> Within:
        return Within(sampler(kind, seed), CHOICES, lambda params: sum(params.values()) < 14)

    def begun(name: str) -> Study:
        return made(f"sqlite:///{tmp_path / name}.db", pruner=pruner, seed=5)

    whole = begun("whole").work(30, objective, within)
    for at, where in ((0, "before"), (4, "between"), (15, "after"), (22, "before"), (23, "between")):
        with pytest.raises(KeyboardInterrupt):
            begun("cut").work(30, interrupted(objective, at, where), within)
    cut = begun("cut").work(30, objective, within)
    assert [(one.index, one.params, one.values, one.halved) for one in cut] == [
        (one.index, one.params, one.values, one.halved) for one in whole
    ]
    assert any(one.halved for one in whole) == halved
    assert all(sum(one.params.values()) < 14 for one in whole)


# ---- what goes wrong --------------------------------------------------------------------------------------


def test_a_study_that_was_begun_otherwise_is_refused(tmp_path: Path):
    made(lite(tmp_path))
    with pytest.raises(ConvatlasError, match=r"begun otherwise.*epochs: None then, 3 now"):
        Study(lite(tmp_path), "test", GOALS, {"what": "test", "epochs": 3})
    with pytest.raises(ConvatlasError, match="is another kind of study, a test"):
        Study(lite(tmp_path), "test", GOALS, {"what": "other"})
    with pytest.raises(ConvatlasError, match="seed: 0 then, 1 now"):
        made(lite(tmp_path), seed=1)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@127.0.0.1:1/none",
        "mysql://me:secret@host/x",
        "study.db",
        "journal://x",
        "postgresql://h/x?user=me&password=secret",
        "postgresql:/me:secret@h/x",
        "postgresql://me:secret@h:abc/x",
        "sqlite:////proc/nope/x.db",
    ],
)
def test_a_storage_that_is_none_or_cannot_be_reached(url: str):
    with pytest.raises(ConvatlasError, match=r"is no storage|cannot be reached") as caught:
        made(url)
    assert "secret" not in str(caught.value)


def test_a_locked_database_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    study = made(lite(tmp_path))
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConvatlasError, match=r"cannot be reached, or is locked: database is locked"):
            study.work(2, easy, by_chance)
        other.execute("ROLLBACK")
    assert len(study.work(2, easy, by_chance)) == 2


def test_a_stop_is_no_death(tmp_path: Path):
    def stopped(task: Task, trial: optuna.Trial) -> float:
        raise KeyboardInterrupt

    for _ in range(ATTEMPTS + 2):
        with pytest.raises(KeyboardInterrupt):
            made(lite(tmp_path)).work(2, stopped, by_chance)
    assert len(made(lite(tmp_path)).work(2, easy, by_chance)) == 2


def test_a_process_that_died_before_its_first_sign_of_life_blocks_nobody(tmp_path: Path):
    study = made(lite(tmp_path))
    study.study.enqueue_trial({}, user_attrs={"task": 0})
    study.study.ask()  # and never heard of again
    assert [one.index for one in made(lite(tmp_path)).work(2, easy, by_chance)] == [0, 1]
    assert made(lite(tmp_path)).counts()["died"] == 1


def test_a_tuple_in_a_request_is_the_list_that_the_database_gives_back(tmp_path: Path):
    for _ in range(2):
        Study(lite(tmp_path), "test", GOALS, {"values": {"scale": (0.5, 1.0)}})


def test_a_task_that_dies_each_time_is_given_up(tmp_path: Path):
    def broken(task: Task, trial: optuna.Trial) -> float:
        drawn(trial)
        raise MemoryError

    for _ in range(ATTEMPTS):
        with pytest.raises(MemoryError):
            made(lite(tmp_path)).work(2, broken, by_chance)
    with pytest.raises(ConvatlasError, match=f"task 0 of the study test has died {ATTEMPTS} times"):
        made(lite(tmp_path)).work(2, broken, by_chance)


# ---- samplers ---------------------------------------------------------------------------------------------


def test_a_child_of_evolution_differs_from_a_recent_parent_in_one_choice(tmp_path: Path):
    found = made(lite(tmp_path)).work(60, easy, lambda seed: Evolution(seed, population=15))
    for place, child in enumerate(found[FIRST + 5 :], FIRST + 5):
        parents = found[max(0, place - 15) : place]
        assert min(sum(one.params[name] != child.params[name] for name in CHOICES) for one in parents) <= 1


@pytest.mark.parametrize("kind", ["evolution", "tpe"])
def test_a_sampler_that_learns_is_better_than_chance(tmp_path: Path, kind: str):
    gains = []
    for seed in range(3):
        best = {
            one: max(each.values[0] for each in made(lite(tmp_path), f"{one}{seed}", seed=seed).work(
                40, easy, lambda number, one=one: sampler(one, number)))
            for one in (kind, "random")
        }  # fmt: skip
        gains.append(best[kind] - best["random"])
    assert statistics.median(gains) > 0


def test_halving_keeps_the_best_third(tmp_path: Path):
    found = made(lite(tmp_path), pruner=Halving()).work(40, halving, by_chance)
    reached = {step: sum(step in one.reports for one in found) for step in (1, 2, 4, 9)}
    assert reached[1] == 40
    assert 8 <= reached[2] <= 22  # the first few have nobody to be compared with
    assert reached[4] < reached[2]
    assert sum(not one.halved for one in found) == reached[9]
    best = max(found, key=lambda one: value(dict(one.params)))
    assert not best.halved


def test_within_nothing_that_does_not_fit_is_ever_tried(tmp_path: Path):
    found = made(lite(tmp_path)).work(
        10, easy, lambda seed: Within(sampler("tpe", seed), CHOICES, lambda p: p["a"] == 3)
    )
    assert {one.params["a"] for one in found} == {3}
    with pytest.raises(ConvatlasError, match="none is within the target"):
        made(lite(tmp_path), "none").work(
            1, easy, lambda seed: Within(sampler("random", seed), CHOICES, lambda p: False)
        )


def test_requests_that_make_no_sense():
    with pytest.raises(UnknownName, match="did you mean 'tpe'"):
        sampler("tp", 0)
    with pytest.raises(ConvatlasError, match="halving begins"):
        Halving(first=0)
    with pytest.raises(ConvatlasError, match="halving begins"):
        Halving(factor=1)
