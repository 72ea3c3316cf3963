"""folded: a network for answers only, its batch norms in the convolutions before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from copy import deepcopy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from convatlas.errors import ConvatlasError
from convatlas.graph.capture import capture
from convatlas.graph.model import Graph


def folded(net: nn.Module, *, keep: Collection[str] = (), uncap: str | None = None) -> nn.Module:
    """A copy in evaluation mode without gradients, where each batch norm that alone reads a convolution is part of it.

    keep: paths of modules whose own output is needed, and stays what it is.
    uncap: the path of a module; if a ReLU6 is the last that runs of it, and runs nowhere else, it becomes a ReLU.
    A module whose graph cannot be captured is copied and no more.  Raises ConvatlasError for one that cannot be copied.
    """
    try:
        copy: nn.Module = deepcopy(net).eval().requires_grad_(False)
    except RuntimeError as error:
        raise ConvatlasError(f"{type(net).__name__} cannot be copied: {str(error).splitlines()[0]}") from error
    try:
        graph = capture(copy)
    except ConvatlasError:
        return copy
    modules = dict(copy.named_modules())
    alone = _alone(copy, graph)
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    for node in graph.nodes:
        norm = modules.get(node.name)
        if node.op != "batch_norm" or type(norm) is not nn.BatchNorm2d or norm.running_mean is None:
            continue
        before = graph.nodes[node.inputs[0]]
        conv = modules.get(before.name)
        wanted = any(_under(before.name, path) and not _under(node.name, path) for path in keep)
        only = readers[node.inputs[0]] == 1 and node.inputs[0] not in graph.outputs
        if type(conv) is nn.Conv2d and only and {before.name, node.name} <= alone and not wanted:
            _put(copy, before.name, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
            _put(copy, node.name, nn.Identity())
    if uncap:
        last = [node.name for node in graph.nodes if _under(node.name, uncap)][-1:]
        if last and last[0] in alone and type(modules.get(last[0])) is nn.ReLU6:
            _put(copy, last[0], nn.ReLU(inplace=True))
    return copy


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
