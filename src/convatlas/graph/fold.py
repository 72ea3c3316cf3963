"""folded: a network for answers only, its batch norms in the convolutions before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from copy import deepcopy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from convatlas.errors import ConvatlasError
from convatlas.graph.model import Graph
from convatlas.graph.source import graph_of


def folded(
    net: nn.Module,
    *,
    size: tuple[int, int, int] | None = None,
    keep: Collection[str] = (),
    uncap: Collection[str] = (),
) -> nn.Module:
    """A copy in evaluation mode without gradients, where each batch norm that alone reads a convolution is part of it.

    size: (C, H, W) of an input that it will read; by default the network's own.
    keep: paths of modules whose own output is needed, and stays what it is; so does what a hook sees.
    uncap: paths of modules; if an ``nn.ReLU6`` or ``nn.Hardtanh(0, …)`` is the last that runs of one, and runs nowhere
    else, it becomes an ``nn.ReLU``.  A limit that is a function (``F.relu6``, a clamp) stays.
    A module whose graph cannot be captured is copied and no more.  Raises ConvatlasError for one that cannot be copied.
    """
    copy = copied(net).eval().requires_grad_(False)
    graph = _graph(copy, size)
    if graph is None:
        return copy
    modules = dict(copy.named_modules())
    alone = _alone(copy, graph)
    touched = {path for path, module in modules.items() if hooked(module)}
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    for node in graph.nodes:
        norm = modules.get(node.name)
        if node.op != "batch_norm" or type(norm) is not nn.BatchNorm2d or norm.running_mean is None:
            continue
        before = graph.nodes[node.inputs[0]]
        conv = modules.get(before.name)
        wanted = any(_under(before.name, path) and not _under(node.name, path) for path in keep)
        seen = any(_under(before.name, path) != _under(node.name, path) for path in touched)
        only = readers[node.inputs[0]] == 1 and node.inputs[0] not in graph.outputs
        if type(conv) is nn.Conv2d and only and {before.name, node.name} <= alone and not (wanted or seen):
            _put(copy, before.name, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
            _put(copy, node.name, nn.Identity())
    for path in uncap:
        last = next((node.name for node in reversed(graph.nodes) if _under(node.name, path)), "")
        limit = modules[last] if last in alone - touched else None
        if isinstance(limit, nn.Hardtanh) and type(limit) in (nn.Hardtanh, nn.ReLU6) and limit.min_val == 0:
            _put(copy, last, nn.ReLU(limit.inplace))
    return copy


def copied(net: nn.Module) -> nn.Module:
    """A copy of its own.  Raises ConvatlasError where a reparametrisation does not let it be made."""
    try:
        return deepcopy(net)
    except RuntimeError as error:
        raise ConvatlasError(
            f"{type(net).__name__} cannot be copied ({str(error).splitlines()[0]}): if its weights are pruned or "
            "reparametrised, take that off first, as by prune.remove, remove_weight_norm or remove_spectral_norm"
        ) from error


def _graph(net: nn.Module, size: tuple[int, int, int] | None) -> Graph | None:
    """At that size or, where the whole does not run at it, at the network's own; None where it cannot be captured."""
    for one in dict.fromkeys((size, None)):
        try:
            return graph_of(net, one)
        except ConvatlasError:
            continue
    return None


def hooked(module: nn.Module) -> bool:
    """Whether more than its forward happens where a module runs: hooks, or a forward of this one module's own."""
    kinds = ("forward_pre", "forward", "backward_pre", "backward")
    return "forward" in vars(module) or any(getattr(module, f"_{kind}_hooks") for kind in kinds)


def _alone(net: nn.Module, graph: Graph) -> set[str]:
    """The paths of modules that have no other path and run once."""
    paths = Counter(id(module) for _, module in net.named_modules(remove_duplicate=False))
    runs = Counter(node.name.partition("#")[0] for node in graph.nodes)  # a second run is called "act#2"
    return {path for path, module in net.named_modules() if paths[id(module)] == 1 and runs[path] == 1}


def _under(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.") or not path


def _put(net: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, leaf = path.rpartition(".")
    setattr(net.get_submodule(parent), leaf, module)
