"""Starting the processes that share a run: torchrun on one machine, Ray Train on a cluster."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convatlas.errors import ConvatlasError
from convatlas.registry import record_of_run
from convatlas.train.asked import RESUME_ME
from convatlas.train.order import Order
from convatlas.train.run import Run, begin, finished, is_of, is_started_again, refuse_a_second, refuse_broken, resume
from convatlas.train.running import Running
from convatlas.train.setup import Setup, build

LAUNCHERS = ("torchrun", "ray")
SHUTDOWN = "300"
"""Seconds that processes which were asked to stop have to save what they have."""
RESTARTS = 3
"""So many times the processes are started again, from the last checkpoint, when one of them has died."""


def processes(wanted: int | None) -> int:
    """How many: as wanted, else one for each GPU, or two.  Raises ConvatlasError below one."""
    import torch

    if wanted is not None and wanted < 1:
        raise ConvatlasError(f"--workers is at least 1, not {wanted}")
    return wanted or torch.cuda.device_count() or 2


def _tried(setup: Setup, folder: Path, share: int) -> Setup:
    """The request, when it is known to fit: what does not would be told by every process, again and again.

    Raises whatever a run raises before it is begun.
    """
    if is_started_again(setup, folder):
        return setup.anywhere()
    refuse_a_second(folder)
    setup = setup.anywhere()
    setup.check()
    data = replace(setup, bad_images="stop").open()  # those that are skipped are looked for by the processes
    if setup.bad_images == "stop":
        refuse_broken(data)
    build(setup, data)
    if setup.recipe.batch != "auto":
        Order(len(data.train), int(setup.recipe.batch), world=share)
    return setup


def under_torchrun(workers: int | None, setup: Setup | None, folder: Path, words: Sequence[str]) -> int:
    """The command line ``words``, whose request is ``setup`` (None: to resume the run in the folder), by several
    processes of this machine; torchrun's exit status, or RESUME_ME where the run was asked to stop and can be resumed:
    torchrun hands SIGTERM and SIGINT on to them.

    Raises ConvatlasError where the request does not fit.
    """
    if setup is not None:
        _tried(setup, folder, processes(workers))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", str(RESTARTS)]
    command = [*launcher, "--nproc-per-node", str(processes(workers)), "-m", "convatlas", *words]
    threads = str(max(1, (os.cpu_count() or 1) // processes(workers)))
    environment = {"OMP_NUM_THREADS": threads, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": SHUTDOWN, **os.environ}
    running = subprocess.Popen(command, env=environment)
    asked: list[int] = []

    def hand_on(number: int, frame: Any) -> None:
        asked.append(number)
        running.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        status = running.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    record = record_of_run(folder)
    return RESUME_ME if asked and status and record is not None and record["state"] != "finished" else status


def under_ray(
    workers: int | None, setup: Setup | None, folder: Path, values: Mapping[str, Any], running: Running
) -> Run:
    """A run by Ray Train's workers; setup: None to resume the one in the folder, which all workers must see.

    Raises ConvatlasError where Ray is not installed, or where the workers fail again and again.
    """
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError:
        raise ConvatlasError("Ray is not installed: pip install 'convatlas[ray]'") from None
    import torch

    folder = folder.absolute()
    if setup is not None:
        setup = _tried(setup, folder, processes(workers))
    gpu = running.device != "cpu" and torch.cuda.is_available()
    spoken = replace(running, watch=None)  # a progress bar does not travel
    trainer = TorchTrainer(
        _share,
        train_loop_config={"setup": setup, "folder": folder, "values": dict(values), "running": spoken},
        scaling_config=ScalingConfig(num_workers=processes(workers), use_gpu=gpu),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        run_config=RunConfig(
            name=folder.name,
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(max_failures=RESTARTS),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        raise ConvatlasError(f"the workers failed: {str(error).strip().splitlines()[-1]}") from error
    return finished(folder)


def _share(config: Mapping[str, Any]) -> None:
    """One worker's part."""
    logging.getLogger("accelerate").setLevel(logging.WARNING)  # Ray shows what a worker logs
    setup, folder, running = config["setup"], config["folder"], config["running"]
    if setup is None or is_of(setup, folder):
        resume(folder, values=config["values"] if setup is None else None, running=running)
    else:
        begin(setup, folder, running)
