"""Figures of modules and blocks, read off a network's graph: Inception, ResNet, DenseNet, the mobile families."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise

from convatlas.claims.checking import recomputes
from convatlas.claims.networks import WEIGHTED, cost, depthwise, graph, kernel, nodes, params, readers, shapes

# ---- Inception and ResNet ------------------------------------------------------------------------------------


def _stage(name: str) -> str:
    return name.split(".")[1] if name.startswith("trunk.") else name.split(".")[0]


@recomputes
def stages_as_layers(network: str) -> Mapping[str, int]:
    """Layers with parameters, an Inception module counted once; beside it, two for each module."""
    weighted = [_stage(node.name) for node, _ in nodes(network, *WEIGHTED)]
    modules = {stage for stage in weighted if stage.startswith("inception")}
    others = sum(stage not in modules for stage in weighted)
    return {"": others + len(modules), "two for each module": others + 2 * len(modules)}


@recomputes
def stage_macs(network: str, stage: str) -> int:
    """Multiply-adds of a stage and of the reduction before it."""
    return sum(
        cost(network, node, shape)
        for node, shape in nodes(network)
        if _stage(node.name).removesuffix("_reduce") == stage
    )


@recomputes
def module_kernels(network: str) -> str:
    """The kernels inside the Inception modules."""
    return ", ".join(sorted({kernel(node) for node, _ in nodes(network, "conv2d") if ".inception" in node.name}))


@recomputes
def aux_head(network: str) -> str:
    """What an auxiliary head does, without activations."""
    words = {"avg_pool2d": "AvgPool", "conv2d": "Conv", "linear": "FC"}
    heads: dict[str, list[str]] = {}
    for node, _ in nodes(f"{network}+aux", *words):
        if node.name.startswith("aux."):
            word = (kernel(node) if node.op == "conv2d" else "") + words[node.op]
            heads.setdefault(".".join(node.name.split(".")[:2]), []).append(word)
    return ", ".join(sorted({"-".join(head) for head in heads.values()}))


@recomputes
def norm_after_convolution(network: str) -> float:
    """The percentage of the convolutions that a batch norm follows."""
    read = readers(network)
    found = [
        [graph(network).nodes[i].op for i in read[place]] == ["batch_norm"]
        for place, node in enumerate(graph(network).nodes) if node.op == "conv2d"
    ]  # fmt: skip
    return 100 * sum(found) / len(found)


@recomputes
def block_kernels(network: str) -> str:
    """The kernels of a ResNet's residual branches, one after the other."""
    blocks: dict[str, list[str]] = {}
    for node, _ in nodes(network, "conv2d"):
        if match := re.fullmatch(r"trunk\.(stage\d+\.\d+)\.conv\d\.conv", node.name):
            blocks.setdefault(match[1], []).append(kernel(node))
    return " or ".join(dict.fromkeys(", ".join(block) for block in blocks.values()))


@recomputes
def stage_ratios(network: str) -> Mapping[str, Fraction | str]:
    """From one stage of a ResNet to the next: how many times more channels, and how many times smaller a side."""
    ends = {_stage(node.name): shape for node, shape in nodes(network) if node.name.startswith("trunk.stage")}
    maps = list(ends.values())
    channels = {Fraction(after[1], before[1]) for before, after in pairwise(maps)}
    sides = {Fraction(before[2], after[2]) for before, after in pairwise(maps)}
    (wider,), (smaller,) = channels, sides
    return {"channels": wider, "side": smaller}


@recomputes
def gate_ratio(network: str) -> str | int:
    """Channels of a gate against those of its middle, where all gates agree."""
    reductions = (node for node, _ in nodes(network, "conv2d", "linear") if node.name.endswith("gate.reduce"))
    ratios = {Fraction(node.attrs["inputs"], node.attrs["outputs"]) for node in reductions}
    return int(ratios.pop()) if len(ratios) == 1 else ", ".join(map(str, sorted(ratios)))


@recomputes
def growth_rate(network: str) -> str | int:
    """What each 3x3 convolution of the dense blocks adds to the maps."""
    rates = {node.attrs["outputs"] for node, _ in nodes(network, "conv2d") if kernel(node) == "3x3"}
    return rates.pop() if len(rates) == 1 else ", ".join(map(str, sorted(rates)))


# ---- the mobile families -------------------------------------------------------------------------------------


@recomputes
def kind_share(network: str, kind: str) -> Mapping[str, float]:
    """Percentages of the multiply-adds and of the parameters (weights alone) in layers of one kind."""
    macs: dict[str, int] = {}
    weights: dict[str, int] = {}
    for node, shape in nodes(network, *WEIGHTED):
        own = "linear" if node.op == "linear" else kernel(node) + (" depthwise" if depthwise(node) else "")
        macs[own] = macs.get(own, 0) + cost(network, node, shape)
        weights[own] = weights.get(own, 0) + params(node, biases=False)
    return {"MACs": 100 * macs[kind] / sum(macs.values()), "params": 100 * weights[kind] / sum(weights.values())}


@recomputes
def block_widths(network: str, block: str) -> str:
    """Channels into a block, inside it and out of it, in words."""
    inside = [
        node for node, _ in nodes(network, "conv2d") if node.name.startswith(f"{block}.") and ".gate." not in node.name
    ]
    into, middle, out = inside[0].attrs["inputs"], inside[0].attrs["outputs"], inside[-1].attrs["outputs"]
    return "narrow, wide, narrow" if into < middle > out else "wide, narrow, wide" if into > middle < out else "even"


@recomputes
def gated_blocks(network: str) -> float:
    """The percentage of the residual branches that have a gate."""
    blocks = {node.name.split(".branch.")[0] for node, _ in nodes(network, "conv2d") if ".branch." in node.name}
    gated = {node.name.split(".branch.")[0] for node, _ in nodes(network) if ".branch.gate." in node.name}
    return 100 * len(gated) / len(blocks)


@recomputes
def efficientnet_stage(network: str, stage: str) -> Mapping[str, str | int]:
    """A row of the paper's Table 1: the operator, the side of the map it reads, its channels and its blocks."""
    places = [place for place, node in enumerate(graph(network).nodes) if _stage(node.name) == f"stage{stage}"]
    first, convolutions = places[0], [graph(network).nodes[p] for p in places if graph(network).nodes[p].op == "conv2d"]
    side = shapes(network)[graph(network).nodes[first].inputs[0]][2]
    branches = [node for node in convolutions if ".branch." in node.name and ".gate." not in node.name]
    if not branches:
        (one,) = convolutions
        last = stage == str(_stages(network))
        operator = f"Conv{kernel(one)}" + (" & Pooling & FC" if last else "")
        return {"operator": operator, "resolution": f"{side}x{side}", "channels": one.attrs["outputs"], "layers": 1}
    spread = next(node for node in branches if depthwise(node))
    expansion = spread.attrs["outputs"] // branches[0].attrs["inputs"]
    blocks = {node.name.split(".branch.")[0] for node in branches}
    return {
        "operator": f"MBConv{expansion}, k{kernel(spread)}",
        "resolution": f"{side}x{side}",
        "channels": branches[-1].attrs["outputs"],
        "layers": len(blocks),
    }


def _stages(network: str) -> int:
    return len({_stage(node.name) for node, _ in nodes(network) if node.name.startswith("trunk.stage")})
