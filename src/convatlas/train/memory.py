"""What memory a training step takes before it runs, what is free, and the batch that follows."""

from __future__ import annotations

import os
from pathlib import Path

from convatlas.cost import analyze, largest_batch
from convatlas.cost.report import Report
from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph
from convatlas.net import ConvNet
from convatlas.train.recipe import Recipe
from convatlas.weights.preprocess import Preprocess

OPTIMIZERS = {"sgd": "momentum", "nesterov": "momentum", "adam": "adam", "adamw": "adam", "lamb": "adam",
              "rmsprop": "rmsprop_momentum", "rmsprop_tf": "rmsprop_momentum"}  # fmt: skip
"""Whose memory a recipe's optimizer takes, among those of the cost passes."""

MOST = 4096
"""No batch that is chosen by itself is larger."""

FEWEST = 20
"""Steps an epoch that such a batch leaves."""

SPARE = 0.75
"""Part of the free memory that a batch chosen by itself may take."""

HALF = 2
"""Bytes of a parameter's copy in mixed precision."""

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def graph_of_step(plan: Recipe, net: ConvNet, preprocess: Preprocess) -> Graph:
    """What a training step runs: the network with its auxiliary heads, on pictures of the recipe's size."""
    from convatlas.graph.capture import capture

    side = plan.size or net.input_size[1]
    return capture(net, input_size=(len(preprocess.order), side, side), aux=bool(net.aux))


def predicted(plan: Recipe, graph: Graph, batch: int) -> tuple[Report, int]:
    """What a step with so many pictures costs, and the most bytes that its tensors take at once.

    In mixed precision, which keeps parameters, gradients and the optimizer's state in float32 and computes with copies,
    the bytes are an upper bound: all in float32, and the copies beside them.
    """
    report = analyze(graph, batch=batch, training=OPTIMIZERS[plan.optimizer], checkpointing=plan.checkpointing)
    return report, report.totals["peak_training_bytes"] + _copies(plan, report.totals["params"])


def _copies(plan: Recipe, params: int) -> int:
    """Bytes of the parameters' copies in mixed precision."""
    return 0 if plan.precision == "float32" else HALF * params


def batch_of(
    plan: Recipe, net: ConvNet, preprocess: Preprocess, pictures: int, processes: int, device: str = "cpu"
) -> int:
    """The recipe's batch; for "auto" the largest power of two a process whose predicted peak fits the memory that is
    free, and leaves an epoch a few steps.  Raises ConvatlasError where not even one picture fits."""
    if plan.batch != "auto":
        return plan.batch
    share = processes * plan.accumulate
    graph = graph_of_step(plan, net, preprocess)
    room = SPARE * free_memory(device) - _copies(plan, sum(p.numel() for p in net.parameters()))
    most = largest_batch(graph, room, training=OPTIMIZERS[plan.optimizer], checkpointing=plan.checkpointing)
    most = min(most, MOST // share, max(pictures // FEWEST, share) // share, pictures // share)
    if most < 1:
        raise ConvatlasError(f"not even one picture fits: a step of {net.name} takes more memory than is free, or "
                             f"there are fewer than {share} pictures")  # fmt: skip
    return int(share * (1 << (most.bit_length() - 1)))


def free_memory(device: str = "cpu", *, groups: Path = GROUPS, own: Path = OWN) -> int:
    """Bytes free for this process: of its GPU, or its share of the machine's and of what its control groups may have.

    groups: where control groups are mounted; own: the file that names those of this process.
    """
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    free, info = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2, Path("/proc/meminfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    rooms = [room for group in _groups(groups, own) if (room := _room(group)) is not None]
    return max(0, min([free, *rooms])) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _groups(groups: Path, own: Path) -> list[Path]:
    """The folders of this process' control groups of memory and of those that they lie in, of either version.

    Within a container the folder of its own group may be the root of what is mounted there.
    """
    found = [groups, groups / "memory"]
    for line in own.read_text().splitlines() if own.exists() else ():
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        inside = (groups / "memory" if kinds else groups) / path.lstrip("/")
        found += [inside, *inside.parents[: len(Path(path).parts) - 1]]
    return list(dict.fromkeys(found))


def _room(group: Path) -> int | None:
    """Bytes that a control group has left, with what the system would give back of files' pages; None: no limit."""
    for limit, used, cache in (("memory.max", "memory.current", "inactive_file"),
                               ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")):  # fmt: skip
        try:
            most, taken = (group / limit).read_text().strip(), int((group / used).read_text())
        except (OSError, ValueError):
            continue
        if most == "max":
            return None
        stat = (group / "memory.stat").read_text() if (group / "memory.stat").exists() else ""
        pages = dict(line.split(" ", 1) for line in stat.splitlines())
        return int(most) - taken + int(pages.get(cache, 0))
    return None
