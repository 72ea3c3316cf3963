"""folded: a network for answers only, its batch norms in the convolutions before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from copy import deepcopy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from convatlas.errors import CannotTrace
from convatlas.graph.capture import capture


def folded(net: nn.Module, *, keep: Iterable[str] = ()) -> nn.Module:
    """A copy in evaluation mode without gradients, where each batch norm that alone reads a convolution is part of it.

    keep: paths of modules whose own output is needed: a convolution among them stays as it is.
    A module whose graph cannot be captured is copied and no more.
    """
    copy: nn.Module = deepcopy(net).eval().requires_grad_(False)
    try:
        graph = capture(copy)
    except CannotTrace:
        return copy
    kept = set(keep)
    modules = dict(copy.named_modules())
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    # A second run has a name of its own.
    runs = Counter(id(modules.get(node.name.partition("#")[0])) for node in graph.nodes)
    for node in graph.nodes:
        norm = modules.get(node.name)
        if node.op != "batch_norm" or type(norm) is not nn.BatchNorm2d or norm.running_mean is None:
            continue
        before = graph.nodes[node.inputs[0]]
        conv = modules.get(before.name)
        alone = readers[node.inputs[0]] == 1 and node.inputs[0] not in graph.outputs
        if type(conv) is nn.Conv2d and alone and runs[id(conv)] == runs[id(norm)] == 1 and before.name not in kept:
            parent, _, leaf = before.name.rpartition(".")
            setattr(copy.get_submodule(parent), leaf, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
            parent, _, leaf = node.name.rpartition(".")
            setattr(copy.get_submodule(parent), leaf, nn.Identity())
    return copy
