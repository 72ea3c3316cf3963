"""The training loop: order, chance, schedules, and runs that are killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from convatlas import facts, registry
from convatlas.cli import main
from convatlas.cli.train import _value
from convatlas.cost import analyze
from convatlas.data import Arrays, load
from convatlas.errors import ConvatlasError
from convatlas.files import write_whole
from convatlas.train import Running, checkpoint, evaluate, resume, train
from convatlas.train.asked import RESUME_ME, Stopped
from convatlas.train.augment import augment, moved
from convatlas.train.feed import Feed
from convatlas.train.launch import _tried
from convatlas.train.loop import NotFinite
from convatlas.train.memory import free_memory, graph_of_step, predicted
from convatlas.train.mix import mixed_up
from convatlas.train.order import Order, uniform
from convatlas.train.rate import learning_rate, optimizer
from convatlas.train.recipe import Recipe, changed, refuse_unused
from convatlas.train.setup import Setup, build
from convatlas.weights import Preprocess, pretrained

PLAIN = Recipe(epochs=2, batch=8, learning_rate=0.1)


# ---- order and chance -------------------------------------------------------------------------------------


def test_the_order_is_a_pure_function_of_seed_and_epoch() -> None:
    one, again = Order(100, 10, seed=3), Order(100, 10, seed=3)
    for epoch in (0, 1, 7):
        taken = torch.cat([one.take(epoch, step)[0] for step in range(one.steps)])
        assert torch.equal(taken.sort().values, torch.arange(100))
        assert torch.equal(taken, torch.cat([again.take(epoch, step)[0] for step in range(one.steps)]))
    assert not torch.equal(one.take(0, 0)[0], one.take(1, 0)[0])
    assert not torch.equal(one.take(0, 0)[0], Order(100, 10, seed=4).take(0, 0)[0])


@pytest.mark.parametrize("world", [2, 4])
def test_several_processes_see_what_one_sees(world: int) -> None:
    alone = Order(1000, 64, seed=1)
    for step in (0, 5):
        shares = [Order(1000, 64, seed=1, rank=rank, world=world).take(2, step) for rank in range(world)]
        whole = alone.take(2, step)
        for part in range(2):
            assert torch.equal(torch.cat([share[part] for share in shares]), whole[part])


def test_a_batch_that_cannot_be_shared_or_filled_is_refused() -> None:
    with pytest.raises(ConvatlasError, match="evenly by 3"):
        Order(100, 64, world=3)
    with pytest.raises(ConvatlasError, match="do not fill"):
        Order(10, 64)


def test_each_pictures_chance_is_even_and_its_own() -> None:
    _, seeds = Order(20_000, 20_000).take(0, 0)
    draws = torch.stack([uniform(seeds, draw) for draw in range(4)])
    assert draws.min() >= 0
    assert draws.max() < 1
    for row in draws:
        assert abs(float(row.mean()) - 0.5) < 0.01
        assert (torch.histc(row, 20, 0, 1) / 1000 - 1).abs().max() < 0.15
    assert torch.corrcoef(draws).fill_diagonal_(0).abs().max() < 0.03
    _, later = Order(20_000, 20_000).take(1, 0)
    assert len(torch.cat([seeds, later]).unique()) == 40_000


def test_a_moved_picture_is_a_crop_of_the_padded_one() -> None:
    pictures = torch.randint(0, 256, (50, 3, 9, 7), dtype=torch.uint8)
    seeds = torch.arange(50)
    out = moved(pictures, seeds, 2, 1)
    padded = F.pad(pictures, (2, 2, 2, 2))
    found = set()
    for before, after in zip(padded, out):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(before[:, y : y + 9, x : x + 7], after)]
        assert places
        found.add(places[0])
    assert len(found) > 12
    alone = torch.cat([moved(pictures[i : i + 1], seeds[i : i + 1], 2, 1) for i in range(50)])
    assert torch.equal(out, alone)


def test_augmenting_changes_pictures_and_not_their_kind() -> None:
    pictures = torch.randint(0, 256, (32, 3, 16, 16), dtype=torch.uint8)
    recipe = PLAIN.model_copy(update=dict(crop="pad", flip=True, erase=1.0, shift=1))
    out = augment(pictures, torch.arange(32), recipe)
    assert (out.shape, out.dtype) == (pictures.shape, pictures.dtype)
    assert torch.equal(out, augment(pictures, torch.arange(32), recipe))
    flipped = augment(pictures, torch.arange(32), PLAIN.model_copy(update=dict(flip=True)))
    turned = [torch.equal(a, b.flip(2)) for a, b in zip(flipped, pictures)]
    same = [torch.equal(a, b) for a, b in zip(flipped, pictures)]
    assert all(a != b for a, b in zip(turned, same))
    assert 8 < sum(turned) < 24


@pytest.mark.parametrize("values", [dict(mixup=0.4), dict(cutmix=1.0), dict(mixup=0.4, cutmix=1.0)])
def test_mixed_labels_say_what_is_in_the_picture(values: dict[str, float]) -> None:
    labels = torch.arange(8)
    pictures = labels.float()[:, None, None, None].expand(8, 3, 20, 20)
    for step in range(6):
        mixed, targets = mixed_up(pictures, labels, PLAIN.model_copy(update=values), 8, 0, step)
        assert torch.allclose(targets.sum(1), torch.ones(8))
        assert torch.allclose(mixed.mean((1, 2, 3)), targets @ labels.float(), atol=1e-4)


# ---- rates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "scheduler"),
    [
        (dict(schedule="steps", steps=(1.0, 2.0)), lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [10, 20])),
        (dict(schedule="cosine"), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 30)),
        (dict(schedule="exponential", every=0.5, factor=0.9), lambda o: torch.optim.lr_scheduler.StepLR(o, 5, 0.9)),
        (dict(schedule="linear"), lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 30)),
        (
            dict(schedule="one_cycle"),
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, 31, pct_start=8.5 / 31, final_div_factor=1e12),
        ),
    ],
)
def test_the_rates_are_those_of_torchs_schedulers(values: dict[str, Any], scheduler: Any) -> None:
    recipe = PLAIN.model_copy(update=dict(epochs=3, **values))
    dummy = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)
    theirs = scheduler(dummy)
    for step in range(30):
        assert learning_rate(recipe, 8, step, 10) == pytest.approx(theirs.get_last_lr()[0], rel=1e-2, abs=1e-3)
        dummy.step()
        theirs.step()


def test_a_warm_up_and_a_larger_batch() -> None:
    recipe = PLAIN.model_copy(update=dict(warmup=1.0, warmup_from=0.1, reference_batch=256))
    assert learning_rate(recipe, 512, 0, 10) == pytest.approx(0.02)
    assert learning_rate(recipe, 512, 5, 10) == pytest.approx(0.11)
    assert learning_rate(recipe, 512, 10, 10) == pytest.approx(0.2)


def test_norms_and_biases_need_not_decay() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    made = optimizer(PLAIN.model_copy(update=dict(weight_decay=0.1, decay_all=False)), net)
    assert [(len(g["params"]), g["weight_decay"]) for g in made.param_groups] == [(1, 0.1), (3, 0.0)]
    net.requires_grad_(False)
    with pytest.raises(ConvatlasError, match="frozen"):
        optimizer(PLAIN, net)


# ---- checkpoints ------------------------------------------------------------------------------------------


def test_a_checkpoint_that_fails_leaves_the_last_one_whole(tmp_path: Path) -> None:
    def good(folder: Path) -> None:
        (folder / "state").write_text("good")

    def full(folder: Path) -> None:
        (folder / "state").write_text("ba")
        raise OSError(28, "No space left on device")

    checkpoint.save(tmp_path, 1, good, wait=lambda: None)
    with pytest.raises(ConvatlasError, match="last one is whole"):
        checkpoint.save(tmp_path, 2, full, wait=lambda: None)
    last = checkpoint.latest(tmp_path)
    assert last is not None
    assert (last.name, (last / "state").read_text()) == ("step-1", "good")
    checkpoint.save(tmp_path, 3, good, wait=lambda: None)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["last", "step-3"]


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, lambda beside: beside.write_text("first") and None)

    def fails(beside: Path) -> None:
        beside.write_text("sec")
        raise OSError(28, "No space left on device")

    with pytest.raises(ConvatlasError, match="No space left"):
        write_whole(path, fails)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


# ---- runs -------------------------------------------------------------------------------------------------

DIGITS = ["lenet5_modern", "--data", "digits", "--epochs", "3", "--quiet", "--out"]
COMMAND = [sys.executable, "-m", "convatlas", "train"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def test_a_batch_that_chooses_itself_leaves_an_epoch_its_steps(tmp_path: Path) -> None:
    run = train("lenet5_modern", "digits", values={"batch": "auto", "epochs": 1}, out=tmp_path / "run")
    stored = json.loads((run.folder / "run.json").read_text())
    assert stored["batch"] == 64  # the largest power of two that 1,294 pictures fill twenty times
    assert stored["recipe"]["batch"] == "auto"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX's")
@pytest.mark.parametrize("room", [2_000, 100_000])
def test_where_nothing_more_can_be_written_a_run_says_so_and_can_be_resumed(room: int, tmp_path: Path) -> None:
    import resource

    # A limit on the size of a file: torch, safetensors and Python each meet it in their own way.
    begun = [*DIGITS, str(tmp_path / "run")]
    tried = subprocess.run([sys.executable, "-m", "convatlas", "train", *begun], capture_output=True, text=True,
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))  # fmt: skip
    assert tried.returncode == 2
    assert "cannot be written" in tried.stderr
    assert "Traceback" not in tried.stderr
    stored = (tmp_path / "run" / "run.json").exists()
    assert main(["train", *(["--resume", str(tmp_path / "run"), "--quiet"] if stored else begun)]) == 0


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run on scikit-learn's digits."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    subprocess.run([*COMMAND, *DIGITS, str(folder)], check=True, env=ENVIRONMENT)
    return folder


def test_a_run_writes_every_step_and_one_test_row(finished: Path) -> None:
    rows = metrics(finished)
    assert [row["split"] for row in rows].count("test") == 1
    assert rows[-1]["split"] == "test"
    training = [row for row in rows if row["split"] == "train"]
    assert [row["step"] for row in training] == list(range(len(training)))
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert rows[-1]["accuracy"] > 0.8
    stored = json.loads((finished / "run.json").read_text())
    assert stored["state"] == "finished"
    assert stored["predicted_peak_bytes"] > 0
    assert (finished / "best.safetensors").exists()
    assert (finished / "report.html").exists()


def test_a_killed_run_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    arguments = [*DIGITS, str(folder), "--save-every", "5"]
    running = subprocess.Popen([*COMMAND, *arguments], env=ENVIRONMENT)
    while not (checkpoint.latest(folder) or Path()).name.startswith("step-2"):
        assert running.poll() is None
        time.sleep(0.01)
    running.kill()
    running.wait()
    subprocess.run([*COMMAND, "--resume", str(folder), "--quiet"], check=True, env=ENVIRONMENT)
    ours, theirs = (load_file(run / "best.safetensors") for run in (folder, finished))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert metrics(folder) == metrics(finished)


def test_a_run_that_is_asked_to_stop_saves_and_says_so(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    running = subprocess.Popen([*COMMAND, *DIGITS, str(folder)], env=ENVIRONMENT)
    while checkpoint.latest(folder) is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    assert running.wait() == RESUME_ME
    assert json.loads((folder / "run.json").read_text())["state"] == "stopped"
    # A recipe that has changed since changes nothing: the run has its own.
    stored = json.loads((folder / "run.json").read_text())
    own = Setup.from_json({**stored["setup"], "kind": "general"}, stored["recipe"])
    assert own.recipe.title == stored["recipe"]["title"]
    resume(folder)
    assert metrics(folder)[-1]["accuracy"] == metrics(finished)[-1]["accuracy"]
    after = json.loads((folder / "run.json").read_text())
    assert after["recipe"] == stored["recipe"]
    assert after["setup"] == stored["setup"]


def test_a_job_that_slurm_starts_again_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "requeued"
    running = subprocess.Popen([*COMMAND, *DIGITS, str(folder)], env=ENVIRONMENT)
    while checkpoint.latest(folder) is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    assert running.wait() == RESUME_ME
    assert main(["train", *DIGITS, str(folder)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert _tried(Setup("lenet5_modern", "digits"), tmp_path / "another", 1)  # which is new
    assert main(["train", *DIGITS, str(folder)]) == 0
    assert metrics(folder)[-1] == metrics(finished)[-1]


def test_three_processes_that_are_stopped_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    """Of three the order in which gradients are added up matters, and torch chooses it anew at every start."""
    words = ["mobilenet_v3_small_x1_0", "--data", "digits", "--size", "16", "--epochs", "4", "--batch", "60", "--quiet",
             "--save-every", "5"]  # fmt: skip
    shared = ["--launcher", "torchrun", "--workers", "3"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    subprocess.run([*COMMAND, *words, *shared, "--out", str(whole)], check=True, env=ENVIRONMENT, timeout=300)
    running = subprocess.Popen([*COMMAND, *words, *shared, "--out", str(stopped)], env=ENVIRONMENT)
    while (last := checkpoint.latest(stopped)) is None or last.name == "step-0":
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=120) == RESUME_ME
    subprocess.run([*COMMAND, "--resume", str(stopped), *shared, "--quiet"], check=True, env=ENVIRONMENT, timeout=300)
    ours, theirs = (load_file(checkpoint.latest(run) / "model.safetensors") for run in (stopped, whole))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert metrics(stopped) == metrics(whole)


def test_a_kind_of_data_without_a_place_is_no_folder() -> None:
    for kind in ("folder:", "npz:", "digits:"):
        with pytest.raises(ConvatlasError):
            Setup("lenet5_modern", kind).anywhere().open()


def test_resuming_with_another_recipe_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvatlasError, match="finished"):
        resume(finished)
    stored = json.loads((finished / "run.json").read_text())
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({**stored, "state": "stopped"}))
    with pytest.raises(ConvatlasError, match=r"learning_rate: 0\.05 then, 0\.5 now"):
        resume(folder, values={"learning_rate": 0.5})
    with pytest.raises(ConvatlasError, match=r"depth: .* then, 2 now"):
        resume(folder, values={"depth": 2})
    with pytest.raises(ConvatlasError, match="no run in"):
        resume(tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match="last good state"):
        train("lenet5_modern", "digits", out=tmp_path / "run", values={"learning_rate": 1e9, "epochs": 2, "warmup": 0})
    assert checkpoint.latest(tmp_path / "run") is not None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(values={"epoch": 3}), "did you mean 'epochs'"),
        (dict(values={"epochs": -1}), "greater than 0"),
        (dict(recipe="papr"), "did you mean 'paper'"),
        (dict(freeze=["trnk"]), "did you mean 'trunk'"),
        (dict(values={"batch": 5000}), "do not fill"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConvatlasError, match=says):
        train("lenet5_modern", "digits", out=tmp_path / "run", **options)


SHARED = "lenet5_modern --data digits --epochs 2 --batch 64 --learning-rate 0.005 --save-every 3 --quiet --out".split()
TWO = ["--launcher", "torchrun", "--workers", "2"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run by two processes."""
    folder = tmp_path_factory.mktemp("shared") / "two"
    subprocess.run([*COMMAND, *SHARED, str(folder), *TWO], check=True, env=ENVIRONMENT)
    return folder


def test_two_processes_train_as_one_does(shared: Path, tmp_path: Path) -> None:
    """A network without batch norm and dropout: the same pictures, and the same losses to rounding.

    At a small rate: training makes a difference of the last bit grow with every step, the faster the larger the rate.
    """
    assert json.loads((shared / "run.json").read_text())["world"] == 2
    subprocess.run([*COMMAND, *SHARED, str(tmp_path / "one")], check=True, env=ENVIRONMENT)
    one, two = ([row for row in metrics(run) if row["split"] == "train"] for run in (tmp_path / "one", shared))
    assert len(one) == len(two)
    for a, b in zip(one, two):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)


def test_a_worker_that_dies_changes_nothing(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    running = subprocess.Popen([*COMMAND, *SHARED, str(folder), *TWO], env=ENVIRONMENT)
    while not (checkpoint.latest(folder) or Path()).name.startswith("step-1"):
        assert running.poll() is None
        time.sleep(0.01)
    found = subprocess.run(["pgrep", "-f", f"convatlas train .*{folder}"], capture_output=True, text=True, check=True)
    workers = [pid for pid in found.stdout.split() if b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes()]
    os.kill(int(workers[-1]), signal.SIGKILL)
    assert running.wait() == 0
    assert metrics(folder) == metrics(shared)
    ours, theirs = (load_file(run / "best.safetensors") for run in (folder, shared))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def met(**said: str) -> subprocess.Popen[str]:
    """A process of several, as SLURM or a person starts them."""
    environment = {**ENVIRONMENT, "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", **said}
    arguments = ["lenet5_modern", "--data", "digits", "--quiet", "--out", "never", "--timeout"]
    timeout = "20" if said["RANK"] == "0" else "12"
    return subprocess.Popen([*COMMAND, *arguments, timeout], env=environment, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_who_is_missing_is_named() -> None:
    port = str(free_port())
    first, third = met(RANK="0", MASTER_PORT=port), met(RANK="2", MASTER_PORT=port)
    said = [process.communicate()[1] for process in (first, third)]
    assert [first.returncode, third.returncode] == [2, 2]
    assert all("2 of 3 processes arrived" in text and "missing: rank 1" in text for text in said)


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        process = met(RANK="0", MASTER_PORT=str(taken.getsockname()[1]))
        said = process.communicate()[1]
    assert process.returncode == 2
    assert "in use" in said


# ---- what is beside the weights ----------------------------------------------------------------------------


def test_a_runs_folder_is_a_model(finished: Path) -> None:
    from convatlas import analyze, data, predict

    net = pretrained(str(finished))
    assert [label.name for label in net.weights.labels] == list("0123456789")
    by_file = pretrained("lenet5_modern", finished / "best.safetensors")
    assert by_file.weights.preprocess == net.weights.preprocess
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), by_file.state_dict().values()))
    assert analyze(str(finished)).totals["params"] == sum(p.numel() for p in net.parameters())
    split = data.load("digits").test
    assert split is not None
    grey = [np.repeat(split.picture(index), 3, 2) for index in range(20)]
    right = [
        answer.top[0].label == str(int(label)) for answer, label in zip(predict(grey, str(finished)), split.labels)
    ]
    assert sum(right) >= 15
    assert evaluate(str(finished), "digits")["accuracy"] == metrics(finished)[-1]["accuracy"]


@pytest.mark.parametrize(
    ("network", "values", "options"),
    [
        ("resnet18", {}, {}),  # on small pictures, with another stem
        ("resnet20_cifar", {"size": 16}, {"attention": "se"}),
        ("mobilenet_v2_x1_0", {}, {"width": 0.25, "depth": 0.5}),
    ],
)
def test_a_runs_network_is_read_back_as_it_was_built(
    tmp_path: Path, network: str, values: dict[str, Any], options: dict[str, Any]
) -> None:
    run = tmp_path / "run"
    train(network, "digits", recipe="general", values={**values, "epochs": 0.05}, options=options, out=run)
    assert evaluate(str(run), "digits")["accuracy"] == metrics(run)[-1]["accuracy"]
    assert pretrained(network, run).weights.preprocess == pretrained(str(run)).weights.preprocess
    assert pretrained(network, run, classes=3).classes == 3
    with pytest.raises(ConvatlasError, match="weights of its own"):
        pretrained(str(run), "timm")


def test_pictures_in_memory_are_normalised_as_those_from_files() -> None:
    """In the units of each set of weights: Lite's are (x - 127) / 128, SqueezeNet's in the order BGR."""
    picture = np.random.RandomState(0).randint(0, 256, (16, 16, 3)).astype(np.uint8)
    images = torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()
    split = Arrays(images, torch.zeros(1, dtype=torch.int64), "", np.arange(1))
    for preprocess in (
        Preprocess(crop=16, resize=16, mean=(127.0,) * 3, std=(128.0,) * 3, scale=1.0),
        Preprocess(crop=16, resize=16, mean=(104.0, 117.0, 123.0), std=(1.0,) * 3, scale=1.0, order="BGR"),
        Preprocess(crop=16, resize=16),
    ):
        feed = Feed(PLAIN, preprocess, torch.device("cpu"))
        (made, _), *_ = feed.testing(split, 1)
        assert np.allclose(made[0].numpy(), preprocess(Image.fromarray(picture)), atol=1e-5)


def test_a_run_stopped_at_its_last_step_is_still_validated(finished: Path, tmp_path: Path) -> None:
    last = [row for row in metrics(finished) if row["split"] == "train"][-1]["step"]

    def watch(event: str, figures: dict[str, Any]) -> None:
        if event == "step" and figures["step"] == last:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train("lenet5_modern", "digits", values={"epochs": 3}, out=tmp_path / "run", running=Running(watch=watch))
    assert (checkpoint.latest(tmp_path / "run") or Path()).name == f"step-{last + 1}"
    resume(tmp_path / "run")
    ours, theirs = metrics(tmp_path / "run"), metrics(finished)
    assert [row["split"] for row in ours] == [row["split"] for row in theirs]


def test_a_run_is_resumed_by_as_many_processes(finished: Path, tmp_path: Path) -> None:
    stored = json.loads((finished / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**stored, "state": "stopped", "world": 2}))
    with pytest.raises(ConvatlasError, match="processes: 2 then, 1 now"):
        resume(tmp_path)


def test_saving_a_step_again_keeps_the_one_before_until_it_is_done(tmp_path: Path) -> None:
    def fill(word: str) -> Any:
        return lambda folder: (folder / "word").write_text(word)

    def broken(folder: Path) -> None:
        raise OSError("no space left on device")

    checkpoint.save(tmp_path, 5, fill("one"), wait=lambda: None)
    with pytest.raises(ConvatlasError, match="no space left"):
        checkpoint.save(tmp_path, 5, broken, wait=lambda: None)
    for word in ("one", "two", "three"):
        if word != "one":
            checkpoint.save(tmp_path, 5, fill(word), wait=lambda: None)
        kept = checkpoint.latest(tmp_path)
        assert kept is not None
        assert (kept / "word").read_text() == word
        assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    shutil.rmtree(kept)
    with pytest.raises(ConvatlasError, match="not there"):
        checkpoint.latest(tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--resume", "x", "--seed", "3"], "knows its seed"),
        (["lenet5_modern", "--data", "digits", "--save-every", "nanmin"], "steps, or minutes"),
        (["lenet5_modern", "--data", "digits", "--device", "cuad"], "unknown device"),
        (["lenet5_modern", "--data", "digits", "--readers", "-1"], "at least 0"),
        (["lenet5_modern", "--data", "digits", "--launcher", "rai"], "did you mean 'ray'"),
        (["lenet5_modern", "--data", "digits", "--workers", "2"], "--launcher"),
        (["lenet5_modern", "--data", "digits", "--epoch", "2", "--launcher", "torchrun"], "did you mean 'epochs'"),
        (["resnet20_cifar", "--data", "digits", "--weights", "akamaster", "--init", "he"], "fresh weights"),
        (["resnet20_cifar", "--data", "digits", "--width", "wide"], "width"),
    ],
)
def test_a_command_that_does_not_fit_is_refused(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words]) == 2
    assert says in capsys.readouterr().err


def test_values_on_the_command_line_are_what_the_recipe_takes() -> None:
    assert [_value("steps", "15"), _value("steps", "15,22.5"), _value("crop", "none")] == [[15], [15, 22.5], "none"]
    assert [_value("clip", "none"), _value("flip", "true"), _value("batch", "auto")] == [None, True, "auto"]


def test_the_memory_that_is_counted_is_that_predicted(finished: Path) -> None:
    stored = json.loads((finished / "run.json").read_text())
    assert stored["measured_peak_bytes"] == pytest.approx(stored["predicted_peak_bytes"], rel=0.01)


def test_checkpoints_by_the_clock_and_figures_for_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = set()

    def watch(event: str, figures: dict[str, Any]) -> None:
        seen.add((checkpoint.latest(tmp_path / "run") or Path()).name)

    running = Running(save_minutes=1e-6, tensorboard=True, watch=watch)
    train("lenet5_modern", "digits", out=tmp_path / "run", values={"epochs": 1}, running=running)
    assert len(seen) > 5
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = [row for row in metrics(tmp_path / "run") if row["split"] == "train"]
    scalars = events.Scalars("loss/train")
    assert [scalar.step for scalar in scalars] == [row["step"] for row in rows]
    assert scalars[-1].value == pytest.approx(rows[-1]["loss"])


def test_a_run_that_was_stopped_has_its_report(tmp_path: Path) -> None:
    with pytest.raises(NotFinite):
        train("lenet5_modern", "digits", out=tmp_path / "run", values={"learning_rate": 1e9, "epochs": 2, "warmup": 0})
    assert "no finite number" in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "curves.svg").exists()


@pytest.mark.parametrize("init", ["own", "he", "glorot", "gaussian"])
def test_weights_begin_as_the_recipe_says(init: str) -> None:
    data_ = load("digits")
    net, _ = build(Setup("resnet20_cifar", "digits", "general", {"init": init, "size": 32}), data_)
    weight = next(p for p in net.parameters() if p.shape == (64, 64, 3, 3))
    expected = {"he": (2 / (64 * 9)) ** 0.5, "glorot": (2 / (128 * 9)) ** 0.5, "gaussian": 0.01}
    assert float(weight.detach().std()) == pytest.approx(expected.get(init, expected["he"]), rel=0.05)


def test_the_networks_options_are_the_runs(tmp_path: Path) -> None:
    net, _ = build(
        Setup("resnet20_cifar", "digits", "general", {"size": 32}, options={"attention": "se"}), load("digits")
    )
    assert any("gate" in path or "attention" in path for path, _ in net.named_modules())
    with pytest.raises(ConvatlasError, match="no auxiliary heads"):
        build(Setup("resnet20_cifar", "digits", "general", {"aux_weight": 0.3}), load("digits"))


CHANGES: list[dict[str, Any]] = [
    dict(crop="resized"), dict(crop="random"), dict(colour="pca"), dict(colour="jitter"), dict(policy="trivial"),
    dict(policy="autoaugment"), dict(policy="randaugment"),
]  # fmt: skip


@pytest.mark.parametrize("values", CHANGES)
def test_every_change_reaches_pictures_in_memory(values: dict[str, Any]) -> None:
    """Each picture's from its own seed, whatever is beside it in the batch; torch's chance stays as it was."""
    pictures = torch.randint(0, 256, (16, 3, 24, 24), dtype=torch.uint8)
    seeds, plan = torch.arange(16) * 7919, PLAIN.model_copy(update=values)
    before = torch.get_rng_state()
    out = augment(pictures, seeds, plan)
    assert torch.equal(before, torch.get_rng_state())
    assert (out.shape, out.dtype) == (pictures.shape, pictures.dtype)
    assert sum(not torch.equal(a, b) for a, b in zip(out, pictures)) >= 8
    assert torch.equal(augment(pictures[5:6], seeds[5:6], plan)[0], out[5])


def test_a_resized_crop_shows_a_part_of_the_picture_at_its_size() -> None:
    ramp = torch.linspace(0, 255, 64).round().byte().expand(200, 1, 64, 64)
    out = augment(
        ramp, torch.arange(200), PLAIN.model_copy(update=dict(crop="resized", scale=(0.25, 0.25), ratio=(1, 1)))
    )
    width = (out[:, 0, 0, -1].float() - out[:, 0, 0, 0].float()) / 255
    assert (width - 0.5).abs().max() < 0.03
    left = out[:, 0, 0, 0].float() / 255
    assert left.min() < 0.03
    assert left.max() > 0.47


def test_the_lenet_that_ships_reads_digits_right_after_an_install() -> None:
    """On scikit-learn's digits, which are others than it was trained on, drawn as MNIST's are."""
    from convatlas import data
    from convatlas.weights import pretrained

    net = pretrained("lenet5_modern")
    assert [label.name for label in net.weights.labels] == list("0123456789")
    digits = data.load("digits").test
    assert digits is not None
    drawn = F.pad(F.interpolate(digits.images.float(), (20, 20), mode="bicubic").clamp(0, 255), (6, 6, 6, 6)) / 255
    with torch.no_grad():
        right = net((drawn - 0.1307) / 0.3081).argmax(1) == digits.labels
    assert float(right.float().mean()) > 0.85
    record = json.loads((Path(str(facts.FOLDER)) / "trained" / "lenet5_modern.json").read_text())
    assert record["test"]["accuracy"] > 0.99


def test_auxiliary_heads_are_trained_with_the_network(tmp_path: Path) -> None:
    run = train(
        "googlenet", "digits", recipe="paper", out=tmp_path / "run", values={"epochs": 0.1, "batch": 32, "size": 32}
    )
    stored = load_file(run.folder / "checkpoints" / "last" / "model.safetensors")
    first = load_file(run.folder / "best.safetensors")
    assert any(".aux." in key for key in stored)
    assert any(key.startswith("aux.") for key in first)
    told = json.loads((run.folder / "run.json").read_text())
    assert told["measured_peak_bytes"] == pytest.approx(told["predicted_peak_bytes"], rel=0.01)


def test_a_picture_too_small_for_an_auxiliary_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvatlasError, match=r"96 x 96 is too small: nothing is left of it at aux\.mixed6e\.pool"):
        train("inception_v3", "digits", recipe="general", out=tmp_path, values={"size": 96, "aux_weight": 0.4})


# ---- what a review found ----------------------------------------------------------------------------------


def test_the_best_that_is_kept_is_the_average_that_was_validated(tmp_path: Path) -> None:
    run = train("resnet20_cifar", "digits", values={"epochs": 2, "ema": 0.9, "size": 16}, out=tmp_path / "run")
    kept = evaluate(str(run.folder), "digits", split="validation")
    assert kept["accuracy"] == pytest.approx(run.best["accuracy"], abs=1e-6)
    assert kept["loss"] == pytest.approx(run.best["loss"], abs=1e-4)


def folder_of_pictures(root: Path, each: int) -> Path:
    chance = np.random.RandomState(0)
    for index in range(each * 2):
        place = root / "ab"[index % 2] / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.randint(0, 256, (16, 16, 3)).astype(np.uint8)).save(place)
    return root


SMALL = "resnet20_cifar --recipe general --size 16 --batch 8 --quiet".split()


def test_a_signal_to_all_processes_of_a_run_with_readers_still_saves(tmp_path: Path) -> None:
    pictures, folder = folder_of_pictures(tmp_path / "pictures", 100), tmp_path / "run"
    command = [sys.executable, "-m", "convatlas", "train", *SMALL, "--data", f"folder:{pictures}", "--epochs", "50",
               "--out", str(folder)]  # fmt: skip
    running = subprocess.Popen(command, start_new_session=True)
    last = folder / "checkpoints" / "last"
    while not last.exists() or last.resolve().name == "step-0":
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGTERM)
    assert running.wait(120) == RESUME_ME


def test_a_data_set_that_has_grown_is_not_divided_anew_for_a_test(tmp_path: Path) -> None:
    pictures = folder_of_pictures(tmp_path / "pictures", 30)
    train("resnet20_cifar", f"folder:{pictures}", recipe="general", values={"epochs": 1, "size": 16, "batch": 8},
          out=tmp_path / "run", running=Running(readers=0))  # fmt: skip
    evaluate(str(tmp_path / "run"), f"folder:{pictures}")
    folder_of_pictures(tmp_path / "pictures", 31)
    with pytest.raises(ConvatlasError, match="no longer what"):
        evaluate(str(tmp_path / "run"), f"folder:{pictures}")


def test_what_is_frozen_stays_as_it_is(tmp_path: Path) -> None:
    values = {"epochs": 1, "size": 16, "batch": 64}
    setup = Setup("resnet20_cifar", "digits", values=values, freeze=("trunk",))
    before, _ = build(setup, setup.open())
    kept = {key: tensor.clone() for key, tensor in before.trunk.state_dict().items()}
    run = train("resnet20_cifar", "digits", values=values, freeze=("trunk",), out=tmp_path / "run")
    after = load_file(run.folder / "best.safetensors")
    assert all(torch.equal(after[f"trunk.{key}"], tensor) for key, tensor in kept.items())


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    run = train("lenet5_modern", "digits", values={"epochs": 1}, out=tmp_path / "run")
    last = checkpoint.latest(run.folder)
    assert last is not None
    checkpoint.without_code(last)

    class Code:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save(Code(), last / "custom_checkpoint_0.pkl")
    with pytest.raises(ConvatlasError, match="not what a run writes"):
        checkpoint.without_code(last)
    assert not (tmp_path / "ran").exists()


def test_a_warm_up_is_the_rise_of_one_cycle() -> None:
    plan = Recipe(epochs=10, batch=8, learning_rate=1, schedule="one_cycle", warmup=2)
    rates = [learning_rate(plan, 8, step, 10) for step in range(100)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_weights_that_are_not_finite_do_not_take_the_place_of_good_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match="last good state"):
        train("lenet5_modern", "digits", out=tmp_path / "run", running=Running(save_every=1),
              values={"learning_rate": 1e30, "epochs": 2, "warmup": 0, "schedule": "constant"})  # fmt: skip
    last = checkpoint.latest(tmp_path / "run")
    assert last is not None
    assert all(bool(torch.isfinite(t).all()) for t in load_file(last / "model.safetensors").values())


def test_half_an_epoch_is_written_as_one(tmp_path: Path) -> None:
    run = train("lenet5_modern", "digits", values={"epochs": 1.5, "batch": 64}, out=tmp_path / "run")
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if row["split"] == "validation"] == [1, 1.5]


def test_memory_that_a_group_may_have_is_counted(tmp_path: Path) -> None:
    """Of the process' own group and of those that it lies in; what the system keeps of files it gives back."""
    own, job = tmp_path / "own", tmp_path / "slurm" / "job"
    job.mkdir(parents=True)
    own.write_text("0::/slurm/job\n")
    (job / "memory.max").write_text("max\n")
    (job / "memory.current").write_text("400000\n")
    (tmp_path / "slurm" / "memory.max").write_text("1000000\n")
    (tmp_path / "slurm" / "memory.current").write_text("700000\n")
    (tmp_path / "slurm" / "memory.stat").write_text("anon 400000\ninactive_file 300000\n")
    assert free_memory(groups=tmp_path, own=own) == 600_000


def test_memory_that_an_older_group_may_have_is_counted(tmp_path: Path) -> None:
    own, group = tmp_path / "own", tmp_path / "memory" / "job"
    group.mkdir(parents=True)
    own.write_text("4:memory:/job\n1:cpu:/other\n")
    (group / "memory.limit_in_bytes").write_text("1000000\n")
    (group / "memory.usage_in_bytes").write_text("900000\n")
    (group / "memory.stat").write_text("cache 5\ntotal_inactive_file 100000\n")
    assert free_memory(groups=tmp_path, own=own) == 200_000


def test_a_steps_memory_in_mixed_precision_is_bounded() -> None:
    net = registry.create("lenet5_modern")
    graph = graph_of_step(PLAIN, net, Preprocess.for_input(32, 1))
    plain, mixed = (predicted(changed(PLAIN, {"precision": kind}), graph, 8)[1] for kind in ("float32", "bfloat16"))
    assert mixed == plain + 2 * sum(p.numel() for p in net.parameters())


def test_a_size_for_the_test_leaves_the_training_as_it_is() -> None:
    net = registry.create("lenet5_modern")
    plan = changed(PLAIN, {"test_size": 48})
    assert graph_of_step(plan, net, Preprocess.for_input(48, 1)).input_size == (1, 32, 32)


def test_a_lock_is_not_handed_on_to_readers(tmp_path: Path) -> None:
    """Which may outlive a run that is killed."""
    with checkpoint.locked(tmp_path / "run"):
        reader = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        reader.start()
    try:
        script = (
            f"from convatlas.train import checkpoint\nfrom pathlib import Path\n"
            f"with checkpoint.locked(Path({str(tmp_path / 'run')!r})): print('held')"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    finally:
        reader.kill()
    assert done.stdout == "held\n"


def test_folders_that_are_called_like_data_sets_or_weights_are_not_taken_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("digits", "imagenet", "mnist", "flowers"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert Setup("lenet5_modern", "digits", weights="mnist").anywhere().data == "digits"
    assert Setup("lenet5_modern", "digits", weights="mnist").anywhere().weights == "mnist"
    assert Setup("efficientnet_lite0", "folder:flowers", weights="imagenet").anywhere().weights == "imagenet"
    assert Setup("efficientnet_lite0", "folder:flowers").anywhere().data == f"folder:{tmp_path / 'flowers'}"


@pytest.mark.parametrize(("values", "said"), [
    ({"schedule": "steps"}, "needs its steps"), ({"schedule": "exponential"}, "needs every"),
    ({"steps": [1]}, "steps is for schedule steps"), ({"eps": 1e-3}, "eps is for optimizer"),
    ({"padding": 2}, "padding is for crop pad"), ({"warmup_from": 0.1}, "give warmup too"),
])  # fmt: skip
def test_a_value_that_nothing_would_use_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConvatlasError, match=said):
        refuse_unused(changed(PLAIN, values), values)


def test_a_mistake_is_told_once_before_torchrun_starts_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "lenet5_modern", "--data", "digits", "--launcher", "torchrun", "--out", str(tmp_path / "run")]
    assert main([*words, "--batch", "33", "--workers", "2"]) == 2
    assert "a batch of 33 cannot be shared evenly by 2 processes" in capsys.readouterr().err
    assert main([*words, "--freeze", "trnk"]) == 2
    assert "did you mean 'trunk'" in capsys.readouterr().err


def test_a_picture_of_the_test_that_cannot_be_read_stops_a_run_before_it_begins(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (40, 40), (60 * number, 0, 0)).save(folder / f"{number}.png")
    (tmp_path / "data" / "test" / "b" / "3.png").write_bytes(b"no picture")
    with pytest.raises(ConvatlasError, match=r"3\.png"):
        train("lenet5_modern", f"folder:{tmp_path / 'data'}", values={"epochs": 1, "batch": 4}, out=tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("mistake", ["a broken picture", "a rate that diverges"])
def test_a_run_that_fails_within_an_epoch_leaves_no_readers_behind(mistake: str, tmp_path: Path) -> None:
    """They leave the signal to end alone, and would be waited for."""
    draw = np.random.RandomState(0)
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(30):
            pixels = draw.randint(0, 256, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number:02}.png")
    options = ["--epochs", "3", "--batch", "4", "--recipe", "general"]
    if mistake == "a broken picture":
        for number in range(30):
            (tmp_path / "data" / "b" / f"{number:02}.png").write_bytes(b"no picture")
    else:
        options += ["--learning-rate", "1e30", "--warmup", "0", "--schedule", "constant"]
    words = ["lenet5_modern", "--data", f"folder:{tmp_path / 'data'}", "--out", str(tmp_path / "run"), "--quiet"]
    done = subprocess.run([*COMMAND, *words, *options, "--readers", "2"], env=ENVIRONMENT, timeout=120, check=False)
    assert done.returncode == 2


def test_the_macs_of_a_training_leave_out_what_is_frozen(tmp_path: Path) -> None:
    spent = []
    for freeze in ((), ("trunk",)):
        run = train("lenet5_modern", "digits", values={"epochs": 1}, freeze=freeze, out=tmp_path / f"{len(freeze)}")
        stored = json.loads((run.folder / "run.json").read_text())
        spent.append(
            stored["training_macs"] / stored["macs_per_picture"] / (stored["data"]["counts"]["train"] // 64 * 64)
        )
    whole = analyze("lenet5_modern").totals
    assert spent[0] == pytest.approx(1 + whole["macs_backward"] / whole["macs"])
    assert 1 < spent[1] < 0.6 * spent[0]


def test_a_run_is_finished_when_its_report_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("convatlas.train.run.write_report", killed)
        with pytest.raises(KeyboardInterrupt):
            train("lenet5_modern", "digits", values={"epochs": 1}, out=tmp_path / "run")
    run = resume(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["split"] for row in rows].count("test") == 1
    assert run.test is not None


def test_the_test_pictures_choose_nothing(tmp_path: Path) -> None:
    """With other answers to them the best weights are the same to the bit."""
    draw = np.random.RandomState(0)
    arrays = {"train_images": draw.randint(0, 256, (64, 32, 32), np.uint8), "train_labels": np.arange(64) % 4,
              "val_images": draw.randint(0, 256, (32, 32, 32), np.uint8), "val_labels": np.arange(32) % 4,
              "test_images": draw.randint(0, 256, (32, 32, 32), np.uint8)}  # fmt: skip
    best = []
    for turn in range(2):
        np.savez(tmp_path / f"{turn}.npz", test_labels=(np.arange(32) + turn) % 4, **arrays)
        train("lenet5_modern", f"npz:{tmp_path / f'{turn}.npz'}", values={"epochs": 3, "batch": 16},
              recipe="general", out=tmp_path / str(turn))  # fmt: skip
        best.append((tmp_path / str(turn) / "best.safetensors").read_bytes())
    assert best[0] == best[1]


def test_a_second_process_is_kept_out_of_a_runs_folder(tmp_path: Path) -> None:
    with checkpoint.locked(tmp_path / "run"):
        with pytest.raises(ConvatlasError, match="already"), checkpoint.locked(tmp_path / "run"):
            pass  # nor another thread of this process
        done = subprocess.run([sys.executable, "-m", "convatlas", "train", *DIGITS, str(tmp_path / "run")],
                              capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert "another process is training in" in done.stderr


def test_what_cannot_be_a_runs_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["train", *DIGITS, str(tmp_path / "file")]) == 2
    assert f"{tmp_path / 'file'} cannot be a run's folder" in capsys.readouterr().err


def test_a_run_is_resumed_from_another_folder_and_refused_without_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of_pictures(tmp_path / "pictures", 30)
    monkeypatch.chdir(tmp_path)

    def stop(event: str, figures: dict[str, Any]) -> None:
        if event == "epoch":
            raise Stopped

    values = {"epochs": 2, "size": 16, "batch": 8}
    with pytest.raises(Stopped):
        train("resnet20_cifar", "folder:pictures", recipe="general", values=values,
              running=Running(readers=0, watch=stop))  # fmt: skip
    run = tmp_path / "runs" / "resnet20_cifar-pictures"
    monkeypatch.chdir("/")
    shutil.copytree(run, tmp_path / "bare", symlinks=True)
    shutil.rmtree(tmp_path / "bare" / "checkpoints")
    with pytest.raises(ConvatlasError, match=r"checkpoints of the run .* are gone"):
        resume(tmp_path / "bare", running=Running(readers=0))
    with pytest.raises(ConvatlasError, match="holds a run already"):
        train("lenet5_modern", "digits", out=tmp_path / "bare")
    assert resume(run, running=Running(readers=0)).test is not None


def test_a_damaged_checkpoint_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConvatlasError, match="no run in"):
        resume(tmp_path)
    for file in ("optimizer.bin", "random_states_0.pkl"):
        (tmp_path / file).write_bytes(b"junk")
        with pytest.raises(ConvatlasError, match=f"{file} is not what a run writes"):
            checkpoint.without_code(tmp_path)
        (tmp_path / file).unlink()
