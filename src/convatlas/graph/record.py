"""record: any module's operations, as they run on tensors without data, at one input size."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

from convatlas.graph.model import Graph, Node
from convatlas.graph.modules import listed


def record(module: nn.Module, name: str, input_size: tuple[int, int, int], batch: int) -> Graph:
    """Run ``module`` once on a picture without data and write down every operation, its shape and its multiply-adds.

    Raises whatever the module's forward raises: it may look at values, which are not there.
    """
    recorder = _Recorder(module)
    with _quiet(), FakeTensorMode(allow_non_fake_inputs=True):
        first = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
        picture = torch.empty(batch, *input_size, dtype=first.dtype)
        recorder.start(picture)
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # evaluation's own kernel, which training does not use
        try:
            with torch.no_grad(), recorder:
                answer = module(picture)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
    used = {path for node in recorder.nodes for path in node.params}
    unused = {path: tuple(p.shape) for path, p in module.named_parameters() if path not in used}
    frozen = frozenset(path for path, p in module.named_parameters() if not p.requires_grad)
    return Graph(name, input_size, tuple(recorder.nodes), recorded=batch, unused=unused, frozen=frozen,
                 outputs=recorder.places(answer))  # fmt: skip


@contextmanager
def _quiet() -> Iterator[None]:
    """torch logs the traceback of an operation that does not fit; the error that it raises says enough."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps every tensor it has seen alive, so that an id means one tensor."""

    def __init__(self, module: nn.Module):
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Node] = []
        self._paths = {id(p): path for path, p in module.named_parameters()}
        self._shapes = {path: tuple(p.shape) for path, p in module.named_parameters()}
        self._place: dict[int, int] = {}
        self._from_parameter: dict[int, str] = {}
        self._alive: list[Tensor] = []
        self._stack: list[str] = []
        self._names = {id(m): path for path, m in module.named_modules()}
        self._taken: dict[str, int] = {}
        self._written: dict[int, int] = {}  # of each storage, the last node that wrote over a part of it
        self._hooks: list[Any] = []

    def start(self, picture: Tensor) -> None:
        self._see(picture, 0)
        self.nodes.append(Node("input", "input", shape=tuple(picture.shape)))

    def __enter__(self) -> Any:
        hooks = torch.nn.modules.module
        self._hooks = [
            hooks.register_module_forward_pre_hook(lambda m, _: self._stack.append(self._names.get(id(m), ""))),
            hooks.register_module_forward_hook(self._leave),
        ]
        return super().__enter__()  # type: ignore[no-untyped-call]

    def _leave(self, *_: Any) -> None:
        self._stack.pop()

    def __exit__(self, *problem: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*problem)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        made = [t for t in tree_flatten(out)[0] if isinstance(t, Tensor)]
        if not made:
            return out
        params = {path: self._shapes[path] for t in given if (path := self._parameter(t))}
        inputs = tuple(dict.fromkeys(self._read(t) for t in given if id(t) in self._place))
        if not inputs and len(params) == 1 and func.is_view:
            self._from_parameter.update((id(t), next(iter(params))) for t in made)
            self._alive.extend(made)
            return out
        op = _name(func, given, transposed=func is torch.ops.aten.convolution.default and args[6])
        shape = tuple(made[0].shape)
        attrs = {"macs": _macs(func, args, kwargs, out), **_attrs(func, args)}
        self.nodes.append(Node(self._unique(op), op, inputs, attrs, params, shape))
        for t in made:
            self._see(t, len(self.nodes) - 1)
        if "inplace" in attrs:
            self._written[made[0].untyped_storage()._cdata] = len(self.nodes) - 1
        return out

    def _read(self, tensor: Tensor) -> int:
        """Where a tensor's values come from; where they were written over through a view, a node that says so."""
        place = self._place[id(tensor)]
        write = self._written.get(tensor.untyped_storage()._cdata, -1)
        if write > place:
            name, shape = self._unique("overwritten"), tuple(tensor.shape)
            self.nodes.append(Node(name, "overwritten", (place, write), {"macs": 0}, shape=shape))
            place = len(self.nodes) - 1
            self._see(tensor, place)
        return place

    def places(self, answer: Any) -> tuple[int, ...]:
        """Of the tensors that the module gave."""
        tensors = [t for t in tree_flatten(answer)[0] if isinstance(t, Tensor) and id(t) in self._place]
        return tuple(dict.fromkeys(self._place[id(t)] for t in tensors))

    def _see(self, tensor: Tensor, place: int) -> None:
        self._place[id(tensor)] = place
        self._alive.append(tensor)

    def _parameter(self, tensor: Tensor) -> str | None:
        """The path of the parameter that this tensor is, or is a view of."""
        return self._paths.get(id(tensor)) or self._from_parameter.get(id(tensor))

    def _unique(self, op: str) -> str:
        path = self._stack[-1] if self._stack else ""
        name = f"{path}.{op}" if path else op
        self._taken[name] = self._taken.get(name, 0) + 1
        return name if self._taken[name] == 1 else f"{name}#{self._taken[name]}"


def _macs(func: Any, args: Any, kwargs: Any, out: Any) -> int | None:
    """By torch's own formulas; None for an operation that may multiply matrices inside, and nobody has told us how."""
    formula = flop_registry.get(func._overloadpacket)
    if formula is not None:
        return int(formula(*args, **kwargs, out_val=out)) // 2
    name = func._overloadpacket.__name__
    if name.startswith("_scaled_dot_product"):  # (…, queries, width) by (…, keys, width), and back
        query, key, value = args[:3]
        return int(math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1]))
    known = torch.Tag.pointwise in func.tags or func.is_view or name.strip("_").split(".")[0] in NO_PRODUCTS
    return 0 if known and func.namespace in ("aten", "prims", "prim") else None


NO_PRODUCTS = frozenset(
    """
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d alias all amax amin any arange argmax argmin avg_pool1d
    avg_pool2d avg_pool3d bernoulli cat channel_shuffle clone constant_pad_nd copy cumsum detach embedding empty
    empty_like empty_strided eye fill flip full full_like gather index index_select isin linspace log_softmax
    masked_fill max max_pool2d_with_indices max_pool3d_with_indices mean min native_batch_norm
    native_batch_norm_legit native_batch_norm_legit_no_training native_channel_shuffle native_dropout
    native_group_norm native_layer_norm new_empty new_full new_ones new_zeros nonzero norm ones ones_like pixel_shuffle
    pixel_unshuffle prod rand randn reflection_pad1d reflection_pad2d repeat replication_pad2d resize roll
    scalar_tensor scatter select_backward softmax sort split_with_sizes stack std sum to to_copy topk tril triu unbind
    unsafe_index unsafe_view upsample_bicubic2d upsample_bilinear2d upsample_nearest2d upsample_nearest_exact2d var
    var_mean where zero zeros zeros_like
    """.split()
)
"""Operations without multiply-adds of matrices, beside the pointwise ones and views."""


def _attrs(func: Any, args: Any) -> dict[str, Any]:
    """What the passes want to know of an operation beside its shapes."""
    name: str = func._overloadpacket.__name__
    attrs: dict[str, Any] = {}
    if name == "convolution":
        names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
        attrs.update(zip(names, (list(a) if isinstance(a, list | tuple) else a for a in args[3:9])))
        attrs["kernel"] = list(args[1].shape[2:])
        attrs["inputs"], attrs["outputs"] = args[0].shape[1], args[1].shape[0]
        if attrs.pop("transposed"):
            attrs["outputs"] = args[1].shape[1] * attrs["groups"]
        else:
            del attrs["output_padding"]
    elif name in ("max_pool2d_with_indices", "avg_pool2d"):
        axes, ceil = 2, 5 if name.startswith("max") else 4
        attrs.update(
            kernel=listed(args[1], axes), stride=listed(args[2] or args[1] if len(args) > 2 else args[1], axes)
        )
        attrs.update(
            padding=listed(args[3] if len(args) > 3 else 0, axes), ceil=bool(args[ceil]) if len(args) > ceil else False
        )
    elif name == "_adaptive_avg_pool2d":
        attrs["output_size"] = list(args[1])
    elif name in ("mean", "sum") and len(args) > 1:
        attrs.update(dim=listed(args[1], 1), keepdim=bool(args[2]) if len(args) > 2 else False)
    elif name == "constant_pad_nd":
        attrs["padding"] = list(args[1])
    elif name == "permute":
        attrs["dims"] = list(args[1])
    elif name == "cat":
        attrs["dim"] = args[1] if len(args) > 1 else 0
    elif name in ("add", "sub", "mul", "div") and not isinstance(args[1], Tensor):
        attrs["number"] = float(args[1])
    if func.is_view:
        attrs["view"] = True
    if name.endswith("_") and not name.startswith("_"):
        attrs["inplace"] = True
    return attrs


RENAMED = {
    "addmm": "linear",
    "mm": "linear",
    "bmm": "matmul",
    "_native_batch_norm_legit_no_training": "batch_norm",
    "native_batch_norm": "batch_norm",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "max_pool2d_with_indices": "max_pool2d",
    "_adaptive_avg_pool2d": "adaptive_avg_pool2d",
    "hardtanh": "relu6",
    "_softmax": "softmax",
    "_scaled_dot_product_flash_attention_for_cpu": "scaled_dot_product_attention",
    "_scaled_dot_product_attention_math": "scaled_dot_product_attention",
    "view": "reshape",
    "_unsafe_view": "reshape",
    "t": "transpose",
    "constant_pad_nd": "pad",
    "alias": "identity",
}


def _name(func: Any, given: list[Tensor], transposed: bool = False) -> str:
    name: str = func._overloadpacket.__name__
    if name == "convolution":
        return f"conv{'_transpose' if transposed else ''}{given[0].dim() - 2}d"
    name = name.removesuffix("_") if not name.startswith("__") else name
    return RENAMED.get(name, name)
