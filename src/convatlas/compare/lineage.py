"""Which paper brought which idea, and whose idea it took up: a tree of papers, by ``parent`` and ``idea`` of the facts.

A paper's networks are summed up in one node, those of a paper without an idea in their family's.  A node's parent is
the first other paper that one meets going up from the network that brought the idea.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from convatlas import facts
from convatlas.compare.dates import date_of
from convatlas.compare.tables import Column, Table, words
from convatlas.errors import ConvatlasError


@dataclass(frozen=True, slots=True)
class Node:
    """A paper that brought an idea.

    name: the network that first brought it; title: what the paper's networks are called; date: in years.
    ideas: all of the paper; networks: all of the paper; parent: a node's name, None of the root.
    """

    name: str
    title: str
    family: str
    paper: str
    year: int
    date: float
    ideas: tuple[str, ...]
    networks: tuple[str, ...]
    parent: str | None


TITLES = {
    "lenet5": "LeNet-5", "nin_cifar10": "Network in network", "vgg11": "VGG", "googlenet": "GoogLeNet",
    "inception_v2": "BN-Inception", "inception_v4": "Inception-v4, Inception-ResNet", "plain34": "ResNet",
    "alexnet_owt": "One weird trick", "squeezenet1_0": "SqueezeNet", "preresnet200": "PreResNet",
    "wrn28_10_cifar": "Wide ResNet", "densenet40_k12_cifar": "DenseNet", "resnext50_32x4d": "ResNeXt",
    "mobilenet_v1_x1_0": "MobileNet", "shufflenet_v1_x1_0_g3": "ShuffleNet", "se_resnet50": "SENet",
    "mobilenet_v2_x1_0": "MobileNetV2", "shufflenet_v2_x1_0": "ShuffleNetV2", "mnasnet_b1": "MnasNet",
    "mobilenet_v3_large_x1_0": "MobileNetV3", "efficientnet_b0": "EfficientNet",
    "efficientnet_lite0": "EfficientNet-Lite",
}  # fmt: skip
"""What a paper's networks are called together, where that is not the first one's title."""


@cache
def tree() -> tuple[Node, ...]:
    """Every paper that brought an idea, by date; a parent stands before its children.

    Raises ConvatlasError where the facts' parents go in a circle.
    """
    known = facts.networks()
    first = _first()
    nodes = []
    for paper, name in first.items():
        title = TITLES.get(name, known[name]["title"].split(" (")[0])
        own = [
            other
            for other in known
            if _paper(other) == paper
            or (_paper(other) not in first and known[other]["family"] == known[name]["family"])
        ]
        ideas = dict.fromkeys(known[other]["idea"] for other in own if "idea" in known[other])
        origin = _above(name, paper)
        nodes.append(Node(
            name, title, known[name]["family"], known[name]["paper"], int(known[name]["year"]), date_of(name),
            tuple(sorted(ideas, key=lambda idea: idea.startswith(title))),  # an idea of a variant's stands last
            tuple(own), first.get(origin) if origin else None,
        ))  # fmt: skip
    return tuple(sorted(nodes, key=lambda node: node.date))


def _paper(name: str) -> str:
    """What a network is of: its paper; a later family that bases on one (EfficientNet-Lite) is apart."""
    entry = facts.networks()[name]
    apart = f", {entry['family']}" if entry["family"] == "EfficientNet-Lite" else ""
    return f"{entry['paper']}{apart}"


def _first() -> dict[str, str]:
    """Every paper that brought an idea, and the network that first did."""
    found: dict[str, str] = {}
    for name, entry in facts.networks().items():
        if "idea" in entry:
            found.setdefault(_paper(name), name)
    return found


def _above(name: str, paper: str) -> str | None:
    """The first other paper with an idea going up from a network."""
    seen = [name]
    known = facts.networks()
    with_ideas = _first()
    while (up := known[seen[-1]].get("parent")) is not None:
        if up in seen:
            raise ConvatlasError(f"networks.toml: the parents of {name} go in a circle at {up}")
        if _paper(up) != paper and _paper(up) in with_ideas:
            return _paper(up)
        seen.append(up)
    return None


def table() -> Table:
    """A row for each paper, by date."""
    rows = tuple({
        "year": node.year, "paper": node.paper, "title": node.title, "name": node.name, "family": node.family,
        "parent": node.parent, "after": _title(node.parent), "ideas": " ".join(node.ideas),
        "networks": len(node.networks),
    } for node in tree())  # fmt: skip
    columns = (
        Column("year", "year", str, spare=1),
        words("title", "what"),
        words("after", "after"),
        words("ideas", "what was new", wide=True),
        Column("networks", "networks", str, spare=2),
        words("paper", "paper", told=False),
        words("name", "name", told=False),
        words("parent", "parent", told=False),
        words("family", "family", told=False),
    )
    every = sum(len(node.networks) for node in tree())
    return Table("Which paper brought which idea", columns, rows, (
        f"{len(rows)} papers and what was released after one, with {every} networks of the atlas among them. Each "
        "stands after the paper whose idea it takes up first; most take up more than one.",
    ))  # fmt: skip


def _title(name: str | None) -> str:
    return next((node.title for node in tree() if node.name == name), "")
