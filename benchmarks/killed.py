"""Kill -9 at a random moment, resume, compare: python -m benchmarks.killed [--times 20] [--launcher NAME] [--workers N]

A network with batch norm and dropout trains on scikit-learn's digits, once undisturbed and then again and again, each
time killed at a random moment of its run and resumed; final weights and figures must be the undisturbed run's, bit for
bit.  With a launcher two or more processes share the run, one of which is killed; the launcher starts all again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results"
RUN = (
    "mobilenet_v3_small_x1_0 --data digits --size 16 --epochs 3 --batch 60 --dropout 0.2 --save-every 7 --quiet".split()
)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
WORKERS = {"torchrun": "convatlas train .*--quiet", "ray": "ray::RayTrainWorker"}


def command(folder: Path, launcher: str | None, count: int) -> list[str]:
    shared = ["--launcher", launcher, "--workers", str(count)] if launcher else []
    return [sys.executable, "-m", "convatlas", "train", *RUN, "--out", str(folder), *shared]


def state(folder: Path) -> tuple[dict[str, bytes], list[dict[str, float]]]:
    """Every tensor of the last checkpoint and of the best, and the figures of every step."""
    from safetensors.numpy import load_file

    tensors = {}
    for file in (folder / "best.safetensors", folder / "checkpoints" / "last" / "model.safetensors"):
        tensors |= {f"{file.name} {key}": value.tobytes() for key, value in load_file(file).items()}
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return tensors, rows


def begun(folder: Path) -> bool:
    return (folder / "checkpoints" / "last").exists()


def workers(folder: Path, launcher: str) -> list[int]:
    """The processes that share the run: of torchrun's those with a rank."""
    found = subprocess.run(["pgrep", "-f", WORKERS[launcher]], capture_output=True, text=True, check=False)
    pids = [int(word) for word in found.stdout.split()]
    if launcher == "ray":
        return pids
    return [pid for pid in pids if _says(pid, "environ", "LOCAL_RANK=") and _says(pid, "cmdline", str(folder))]


def _says(pid: int, file: str, word: str) -> bool:
    try:
        return word.encode() in Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:
        return False


def killed(folder: Path, seconds: float, launcher: str | None, count: int) -> str:
    """Run, kill after so many seconds of training, resume; where it was killed."""
    running = subprocess.Popen(
        command(folder, launcher, count), env=ENVIRONMENT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while not begun(folder) and running.poll() is None:
        time.sleep(0.02)
    time.sleep(seconds)
    last = folder / "checkpoints" / "last"
    where = os.readlink(last) if last.is_symlink() else "before the first step"
    if launcher is None:
        running.kill()
        running.wait()
        if json.loads((folder / "run.json").read_text())["state"] != "finished":
            again = [sys.executable, "-m", "convatlas", "train", "--resume", str(folder), "--quiet"]
            subprocess.run(again, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        return where
    there = workers(folder, launcher)
    if there:
        os.kill(random.choice(there), signal.SIGKILL)
    running.wait()
    return where if there else f"{where}, when nobody was left to kill"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--launcher", choices=WORKERS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    shared = f"{arguments.workers} processes by {arguments.launcher}" if arguments.launcher else "one process"
    lines = [describe(), "", f"{' '.join(RUN)}, {shared}"]
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        running = subprocess.Popen(
            command(whole, arguments.launcher, arguments.workers),
            env=ENVIRONMENT,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        while not begun(whole):
            assert running.poll() is None, "the run cannot be started"
            time.sleep(0.02)
        start = time.perf_counter()
        while running.poll() is None and json.loads((whole / "run.json").read_text())["state"] == "running":
            time.sleep(0.02)
        length = time.perf_counter() - start  # of the training, without what the launcher does afterwards
        assert running.wait() == 0
        expected = state(whole)
        equal = 0
        for number in range(arguments.times):
            folder = Path(scratch) / f"run{number}"
            seconds = chance.uniform(0, length)
            where = killed(folder, seconds, arguments.launcher, arguments.workers)
            same = state(folder) == expected
            equal += same
            line = f"killed {seconds:5.2f} s into {length:.2f} s, at {where}: {'identical' if same else 'DIFFERENT'}"
            lines.append(line)
            print(line, flush=True)
    lines.append(f"{equal} of {arguments.times} bit-identical to the undisturbed run")
    print(lines[-1])
    several = f"_{arguments.workers}" if arguments.workers > 2 else ""
    name = f"killed_{arguments.launcher}{several}.txt" if arguments.launcher else "killed.txt"
    (RESULTS / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
