"""capture: module -> Graph.

Two ways.  Symbolic tracing (torch.fx) gives a graph that holds at every input size.  Where a module does not trace, or
does something we have no rule for, its operations are recorded while it runs on tensors without data, at one input
size (``graph.record``).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from convatlas.errors import CannotTrace, InputTooSmall
from convatlas.graph.calls import call_op
from convatlas.graph.model import Graph, Node
from convatlas.graph.modules import NoRule, module_op
from convatlas.graph.ops import VIEWS


def capture(
    module: nn.Module,
    *,
    name: str | None = None,
    input_size: tuple[int, int, int] | None = None,
    batch: int = 1,
    aux: bool = False,
) -> Graph:
    """The graph of what ``module`` computes in evaluation mode.

    input_size: (C, H, W); by default the network's own, or 3 x 224 x 224 for a module that does not say.
    batch:      matters only where the module must be recorded at one input.
    aux:        of a ConvNet, with its auxiliary heads.

    Raises InputTooSmall, and CannotTrace with the reason where neither way works.
    """
    size = input_size or getattr(module, "input_size", None) or (3, 224, 224)
    label = name or getattr(module, "name", "") or type(module).__name__
    whole = _WithAux(module) if aux else module
    with _untouched(module):
        try:
            return _symbolic(whole, label, size)
        except Exception as why_not:  # whatever a stranger's forward does under a tracer
            from convatlas.graph.record import record  # heavy, and rarely needed

            try:
                return record(whole, label, size, batch)
            except Exception as error:
                if isinstance(why_not, InputTooSmall):
                    raise why_not from None
                reason = _reason(error)
                raise CannotTrace(f"cannot capture the graph of {label} at input {size}: {reason}") from why_not


def _reason(error: Exception) -> str:
    """Why a module could not be recorded, in a line."""
    text = str(error).strip() or type(error).__name__
    if "_local_scalar_dense" in text:
        return "its forward looks at a tensor's values (.item(), or a branch on them), and there are none here"
    return text.splitlines()[0]


class _WithAux(nn.Module):
    """A ConvNet whose forward runs its auxiliary heads too; its parts have the paths that they have there."""

    def __init__(self, net: Any):
        super().__init__()
        for name, part in net.named_children():
            self.add_module(name, part)
        self.checkpoints, self._run = net.checkpoints, net.with_aux

    def forward(self, x: torch.Tensor) -> Any:
        return self._run(x)


@contextmanager
def _untouched(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode; afterwards its parts hold what they held, and their dicts and lists too.

    A forward that keeps what it computes (``self.seen = x``, ``self.seen.append(x)``) would keep a tracer's stand-ins.
    """
    modes = [(m, m.training) for m in module.modules()]
    parts = [m.__dict__ for m in module.modules()]
    dicts = [*parts, *(held for own in parts for held in own.values() if isinstance(held, dict))]
    lists = [held for own in parts for held in own.values() if isinstance(held, list)]
    before = [*map(dict, dicts)], [*map(list, lists)]
    module.eval()
    try:
        yield
    finally:
        for held, own in zip(dicts, before[0]):
            held.update(own)
            for new in held.keys() - own.keys():
                del held[new]
        for row, its in zip(lists, before[1]):
            row[:] = its
        for m, training in modes:
            m.training = training  # a scripted module's is nowhere else


# ---- symbolic ---------------------------------------------------------------------------------------------


class _Value(fx.Proxy):
    """A traced tensor; unlike fx's own, it tells ``x += y`` from ``x + y``."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})


class _Tracer(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return hasattr(module, "graph_op") or super().is_leaf_module(module, path)


def _symbolic(module: nn.Module, name: str, input_size: tuple[int, int, int]) -> Graph:
    traced = _Tracer().trace(module)
    paths = {id(p): path for path, p in module.named_parameters()}
    nodes: list[Node] = []
    place: dict[fx.Node, int] = {}
    taken: set[str] = set()
    for step in traced.nodes:
        if step.op == "output":
            found: list[fx.Node] = []
            fx.node.map_arg(step.args, found.append)
            outputs = tuple(dict.fromkeys(place[source] for source in found))
            break
        if step.op == "placeholder":
            if nodes:
                if step.users:
                    raise NoRule(f"a second input, {step.name}")
                continue
            node = Node("input", "input")
        else:
            op, attrs, params, path = _translate(step, module, paths)
            inputs = tuple(place[source] for source in step.all_input_nodes)
            # The same tensor may be read twice (x * x): all_input_nodes names it once, the rules need it once too.
            node = Node(_unique(path or op, taken), op, inputs, attrs, params)
        place[step] = len(nodes)
        if "inplace" in node.attrs:  # whoever reads the input from now on reads what was written over it
            place[step.all_input_nodes[0]] = len(nodes)
        nodes.append(node)
    if _overwritten(nodes):
        raise NoRule("what is read after it was written over through a view of it")
    used = {path for node in nodes for path in node.params}
    unused = {paths[id(p)]: tuple(p.shape) for p in module.parameters() if paths[id(p)] not in used}
    checkpoints = getattr(module, "checkpoints", ())
    frozen = frozenset(paths[id(p)] for p in module.parameters() if not p.requires_grad)
    graph = Graph(name, input_size, tuple(nodes), unused=unused, checkpoints=checkpoints, frozen=frozen,
                  outputs=outputs)  # fmt: skip
    graph.shapes()  # a rule that does not fit is found here, and the module is recorded instead
    return graph


def _overwritten(nodes: Sequence[Node]) -> bool:
    """Whether a node is read after another one wrote over its values through a view."""
    root = list(range(len(nodes)))
    written: dict[int, int] = {}  # of each root, the last node that wrote over it
    for place, node in enumerate(nodes):
        if any(written.get(root[i], -1) > i for i in node.inputs):
            return True
        if node.inputs and ("inplace" in node.attrs or node.op in VIEWS):
            root[place] = root[node.inputs[0]]
            if "inplace" in node.attrs:
                written[root[place]] = place
    return False


def _unique(name: str, taken: set[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}#{count}"
    taken.add(candidate)
    return candidate


Translated = tuple[str, dict[str, Any], dict[str, tuple[int, ...]], str]


def _translate(step: fx.Node, root: nn.Module, paths: dict[int, str]) -> Translated:
    """One traced step as (op, attrs, params, path)."""
    stack = step.meta.get("nn_module_stack") or {}
    if step.op == "call_module":
        path = str(step.target)
        module = root.get_submodule(path)
        op, attrs = module_op(module)
        return op, attrs, {paths[id(p)]: tuple(p.shape) for p in module.parameters()}, path
    if step.op == "get_attr":
        value = operator.attrgetter(str(step.target))(root)
        if not isinstance(value, nn.Parameter):
            raise NoRule(f"the attribute {step.target}")
        return "parameter", {}, {paths[id(value)]: tuple(value.shape)}, str(step.target)
    op, attrs = call_op(step)
    owner = next(reversed(stack.values()))[0] if stack else ""
    return op, attrs, {}, f"{owner}.{op}" if owner else op
