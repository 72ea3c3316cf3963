"""LeNet-5 on MNIST beside torchvision's data set and a DataLoader: python -m benchmarks.mnist [--seeds N]

ours:   `convatlas train lenet5_modern --data mnist`, in a process of its own: wall time with imports, data, test and
        report; pictures a second while it trains; accuracy on the 10,000 test digits.
loader: the same network and step, each picture a PIL image that torchvision's transforms make a tensor of, in a
        DataLoader, as PyTorch's MNIST example does it: pictures a second over one epoch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results" / "mnist.txt"


def ours(seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        arguments = ["lenet5_modern", "--data", "mnist", "--seed", str(seed), "--out", str(folder), "--quiet"]
        start = time.perf_counter()
        command = [sys.executable, "-m", "convatlas", "train", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        stored = json.loads((folder / "run.json").read_text())
        return {"wall": wall, "rate": stored["images_per_second"], "accuracy": stored["test"]["accuracy"]}


def loader() -> float:
    """Pictures a second of the same training step fed by a DataLoader."""
    import torch
    import torch.nn.functional as F
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from convatlas import data, registry
    from convatlas.train.rate import optimizer
    from convatlas.train.recipe import recipe

    digits = data.load("mnist").train
    plan = recipe("lenet5_modern", "modern", "mnist")
    change = transforms.Compose([transforms.Pad(2), transforms.RandomAffine(0, translate=(2 / 32, 2 / 32)),
                                 transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])  # fmt: skip

    class Pictures(Dataset[Any]):
        def __len__(self) -> int:
            return len(digits)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            picture = Image.fromarray(digits.images[index, 0].numpy(), mode="L")
            return change(picture), int(digits.labels[index])

    net = registry.create("lenet5_modern").train().to(memory_format=torch.channels_last)
    made = optimizer(plan, net)
    start, seen = time.perf_counter(), 0
    for pictures, labels in DataLoader(Pictures(), batch_size=256, shuffle=True, num_workers=1, drop_last=True):
        F.cross_entropy(net(pictures.contiguous(memory_format=torch.channels_last)), labels).backward()
        made.step()
        made.zero_grad()
        seen += len(labels)
    return seen / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    lines = [describe(), ""]
    runs, theirs = [], []
    for seed in range(parser.parse_args().seeds):
        runs.append(ours(seed))
        theirs.append(loader())
        run = runs[-1]
        lines.append(
            f"seed {seed}: {100 * run['accuracy']:.2f} % in {run['wall']:.1f} s of wall time, "
            f"{run['rate']:,.0f} pictures a second; through a DataLoader {theirs[-1]:,.0f}"
        )
        print(lines[-1], flush=True)
    ratio = statistics.median(run["rate"] for run in runs) / statistics.median(theirs)
    lines.append(f"pictures a second, medians: {ratio:.2f} times those through a DataLoader")
    print(lines[-1])
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
