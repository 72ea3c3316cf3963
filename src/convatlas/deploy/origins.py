"""Which layer a node of an exported network is of, also after ONNX Runtime has fused and renamed it.

The older exporter names a node by the path of its module ("/stage1/stage1.0/conv1/conv/Conv"), the newer notes the path
beside it, and weights keep their names.  ONNX Runtime calls a node that it has made after the node or value that it
stands for ("/stage1/stage1.0/conv1/act/Relu_output_0_nchwc"), or by a word of its own ("ReorderOutput").
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where the newer exporter notes a node's modules, the innermost last but one."""
WEIGHTED = ("Conv", "Gemm", "MatMul", "BatchNormalization", "ConvTranspose")
FUSED = ("Conv", "FusedConv", "FusedGemm", "NhwcFusedConv")
"""What ONNX Runtime calls a convolution, or a linear layer, with what follows it."""
REORDER, OTHER = "reorder", "other"
"""Between layouts; and what cannot be told."""
FAR = 4
"""Nodes from a fused activation back to its convolution, at most."""
SAME = {"concat": "cat", "reducemean": "mean", "globalaveragepool": "adaptive_avg_pool2d", "maxpool": "max_pool2d",
        "conv": "conv2d", "gemm": "linear", "matmul": "linear", "batchnormalization": "batch_norm"}  # fmt: skip
"""ONNX's names, in small letters, of what has another one in our graphs."""


class Origins:
    """layer(name, op): the row's name of what the profiler calls so; else "reorder" or "other"."""

    def __init__(self, model: Any, rows: Iterable[str]):
        """model: the network as it was exported, of ONNX.  rows: the names of our report's rows."""
        self._rows = _Rows(rows)
        nodes = [node for node in model.graph.node if node.op_type not in ("Identity", "Constant")]
        renamed = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Identity"}
        self._made = {output: node for node in nodes for output in node.output}
        self._named = {node.name: node for node in nodes}
        self._layers = {node.name: self._of_node(node, renamed) for node in nodes}

    def layer(self, name: str, op: str) -> str:
        if name.startswith("Reorder"):
            return REORDER
        plain = re.sub(r"_nchwc$", "", name.removeprefix("fused "))
        made_of = re.sub(r"_(bn|mul|add)$|/[A-Za-z]+Fusion(/.*)?$", "", plain)
        node = self._named.get(made_of) or self._made.get(made_of)
        if node is None:  # a part of a fusion, or of a branch
            return self._of_name(made_of)
        if op in FUSED and plain == made_of:
            node = self._before(node)
        return self._layers[node.name]

    def _before(self, node: Any) -> Any:
        """The convolution, or the like, that a fused node stands for; itself where there is none near."""
        found = [node]
        for _ in range(FAR):
            for one in found:
                if one.op_type in WEIGHTED:
                    return one
            found = [self._made[name] for one in found for name in one.input if name in self._made]
        return node

    def _of_node(self, node: Any, renamed: dict[str, str]) -> str:
        if node.op_type in WEIGHTED:
            for given in node.input[1:]:
                path = renamed.get(given, given).rpartition(".")[0]
                if path and (row := self._rows.within(path, node.op_type)) is not None:
                    return row
        scopes = next((ast.literal_eval(note.value) for note in node.metadata_props if note.key == SCOPES), None)
        if scopes is not None:
            return self._rows.within(scopes[-2] if len(scopes) > 1 else "", node.op_type) or OTHER
        return self._of_name(node.name)

    def _of_name(self, name: str) -> str:
        if not name.startswith("/"):
            return OTHER
        return self._rows.within(_path(name), name.rpartition("/")[2]) or OTHER


def _path(name: str) -> str:
    """ "/stage1/stage1.0/conv1/Conv" -> "stage1.0.conv1": a member of a sequence is called with its sequence."""
    parts: list[str] = []
    for word in name.split("/")[1:-1]:
        if parts and word.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(word)
    return ".".join(parts)


class _Rows:
    """The rows' names, by the paths of their modules with and without "trunk"."""

    def __init__(self, names: Iterable[str]):
        self._names = list(names)
        self._paths = {name.removeprefix("trunk."): name for name in self._names}

    def within(self, path: str, operation: str) -> str | None:
        """The row of a module, or of an operation in it ("Concat", "Add_1"): the one of that name, else the first."""
        path = path.removeprefix("trunk.")
        op, _, number = operation.lower().partition("_")
        run = f"#{int(number) + 1}" if number.isdigit() else ""
        if (found := self._paths.get(path) or self._again(path)) is not None:
            return found
        inside = f"{path}." if path else ""
        own = [one for one in self._paths if one.startswith(inside) and "." not in one[len(inside) :]]
        word = f"{inside}{SAME.get(op, op)}"
        for wanted in (f"{word}{run}", word, *(own[:1] if path else [])):
            if wanted in self._paths:
                return self._paths[wanted]
        return None

    def _again(self, path: str) -> str | None:
        """The older exporter calls a second run "act_1", our graphs call it "act#2"."""
        match = re.fullmatch(r"(.+)_(\d+)", path)
        return self._paths.get(f"{match[1]}#{int(match[2]) + 1}") if match else None
