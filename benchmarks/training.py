"""Training beside torchvision's reference loop, and a step beside bare PyTorch: python -m benchmarks.training

throughput: ResNet-18 and MobileNetV2 on JPEG files at 224 pixels, batch 16, random crops and flips.
            reference: torchvision's network, ImageFolder, transforms and a DataLoader, and a loop that does what
            references/classification/train.py does with its default options (loss and top-1 and top-5 accuracy of every
            step are read and averaged); ours: `convatlas.train`.  As many threads and readers, one epoch each, in turn;
            timed from the fourth step on, when the reader and the kernels are warm.
overhead:   LeNet-5 on pictures in memory, batch 16: `convatlas.train`, against the same network, optimizer and batches
            in a loop that only steps; the median step of an epoch, in turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from benchmarks.machine import describe
from convatlas import registry
from convatlas.data import load
from convatlas.train import Running, train
from convatlas.train.feed import Feed
from convatlas.train.order import Order
from convatlas.train.rate import learning_rate, optimizer
from convatlas.train.recipe import changed, recipe
from convatlas.weights import Preprocess

RESULTS = Path(__file__).parent / "results" / "training.txt"
BATCH, STEPS, WARM, READERS = 16, 16, 3, 1
NETWORKS = {"resnet18": "resnet18", "mobilenet_v2_x1_0": "mobilenet_v2"}


def pictures(root: Path) -> Path:
    """A folder with so many JPEG files of 320 x 240 as an epoch takes, of noise that is smooth."""
    chance = np.random.RandomState(0)
    for split, count in (("train", BATCH * STEPS), ("val", 8), ("test", 8)):
        for index in range(count):
            rough = chance.randint(0, 256, (30, 40, 3)).astype(np.uint8)
            place = root / split / str(index % 2) / f"{index}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rough).resize((320, 240), Image.Resampling.BICUBIC).save(place, quality=90)
    return root


def reference(name: str, root: Path) -> Callable[[], float]:
    """An epoch of torchvision's reference loop: pictures a second."""
    import torchvision
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    change = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(),
                                 transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float),
                                 transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])  # fmt: skip
    data = datasets.ImageFolder(str(root / "train"), change)
    net = torchvision.models.get_model(name, weights=None, num_classes=10).train()
    made = torch.optim.SGD(net.parameters(), 0.001, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()

    def epoch() -> float:
        loader = DataLoader(data, BATCH, shuffle=True, num_workers=READERS, pin_memory=True)
        seen: list[float] = []
        start = 0.0
        for step, (images, target) in enumerate(loader):
            start = time.perf_counter() if step == WARM else start
            output = net(images)
            loss = criterion(output, target)
            made.zero_grad()
            loss.backward()
            made.step()
            found = output.topk(5).indices == target[:, None]
            seen += [loss.item(), found[:, 0].float().mean().item(), found.any(1).float().mean().item()]
        return BATCH * (STEPS - WARM) / (time.perf_counter() - start)

    return epoch


def ours(name: str, root: Path) -> Callable[[], float]:
    def epoch() -> float:
        values: dict[str, Any] = dict(epochs=1, batch=BATCH, warmup=0, learning_rate=0.001, smoothing=0.0)
        times = step_times(name, f"folder:{root}", values)
        return BATCH * (STEPS - WARM) / (times[-1] - times[WARM - 1])

    return epoch


def step_times(name: str, data: str, values: dict[str, Any]) -> list[float]:
    """When each step of a run was done, in seconds."""
    times: list[float] = []

    def watch(event: str, figures: dict[str, Any]) -> None:
        if event == "step":
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as scratch:
        train(name, data, values=values, out=Path(scratch) / "run", running=Running(readers=READERS, watch=watch))
    return times


def throughput(rounds: int) -> list[str]:
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        root = pictures(Path(scratch))
        for name, theirs in NETWORKS.items():
            one, other = ours(name, root), reference(theirs, root)
            one(), other()
            pairs = [(one(), other()) for _ in range(rounds)]
            mine, their = (statistics.median(values) for values in zip(*pairs))
            ratio = statistics.median(a / b for a, b in pairs)
            spread = ", ".join(f"{a / b:.2f}" for a, b in pairs)
            lines.append(f"{name}: {mine:.1f} pictures a second, reference {their:.1f}: {ratio:.2f} times ({spread})")
            print(lines[-1], flush=True)
    return lines


def overhead(rounds: int) -> list[str]:
    """Milliseconds a step."""
    batch, data = 16, load("mnist", holdout=40_000)
    plan = changed(recipe("lenet5_modern", "modern", "mnist"), dict(epochs=1, batch=batch))
    steps = len(data.train) // batch

    def bare() -> float:
        net = registry.create("lenet5_modern").train().to(memory_format=torch.channels_last)
        made = optimizer(plan, net)
        times = []
        feed = Feed(plan, Preprocess.for_input(32, 1), torch.device("cpu"))
        for step, (images, labels) in enumerate(feed.training(data.train, Order(len(data.train), batch), 0, 0)):
            for group in made.param_groups:
                group["lr"] = learning_rate(plan, batch, step, steps)
            F.cross_entropy(net(images.contiguous(memory_format=torch.channels_last)), labels).backward()
            made.step()
            made.zero_grad()
            times.append(time.perf_counter())
        return 1000 * float(np.median(np.diff(times)))

    def loop() -> float:
        with tempfile.TemporaryDirectory() as scratch:
            small = Path(scratch) / "mnist.npz"
            arrays = {
                f"{key}_{kind}": array
                for key, split in (("train", data.train), ("test", data.test))
                if split
                for kind, array in (("images", split.images[:, 0].numpy()), ("labels", split.labels.numpy()))
            }
            np.savez(small, **arrays)
            values = dict(plan.model_dump(exclude={"title", "note", "sources"}, exclude_unset=True))
            times = step_times("lenet5_modern", f"npz:{small}", values)
        return 1000 * float(np.median(np.diff(times)))

    bare(), loop()
    pairs = [(loop(), bare()) for _ in range(rounds)]
    over = [a - b for a, b in pairs]
    line = (f"a step of LeNet-5, batch 16: {statistics.median(a for a, _ in pairs):.2f} ms, bare PyTorch "
            f"{statistics.median(b for _, b in pairs):.2f} ms: {statistics.median(over):+.2f} ms "
            f"({', '.join(f'{value:+.2f}' for value in over)})")  # fmt: skip
    print(line, flush=True)
    return [line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    lines = [describe(), "", *overhead(rounds), *throughput(rounds)]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
