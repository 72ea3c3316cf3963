"""One pass over everything beside torchinfo, fvcore and torch's own counter: python -m benchmarks.analysis [--rounds N]

All in one process on one thread, interleaved, medians.  Ours: ``analyze`` of a captured graph with the memory of a
training step: shapes, parameters, multiply-adds forward and backward, all operations, memory kept, peak, traffic and
receptive fields.  "first pass" is that of a graph read from the atlas and analysed for the first time; the others are
as they follow each other when a size or a batch is changed.  Theirs: parameters, shapes and multiply-adds of a forward
pass, of torchvision's network.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

NETWORKS = {
    "resnet50_v1_5": ("resnet50", 224),
    "densenet201": ("densenet201", 224),
    "efficientnet_b7": ("efficientnet_b7", 600),
}
TIMES = 10
"""Passes a round of what takes a few milliseconds."""
RESULTS = Path(__file__).parent / "results" / "analysis.txt"


def torchinfo_macs(net: Any, size: int) -> int:
    import torchinfo

    return int(torchinfo.summary(net, (1, 3, size, size), verbose=0, device="cpu").total_mult_adds)


def fvcore_macs(net: Any, size: int) -> int:
    import torch
    from fvcore.nn import FlopCountAnalysis

    counted = FlopCountAnalysis(net, torch.zeros(1, 3, size, size))
    return int(counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def torch_macs(net: Any, size: int) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(torch.zeros(1, 3, size, size))
    return int(counter.get_total_flops()) // 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    import torch
    import torchvision

    import convatlas
    from convatlas.graph import atlas

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    lines = [describe(), "", f"{'milliseconds, median':20}{'way':34}{'time':>10}{'ratio':>9}   {'MACs':>16}"]
    for ours, (theirs, size) in NETWORKS.items():
        net = torchvision.models.get_model(theirs, weights=None).eval()
        graph = atlas.load(ours)
        ways: dict[str, Callable[[], Any]] = {
            "convatlas, everything": lambda g=graph: convatlas.analyze(g, training="adam").totals["macs"],
            "convatlas, read and first pass": lambda n=ours: convatlas.analyze(n, training="adam").totals["macs"],
            "torchinfo": lambda n=net, s=size: torchinfo_macs(n, s),
            "fvcore": lambda n=net, s=size: fvcore_macs(n, s),
            "torch's FlopCounterMode": lambda n=net, s=size: torch_macs(n, s),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        answers: dict[str, str] = {}
        for _ in range(rounds):
            for way, action in ways.items():
                gc.collect()
                times = TIMES if way == "convatlas, everything" else 1
                start = time.perf_counter()
                try:
                    with contextlib.redirect_stdout(io.StringIO()):
                        for _ in range(times):
                            answer = action()
                        answers[way] = f"{answer:,}"
                except Exception as error:  # a tool that does not run on this torch is told, not left out
                    answers[way] = f"fails: {str(error).splitlines()[0][:40]}"
                taken[way].append(1e3 * (time.perf_counter() - start) / times)
        medians = {way: statistics.median(values) for way, values in taken.items()}
        for way, ms in medians.items():
            ratio = ms / medians["convatlas, everything"]
            lines.append(f"{ours:20}{way:34}{ms:10.2f}{ratio:9.1f}   {answers[way]:>16}")
    print("\n".join(lines))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
