"""LeNet-5 on MNIST beside torchvision's data set and a DataLoader: python -m benchmarks.mnist [--seeds N]

ours:   `convatlas train lenet5_modern --data mnist`, in a process of its own: wall time with imports, data, test and
        report; pictures a second while it trains; accuracy on the 10,000 test digits.
loader: the same network and step, fed by torchvision's MNIST class, its transforms and a DataLoader, as PyTorch's MNIST
        example does it: pictures a second over one epoch.
example: PyTorch's MNIST example as it stands (two convolutions of 3x3, dropout, Adadelta at rate 1 falling by 0.7 an
        epoch, batch 64, no workers, a test after every epoch): seconds from its start until a test says 99 %.
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


def loader(root: Path) -> float:
    """Pictures a second of the same training step fed by a DataLoader."""
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader
    from torchvision import transforms

    from convatlas import registry
    from convatlas.train.rate import optimizer
    from convatlas.train.recipe import recipe

    plan = recipe("lenet5_modern", "modern", "mnist")
    change = transforms.Compose([transforms.Pad(2), transforms.RandomAffine(0, translate=(2 / 32, 2 / 32)),
                                 transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])  # fmt: skip

    net = registry.create("lenet5_modern").train().to(memory_format=torch.channels_last)
    made = optimizer(plan, net)
    start, seen = time.perf_counter(), 0
    for pictures, labels in DataLoader(
        digits(root, True, change), batch_size=256, shuffle=True, num_workers=1, drop_last=True
    ):
        F.cross_entropy(net(pictures.contiguous(memory_format=torch.channels_last)), labels).backward()
        made.step()
        made.zero_grad()
        seen += len(labels)
    return seen / (time.perf_counter() - start)


def digits(root: Path, train: bool, change: Any) -> Any:
    """torchvision's MNIST class, on our digits in the files that it reads."""
    import numpy as np
    from torchvision.datasets import MNIST

    from convatlas import data

    raw = root / "MNIST" / "raw"
    if not raw.exists():
        raw.mkdir(parents=True)
        found = data.load("mnist")
        for prefix, split in (("train", found.train), ("t10k", found.test)):
            for kind, values in (("images-idx3", split.images[:, 0].numpy()), ("labels-idx1", split.labels.numpy())):
                head = np.array([0x800 + values.ndim, *values.shape], dtype=">i4").tobytes()
                (raw / f"{prefix}-{kind}-ubyte").write_bytes(head + values.astype(np.uint8).tobytes())
    return MNIST(str(root), train=train, transform=change)


def example(root: Path, seed: int) -> tuple[float, int]:
    """Seconds until the example's test says 99 %, and epochs."""
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import transforms

    torch.manual_seed(seed)
    start = time.perf_counter()
    change = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train = DataLoader(digits(root, True, change), batch_size=64)
    test = DataLoader(digits(root, False, change), batch_size=1000)
    net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5),
                        nn.Linear(128, 10), nn.LogSoftmax(1))  # fmt: skip
    made = torch.optim.Adadelta(net.parameters(), lr=1.0)
    fall = torch.optim.lr_scheduler.StepLR(made, 1, 0.7)
    for epoch in range(14):
        net.train()
        for pictures, labels in train:
            made.zero_grad()
            F.nll_loss(net(pictures), labels).backward()
            made.step()
        net.eval()
        with torch.no_grad():
            right = sum(int((net(pictures).argmax(1) == labels).sum()) for pictures, labels in test)
        fall.step()
        if right >= 9900:
            return time.perf_counter() - start, epoch + 1
    return float("inf"), 14


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as scratch:
        compare(seeds, Path(scratch))


def compare(seeds: int, scratch: Path) -> None:
    lines = [describe(), ""]
    runs, theirs = [], []
    for seed in range(seeds):
        runs.append(ours(seed))
        theirs.append(loader(scratch))
        run = runs[-1]
        lines.append(
            f"seed {seed}: {100 * run['accuracy']:.2f} % in {run['wall']:.1f} s of wall time, "
            f"{run['rate']:,.0f} pictures a second; through MNIST and a DataLoader {theirs[-1]:,.0f}"
        )
        print(lines[-1], flush=True)
    ratio = statistics.median(run["rate"] for run in runs) / statistics.median(theirs)
    lines.append(f"pictures a second, medians: {ratio:.2f} times those through torchvision and a DataLoader")
    print(lines[-1], flush=True)
    seconds, epochs = example(scratch, 0)
    walls = [run["wall"] for run in runs if run["accuracy"] >= 0.99]
    lines.append(
        f"PyTorch's example has 99 % after {epochs} epochs, {seconds:.0f} s; ours is over, with 99 %, in a median of "
        f"{statistics.median(walls):.1f} s: {seconds / statistics.median(walls):.1f} times faster"
    )
    print(lines[-1])
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
