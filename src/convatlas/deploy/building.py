"""How an engine is made: from the disk where it was kept, else from the network."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convatlas import carried, facts
from convatlas.cost.machine import sees_gpu
from convatlas.deploy import store
from convatlas.deploy.agreement import agreement, inputs_for
from convatlas.deploy.engine import Engine, tell
from convatlas.deploy.load import busy
from convatlas.deploy.sessions import Session, installed, opened
from convatlas.deploy.timing import interleaved
from convatlas.errors import ConvatlasError
from convatlas.graph.source import InputSize, full_size, own_size
from convatlas.registry import refuse_missing
from convatlas.weights import Source, Weights, fetch
from convatlas.weights.cache import sha256
from convatlas.weights.loading import of_file, source_of, told_of
from convatlas.weights.named import network_of

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

ROUNDS, SHORT, LOOK = 5, 0.002, 0.2
"""Of the measurement by which the fastest is chosen: rounds, seconds of each at least, and of a look at the load."""


class Building:
    """One request for an engine; what it needs is found when it is asked for, torch last of all."""

    def __init__(
        self,
        model: str | os.PathLike[str] | nn.Module,
        weights: str | os.PathLike[str],
        threads: int,
        input_size: InputSize,
        device: str | None,
        cache: bool,
    ):
        self.model = os.fspath(model) if isinstance(model, str | os.PathLike) else model
        self.threads, self.device, self.cache, self._asked = threads, device, cache, input_size
        self._weights = weights
        if isinstance(self.model, str):
            refuse_missing(self.model)

    # ---- which ------------------------------------------------------------------------------------------

    def chosen(self, kind: str) -> str:
        """The kind itself, or the fastest."""
        if kind == "cuda" and self.device == "cpu":
            raise ConvatlasError("the engine cuda runs on a GPU, not on cpu")
        if self.device is not None and self.device != "cpu":
            if kind == "onnxruntime":
                raise ConvatlasError(f"ONNX Runtime runs on the CPU here, not on {self.device}")
            return kind if kind in ("compile", "eager") else "eager"
        if kind != "auto":
            return kind
        if not installed():
            return "cuda" if self._has_gpu() else "eager"
        kind = "" if self.key is None else store.remembered(self._choice) or ""
        if kind in ("eager", "onnxruntime") or (kind == "cuda" and self._has_gpu()):
            return kind
        found, sure = self._fastest()
        if sure and self.key is not None:
            store.remember(self._choice, found)
        return found

    @property
    def _choice(self) -> str:
        return f"{self.key}-{self.threads}{'-gpu' if sees_gpu() else ''}"

    def _has_gpu(self) -> bool:
        import torch

        return torch.cuda.is_available()

    def _fastest(self) -> tuple[str, bool]:
        """By turns, on one picture, and whether that was measured: on a busy machine it is ONNX Runtime unseen."""
        crowded = busy(LOOK).too_busy(self.threads)  # what would be measured is the others
        try:
            kinds = [self.onnxruntime()]
        except ConvatlasError as error:
            _ = self.net  # raises where it is the network that cannot be made
            logger.warning("%s; PyTorch runs it", error)
            kinds = []
        if crowded and kinds:
            return "onnxruntime", False
        kinds += [self.torch("eager"), *([self.torch("cuda")] if self._has_gpu() else [])]
        if len(kinds) == 1:
            return kinds[0].kind, True
        picture = np.zeros((1, *self.input_size), np.float32)
        calls = {one.kind: partial(one, picture) for one in kinds}
        times = interleaved(calls, rounds=ROUNDS, seconds=SHORT)
        return min(times, key=lambda kind: times[kind].least), True

    # ---- what determines it -----------------------------------------------------------------------------

    @cached_property
    def _source(self) -> tuple[str, Source] | None:
        """The network's name and where its weights are, where they are known without building it."""
        if not isinstance(self.model, str) or ":" in self.model or self._weights == "none":
            return None
        return source_of(self.model, self._weights)

    @cached_property
    def key(self) -> str | None:
        """None where nothing is kept: random weights, and modules whose code may change under the same name."""
        if not self.cache:
            return None
        if self._source is not None:
            name, source = self._source
            told = told_of(source) or {}
            # The engine's file says what its weights know, and how pictures are prepared for them: both determine it.
            known = [told.get(key) for key in ("options", "classes", "wnids", "preprocess", "notes")]
            known += [source.id, source.kind, source.labels, repr(source.preprocess)]
            return store.key_of(name, {"input": self._asked, "known": known}, sha256(fetch(source)))
        return self._key_of_module() if self._is_of_atlas() and self._weights != "none" else None

    def _is_of_atlas(self) -> bool:
        """And nothing of it runs that its tensors and its modules do not tell."""
        from convatlas.graph.fold import hooked
        from convatlas.net import ConvNet

        net = self.model
        return isinstance(net, ConvNet) and net.name in facts.index() and not any(map(hooked, net.modules()))

    def _key_of_module(self) -> str:
        """Of every tensor, and of what is written in the network beside them."""
        net = self.net
        digest = hashlib.sha256(str(net).encode())
        for name, tensor in net.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        travelling = getattr(net, "weights", None)
        digest.update(repr(travelling).encode())
        return store.key_of(str(net.name), {"input": self.input_size}, digest.hexdigest())

    # ---- the network ------------------------------------------------------------------------------------

    @cached_property
    def net(self) -> nn.Module:
        """The network, in evaluation mode."""
        from torch import nn

        from convatlas.deploy.eager import settle
        from convatlas.net import ConvNet

        if isinstance(self.model, nn.Module):
            return self.model
        if not isinstance(self.model, str):
            raise ConvatlasError(f"a network is a name or a torch.nn.Module, not a {type(self.model).__name__}")
        made = network_of(self.model, self._weights).eval()
        if self._weights == "none" and isinstance(made, ConvNet):
            settle(made, full_size(self._asked, own_size(made)))
        return made

    @cached_property
    def input_size(self) -> tuple[int, int, int]:
        """As asked; else that of the pictures for which the weights are, which may be larger than the paper's."""
        own, travelling = own_size(self.net), getattr(self.net, "weights", None)
        if isinstance(travelling, Weights):
            own = (own[0], travelling.preprocess.crop, travelling.preprocess.crop)
        return full_size(self._asked, own)

    @property
    def name(self) -> str:
        return self.model if isinstance(self.model, str) else getattr(self.net, "name", "") or type(self.net).__name__

    @property
    def travelling(self) -> Weights | None:
        found = getattr(self.net, "weights", None)
        if not isinstance(found, Weights):
            return None
        _, height, width = self.input_size
        if height != width or height == found.preprocess.crop:
            return found
        return replace(found, preprocess=found.preprocess.at(height))

    # ---- the engines ------------------------------------------------------------------------------------

    def torch(self, kind: str) -> Engine:
        """PyTorch: folded, channels last; compiled, or on a GPU."""
        from convatlas.deploy.eager import Eager

        device = self.device or ("cuda" if kind == "cuda" else None)
        run = Eager(self.net, self.input_size, device, self.threads, compiled=kind == "compile")
        return Engine(kind, self.name, self.input_size, self.threads, self.travelling, run)

    def onnxruntime(self) -> Engine:
        """ONNX Runtime: from the disk as it was left, or exported now, compared with the network, and kept."""
        return self._onnxruntime

    @cached_property
    def _onnxruntime(self) -> Engine:
        if self.key is not None and (content := store.find(self._named, self.key)) is not None:
            return self._opened(content)
        return self._made()

    @property
    def _named(self) -> str:
        return self._source[0] if self._source is not None else str(getattr(self.net, "name", ""))

    def _opened(self, content: bytes) -> Engine:
        session = opened(content, self.threads, optimised=True)
        told = json.loads(session.get_modelmeta().custom_metadata_map[carried.KEY])
        size = tuple(told["input_size"])
        labelled = told["classes"] and (told["weights"] or told["run"])
        travelling = self._origin(of_file(Path(self.name), told)) if labelled else None
        tell(self.name, travelling)
        return Engine("onnxruntime", self.name, size, self.threads, travelling, Session(session), cached=True)

    def _origin(self, travelling: Weights) -> Weights:
        """With the place that the weights came from, not that of the kept engine."""
        if self._source is not None:
            return replace(travelling, source=self._source[1])
        found = getattr(self.net, "weights", None)
        return replace(travelling, source=found.source) if isinstance(found, Weights) else travelling

    def _made(self) -> Engine:
        from convatlas.deploy.eager import Eager
        from convatlas.deploy.onnxing import to_onnx
        from convatlas.deploy.told import record_of_net

        with tempfile.TemporaryDirectory(prefix="convatlas-") as folder:
            path, optimised = Path(folder) / "net.onnx", Path(folder) / "optimised.onnx"
            to_onnx(
                self.net,
                path,
                input_size=self.input_size,
                record=record_of_net(self.net, self.input_size, self.travelling),
            )
            session = Session(opened(path, self.threads, keep=optimised if self.key is not None else None))
            travelling = self.travelling
            plain = Eager(self.net, self.input_size, None, self.threads, folded=False)
            inputs = inputs_for(self.input_size, travelling.preprocess if travelling else None, noise=2)
            found = agreement(plain, session, inputs, exact=plain.exact)
            if not found.holds:
                raise ConvatlasError(f"{self.name} answers otherwise in ONNX Runtime: an error of {found.error:.1e}")
            if self.key is not None:
                store.keep(self._named, self.key, optimised.read_bytes())
        return Engine("onnxruntime", self.name, self.input_size, self.threads, travelling, session)
