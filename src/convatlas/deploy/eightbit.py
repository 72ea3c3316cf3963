"""A file of ONNX with weights and maps of 8 bits, by ONNX Runtime's quantizer.

Weights are signed, each output channel with a scale of its own; maps are unsigned, their ranges calibrated on pictures:
what ONNX Runtime's CPU kernels for x86 are fastest at.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convatlas import carried
from convatlas.cost.machine import flags
from convatlas.errors import ConvatlasError

X86 = ("x86_64", "amd64", "i386", "i686")
FAST = {"avx512_vnni", "avx_vnni"}
"""Flags of processors that add products of 8 bits in 32."""


@dataclass(frozen=True)
class Method:
    """How a network is quantized.

    said: in words.  first: so many convolutions from the picture on stay in float, with what is among them: there the
    maps are large, and errors go through all that follows.  ranges: of a map's values, "MinMax", or "Entropy", which
    leaves out what is rare and far away.
    """

    said: str
    first: int = 0
    ranges: str = "MinMax"


#                    in words                                                      first  ranges
METHODS = {
    "whole":         Method("all layers in 8 bits"),
    "entropy":       Method("all layers in 8 bits, ranges by entropy",              0,    "Entropy"),
    "first3":        Method("all but the first 3 convolutions in 8 bits",           3),
    "first6":        Method("all but the first 6 convolutions in 8 bits",           6),
    "first6entropy": Method("all but the first 6 convolutions in 8 bits, ranges by entropy", 6, "Entropy"),
}  # fmt: skip
"""In the order in which they are tried (benchmarks/results/quantization.txt).  Of maps with few values that are far
away, as swish gives them, ranges by entropy keep more; in networks of depthwise layers the first layers in float do."""


def saturates() -> bool:
    """Whether this processor may add products of 8 bits in 16, where sums overflow: x86 without VNNI, or unknown."""
    return platform.machine().lower() in X86 and not FAST & flags()


def is_quantized(path: Path) -> bool:
    """Whether a file of ONNX has operations in 8 bits already."""
    return any("Quantize" in node.op_type or node.op_type.startswith("QLinear") for node in _nodes(path)[1])


def prepare(path: Path, out: Path) -> None:
    """Shapes inferred, constants folded, every node with a name: what the quantizer asks for."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with _told("preparing"):
        quant_pre_process(str(path), str(out), skip_symbolic_shape=True)
    import onnx

    model = onnx.load(out)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    onnx.save(model, out)


def quantize_file(
    path: Path, out: Path, method: Method, batches: Iterator[NDArray[np.float32]], total: int, weight_bits: int
) -> int:
    """Quantize what ``prepare`` made, and say on how many pictures it was calibrated.

    batches: pictures (N, C, H, W) as the network sees them, one batch in memory; total: how many batches at most.
    weight_bits: 8, or 7, with which no sum overflows where ``saturates`` is true.
    Raises ConvatlasError where there is no picture, or ONNX Runtime cannot.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    reader = _Reader(_nodes(path)[0], batches, total)
    with _told("quantizing"):
        quantize_static(
            str(path),
            str(out),
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=weight_bits == 7,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_in_float(path, method),
            calibrate_method=CalibrationMethod[method.ranges],
            extra_options={"CalibStridedMinMax": 1},  # one batch's maps in memory, and no more
        )
    return reader.count


def _in_float(path: Path, method: Method) -> list[str]:
    """The nodes that stay as they are.

    All that a convolution reads stays with it: ONNX Runtime quantizes a convolution in float by itself, all its
    channels by one scale, where it stands between nodes of 8 bits.
    """
    nodes = _nodes(path)[1]
    convolutions = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    end = convolutions[method.first] if method.first < len(convolutions) else len(nodes)
    return [node.name for node in nodes[: end if method.first else 0]]


def _nodes(path: Path) -> tuple[str, Any]:
    """The name of the input, and the nodes in the order in which they run."""
    import onnx

    graph = onnx.load(path).graph
    return graph.input[0].name, graph.node


def describe(path: Path, record: Mapping[str, Any]) -> None:
    """Let a file carry a record, and say that it is ours."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    model.metadata_props.add(key=carried.KEY, value=json.dumps(record, ensure_ascii=False))
    model.producer_name, model.producer_version = "convatlas", ""
    onnx.save(model, path)


class _Reader:
    """What the quantizer asks for pictures: of each range that it sets, which is one batch, that batch."""

    def __init__(self, name: str, batches: Iterator[NDArray[np.float32]], total: int):
        """name: of the network's input; total: how many batches there are, if every picture can be read."""
        self._name, self._batches, self._total = name, batches, total
        self._last: NDArray[np.float32] | None = None
        self._fresh, self.count = True, 0

    def __len__(self) -> int:
        return self._total

    def set_range(self, start_index: int, end_index: int) -> None:
        self._fresh = True

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        if not self._fresh:
            return None
        self._fresh = False
        if (batch := next(self._batches, None)) is not None:
            self._last = batch
            self.count += len(batch)
        if self._last is None:
            raise ConvatlasError("none of the pictures can be read: there is nothing to calibrate on")
        return {self._name: self._last}  # of pictures that cannot be read another batch stands in their place


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Its chatter unheard, its errors in a line."""
    from convatlas.deploy.onnxing import quiet

    try:
        with quiet():
            yield
    except (ConvatlasError, OSError):
        raise
    except Exception as error:  # its errors have no common base but Exception
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConvatlasError(f"ONNX Runtime's quantizer cannot take this network ({what}): {reason}") from error
