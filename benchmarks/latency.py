"""Predicted time beside measured time: python -m benchmarks.latency [--engine onnxruntime|eager] [--threads N]
[--calibrate]

Whole networks, none of which calibration has seen, one picture (and a few at other sizes and batches), measured by
turns in groups; ``cost.latency`` predicts each from the calibration alone.  Beside it two baselines:

    time proportional to multiply-adds
    a x multiply-adds + b x layers                     (layers: convolutions and linear layers)

each fitted twice: to the very networks it is judged on, leaving out the one that is predicted, which favours it; and
to the pieces of the calibration, as ours is.  The error is |predicted / measured - 1|.  With one thread the clock is
the processor's own, which stands still while others have it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results"
NETWORKS: tuple[tuple[str, int | None, int], ...] = (  # name, input size, batch
    ("lenet5_modern", None, 1), ("alexnet", None, 1), ("alexnet_owt", None, 1), ("nin", None, 1), ("vgg11", None, 1),
    ("vgg16", None, 1), ("googlenet", None, 1), ("inception_v2", None, 1), ("inception_v3", None, 1),
    ("resnet18", None, 1), ("resnet50", None, 1), ("resnet50_v1_5", None, 1), ("resnet56_cifar", None, 1),
    ("preresnet50", None, 1), ("wide_resnet50_2", None, 1), ("resnext50_32x4d", None, 1), ("se_resnet50", None, 1),
    ("densenet121", None, 1), ("densenet40_k12_cifar", None, 1), ("squeezenet1_1", None, 1),
    ("mobilenet_v1_x1_0", None, 1), ("mobilenet_v2_x1_0", None, 1), ("mobilenet_v3_large_x1_0", None, 1),
    ("xception", None, 1), ("shufflenet_v1_x1_0_g3", None, 1), ("shufflenet_v2_x1_0", None, 1), ("mnasnet_a1", None, 1),
    ("mnasnet_b1", None, 1),
    ("efficientnet_b0", None, 1), ("efficientnet_b2", None, 1), ("efficientnet_lite0", None, 1),
    ("resnet18", 320, 1), ("mobilenet_v2_x1_0", 128, 1), ("efficientnet_b0", 320, 1), ("resnet18", None, 8),
    ("mobilenet_v2_x1_0", None, 8),
)  # fmt: skip
GROUP, ROUNDS = 6, 7


def label(name: str, size: int | None, batch: int) -> str:
    return name + (f" {size}" if size else "") + (f" x{batch}" if batch > 1 else "")


def measured(engine_kind: str, threads: int) -> dict[str, float]:
    """Seconds of a call, the median; a few networks at a time by turns, for memory's sake."""
    import convatlas
    from convatlas.deploy.engine import engine
    from convatlas.deploy.timing import interleaved

    found: dict[str, float] = {}
    for start in range(0, len(NETWORKS), GROUP):
        calls: dict[str, Callable[[], object]] = {}
        for name, size, batch in NETWORKS[start : start + GROUP]:
            made = engine(convatlas.create(name).eval(), engine_kind, threads=threads, input_size=size, cache=False)
            pictures = np.random.default_rng(0).standard_normal((batch, *made.input_size)).astype(np.float32)
            calls[label(name, size, batch)] = lambda made=made, pictures=pictures: made(pictures)
        clock = time.thread_time if threads == 1 else time.perf_counter
        found |= {name: timing.median for name, timing in interleaved(calls, rounds=ROUNDS, clock=clock).items()}
    return found


def counts() -> np.ndarray:
    """Multiply-adds and layers of each network."""
    import convatlas

    rows = []
    for name, size, batch in NETWORKS:
        report = convatlas.analyze(name, input_size=size, batch=batch)
        rows.append((report.totals["macs"], sum(row.op in ("conv2d", "linear") for row in report.rows)))
    return np.array(rows, float)


def least_squares(matrix: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Coefficients of the least relative errors, none below zero."""
    from scipy.optimize import nnls

    relative = matrix / seconds[:, None]
    scale = relative.max(0)
    return np.asarray(nnls(relative / scale, np.ones(len(seconds)))[0] / scale)


def without_itself(matrix: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Each predicted by the fit to all the others."""
    every = np.arange(len(seconds))
    return np.array([matrix[i] @ least_squares(matrix[every != i], seconds[every != i]) for i in every])


def of_pieces(engine_kind: str, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Multiply-adds and layers of the calibration's pieces, and their seconds."""
    from convatlas.deploy.calibrate import measure

    rows = measure(engine_kind, threads)
    layers = ("conv", "stem", "pointwise", "depthwise", "grouped", "plain", "linear")
    counted = [(sum(w.macs for w in row if w.kind in layers), sum(w.kind in layers for w in row)) for row, _ in rows]
    kept = [i for i, (macs, _) in enumerate(counted) if macs]
    return np.array(counted, float)[kept], np.array([rows[i][1] for i in kept])


def judged(name: str, predicted: Sequence[float] | np.ndarray, seconds: np.ndarray) -> str:
    from scipy.stats import spearmanr

    errors = np.abs(np.asarray(predicted) / seconds - 1)
    rank = spearmanr(predicted, seconds).statistic
    within = float((errors <= 0.2).mean())
    return (f"{name:52} {100 * statistics.median(errors):7.1f} % {100 * errors.max():9.0f} % {rank:9.3f} "
            f"{100 * within:8.0f} %")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--calibrate", action="store_true", help="calibrate first, in the same run")
    asked = parser.parse_args()
    import logging

    from convatlas.cost.latency import calibrated, latency
    from convatlas.cost.machine import default_threads
    from convatlas.deploy.calibrate import calibrate
    from convatlas.deploy.load import between, busy, counters

    logging.disable(logging.WARNING)
    threads, before = asked.threads or default_threads(), busy()
    machine = calibrate([asked.engine], threads=threads) if asked.calibrate else calibrated()
    start = counters()
    found = measured(asked.engine, threads)
    during = between(start, counters())
    seconds = np.array([found[label(*one)] for one in NETWORKS])
    predicted = np.array([
        latency(name, machine, asked.engine, input_size=size, batch=batch).seconds for name, size, batch in NETWORKS
    ])  # fmt: skip
    matrix = counts()
    pieces, taken = of_pieces(asked.engine, threads)
    lines = [describe(), f"{asked.engine}, {threads} threads; calibrated {machine.date}, the pieces met to "
             f"{100 * machine.engines[asked.engine].error:.1f} % (median)",
             f"before: {before}; while the networks were measured: {during}", "",
             f"{'network':30} {'measured':>12} {'predicted':>12} {'error':>8}"]  # fmt: skip
    for one, real, ours in zip(NETWORKS, seconds, predicted):
        lines.append(f"{label(*one):30} {1e3 * real:9.2f} ms {1e3 * ours:9.2f} ms {100 * (ours / real - 1):+6.0f} %")
    heads = ("median", "worst", "rank", "within 20 %")
    lines += ["", f"{'':52} {heads[0]:>9} {heads[1]:>11} {heads[2]:>9} {heads[3]:>12}"]
    lines.append(judged("cost.latency, from pieces", predicted, seconds))
    lines.append(judged("a x MACs, left-one-out on these", without_itself(matrix[:, :1], seconds), seconds))
    lines.append(judged("a x MACs + b x layers, left-one-out on these", without_itself(matrix, seconds), seconds))
    lines.append(judged("a x MACs, from pieces", matrix[:, :1] @ least_squares(pieces[:, :1], taken), seconds))
    lines.append(judged("a x MACs + b x layers, from pieces", matrix @ least_squares(pieces, taken), seconds))
    print("\n".join(lines))
    suffix = "_one_thread" if threads == 1 else ""
    (RESULTS / f"latency_{asked.engine}{suffix}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
