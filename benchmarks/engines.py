"""Our fastest engine beside torchvision's eager network and raw ONNX Runtime: python -m benchmarks.engines [--rounds N]

The same architecture and the same weights, one picture of 224 x 224, the same number of threads, all in one process by
turns (``convatlas.deploy.timing``).  A ratio is the median of the rounds' ratios: what disturbs a round disturbs all
that run in it.

"raw" is torchvision's network as torch's default exporter writes it, in ONNX Runtime with its default options and the
same number of threads.  Waiting threads of OpenMP, which eager PyTorch uses, spin or sleep by OMP_WAIT_POLICY; the
head says what it was ("unset" is what people have).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results" / "engines.txt"
NETWORKS = {  # ours: (torchvision's, the least ratio to eager that we want)
    "alexnet_owt": ("alexnet", 1.3),
    "resnet18": ("resnet18", 1.7),
    "resnet50_v1_5": ("resnet50", 1.7),
    "densenet121": ("densenet121", 1.7),
    "googlenet_slim": ("googlenet", 2.5),
    "shufflenet_v2_x1_0": ("shufflenet_v2_x1_0", 2.5),
    "efficientnet_b0": ("efficientnet_b0", 2.5),
    "mobilenet_v2_x1_0": ("mobilenet_v2", 3.0),
}
MEAN, SLOWER = 2.2, 1.03
"""Wanted of the geometric mean, and at most beside raw ONNX Runtime."""


def theirs(name: str) -> Any:
    import torchvision

    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, **options).eval()


def subjects(ours: str, twin: str, threads: int, folder: Path) -> dict[str, Callable[[], Any]]:
    """eager, raw and engine, each as a call without arguments."""
    import onnxruntime
    import torch

    import convatlas
    from convatlas import weights
    from convatlas.deploy.engine import engine

    torch.manual_seed(0)
    net = theirs(twin)
    own = convatlas.create(ours).eval()
    own.load_state_dict(weights.convert(ours, net.state_dict(), "torchvision"))
    x = torch.rand(1, 3, 224, 224)
    pixels = x.numpy()

    file = folder / f"{twin}.onnx"
    torch.onnx.export(net, (x,), str(file), dynamo=True, external_data=False, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    made = engine(own, "onnxruntime", threads=threads, cache=False)

    def eager() -> Any:
        with torch.inference_mode():
            return net(x).numpy()

    found = {"eager": eager, "raw": lambda: session.run(None, {given: pixels})[0], "engine": lambda: made(pixels)}
    wanted = eager()
    for call in found.values():
        assert np.abs(call() - wanted).max() <= 1e-4 * np.abs(wanted).max()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    import onnxruntime
    import torch

    from convatlas.deploy.timing import interleaved, ratio

    warnings.simplefilter("ignore")
    torch.set_num_threads(asked.threads)
    lines = [describe(), f"ONNX Runtime {onnxruntime.__version__}, {asked.threads} threads, OMP_WAIT_POLICY "
             f"{os.environ.get('OMP_WAIT_POLICY', 'unset')}, batch 1, {asked.rounds} rounds", "",
             f"{'network':20} {'eager':>9} {'raw':>9} {'engine':>9}   {'eager / engine':24} engine / raw"]  # fmt: skip
    ratios, slower = [], []
    for ours, (twin, wanted) in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            times = interleaved(subjects(ours, twin, asked.threads, Path(folder)), rounds=asked.rounds)
        middle = {name: 1e3 * timing.median for name, timing in times.items()}
        gain, against = ratio(times["eager"], times["engine"]), ratio(times["engine"], times["raw"])
        ratios.append(gain.median)
        slower.append(against.median)
        told = f"{gain.median:.2f} ({gain.low:.2f} to {gain.high:.2f}), wanted {wanted}"
        lines.append(f"{ours:20} {middle['eager']:6.2f} ms {middle['raw']:6.2f} ms {middle['engine']:6.2f} ms   "
                     f"{told:32} {against.median:.3f}")  # fmt: skip
        print(lines[-1], flush=True)
    mean = statistics.geometric_mean(ratios)
    lines += ["", f"geometric mean {mean:.2f} (wanted {MEAN}); beside raw ONNX Runtime {max(slower):.3f} at most "
              f"(wanted {SLOWER})"]  # fmt: skip
    print(lines[-1])
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
