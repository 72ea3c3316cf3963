"""convatlas: an atlas of convolutional networks.

>>> import convatlas
>>> net = convatlas.create("resnet50", classes=10)
>>> convatlas.analyze("resnet50", input_size=320).totals
{'params': 25557032, 'macs': 7871283200}
>>> [card.name for card in convatlas.find("vgg1?")]
['vgg11', 'vgg13', 'vgg16', 'vgg19']
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "ConvNet": "convatlas.net",
    "ConvatlasError": "convatlas.errors",
    "analyze": "convatlas.cost",
    "capture": "convatlas.graph.capture",
    "card": "convatlas.registry",
    "create": "convatlas.registry",
    "find": "convatlas.registry",
    "names": "convatlas.registry",
    "network": "convatlas.registry",
    "predict": "convatlas.deploy.predict",
    "pretrained": "convatlas.weights",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: reading the atlas needs no torch."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'convatlas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
