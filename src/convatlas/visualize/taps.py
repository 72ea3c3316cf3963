"""Looking at a module's layers while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from convatlas.errors import ConvatlasError
from convatlas.graph.model import places

OUTPUT = ""
"""The layer that is the module itself: what it gives."""


def path_of(net: nn.Module, layer: str) -> str:
    """The path of the submodule that a user calls ``layer``: with or without "trunk.", or the last words of one.

    Of a module that has several paths, the first.
    Raises UnknownName, and ConvatlasError that names them where several end so.
    """
    if layer == OUTPUT:
        return OUTPUT
    paths = [path for path, _ in net.named_modules() if path]
    every = dict(net.named_modules(remove_duplicate=False))
    if layer in every:
        return next(path for path, module in net.named_modules() if module is every[layer])
    return paths[places(paths, layer, name_of(net))[0]]


def name_of(net: nn.Module) -> str:
    """What a network is called in messages."""
    return getattr(net, "name", "") or type(net).__name__


def unread(net: nn.Module, x: Tensor, error: Exception) -> ConvatlasError:
    """What to say where a network's forward raised ``error`` on x (N, C, H, W)."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ConvatlasError(f"{name_of(net)} does not run on a picture {tuple(x.shape[1:])}: {reason}")


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, its parameters without gradients; afterwards as it was."""
    modes = [(module, module.training) for module in net.modules()]
    trained = [p for p in net.parameters() if p.requires_grad]
    net.eval()
    for p in trained:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for p in trained:
            p.requires_grad_(True)


@contextmanager
def seeded(net: nn.Module, seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed, on the CPU and where the module is; afterwards they go on as before."""
    device = next(net.parameters(), torch.empty(0)).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device, and none is put back
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def aside(net: nn.Module, seed: int = 0) -> Iterator[None]:
    """Evaluating, with gradients on, whatever is around, and torch's random numbers from a seed: a network may draw
    some in evaluation too.  Afterwards the network and the random numbers are as they were."""
    with evaluating(net), seeded(net, seed), torch.inference_mode(False), torch.enable_grad():
        yield


class _Reached(Exception):
    """The last layer has run; what lies beyond it need not."""


class Taps:
    """The outputs of some layers of a module, which runs only as far as the last of them.

    layers: as ``path_of`` takes them.  like: an input, to find out how often each layer runs and what it gives; of a
    module that runs several times the last output counts.  shapes: by layer, of its output for ``like``.

    Raises UnknownName for a layer that does not exist, ConvatlasError for one that does not run or gives no tensor.
    """

    def __init__(self, net: nn.Module, layers: Iterable[str], like: Tensor):
        self.net = net
        self.layers = tuple(dict.fromkeys(layers))
        modules = dict(net.named_modules())
        self._modules = {layer: modules[path_of(net, layer)] for layer in self.layers}
        self._runs = dict.fromkeys(self.layers, 0)
        with torch.no_grad():
            found = self._run(like, stop=False)
        for layer in self.layers:
            if layer not in found:
                raise ConvatlasError(f"{layer} of {name_of(net)} does not run in the forward pass")
            if not isinstance(found[layer], Tensor):
                raise ConvatlasError(f"{layer or 'the output'} of {name_of(net)} is no tensor")
        self.shapes = {layer: tuple(found[layer].shape) for layer in self.layers}

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """x: (N, C, H, W) -> by layer its output, with gradients to x where these are on."""
        return self._run(x, stop=True)

    def _run(self, x: Tensor, stop: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        left = sum(self._runs.values())
        seen = dict.fromkeys(self.layers, 0)

        def tap(layer: str) -> Any:
            def hook(module: Any, given: Any, out: Any) -> Any:
                nonlocal left
                seen[layer] += 1
                found[layer] = out
                if not stop:
                    return None
                left -= 1
                if not left:
                    raise _Reached
                return out.clone()  # what comes next may write over it

            return hook

        handles = [self._modules[layer].register_forward_hook(tap(layer)) for layer in self.layers]
        try:
            self.net(x.clone())  # a first layer may write over it
        except _Reached:
            pass
        except ConvatlasError:
            raise
        except Exception as error:  # whatever a stranger's forward does
            if stop or len(found) < len(self.layers):  # else what lies beyond the layers does not matter
                raise unread(self.net, x, error) from error
        finally:
            for handle in handles:
                handle.remove()
        if not stop:
            self._runs = seen
        return found
