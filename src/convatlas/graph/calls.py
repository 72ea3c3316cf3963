"""Traced calls as operations: functions and methods, and how to read their arguments."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from convatlas.graph.modules import NoRule, listed


def call_op(step: fx.Node) -> tuple[str, dict[str, Any]]:
    """A traced function or method call as (op, attrs).  Raises NoRule."""
    name = step.target if step.op == "call_method" else FUNCTIONS.get(step.target)
    if name not in CALLS:
        raise NoRule(f"the operation {step.target}")
    op, read = CALLS[name]
    return op, read(step)


Reader = Callable[[fx.Node], dict[str, Any]]


def _argument(step: fx.Node, place: int, keyword: str, default: Any = ...) -> Any:
    value = step.args[place] if len(step.args) > place else step.kwargs.get(keyword, default)
    if value is ... or _has_proxy(value):
        raise NoRule(f"{step.target} with {keyword} = {value}")
    return value


def _has_proxy(value: Any) -> bool:
    found: list[fx.Node] = []
    fx.node.map_arg(value, found.append)
    return bool(found)


def _nothing(step: fx.Node) -> dict[str, Any]:
    if _has_proxy((step.args[1:], step.kwargs)):
        raise NoRule(f"{step.target} with computed arguments")
    return _inplace(step)


def _inplace(step: fx.Node) -> dict[str, Any]:
    """Whether the call writes its result over its first argument: relu_(x), relu(x, inplace=True), x += y."""
    name = step.target if isinstance(step.target, str) else getattr(step.target, "__name__", "")
    written = name.endswith("_") or step.target in OVERWRITING or step.kwargs.get("inplace", False)
    return {"inplace": True} if written else {}


def _dropout(step: fx.Node) -> dict[str, Any]:
    return {"p": _argument(step, 1, "p", 0.5), **_nothing(step)}


def _operands(step: fx.Node) -> dict[str, Any]:
    """Elementwise arithmetic: tensors broadcast; a number changes no shape, and is written down."""
    numbers = [value for value in step.args if isinstance(value, int | float)]
    first = {"first": True} if numbers and step.args[0] is numbers[0] else {}
    return {**({"number": numbers[0]} if numbers else {}), **first, **_inplace(step)}


def _cat(step: fx.Node) -> dict[str, Any]:
    tensors: Any = step.args[0]
    if len(set(tensors)) != len(tensors):
        raise NoRule("cat of a tensor with itself")
    dim = _argument(step, 1, "dim", step.kwargs.get("axis", 0))
    return dict(dim=dim)


def _varargs(step: fx.Node, keyword: str) -> list[int]:
    rest: Any = step.args[1:] or (step.kwargs.get(keyword),)
    values = list(rest[0]) if len(rest) == 1 and isinstance(rest[0], tuple | list) else list(rest)
    if _has_proxy(values) or not all(isinstance(v, int) for v in values):
        raise NoRule(f"{step.target} to a computed shape")
    return values


def _getitem(step: fx.Node) -> dict[str, Any]:
    index = _argument(step, 1, "index")
    source: Any = step.args[0]
    if isinstance(index, int) and source.target in PIECES:
        return dict(piece=index)
    items: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        if isinstance(item, slice):
            items.append([item.start, item.stop, item.step])
        elif isinstance(item, int):
            items.append(item)
        else:
            raise NoRule(f"indexing with {item!r}")
    return dict(index=items)


def _split(step: fx.Node) -> dict[str, Any]:
    size = _argument(step, 1, "split_size")
    dim = _argument(step, 2, "dim", 0)
    return dict(size=size, dim=dim) if isinstance(size, int) else dict(sizes=list(size), dim=dim)


def _mean(step: fx.Node) -> dict[str, Any]:
    dim = _argument(step, 1, "dim")
    return dict(dim=listed(dim, 1), keepdim=_argument(step, 2, "keepdim", False))


def _pool(step: fx.Node) -> dict[str, Any]:
    kernel = _argument(step, 1, "kernel_size")
    attrs = dict(
        kernel=listed(kernel, 2),
        stride=listed(_argument(step, 2, "stride", None) or kernel, 2),
        padding=listed(_argument(step, 3, "padding", 0), 2),
    )
    if step.target is F.avg_pool2d:
        ceil, counts = _argument(step, 4, "ceil_mode", False), _argument(step, 5, "count_include_pad", True)
        return attrs | dict(ceil=ceil, count_padding=counts)
    if _argument(step, 6, "return_indices", False):
        raise NoRule("a pool that gives its indices")
    dilation, ceil = _argument(step, 4, "dilation", 1), _argument(step, 5, "ceil_mode", False)
    return attrs | dict(dilation=listed(dilation, 2), ceil=ceil)


def _pad(step: fx.Node) -> dict[str, Any]:
    mode = _argument(step, 2, "mode", "constant")
    if mode not in ("constant", "reflect", "replicate"):
        raise NoRule(f"padding by {mode}")
    return dict(padding=list(_argument(step, 1, "pad")), **({} if mode == "constant" else {"mode": mode}))


def _pair(keyword: str, default: Any = ...) -> Reader:
    return lambda step: {keyword: listed(_argument(step, 1, keyword, default), 2)}


def _squeeze(step: fx.Node) -> dict[str, Any]:
    return dict(dims=listed(_argument(step, 1, "dim"), 1))


CALLS: dict[Any, tuple[str, Reader]] = {
    **{name: (name, _operands) for name in ("add", "sub", "mul", "div")},
    **{f"{name}_": (name, _operands) for name in ("add", "sub", "mul", "div")},
    **{
        name: (name, _nothing)
        for name in ("relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh",
                     "hardsigmoid", "hardswish", "softplus", "softmax", "log_softmax", "drop_path",
                     "contiguous", "clone", "neg", "abs", "sqrt", "exp")
    },
    **{f"{name}_": (name, _nothing) for name in ("relu", "sigmoid", "tanh")},
    "dropout": ("dropout", _dropout),
    "cat": ("cat", _cat),
    "flatten": (
        "flatten",
        lambda s: dict(start=_argument(s, 1, "start_dim", 0), end=_argument(s, 2, "end_dim", -1)),
    ),
    "getitem": ("getitem", _getitem),
    "chunk": ("chunk", lambda s: dict(chunks=_argument(s, 1, "chunks"), dim=_argument(s, 2, "dim", 0))),
    "split": ("split", _split),
    "mean": ("mean", _mean),
    "max_pool2d": ("max_pool2d", _pool),
    "avg_pool2d": ("avg_pool2d", _pool),
    "adaptive_avg_pool2d": ("adaptive_avg_pool2d", _pair("output_size")),
    "adaptive_max_pool2d": ("adaptive_max_pool2d", _pair("output_size")),
    "pad": ("pad", _pad),
    "view": ("reshape", lambda s: dict(shape=_varargs(s, "shape"))),
    "reshape": ("reshape", lambda s: dict(shape=_varargs(s, "shape"))),
    "permute": ("permute", lambda s: dict(dims=_varargs(s, "dims"))),
    "transpose": ("transpose", lambda s: dict(dims=[_argument(s, 1, "dim0"), _argument(s, 2, "dim1")])),
    "unsqueeze": ("unsqueeze", lambda s: dict(dim=_argument(s, 1, "dim"))),
    "squeeze": ("squeeze", _squeeze),
    "matmul": ("matmul", _operands),
}  # fmt: skip

FUNCTIONS: dict[Any, str] = {
    operator.add: "add", operator.iadd: "add", torch.add: "add",
    operator.sub: "sub", operator.isub: "sub", torch.sub: "sub",
    operator.mul: "mul", operator.imul: "mul", torch.mul: "mul",
    operator.truediv: "div", torch.div: "div", operator.neg: "neg",
    operator.getitem: "getitem", operator.matmul: "matmul", torch.matmul: "matmul", torch.bmm: "matmul",
    torch.cat: "cat", torch.concat: "cat", torch.flatten: "flatten", torch.chunk: "chunk", torch.split: "split",
    torch.mean: "mean", torch.permute: "permute", torch.transpose: "transpose", torch.reshape: "reshape",
    torch.unsqueeze: "unsqueeze", torch.squeeze: "squeeze",
    torch.relu: "relu", torch.relu_: "relu", torch.sigmoid: "sigmoid", torch.tanh: "tanh", torch.softmax: "softmax",
    **{getattr(F, name): name for name in
       ("relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh", "hardsigmoid",
        "hardswish", "softplus", "softmax", "log_softmax", "dropout", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
        "adaptive_max_pool2d", "pad")},
}  # fmt: skip
OVERWRITING = {operator.iadd, operator.isub, operator.imul}
PIECES = {torch.chunk, torch.split, "chunk", "split"}
