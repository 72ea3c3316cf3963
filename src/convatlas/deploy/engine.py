"""engine: a network as one callable, pictures in, logits out, by the fastest way that is installed."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convatlas import carried
from convatlas.deploy.eightbit import saturates
from convatlas.deploy.sessions import Session, checked_threads, opened
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.source import InputSize, full_size
from convatlas.weights import Weights

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

KINDS = ("auto", "eager", "onnxruntime", "compile", "cuda")


@dataclass(frozen=True)
class Engine:
    """A network that answers: ``engine(pictures)`` gives logits (N, classes) of pictures (N, C, H, W).

    Arrays in, arrays out; torch's tensors in, tensors out, on the device on which they came.  Any N at least 1.
    kind: how it runs.  threads: of one operation.  input_size: (C, H, W) that it was made for.
    weights: classes and preprocessing, None where nobody has said them.  cached: it came from the disk, as it was left.
    """

    kind: str
    name: str
    input_size: tuple[int, int, int]
    threads: int
    weights: Weights | None
    run: Any
    cached: bool = False

    @property
    def known(self) -> Weights:
        """The classes and the preprocessing.  Raises ConvatlasError where nobody has said them."""
        if self.weights is None:
            raise ConvatlasError(f"{self.name} does not say which classes it knows, nor how pictures are prepared for "
                                 "it; a run's folder does, and what is exported from one, or from a network of the "
                                 "atlas: convatlas export NETWORK --weights FILE")  # fmt: skip
        return self.weights

    def __call__(self, pictures: Any) -> Any:
        """Raises ConvatlasError for what are no pictures of this size."""
        shape = tuple(getattr(pictures, "shape", ()))
        if len(shape) != 4 or shape[1:] != self.input_size or shape[0] < 1:
            wanted = " x ".join(map(str, ("N", *self.input_size)))
            raise ConvatlasError(f"{self.name} reads {wanted}, not {' x '.join(map(str, shape)) or 'a single value'}")
        fixed = getattr(self.run, "shape", (None,))[0]
        if isinstance(fixed, int) and fixed != shape[0]:
            raise ConvatlasError(f"{self.name} was exported for batches of {fixed}, not of {shape[0]}")
        if isinstance(pictures, np.ndarray):
            return self.run(pictures)
        import torch

        answer = torch.from_numpy(self.run(pictures.detach().cpu().numpy()))
        return answer.to(pictures.device)


def engine(
    model: str | os.PathLike[str] | nn.Module,
    kind: str = "auto",
    *,
    weights: str | os.PathLike[str] = "default",
    threads: int | None = None,
    input_size: InputSize = None,
    device: str | None = None,
    cache: bool = True,
) -> Engine:
    """Make a network ready to answer.

    model: a name of the atlas, a run's folder, an exported file (.onnx, .safetensors), or a module.
    kind: "eager" (PyTorch, batch norms folded, channels last), "onnxruntime" (on the CPU), "compile" (torch.compile),
    "cuda"; "auto" takes the fastest that is installed, by a short measurement that is remembered.
    weights: for a name: "default", a source's id, a file, or "none" for random ones.
    threads: of one operation on the CPU; by default the cores that this process may use.
    device: "cpu", "cuda", "mps" …: a kind that runs there.  cache: keep what was made for the next time, and use it.

    An engine that was kept is read without torch.  Raises ConvatlasError, UnknownName.
    """
    if kind not in KINDS:
        raise UnknownName("engine", kind, KINDS)
    number = checked_threads(threads)
    if isinstance(model, str | os.PathLike) and Path(model).suffix.lower() == ".onnx":
        return _of_file(Path(model), kind, weights, number, input_size, device)
    from convatlas.deploy.building import Building

    building = Building(model, weights, number, input_size, device, cache)
    chosen = building.chosen(kind)
    if chosen == "onnxruntime":
        return building.onnxruntime()
    return building.torch(chosen)


def _of_file(
    path: Path, kind: str, weights: str | os.PathLike[str], threads: int, input_size: InputSize, device: str | None
) -> Engine:
    """Of an exported file, as it is."""
    if kind not in ("auto", "onnxruntime"):
        raise ConvatlasError(f"{path} is run by onnxruntime, not by {kind}")
    if weights != "default":
        raise ConvatlasError(f"{path} has weights of its own; name its network for others")
    if device not in (None, "cpu"):
        raise ConvatlasError(f"{path} is run on the CPU, not on {device}")
    if not path.is_file():
        raise ConvatlasError(f"no file {path}")
    told = carried.read(path)
    session = opened(path, threads)
    try:
        run = Session(session)
        if run.outputs > 1:
            raise ValueError
    except ValueError:
        raise ConvatlasError(f"{path} does not read one float32 tensor and give one") from None
    size = tuple(told["input_size"]) if told is not None else _size_of(path, run)
    if input_size is not None and full_size(input_size, size) != size:
        raise ConvatlasError(f"{path} is for pictures of {' x '.join(map(str, size))}; export the network again")
    from convatlas.weights.loading import of_file

    travelling = of_file(path, told) if told is not None and told["classes"] else None
    tell(path.name, travelling)
    if told is not None and told.get("quantized", {}).get("weight_bits") == 8 and saturates():
        logger.warning("%s: on this processor sums of 8 bits may overflow; quantize with --weight-bits 7", path.name)
    return Engine("onnxruntime", path.name, size, threads, travelling, run)


def tell(name: str, travelling: Weights | None) -> None:
    """Log what is not as published, as loading the weights did."""
    for note in travelling.notes if travelling is not None else ():
        logger.warning("%s: %s", name, note)


def _size_of(path: Path, run: Session) -> tuple[int, int, int]:
    """Of a file that is not ours, as its input says."""
    size = run.shape[1:]
    if len(size) != 3 or not all(isinstance(side, int) and side > 0 for side in size):
        raise ConvatlasError(f"{path} does not say for which pictures it is, (N, C, H, W)")
    return size
