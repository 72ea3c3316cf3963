"""effective_field: which pixels move a unit, and how much, measured by gradients.

Of all the pixels that a unit can see, those in the middle move it most; how far its sight really reaches depends on
the weights, so it is measured on the module itself.
Luo, Li, Urtasun and Zemel 2016, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks"
(arXiv 1701.04128).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convatlas import registry
from convatlas.errors import ConvatlasError, UnknownName
from convatlas.graph.source import InputSize, full_size, own_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

THRESHOLD = 1 - 0.9545
"""A pixel counts where its gradient exceeds this part of the largest: a Gaussian's two standard deviations."""


@dataclass(frozen=True, slots=True)
class Effective:
    """The effective receptive field of the centre unit of one layer.

    layer:   path of the module whose output it is.  unit: (row, column) on that map.
    map:     (H, W) of the picture: the mean absolute gradient over samples and channels.
    size:    sqrt of the number of pixels that count, in pixels; 0 where no gradient arrives.
    samples: random pictures.  seed: theirs.
    status:  always "estimate": it depends on the weights and on the pictures.
    """

    layer: str
    unit: tuple[int, int]
    map: NDArray[np.float64] = field(repr=False, compare=False)
    size: float
    samples: int
    seed: int
    status: str = "estimate"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers: {"layer", "unit", "size", "samples", "seed", "status", "map"}."""
        return {"layer": self.layer, "unit": list(self.unit), "size": self.size, "samples": self.samples,
                "seed": self.seed, "status": self.status, "map": self.map.tolist()}  # fmt: skip


def effective_field(
    net: nn.Module | str, layer: str | None = None, *, input_size: InputSize = None, samples: int = 8, seed: int = 0
) -> Effective:
    """Measure the effective receptive field of a layer's centre unit.

    net: a module, or a registered name, then as its paper initialises it, by the seed.
    layer: path of a submodule, with or without "trunk.", that gives a map (N, C, H, W); None for the last one that
    gives more than one unit.
    input_size: a side in pixels, (H, W) or (C, H, W); by default the network's own.  samples: standard normal pictures.

    The unit's channels are summed; the module runs in evaluation mode, one picture at a time and no further than the
    layer, and is left as it was: modes, gradients, and the state of torch's random numbers.

    Raises UnknownName for the layer, and ConvatlasError where it gives no map or does not run.
    """
    import torch

    if samples < 1:
        raise ConvatlasError(f"at least 1 sample is needed, not {samples}")
    if isinstance(net, str):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = registry.create(net)
    if layer is not None and f"trunk.{layer}" in dict(net.named_modules()):
        layer = f"trunk.{layer}"
    size = full_size(input_size, own_size(net))
    tensor = next(net.parameters(), torch.empty(0))
    devices = [tensor.device] if tensor.device.type == "cuda" else []
    draw = torch.Generator().manual_seed(seed)
    total = torch.zeros(size[1:], dtype=torch.float64)
    with _evaluating(net), torch.enable_grad(), torch.random.fork_rng(devices):
        path = _last_map(net, torch.zeros(1, *size).to(tensor)) if layer is None else layer
        for _ in range(samples):
            picture = torch.randn(1, *size, generator=draw).to(tensor).requires_grad_()
            unit, answer = _centre(net, path, picture)
            (gradient,) = torch.autograd.grad(answer, picture, allow_unused=True)
            if gradient is not None:
                total += gradient[0].abs().double().mean(0).cpu()
    total /= samples
    counted = int((total > THRESHOLD * total.max()).sum())
    return Effective(path, unit, total.numpy(), math.sqrt(counted), samples, seed)


class _Reached(Exception):
    """The layer has run; what lies beyond it need not."""


def _centre(net: nn.Module, path: str, picture: Tensor) -> tuple[tuple[int, int], Tensor]:
    """The centre unit of the layer's first output, and the sum of its channels."""
    modules = dict(net.named_modules())
    if path not in modules:
        raise UnknownName("layer", path, [name for name in modules if name])
    reached: list[Any] = []

    def hook(module: Any, given: Any, out: Any) -> None:
        if getattr(out, "ndim", 0) != 4:
            raise ConvatlasError(f"{path} gives no map (N, C, H, W); name a layer that does")
        row, column = out.shape[2] // 2, out.shape[3] // 2
        # Summed at once: the next layer may overwrite its input.
        reached.append(((row, column), out[:, :, row, column].sum()))
        raise _Reached

    handle = modules[path].register_forward_hook(hook)
    try:
        net(picture)
    except _Reached:
        unit, answer = reached[0]
        return unit, answer
    except RuntimeError as error:
        raise ConvatlasError(f"it does not run on a picture {tuple(picture.shape[1:])}: {error}") from error
    finally:
        handle.remove()
    raise ConvatlasError(f"{path} does not run in the forward pass")


def _last_map(net: nn.Module, picture: Tensor) -> str:
    """The path of the module that is the last to give a map of more than one unit."""
    import torch

    paths: list[str] = []

    def hook(path: str) -> Any:
        def keep(module: Any, given: Any, out: Any) -> None:
            if getattr(out, "ndim", 0) == 4 and out.shape[2] * out.shape[3] > 1:
                paths.append(path)

        return keep

    handles = [module.register_forward_hook(hook(path)) for path, module in net.named_modules()]
    try:
        with torch.no_grad():
            net(picture)
    except RuntimeError as error:
        raise ConvatlasError(f"it does not run on a picture {tuple(picture.shape[1:])}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    if not paths:
        raise ConvatlasError("no layer gives a map of more than one unit; name one")
    return paths[-1]


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    before = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
