"""train, resume: a run from its request to its report."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed

from convatlas import heap
from convatlas.data import Data, Files, reading
from convatlas.errors import ConvatlasError
from convatlas.files import write_whole
from convatlas.net import ConvNet
from convatlas.registry import RUN, record_of_run
from convatlas.train import checkpoint
from convatlas.train.curves import write_curves
from convatlas.train.evaluation import scores
from convatlas.train.feed import Feed
from convatlas.train.log import METRICS, Log
from convatlas.train.loop import Loop
from convatlas.train.memory import batch_of, graph_of_step, predicted
from convatlas.train.recipe import WORDS, changed
from convatlas.train.report import write_report
from convatlas.train.running import PLAINLY, Running, accelerator_for
from convatlas.train.setup import Setup, build, circumstances, options_of
from convatlas.weights.preprocess import Preprocess

STARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
"""Where torchrun and SLURM say how often they have started this again."""

MAXRSS = 1 if sys.platform == "darwin" else 1024
"""Bytes that the system counts a process' memory in."""


@dataclass(frozen=True)
class Run:
    """A finished run.  folder: where everything is; test: {"loss", "accuracy"} on the test pictures, None without."""

    folder: Path
    best: Mapping[str, float]
    test: Mapping[str, float] | None


def train(
    network: str,
    data: str,
    *,
    recipe: str = "modern",
    values: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    weights: str | None = None,
    freeze: Sequence[str] = (),
    bad_images: str = "stop",
    holdout: float | None = None,
    running: Running = PLAINLY,
) -> Run:
    """Train a network; the best on the held-out validation pictures is tested once, at the end.

    data: mnist, fashion_mnist, digits, cifar10, cifar100, folder:PATH, npz:PATH or imagenet:PATH.
    recipe: "paper", "modern" …; values: what differs from it.  options: the network's, as ``create`` has them:
    {"attention": "se", "width": 0.5}.  freeze: paths of modules that stay as they are.
    out: the run's folder; by default runs/NETWORK-DATA.  running: how it is run, which changes nothing that is learned.

    Raises ConvatlasError where the folder holds a run already, and for whatever does not fit; Stopped where the run
    was asked to stop, and can be resumed.
    """
    setup = Setup(network, data, recipe, dict(values or {}), seed, weights, tuple(freeze), bad_images, holdout,
                  dict(options or {}))  # fmt: skip
    return begin(setup, folder_of(setup, out), running)


def folder_of(setup: Setup, out: str | Path | None) -> Path:
    """Where a run is kept: ``out``, by default runs/NETWORK-DATA, DATA being the folder's or file's own name."""
    name = Path(setup.data.partition(":")[2]).resolve().stem if ":" in setup.data else setup.data_name
    return Path(out) if out is not None else Path("runs") / f"{setup.network}-{name}"


def begin(setup: Setup, folder: Path, running: Running = PLAINLY) -> Run:
    """``train``, of a request."""
    if is_started_again(setup, folder):
        return resume(folder, running=running)
    setup.check()
    precision, setup = setup.recipe.precision, setup.anywhere()
    accelerator = accelerator_for(precision, running)
    if accelerator.is_main_process:
        refuse_a_second(folder)
    accelerator.wait_for_everyone()
    return _run(setup, setup.open(), folder, accelerator, running)


def is_started_again(setup: Setup, folder: Path) -> bool:
    """Whether torchrun starts the processes again, or SLURM the job, with the command that began the folder's run."""
    return any(os.environ.get(count, "0") != "0" for count in STARTS) and is_of(setup, folder)


def is_of(setup: Setup, folder: Path) -> bool:
    """Whether the folder holds a run of this very request."""
    stored = record_of_run(folder)
    return stored is not None and stored["setup"] == json.loads(json.dumps(setup.anywhere().to_json()))


def refuse_a_second(folder: Path) -> None:
    """Raises ConvatlasError where the folder holds a run that has begun to learn."""
    if not (folder / RUN).exists():
        return
    last = checkpoint.latest(folder)
    if record_of_run(folder) is None or (last.name != "step-0" if last else _has_figures(folder)):
        raise ConvatlasError(f"{folder} holds a run already; resume it (--resume {folder}), or choose another --out")


def refuse_broken(data: Data) -> None:
    """Raises ConvatlasError for a picture of validation or test that cannot be read: a run would meet it after its
    first epoch, or after its last."""
    for split in (data.validation, data.test):
        if isinstance(split, Files):
            reading.refuse_broken(split.paths)


def _has_figures(folder: Path) -> bool:
    path = folder / METRICS
    return path.exists() and path.stat().st_size > 0


def resume(folder: str | Path, *, values: Mapping[str, Any] | None = None, running: Running = PLAINLY) -> Run:
    """Go on with a run that was stopped or killed, as if it never had been.

    Raises ConvatlasError where there is none, or where recipe or data are no longer what they were.
    """
    folder = Path(folder)
    stored = record_of_run(folder)
    if stored is None or "setup" not in stored:
        raise ConvatlasError(f"no run in {folder}: it has no {RUN} that a run wrote")
    if stored.get("state") == "finished":
        raise ConvatlasError(f"the run in {folder} is finished")
    setup = Setup.from_json(stored["setup"], stored["recipe"])
    plan = setup.recipe
    given = dict(values or {})
    options: dict[str, Any] = {
        **setup.options,
        **{key: given.pop(key) for key in ("attention", "width", "depth", "design") if key in given},
    }
    now = {**changed(plan, given).model_dump(mode="json", exclude=set(WORDS)), **options}
    then = {**plan.model_dump(mode="json"), **setup.options}
    differing = [
        f"{key}: {_plain(then.get(key))} then, {_plain(now[key])} now" for key in now if then.get(key) != now[key]
    ]
    accelerator = accelerator_for(plan.precision, running)
    if accelerator.num_processes != stored["world"]:
        differing.append(f"processes: {stored['world']} then, {accelerator.num_processes} now")
    data = setup.open()
    if data.fingerprint != stored["data"]["fingerprint"]:
        had, has = stored["data"]["counts"], _counts(data)
        differing.append(f"the data: {had} pictures then, {has} now" if had != has else "the data: other pictures")
    if differing:
        raise ConvatlasError(f"a run is resumed as it was begun; changed: {'; '.join(differing)}")
    return _run(setup, data, folder, accelerator, running, stored)


def _plain(value: Any) -> Any:
    """3.0 -> 3"""
    return f"{value:g}" if isinstance(value, float) else value


def finished(folder: Path) -> Run:
    """The run that a folder holds."""
    stored = json.loads((folder / RUN).read_text(encoding="utf-8"))
    return Run(folder, stored["best"], stored.get("test"))


def _run(
    setup: Setup,
    data: Data,
    folder: Path,
    accelerator: Accelerator,
    running: Running,
    before: Mapping[str, Any] | None = None,
) -> Run:
    """before: what a run that is resumed has said of itself."""
    with heap.kept(), checkpoint.locked(folder) if accelerator.is_main_process else nullcontext():
        if before is None and accelerator.is_main_process:
            refuse_a_second(folder)  # which another process may have trained by now
        return _alone(setup, data, folder, accelerator, running, before)


def _alone(
    setup: Setup,
    data: Data,
    folder: Path,
    accelerator: Accelerator,
    running: Running,
    before: Mapping[str, Any] | None,
) -> Run:
    net, preprocess = build(setup, data)
    plan, first = setup.recipe, accelerator.is_main_process
    if first and before is None and setup.bad_images == "stop":
        refuse_broken(data)
    if before is not None:
        batch = int(before["batch"])
    else:
        chosen = batch_of(plan, net, preprocess, len(data.train), accelerator.num_processes,
                          str(accelerator.device)) if first else 0  # fmt: skip
        (batch,) = broadcast_object_list([chosen])
    record = _record(setup, data, net, preprocess, batch, accelerator) if first else {}
    if before is not None:
        record |= {key: before[key] for key in ("command", "started") if key in before}
    set_seed(setup.seed + accelerator.process_index)  # dropout differs between processes
    loop = Loop(
        net, data, lambda chosen: Feed(plan, preprocess, chosen, running.readers, net.input_size[1]), plan,
        batch=batch, seed=setup.seed, folder=folder, accelerator=accelerator,
        save_every=running.save_every, save_minutes=running.save_minutes,
        watch=(running.watch if first else None) or _nobody,
    )  # fmt: skip
    went_on = before is not None and loop.resume()
    if before is not None and not went_on and _has_figures(folder):
        raise ConvatlasError(f"the checkpoints of the run in {folder} are gone; begin it anew in another --out")
    if first:
        long = f"{plan.epochs:g} {'epoch' if plan.epochs == 1 else 'epochs'} of {len(data.train):,} pictures"
        what = f"{plan.title or setup.kind}; {long}, batch {batch}"
        skipped = f"{len(data.skipped):,} pictures could not be read and are left out" if data.skipped else ""
        loop.watch("about", {"text": ". ".join(filter(None, [what, data.note, skipped]))})
    log = Log(
        folder,
        first,
        upto=loop.done if went_on else None,
        validated=loop.state.validated,
        tensorboard=running.tensorboard,
    )
    if first:
        checkpoint.write_json(folder / RUN, {**record, "state": "running"})
    state = "stopped"
    try:
        loop.run(log)
        state = "trained"  # and not yet tested: a run that is killed here can be resumed
    finally:
        log.flush()
        if first:
            record |= {"state": state, **_cost(loop, record)}
            record["measured_peak_bytes"] = loop.peak or (before or {}).get("measured_peak_bytes")
            checkpoint.write_json(folder / RUN, record)
        if first and state == "stopped":
            write_curves(folder)
            write_report(folder)
    test = None
    with loop.asked.listening():  # of several processes the others wait for the first
        if first and data.test is not None:
            test = _test(loop, data, folder, log)
        log.close()
        if first:
            record["test"] = test
            checkpoint.write_json(folder / RUN, record)
            shown = data.test
            write_curves(folder)
            write_report(folder, shown.picture if shown else None, shown.names if shown else None)
            checkpoint.write_json(folder / RUN, {**record, "state": "finished"})
        accelerator.wait_for_everyone()
    return Run(folder, loop.state.best, test)


def _cost(loop: Loop, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the run has cost up to now."""
    state = loop.state
    return {
        "best": state.best,
        "seconds": state.seconds,
        "images_per_second": state.pictures / state.seconds if state.seconds else None,
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS,
        "training_macs": (record["macs_per_picture"] + record["macs_backward_per_picture"]) * state.pictures,
    }


def _test(loop: Loop, data: Data, folder: Path, log: Log) -> dict[str, float]:
    """The best weights on the test pictures, which nothing has seen before."""
    from safetensors.torch import load_file

    assert data.test is not None
    loop.plain.load_state_dict(load_file(folder / "best.safetensors"))
    logits, labels = loop.answers(data.test)
    figures = scores(logits, labels)
    best = loop.state.best
    log.write("test", best.get("epoch", 0.0), loop.done, **figures)
    log.flush()
    answers: dict[str, Any] = {"labels": labels.numpy(), "probabilities": logits.softmax(1).numpy()}

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **answers)

    write_whole(folder / "test.npz", write)
    return figures


def _record(
    setup: Setup, data: Data, net: ConvNet, preprocess: Preprocess, batch: int, accelerator: Accelerator
) -> dict[str, Any]:
    """What is stored with a run."""
    from dataclasses import asdict

    plan = setup.recipe
    local = batch // accelerator.num_processes // plan.accumulate
    report, peak = predicted(plan, graph_of_step(plan, net, preprocess), max(1, local))
    return {
        "network": setup.network,
        "name": net.name,
        "wnids": data.wnids,
        "classes": list(data.classes),
        "options": options_of(setup, data),
        "data": {"spec": setup.data, "name": data.name, "counts": _counts(data), "note": data.note,
                 "fingerprint": data.fingerprint, "skipped": len(data.skipped)},
        "recipe": plan.model_dump(mode="json"),
        "recipe_kind": setup.kind,
        "changed": dict(setup.values),
        "setup": setup.to_json(),
        "preprocess": asdict(preprocess),
        "batch": batch,
        "seed": setup.seed,
        "world": accelerator.num_processes,
        "device": str(accelerator.device),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "macs_per_picture": report.totals["macs"] // max(1, local),
        "macs_backward_per_picture": report.totals["macs_backward"] // max(1, local),
        "predicted_peak_bytes": peak,
        **circumstances(),
    }  # fmt: skip


def _counts(data: Data) -> dict[str, int]:
    return {"train": len(data.train), "validation": len(data.validation),
            "test": 0 if data.test is None else len(data.test)}  # fmt: skip


def _nobody(event: str, figures: dict[str, Any]) -> None:
    """Watches nothing."""
