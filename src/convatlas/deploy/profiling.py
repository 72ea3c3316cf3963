"""Networks that note how long each of their layers takes, call by call: in ONNX Runtime, and in PyTorch."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convatlas.deploy.origins import Origins
from convatlas.deploy.sessions import Session, opened

if TYPE_CHECKING:
    from convatlas.deploy.eager import Eager

Call = tuple[float, dict[str, float]]
"""Of one call of a network: its seconds, and each layer's."""

TAIL = "_kernel_time"
INNER = ("If", "Loop", "Scan")
"""Nodes that run others, whose time is theirs too."""


class OnnxProfile:
    """(N, C, H, W) -> logits, by a session whose profiler is on.  What it notes is whole microseconds."""

    def __init__(self, path: Path, threads: int, rows: list[str]):
        """path: an exported network, beside which the profiler may write.  rows: the names of our report's; without
        any, layers are called as the file's nodes are."""
        import onnx

        self._session = opened(path, threads, profile=path.with_name("profile"))
        self._run = Session(self._session)
        self._origins = Origins(onnx.load(path, load_external_data=False), rows) if rows else None

    def __call__(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._run(pictures)

    def finish(self) -> list[Call]:
        """What was noted; it can no longer be called."""
        events = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        calls: list[Call] = []
        nodes: list[Any] = []
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith(TAIL):
                nodes.append(event)
            elif event["name"] == "model_run":
                calls.append((event["dur"] / 1e6, self._layers(nodes)))
                nodes = []
        return calls

    def _layers(self, nodes: list[Any]) -> dict[str, float]:
        found: dict[str, float] = defaultdict(float)
        until = -1
        for event in sorted(nodes, key=lambda event: (event["ts"], -event["dur"])):
            if event["ts"] < until:  # inside of another
                continue
            name, op = event["name"].removesuffix(TAIL), event["args"]["op_name"]
            if op in INNER:
                until = event["ts"] + event["dur"]
            found[self._origins.layer(name, op) if self._origins else name] += event["dur"] / 1e6
        return dict(found)


class EagerProfile:
    """(N, C, H, W) -> logits, by PyTorch with a clock before and after each module that is a row, or has no parts."""

    def __init__(self, eager: Eager, rows: list[str]):
        from torch import nn

        self._eager, self.calls = eager, list[Call]()
        self._now: dict[str, float] = {}
        clocked: list[str] = []
        for path, module in eager.net.named_modules():
            inside = any(path.startswith(f"{other}.") for other in clocked)
            if path and not inside and type(module) is not nn.Identity and (path in rows or not any(module.children())):
                clocked.append(path)
                begin, end = self._clock(path)
                module.register_forward_pre_hook(begin)
                module.register_forward_hook(end)

    def __call__(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        self._now = {}
        start = time.perf_counter()
        answer = self._eager(pictures)
        self.calls.append((time.perf_counter() - start, self._now))
        return answer

    def finish(self) -> list[Call]:
        """What was noted."""
        return self.calls

    def _clock(self, path: str) -> tuple[Callable[..., None], Callable[..., None]]:
        started = 0.0

        def begin(*_: object) -> None:
            nonlocal started
            started = time.perf_counter()

        def end(*_: object) -> None:
            took, name, run = time.perf_counter() - started, path, 1
            while name in self._now:  # a second run is called "act#2"
                run += 1
                name = f"{path}#{run}"
            self._now[name] = took

        return begin, end
