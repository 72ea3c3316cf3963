"""What a network costs: the atlas against the papers' counts and against torch's own counter, for every network."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import convatlas
from convatlas import facts, registry
from convatlas.graph import atlas

INDEX = facts.index()


def test_the_atlas_is_what_the_code_gives() -> None:
    """Red after a change in nets/ or facts/ without `make atlas`."""
    assert atlas.stale_members(*atlas.build()) == []


@pytest.mark.parametrize("name", [name for name, fact in facts.networks().items() if "macs_G" in fact])
def test_macs_are_those_of_the_facts_to_the_last_digit(name: str) -> None:
    fact = facts.networks()[name]
    claims = [(fact["input"], fact["macs_G"]), *((at["input"], at["macs_G"]) for at in fact.get("at", ()))]
    for size, printed in claims:
        macs = convatlas.analyze(name, input_size=size).totals["macs"]
        digits = len(printed.partition(".")[2])
        assert f"{macs / 1e9:.{digits}f}" == printed, f"at {size} px"


@pytest.mark.parametrize("name", [name for name, fact in facts.networks().items() if "with_aux" in fact])
def test_auxiliary_heads_cost_what_the_facts_say(name: str) -> None:
    fact = facts.networks()[name]["with_aux"]
    totals = convatlas.analyze(name + atlas.AUX).totals
    assert totals["params"] == fact["params"]
    if "macs_G" in fact:
        digits = len(fact["macs_G"].partition(".")[2])
        assert f"{totals['macs'] / 1e9:.{digits}f}" == fact["macs_G"]


@pytest.mark.parametrize("name", INDEX)
def test_the_atlas_agrees_with_the_module_and_with_torchs_own_counter(name: str) -> None:
    net = registry.create(name, initialise=False).to("meta").eval()
    assert INDEX[name]["params"] == sum(p.numel() for p in net.parameters() if p.requires_grad)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(torch.empty(1, *net.input_size, device="meta"))
    assert 2 * INDEX[name]["macs"] == counter.get_total_flops()


@pytest.mark.parametrize("name", INDEX)
def test_the_graph_accounts_for_every_parameter(name: str) -> None:
    graph = atlas.load(name)
    traced = {path: shape for node in graph.nodes for path, shape in node.params.items()}
    net = registry.create(name, initialise=False)
    assert traced == {path: tuple(p.shape) for path, p in net.named_parameters()}
    assert not graph.unused
