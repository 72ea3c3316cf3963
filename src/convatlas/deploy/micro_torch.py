"""Small graphs run by PyTorch, operation by operation, with random weights and maps that lie channels last."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from convatlas.deploy.eager import with_threads
from convatlas.graph.model import Graph, Node


class TorchPiece:
    """A graph of ``deploy.micro`` as a callable: an array (N, C, H, W) -> the maps of its ends."""

    def __init__(self, graph: Graph, threads: int):
        chance = torch.Generator().manual_seed(0)
        self._threads, self._ends = threads, graph.outputs or (len(graph.nodes) - 1,)
        self._steps = [(node.inputs, _Step(RUN[node.op](node, _weights(node, chance)))) for node in graph.nodes[1:]]

    def __call__(self, pictures: NDArray[np.float32]) -> list[Tensor]:
        with torch.inference_mode(), with_threads(self._threads):
            maps: list[Any] = [torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last)]
            for inputs, run in self._steps:
                maps.append(run(*(maps[source] for source in inputs)))
            return [maps[end] for end in self._ends]


class _Step(nn.Module):
    """A module, as networks' operations mostly are: calling one takes its time too."""

    def __init__(self, run: Callable[..., Any]):
        super().__init__()
        self.run = run

    def forward(self, *maps: Any) -> Any:
        return self.run(*maps)


def _weights(node: Node, chance: torch.Generator) -> list[Tensor]:
    made = []
    for shape in node.params.values():
        reads = math.prod(shape[1:]) if len(shape) > 1 else 1e4
        tensor = torch.randn(shape, generator=chance) * math.sqrt(2 / reads)
        made.append(tensor.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else tensor)
    return made


Run = Callable[..., Any]


def _conv(node: Node, weights: list[Tensor]) -> Run:
    a, (weight, bias) = node.attrs, weights
    return lambda x: F.conv2d(x, weight, bias, stride=a["stride"], padding=a["padding"], groups=a["groups"])


def _pool(pool: Run) -> Callable[[Node, list[Tensor]], Run]:
    def made(node: Node, weights: list[Tensor]) -> Run:
        a = node.attrs
        return lambda x: pool(x, a["kernel"], a["stride"], a["padding"])

    return made


def _norm(node: Node, weights: list[Tensor]) -> Run:
    weight, bias = weights
    mean, var = torch.zeros_like(weight), torch.ones_like(weight)
    return lambda x: F.batch_norm(x, mean, var, weight, bias)


def _pad(node: Node, weights: list[Tensor]) -> Run:
    return lambda x: F.pad(x, (0, 1, 0, 1))


def _plainly(run: Run) -> Callable[[Node, list[Tensor]], Run]:
    return lambda node, weights: lambda *maps: run(*maps, *weights)


RUN: dict[str, Callable[[Node, list[Tensor]], Run]] = {
    "conv2d": _conv,
    "linear": _plainly(F.linear),
    "identity": _plainly(lambda x: x),
    "max_pool2d": _pool(F.max_pool2d),
    "avg_pool2d": _pool(F.avg_pool2d),
    "adaptive_avg_pool2d": _plainly(lambda x: F.adaptive_avg_pool2d(x, 1)),
    "relu": _plainly(F.relu),
    "relu6": _plainly(F.relu6),
    "sigmoid": _plainly(torch.sigmoid),
    "tanh": _plainly(torch.tanh),
    "hardswish": _plainly(F.hardswish),
    "hardsigmoid": _plainly(F.hardsigmoid),
    "silu": _plainly(F.silu),
    "add": _plainly(torch.add),
    "mul": _plainly(torch.mul),
    "cat": _plainly(lambda *maps: torch.cat(maps, 1)),
    "flatten": _plainly(lambda x: x.flatten(1)),
    "batch_norm": _norm,
    "channel_shuffle": lambda node, weights: lambda x: F.channel_shuffle(x, node.attrs["groups"]),
    "chunk": lambda node, weights: lambda x: x.chunk(node.attrs["chunks"], 1),
    "getitem": lambda node, weights: lambda pieces: pieces[node.attrs["piece"]],
    "same_pad2d": _pad,
    "local_response_norm": lambda node, weights: lambda x: F.local_response_norm(x, node.attrs["size"]),
}
