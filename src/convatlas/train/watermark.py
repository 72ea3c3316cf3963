"""How many bytes of tensors there are at once, counted as the operations run."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Watermark(TorchDispatchMode):
    """Within it, ``most`` is the largest sum of the storages that were alive together, in bytes.

    held: tensors that are there before.  A storage is counted once, from the operation that makes it until nothing
    holds it, autograd included; what a kernel allocates for itself is no tensor, and is not seen.
    """

    def __init__(self, held: Iterable[Tensor]):
        super().__init__()
        self.now = self.most = 0
        self._alive: dict[int, Any] = {}
        for tensor in held:
            self._count(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        size = storage.nbytes()

        def freed(_: Any) -> None:
            self.now -= size
            self._alive.pop(key, None)

        self._alive[key] = weakref.ref(storage, freed)
        self.now += size
        self.most = max(self.most, self.now)
