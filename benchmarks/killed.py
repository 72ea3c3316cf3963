"""Kill -9 at a random moment, resume, compare: python -m benchmarks.killed [--times 20] [--processes 2]

A network with batch norm and dropout trains on scikit-learn's digits, once undisturbed and then again and again, each
time killed at a random moment of its run and resumed; final weights and figures must be the undisturbed run's, bit for
bit.  With --processes 2 both under torchrun, of whose workers one is killed; torchrun starts them again.
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
    "mobilenet_v3_small_x1_0 --data digits --size 16 --epochs 3 --batch 64 --dropout 0.2 --save-every 7 --quiet".split()
)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(folder: Path, processes: int) -> list[str]:
    start = [sys.executable, "-m"]
    if processes > 1:
        start += [
            "torch.distributed.run",
            "--standalone",
            "--max-restarts",
            "3",
            "--nproc-per-node",
            str(processes),
            "-m",
        ]
    return [*start, "convatlas", "train", *RUN, "--out", str(folder)]


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


def killed(folder: Path, seconds: float, processes: int) -> str:
    """Run, kill after so many seconds of training, resume; where it was killed."""
    running = subprocess.Popen(command(folder, processes), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while not begun(folder) and running.poll() is None:
        time.sleep(0.02)
    time.sleep(seconds)
    last = folder / "checkpoints" / "last"
    where = os.readlink(last) if last.is_symlink() else "before the first step"
    if processes == 1:
        running.kill()
        running.wait()
        if json.loads((folder / "run.json").read_text())["state"] != "finished":
            again = [sys.executable, "-m", "convatlas", "train", "--resume", str(folder), "--quiet"]
            subprocess.run(again, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        return where
    workers = subprocess.run(
        ["pgrep", "-P", str(running.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    if workers:
        os.kill(int(random.choice(workers)), signal.SIGKILL)
    running.wait()
    return where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    lines = [describe(), "", f"{' '.join(RUN)}, {arguments.processes} process(es)"]
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        running = subprocess.Popen(command(whole, arguments.processes), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        while not begun(whole):
            time.sleep(0.02)
        start = time.perf_counter()
        assert running.wait() == 0
        length = time.perf_counter() - start
        expected = state(whole)
        equal = 0
        for number in range(arguments.times):
            folder = Path(scratch) / f"run{number}"
            seconds = chance.uniform(0, length)
            where = killed(folder, seconds, arguments.processes)
            same = state(folder) == expected
            equal += same
            line = f"killed {seconds:5.2f} s into {length:.2f} s, at {where}: {'identical' if same else 'DIFFERENT'}"
            lines.append(line)
            print(line, flush=True)
    lines.append(f"{equal} of {arguments.times} bit-identical to the undisturbed run")
    print(lines[-1])
    name = "killed.txt" if arguments.processes == 1 else f"killed_{arguments.processes}.txt"
    (RESULTS / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
