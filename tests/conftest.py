"""Tests over the whole registry: whichever asks for ``network_name`` runs for every registered network."""

from __future__ import annotations

import pytest

from convatlas import facts, registry


def representatives() -> list[str]:
    """Of every family, every module of ``nets`` and every set of options in it, the network with the least to do."""
    index, names = facts.index(), registry.names()
    covered: set[object] = set()
    chosen = []
    for name in sorted(names, key=lambda name: index[name]["macs"] if name in index else float("inf")):
        kinds = {facts.networks().get(name, {}).get("family"), (registry.module_of(name), registry.options(name))}
        if kinds - covered:
            chosen.append(name)
            covered |= kinds
    return sorted(chosen, key=names.index)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One network per family in the ordinary run; all the others are marked ``slow``."""
    if "network_name" in metafunc.fixturenames:
        usual = representatives()
        names = [name if name in usual else pytest.param(name, marks=pytest.mark.slow) for name in registry.names()]
        metafunc.parametrize("network_name", names, scope="module")
