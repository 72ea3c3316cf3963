"""What a gradient does at a rectifier, as other rules than the derivative have it.

The rule takes the place of every rectifier that runs, whichever way it is called: a module, also one that is used
twice, ``F.relu``, ``x.relu_()``, ReLU6, a clamp.  Whether anything else bends a gradient, ``bends`` finds out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(gradient, where the input lies below the linear part, where above) -> gradient of the input."""


def guided(gradient: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """Springenberg et al. 2014 (arXiv 1412.6806), section 3.4: what is positive, forward and backward."""
    return gradient.clamp(min=0).masked_fill_(below | above, 0)


def deconvnet(gradient: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """Zeiler and Fergus 2013 (arXiv 1311.2901), section 2.1: the reconstruction is rectified, and nothing else."""
    return gradient.clamp(min=0)


def redirect(gradient: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """Of a picture whose whole gradient the rectifier stops, let through all but what would push further away.

    So a unit that is silent at first can be woken.  The gradient is of what is to become large.
    """
    own = gradient.masked_fill(below | above, 0)
    stopped = ~own.flatten(1).any(1)
    if not stopped.any():
        return own
    away = (below & (gradient < 0)) | (above & (gradient > 0))
    return torch.where(stopped.view(-1, *[1] * (own.dim() - 1)), gradient.masked_fill(away, 0), own)


class Rectifiers(TorchFunctionMode):
    """Within it every rectifier has another gradient.

    fixed: take the divisor of ``F.local_response_norm`` for a constant: it divides forward and backward, and itself
    gets no gradient.
    hidden: what ran and bends gradients where the graph that autograd keeps does not show it, in words: comparisons and
    values cut off from their gradient that meet the map again, and most writing into a part of a map.
    """

    def __init__(self, rule: Rule, *, fixed: bool = False):
        super().__init__()
        self.rule, self.fixed = rule, fixed
        self.hidden: list[str] = []
        self._cut: dict[int, tuple[Tensor, str, bool]] = {}
        """Values of the network's own without a gradient, which may only be looked at; what they are, in words; and
        whether their memory is that of a map."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        _, words, shared = self._cut.get(id(args[0]) if args else 0, (None, "", False))
        if shared and IN_PLACE.fullmatch(getattr(func, "__name__", "")):
            self.hidden.append(words)
        limits = LIMITS.get(func)
        found = limits(*args, **kwargs) if limits else None
        if found is None:
            if self.fixed and func is F.local_response_norm:
                return _local_response_norm(*args, **kwargs)
            return self._watched(func, args, kwargs)
        x = args[0] if args else kwargs["input"]
        low, high = found
        bent = _Bent.apply(x, low, high, self.rule)
        if kwargs.get("inplace") or getattr(func, "__name__", "").endswith("_"):
            return x.copy_(bent)  # others may hold it
        return bent

    def _watched(self, func: Any, args: Any, kwargs: Any) -> Any:
        x, name = args[0] if args else kwargs.get("input"), getattr(func, "__name__", "")
        version = x._version if isinstance(x, Tensor) else 0
        tensors = [one for one in _flat((*args, *kwargs.values())) if isinstance(one, Tensor)]
        given = any(one.requires_grad for one in tensors)
        cut = next((self._cut[id(one)][1] for one in tensors if id(one) in self._cut), "")
        maps = [one for one in tensors if one.requires_grad or self._cut.get(id(one), (None, "", False))[2]]
        out = func(*args, **kwargs)
        if given and cut:
            self.hidden.append(cut)
        for one in _flat((out,)):
            if (given or cut) and isinstance(one, Tensor) and not one.requires_grad and name not in KNOWS_NO_VALUES:
                self._cut[id(one)] = one, cut or _called(one, name), any(_memory(one) == _memory(m) for m in maps)
        if not isinstance(x, Tensor):
            return out
        if x._is_view() and x._version != version and x.requires_grad and name not in WRITES:
            constant = not any(isinstance(one, Tensor) and one.requires_grad for one in args[1:])
            if not (name in SCALES and constant):
                self.hidden.append(f"{name.strip('_')} written into a part of a map")
        return out


def _memory(values: Tensor) -> int:
    return values.untyped_storage().data_ptr()


def _flat(given: Any) -> Iterator[Any]:
    for one in given:
        if isinstance(one, list | tuple):
            yield from _flat(one)
        else:
            yield one


def _called(values: Tensor, name: str) -> str:
    """What values are that a function made of the network's own."""
    if name in COMPARES:
        return "a comparison of its own values"
    if values.dtype == torch.bool:
        return "a mask made of its own values"
    return "its own values without their gradient (a detach, .data or no_grad)"


IN_PLACE = re.compile(r"[a-z]\w*_|__i(add|sub|mul|truediv|floordiv|div|mod|pow|and|or|xor)__|__setitem__")
"""Names of functions that write over their first argument."""
COMPARES = frozenset("gt ge lt le eq ne greater greater_equal less less_equal not_equal heaviside isclose "
                     "__gt__ __ge__ __lt__ __le__ __eq__ __ne__".split())  # fmt: skip
KNOWS_NO_VALUES = frozenset("zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones "
                            "new_empty new_full new_tensor isnan isinf isfinite".split())  # fmt: skip
"""Has no gradient because it needs none: made in a map's shape, or a check that is always answered the same."""
WRITES = frozenset("copy_ add_ sub_ zero_ fill_ __setitem__ __iadd__ __isub__ requires_grad_ detach_".split())
"""Write something linear into a tensor."""
SCALES = frozenset("mul_ div_ __imul__ __itruediv__ __idiv__".split())
"""… these do where the other factor is a constant."""


class _Bent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float, rule: Rule) -> Tensor:
        ctx.save_for_backward(x <= low, x >= high)
        ctx.rule = rule
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        with torch._C.DisableTorchFunction():  # a rule may use a clamp itself
            return ctx.rule(gradient, *ctx.saved_tensors), None, None, None


def _local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    square = F.pad(input.detach().square().movedim(1, -1), (size // 2, (size - 1) // 2))
    mean = square.unfold(-1, size, 1).mean(-1).movedim(-1, 1)
    return input / (mean * alpha + k) ** beta


# ---- what is a rectifier ----------------------------------------------------------------------------------


def _relu(input: Any, inplace: bool = False) -> tuple[float, float]:
    return 0.0, math.inf


def _relu6(input: Any, inplace: bool = False) -> tuple[float, float]:
    return 0.0, 6.0


def _hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    return (0.0, float(max_val)) if min_val == 0 else None


def _clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    if isinstance(min, int | float) and min == 0 and (max is None or isinstance(max, int | float)):
        return 0.0, math.inf if max is None else float(max)
    return None


def _clamp_min(input: Any, min: Any) -> Any:
    return _clamp(input, min)


def _threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    return (0.0, math.inf) if threshold == value == 0 else None


LIMITS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _relu),
    F.relu6: _relu6,
    **dict.fromkeys((F.hardtanh, F.hardtanh_), _hardtanh),
    **dict.fromkeys((torch.clamp, torch.clamp_, torch.clip, torch.clip_, Tensor.clamp, Tensor.clamp_, Tensor.clip,
                     Tensor.clip_), _clamp),
    **dict.fromkeys((torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_), _clamp_min),
    **dict.fromkeys((F.threshold, torch.threshold, torch.threshold_), _threshold),
}  # fmt: skip
"""A rectifier's linear part, (0, …), from its arguments; None where these make it something else."""
