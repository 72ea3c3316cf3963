"""ConvNet: the one shape that every network of the line has."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from convatlas.blocks.init import Init, skip_init, torch_default
from convatlas.errors import ConvatlasError, UnknownName


class ConvNet(nn.Module):
    """A trunk of named stages, a head that ends in a classifier, and optional auxiliary heads.

    trunk: name -> module, in the order in which they run; each takes and gives one (N, C, H, W) map.
    head:  name -> module, from the last map to logits (N, classes); one of them is called ``classifier``.
    aux:   stage name -> head on that stage's output (GoogLeNet, Inception-v3); each has a ``classifier`` too.
    input_size: (C, H, W), the picture the network was designed for, and what the cost passes assume.
    init:  fills the parameters of one convolution or linear layer, as the paper says.
    """

    name: str = ""
    options: Mapping[str, Any] = {}
    """What ``create`` was asked beside the name: with it, the network can be built again."""
    weights: Any = None
    """What travels with the weights that were loaded (``convatlas.weights.Weights``); None before."""

    def __init__(
        self,
        trunk: Mapping[str, nn.Module],
        head: Mapping[str, nn.Module],
        *,
        input_size: tuple[int, int, int],
        aux: Mapping[str, nn.Module] | None = None,
        init: Init = torch_default,
    ):
        super().__init__()
        if "classifier" not in head:
            raise ValueError("a head needs a module called 'classifier'")
        if strangers := set(aux or {}) - set(trunk):
            raise ValueError(f"auxiliary heads on stages that do not exist: {sorted(strangers)}")
        self.trunk = nn.Sequential(OrderedDict(trunk))
        self.head = nn.Sequential(OrderedDict(head))
        self.aux = nn.ModuleDict(aux or {})
        self.input_size = input_size
        self.checkpointing = False
        self.fill = init

    # ---- what a network answers -------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, classes), in training and in evaluation."""
        return self.head(self._last_map(x))

    def with_aux(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(N, C, H, W) -> (logits, {stage: auxiliary logits}); the dict is empty without auxiliary heads."""
        aux = {}
        last = x
        for name, last in self._walk(x):
            if name in self.aux:
                aux[name] = self.aux[name](last)
        return self.head(last), aux

    def endpoints(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) -> {stage: its output map}, in the order in which the stages run."""
        return dict(self._walk(x))

    def run_to(self, x: Tensor, stage: str) -> Tensor:
        """(N, C, H, W) -> the output map of ``stage``; what lies beyond it does not run.

        Raises UnknownName if there is no such stage.
        """
        if stage not in self.stages:
            raise UnknownName(f"stage of {self.name or 'this network'}", stage, self.stages)
        return next(out for name, out in self._walk(x) if name == stage)

    def features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D): the vector that the classifier reads (the mean over the map where it reads one)."""
        x = self._last_map(x)
        for name, module in self.head.named_children():
            if name == "classifier":
                break
            x = module(x)
        return x.mean((2, 3)) if x.dim() == 4 else x

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the trunk's stages, in order."""
        return tuple(name for name, _ in self.trunk.named_children())

    @property
    def classes(self) -> int:
        """How many logits the network gives."""
        return _outputs(self.head.classifier)

    # ---- another task -----------------------------------------------------------------------------------

    def set_classes(self, classes: int) -> ConvNet:
        """Give every head a new classifier for ``classes`` classes; all other tensors stay as they are."""
        if classes < 1:
            raise ConvatlasError(f"a network needs at least 1 class, not {classes}")
        heads: dict[str, Any] = {"head": self.head, **{f"aux.{name}": head for name, head in self.aux.items()}}
        for path, head in heads.items():
            head.classifier = self._like(f"{path}.classifier", head.classifier, outputs=classes)
        return self

    def set_channels(self, channels: int) -> ConvNet:
        """Make the first layer read ``channels`` channels; all other tensors stay as they are.

        The new kernels come from the old ones in turn, shared out or summed, so that equal channels give the answer
        they gave before: one channel gets the sum of all.
        """
        if channels < 1:
            raise ConvatlasError(f"a network needs at least 1 input channel, not {channels}")
        path, old = next((p, m) for p, m in self.named_modules() if isinstance(m, nn.Conv2d))
        had = old.in_channels
        if channels == had:
            return self
        new = self._like(path, old, inputs=channels)
        with torch.no_grad():
            new.weight.copy_(kernels_for(old.weight, channels))
            if old.bias is not None:
                new.bias.copy_(old.bias)
        parent, _, leaf = path.rpartition(".")
        setattr(self.get_submodule(parent), leaf, new)
        self.input_size = (channels, *self.input_size[1:])
        return self

    def reset_parameters(self) -> None:
        """Fill every parameter anew, as the network's paper says."""
        for path, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self.fill(path, module)
            elif module is not self and hasattr(module, "reset_parameters"):
                module.reset_parameters()

    def _like(self, path: str, old: Any, *, inputs: int | None = None, outputs: int | None = None) -> Any:
        """A fresh layer of the same kind with another number of inputs or outputs."""
        with skip_init():
            if isinstance(old, nn.Linear):
                new: Any = nn.Linear(old.in_features, outputs or old.out_features, bias=old.bias is not None)
            elif isinstance(old, nn.Conv2d):
                kept = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
                options: dict[str, Any] = {attribute: getattr(old, attribute) for attribute in kept}
                options["bias"] = old.bias is not None
                new = nn.Conv2d(inputs or old.in_channels, outputs or old.out_channels, **options)
            else:
                raise ConvatlasError(f"{self.name}: its {type(old).__name__} classifier has a fixed number of classes")
        self.fill(path, new)
        return new.to(old.weight).train(old.training)

    # ---- how it runs ------------------------------------------------------------------------------------

    def _walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Each stage's name with its output, one stage at a time."""
        for name, stage in self.trunk.named_children():
            x = _checkpointed(stage, x) if self.checkpointing and self.training else stage(x)
            yield name, x

    def _last_map(self, x: Tensor) -> Tensor:
        for _, out in self._walk(x):
            x = out
        return x

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The paths of the modules that activation checkpointing runs twice and keeps only the inputs of."""
        return tuple(
            f"trunk.{name}.{child}" if child else f"trunk.{name}"
            for name, stage in self.trunk.named_children()
            for child, _ in units(stage)
        )


def units(stage: nn.Module) -> list[tuple[str, nn.Module]]:
    """A stage's blocks by name where it is a plain sequence of blocks; else the stage itself, under ''."""
    children = list(stage.named_children())
    composed = all(next(child.children(), None) is not None for _, child in children)
    if type(stage) is nn.Sequential and children and composed:
        return children
    return [("", stage)]


def _checkpointed(stage: nn.Module, x: Tensor) -> Tensor:
    """The stage under activation checkpointing; running statistics see each batch once, not twice."""
    for _, unit in units(stage):
        contexts = partial(_forward_and_recompute, unit)
        x = checkpoint(unit, x, use_reentrant=False, context_fn=contexts)
    return x


def _forward_and_recompute(unit: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    return nullcontext(), _frozen_statistics(unit)


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    norms: list[Any] = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = [(m, m.momentum, None if m.num_batches_tracked is None else m.num_batches_tracked.clone()) for m in norms]
    try:
        for m in norms:
            m.momentum = 0.0
        yield
    finally:
        for m, momentum, seen in kept:
            m.momentum = momentum
            if seen is not None:
                m.num_batches_tracked.copy_(seen)


def kernels_for(weight: Tensor, channels: int) -> Tensor:
    """Kernels (out, in, k, k) for another number of inputs, their sum over the inputs unchanged."""
    had = weight.shape[1]
    if channels < had:
        turns = torch.arange(had, device=weight.device) % channels
        return weight.new_zeros(weight.shape[0], channels, *weight.shape[2:]).index_add_(1, turns, weight)
    turns = torch.arange(channels, device=weight.device) % had
    copies = torch.bincount(turns, minlength=had)[turns]
    return weight[:, turns] / copies.view(1, -1, 1, 1)


def _outputs(layer: Any) -> int:
    return layer.out_features if hasattr(layer, "out_features") else layer.out_channels
