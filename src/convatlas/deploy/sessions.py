"""ONNX Runtime's sessions: how many threads they take, and how they are opened.  No torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convatlas import carried
from convatlas.cost.machine import default_threads
from convatlas.errors import ConvatlasError

DAMAGED = "InvalidProtobuf"
"""What ONNX Runtime calls its error where a file holds no model."""
LOGGED = 3
"""ONNX Runtime's errors are heard, its warnings are not."""


def checked_threads(threads: int | None) -> int:
    """What was asked, or the default.  Raises ConvatlasError for less than one."""
    if threads is not None and threads < 1:
        raise ConvatlasError(f"threads is at least 1, not {threads}")
    return threads or default_threads()


def installed() -> bool:
    """Whether ONNX Runtime is here."""
    from importlib.util import find_spec

    return find_spec("onnxruntime") is not None


def session_options(threads: int | None = None) -> Any:
    """ONNX Runtime's SessionOptions as we use them: all optimisations, so many threads in an operation, one at a time.

    Raises ConvatlasError where ONNX Runtime is not installed.
    """
    if not installed():
        raise ConvatlasError("this engine needs ONNX Runtime: pip install onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = checked_threads(threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = LOGGED
    return options


def opened(
    model: Path | bytes,
    threads: int | None = None,
    *,
    optimised: bool = False,
    keep: Path | None = None,
    profile: Path | None = None,
) -> Any:
    """A session on the CPU.

    optimised: the model is as a session left it, and is taken as it is.
    keep: where the model is to be written as this session has optimised it, for this very kind of processor.
    profile: how the file begins into which every node's time is written, when its ``end_profiling`` is called.
    Raises ConvatlasError for a model that ONNX Runtime does not take.
    """
    options = session_options(threads)
    import onnxruntime

    if optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if keep is not None:
        options.optimized_model_filepath = str(keep)
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    content = str(model) if isinstance(model, Path) else model
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base but Exception
        if isinstance(model, Path) and type(error).__name__ == DAMAGED:
            raise ConvatlasError(carried.damaged(model)) from error
        name = str(model) if isinstance(model, Path) else "the exported network"
        raise ConvatlasError(f"{name} cannot be run by ONNX Runtime: {_said(error)}") from error


class Session:
    """(N, C, H, W) float32 -> logits (N, classes), by an opened session with one input; of several outputs the first.

    outputs: how many there are.  Raises ValueError for several inputs, and for others than float32.
    """

    def __init__(self, session: Any):
        self._run, (given,), answers = session.run, session.get_inputs(), session.get_outputs()
        if {given.type, answers[0].type} != {"tensor(float)"}:
            raise ValueError(f"{given.type} and {answers[0].type}")
        self.outputs = len(answers)
        self._name = given.name
        self.shape: tuple[Any, ...] = tuple(given.shape)

    def __call__(self, pictures: NDArray[Any]) -> NDArray[np.float32]:
        """Raises ConvatlasError for what ONNX Runtime cannot run."""
        try:
            answer: NDArray[np.float32] = self._run(None, {self._name: np.ascontiguousarray(pictures, np.float32)})[0]
        except Exception as error:  # its errors have no common base but Exception
            raise ConvatlasError(f"ONNX Runtime cannot run {len(pictures)} at once: {_said(error)}") from error
        return answer


def _said(error: Exception) -> str:
    """Without ONNX Runtime's codes."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))[:300]
