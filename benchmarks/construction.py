"""Building and importing beside torchvision, interleaved: python -m benchmarks.construction [--rounds N]

Each round builds each network once by each way; the medians are compared.  "theirs, bare" builds torchvision's network
under our ``skip_init``, so that neither side fills a weight: what is left is the cost of making the modules.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.machine import describe

PAIRS = {
    "vgg16": "vgg16",
    "resnet50_v1_5": "resnet50",
    "resnext50_32x4d": "resnext50_32x4d",
    "densenet121": "densenet121",
    "googlenet_slim": "googlenet",
    "inception_v3": "inception_v3",
    "mobilenet_v2_x1_0": "mobilenet_v2",
    "mobilenet_v3_large_x1_0": "mobilenet_v3_large",
    "shufflenet_v2_x1_0": "shufflenet_v2_x1_0",
    "squeezenet1_1": "squeezenet1_1",
    "mnasnet_b1": "mnasnet1_0",
    "efficientnet_b0": "efficientnet_b0",
}
IMPORTS = {
    "import torch": "import torch",
    "torchvision: import": "import torchvision.models",
    "torchvision: import, build resnet18": "import torchvision; torchvision.models.resnet18()",
    "convatlas: import": "import convatlas",
    "convatlas: import, analyze resnet18": "import convatlas; convatlas.analyze('resnet18')",
    "convatlas: import, build resnet18": "import convatlas; convatlas.create('resnet18')",
}
RESULTS = Path(__file__).parent / "results" / "construction.txt"


def seconds(action: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    made = action()
    taken = time.perf_counter() - start
    del made
    return taken


def construction(rounds: int) -> list[str]:
    import torchvision

    import convatlas
    from convatlas.blocks.init import skip_init

    def bare(theirs: str, **options: bool) -> object:
        with skip_init():
            return torchvision.models.get_model(theirs, weights=None, **options)

    columns = f"{'ours, bare':>12}{'theirs, bare':>14}{'ours':>10}{'theirs':>10}{'bare ratio':>12}{'ratio':>8}"
    lines = [f"{'milliseconds, median':24}{columns}"]
    for ours, theirs in PAIRS.items():
        # torchvision fills these two by a slow rule unless told otherwise; without aux, as ours are built
        options = {"init_weights": False, "aux_logits": False} if theirs in ("googlenet", "inception_v3") else {}
        ways: dict[str, Callable[[], object]] = {
            "ours, bare": partial(convatlas.create, ours, initialise=False),
            "theirs, bare": partial(bare, theirs, **options),
            "ours": partial(convatlas.create, ours),
            "theirs": partial(torchvision.models.get_model, theirs, weights=None, **options),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, action in ways.items():
                taken[way].append(1e3 * seconds(action))
        ms = {way: statistics.median(values) for way, values in taken.items()}
        lines.append(
            f"{ours:24}{ms['ours, bare']:12.1f}{ms['theirs, bare']:14.1f}{ms['ours']:10.1f}{ms['theirs']:10.1f}"
            f"{ms['ours, bare'] / ms['theirs, bare']:12.2f}{ms['ours'] / ms['theirs']:8.2f}"
        )
    return lines


def imports(rounds: int) -> list[str]:
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            taken[name].append(seconds(lambda code=code: subprocess.run([sys.executable, "-c", code], check=True)))
    return ["seconds in a fresh interpreter, median"] + [
        f"{name:40}{statistics.median(values):8.2f}" for name, values in taken.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    lines = [describe(), "", *construction(rounds), "", *imports(rounds)]
    print("\n".join(lines))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
