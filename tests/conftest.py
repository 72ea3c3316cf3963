"""What all tests share: the same chance for each, and a run of every registered network for whichever asks for
``network_name``."""

from __future__ import annotations

import sys

import pytest

from convatlas import facts, registry


def representatives() -> list[str]:
    """One network per family: the one with the least multiply-adds, of equals the last, so not the plain one."""
    index, names = facts.index(), registry.names()
    macs = {name: index[name]["macs"] if name in index else float("inf") for name in names}
    chosen: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (macs[name], -names.index(name))):
        chosen.setdefault(facts.networks().get(name, {}).get("family", ""), name)
    return [name for name in names if name in chosen.values()]


@pytest.fixture(autouse=True)
def _chance() -> None:
    """A test's random weights do not follow from which tests ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One network per family in the ordinary run; all the others are marked ``slow``."""
    if "network_name" in metafunc.fixturenames:
        usual = representatives()
        names = [name if name in usual else pytest.param(name, marks=pytest.mark.slow) for name in registry.names()]
        metafunc.parametrize("network_name", names, scope="module")
