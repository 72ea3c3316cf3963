"""A training step's memory, predicted and measured: python -m benchmarks.memory

saved:   unique storages that autograd keeps in a forward pass (``saved_tensors_hooks``), beside ``saved_bytes``.
peak:    the most bytes of all tensors in the second step (torch's MemTracker), beside ``peak_training_bytes``.
process: how far a process of its own grows over three such steps (VmHWM after, less VmRSS before the network is
         built): with the kernels' scratch memory and the allocator's, which no pass over a graph can know.

The networks called "unseen" were not looked at while the rules were written.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

NETWORKS: list[tuple[str, int, str, str]] = [
    ("vgg16", 4, "momentum", ""),
    ("alexnet", 16, "momentum", ""),
    ("googlenet", 8, "momentum", ""),
    ("resnet50", 8, "momentum", ""),
    ("densenet121", 4, "sgd", ""),
    ("mobilenet_v2_x1_0", 8, "rmsprop_momentum", ""),
    ("shufflenet_v2_x1_0", 16, "adam", ""),
    ("efficientnet_b0", 8, "rmsprop", ""),
    ("resnext50_32x4d", 8, "adam", "unseen"),
    ("inception_v4", 4, "momentum", "unseen"),
]
RESULTS = Path(__file__).parent / "results" / "memory.txt"


def optimizer(kind: str, parameters: Any) -> Any:
    from torch import optim

    return {
        "sgd": lambda: optim.SGD(parameters, 1e-3),
        "momentum": lambda: optim.SGD(parameters, 1e-3, momentum=0.9),
        "adam": lambda: optim.Adam(parameters, 1e-3),
        "rmsprop": lambda: optim.RMSprop(parameters, 1e-5),
        "rmsprop_momentum": lambda: optim.RMSprop(parameters, 1e-5, momentum=0.9),
    }[kind]()


def prepared(name: str, batch: int, kind: str) -> tuple[Any, Any, Any]:
    """The network, a batch, and a function that does one training step with it."""
    import torch
    import torch.nn.functional as F

    import convatlas

    torch.manual_seed(0)
    net = convatlas.create(name).train()
    picture, target = torch.randn(batch, *net.input_size), torch.zeros(batch, dtype=torch.long)
    made = optimizer(kind, net.parameters())

    def step() -> None:
        made.zero_grad()
        F.cross_entropy(net(picture), target).backward()
        made.step()

    step.tracked = (net, made, picture, target)  # type: ignore[attr-defined]
    return net, picture, step


def saved(net: Any, picture: Any) -> int:
    from torch.autograd.graph import saved_tensors_hooks

    own = {t.untyped_storage()._cdata for t in (*net.parameters(), *net.buffers())}
    found: dict[int, int] = {}
    kept = []

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            found[storage._cdata] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        net(picture)
    return sum(found.values())


def peak(step: Any) -> int:
    from torch.distributed._tools.mem_tracker import MemTracker

    step()
    step.tracked[1].zero_grad()
    tracker = MemTracker()
    tracker.track_external(*step.tracked)
    with tracker:
        step()
        tracker.reset_mod_stats()
        step()
    return int(next(iter(tracker.get_tracker_snapshot("peak").values()))["Total"])


def status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def process_growth(name: str, batch: int, kind: str) -> int:
    """In this process, which does nothing else."""
    import torch

    import convatlas

    torch.nn.functional.conv2d(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3))  # the kernels' library is loaded
    convatlas.create("lenet5_modern")
    before = status("VmRSS")
    _, _, step = prepared(name, batch, kind)
    for _ in range(3):
        step()
    return status("VmHWM") - before


def main() -> None:
    import convatlas

    if len(sys.argv) == 4:
        print(process_growth(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
        return
    head = (f"{'MB':20}{'batch':>6} {'optimizer':18}{'saved':>9}{'measured':>9}{'off':>8}"
            f"{'peak':>10}{'measured':>9}{'off':>8}{'process':>10}{'over peak':>11}")  # fmt: skip
    lines = [describe(), "", head]
    print("\n".join(lines), flush=True)
    for name, batch, kind, note in NETWORKS:
        totals = convatlas.analyze(name, batch=batch, training=kind).totals
        net, picture, step = prepared(name, batch, kind)
        kept, top = saved(net, picture), peak(step)
        command = [sys.executable, "-m", "benchmarks.memory", name, str(batch), kind]
        grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        mine, most = totals["saved_bytes"], totals["peak_training_bytes"]
        line = (
            f"{name:20}{batch:6} {kind:18}{mine / 1e6:9.1f}{kept / 1e6:9.1f}{mine / kept - 1:8.2%}"
            f"{most / 1e6:10.1f}{top / 1e6:9.1f}{most / top - 1:8.2%}{grown / 1e6:10.1f}"
            f"{(grown - most) / 1e6:+10.1f}  {note}"
        ).rstrip()
        lines.append(line)
        print(line, flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
