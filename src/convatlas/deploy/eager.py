"""PyTorch itself as an engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convatlas.errors import ConvatlasError
from convatlas.graph.fold import copied
from convatlas.graph.fold import folded as fold


class Eager:
    """(N, C, H, W) float32 -> logits (N, classes), by a copy of a network in evaluation mode.

    folded: batch norms in the convolutions before them, channels last.  compiled: by torch.compile, on first use.
    double: in float64.
    ``net`` is the copy that runs.
    """

    def __init__(
        self,
        net: nn.Module,
        input_size: tuple[int, int, int],
        device: str | None,
        threads: int,
        *,
        folded: bool = True,
        compiled: bool = False,
        double: bool = False,
    ):
        made = fold(net, size=input_size) if folded else copied(net).eval().requires_grad_(False)
        first = next(net.parameters(), torch.empty(0))
        self._device = torch_device(device) if device is not None else first.device
        self._format = torch.channels_last if folded else torch.contiguous_format
        self._threads = threads
        self._type = torch.float64 if double else torch.float32
        self.net = made.to(self._device, self._type).to(memory_format=self._format)
        self._run = torch.compile(self.net, dynamic=True) if compiled else self.net

    def __call__(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(pictures, np.float32))
            with with_threads(self._threads):
                logits = self._answer(x.to(self._device, self._type).contiguous(memory_format=self._format))
            if not isinstance(logits, torch.Tensor):
                raise ConvatlasError(f"the network gives a {type(logits).__name__}, not one tensor of logits")
            answer: NDArray[np.float32] = (logits if self._type == torch.float64 else logits.float()).cpu().numpy()
            return answer

    def _answer(self, x: torch.Tensor) -> torch.Tensor:
        """Raises ConvatlasError where torch.compile cannot, which shows at the first call."""
        if self._run is self.net:
            return self.net(x)
        try:
            return self._run(x)
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ConvatlasError(f"torch.compile cannot be used here: {reason[:300]}") from error

    def exact(self) -> Eager:
        """The same in float64."""
        return Eager(self.net, (0, 0, 0), str(self._device), self._threads, folded=False, double=True)


def settle(net: nn.Module, input_size: tuple[int, int, int]) -> None:
    """Let the batch norms of a network with fresh weights know the maps of noise.

    As made they know none: through hundreds of blocks the maps grow until they are no numbers, or until float32 says
    nothing of the last.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    before = [norm.momentum for norm in norms]
    noise = torch.randn((2, *input_size), generator=torch.Generator().manual_seed(0))
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        net(noise)
    for norm, momentum in zip(norms, before):
        norm.eval().momentum = momentum


@contextmanager
def with_threads(number: int) -> Iterator[None]:
    """Within it torch runs an operation on so many threads; afterwards on as many as before."""
    before = torch.get_num_threads()
    if before == number:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_device(name: str) -> torch.device:
    """A device that works.  Raises ConvatlasError for one that does not."""
    try:
        made = torch.ones(1, device=name)
        made.cpu()
        return made.device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0][:200]
        raise ConvatlasError(f"device {name!r} cannot be used: {reason}") from error
