"""convatlas: an atlas of convolutional networks.

>>> import convatlas
>>> net = convatlas.create("resnet50", classes=10)
>>> convatlas.analyze("resnet50", input_size=320).totals["macs"]
7871283200
>>> convatlas.largest_batch("resnet50", 8 * 2**30, training="momentum")
101
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
    "benchmark": "convatlas.deploy.benchmark",
    "capture": "convatlas.graph.capture",
    "card": "convatlas.registry",
    "create": "convatlas.registry",
    "engine": "convatlas.deploy.engine",
    "export": "convatlas.deploy.export",
    "find": "convatlas.registry",
    "largest_batch": "convatlas.cost",
    "names": "convatlas.registry",
    "network": "convatlas.registry",
    "predict": "convatlas.deploy.predict",
    "pretrained": "convatlas.weights",
    "quantize": "convatlas.deploy.quantize",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: reading the atlas needs no torch."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'convatlas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
