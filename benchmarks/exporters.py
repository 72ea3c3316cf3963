"""torch's two exporters of ONNX beside each other: python -m benchmarks.exporters [NETWORK …]

One network a family: seconds to write, size, milliseconds a picture in ONNX Runtime (by turns), and the largest error
of a logit.  ``deploy.onnxing`` takes the older one where it can, by what stands here.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results" / "exporters.txt"
ROUNDS, PAUSE = 7, 0.03


def one_a_family() -> list[str]:
    from convatlas import facts

    found: dict[str, str] = {}
    for name, entry in facts.index().items():
        found.setdefault(entry["family"], name)
    return list(found.values())


def compared(name: str, folder: Path) -> str:
    import torch

    import convatlas
    from convatlas.deploy.onnxing import to_onnx
    from convatlas.deploy.sessions import Session, opened
    from convatlas.errors import ConvatlasError

    net = convatlas.create(name).eval()
    pictures = np.random.default_rng(0).standard_normal((2, *net.input_size)).astype(np.float32)
    with torch.inference_mode():
        wanted = net(torch.from_numpy(pictures)).numpy()
    cells: dict[str, str] = {}
    sessions: dict[str, Any] = {}
    for kind in ("torchscript", "dynamo"):
        path = folder / f"{kind}.onnx"
        start = time.perf_counter()
        try:
            to_onnx(net, path, input_size=net.input_size, exporter=kind)
        except ConvatlasError:
            cells[kind] = f"{'cannot write it':>38}"
            continue
        taken = time.perf_counter() - start
        sessions[kind] = Session(opened(path))
        error = np.abs(sessions[kind](pictures) - wanted).max() / np.abs(wanted).max()
        cells[kind] = f"{taken:6.1f} s {path.stat().st_size / 1e6:8.2f} MB {error:8.0e}"
    times: dict[str, list[float]] = {kind: [] for kind in sessions}
    for _ in range(ROUNDS):
        for kind, run in sessions.items():
            time.sleep(PAUSE)
            run(pictures[:1])
            start = time.perf_counter()
            run(pictures[:1])
            times[kind].append(1e3 * (time.perf_counter() - start))
    for kind, series in times.items():
        cells[kind] += f" {statistics.median(series):8.2f} ms"
    return f"{name:28}" + "   ".join(cells.values())


def main() -> None:
    head = f"{'':28}{'torchscript':>38}   {'dynamo':>38}"
    lines = [describe(), "", head]
    for name in sys.argv[1:] or one_a_family():
        with tempfile.TemporaryDirectory() as folder:
            lines.append(compared(name, Path(folder)))
        print(lines[-1], flush=True)
    if not sys.argv[1:]:
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
