"""The pictures of docs/comparison.md, from what is really drawn: python docs/compared.py"""

from __future__ import annotations

from pathlib import Path

from convatlas.compare import compare
from convatlas.compare.exhibits import exhibit

FOLDER = Path(__file__).parent / "pictures"
CHOSEN = ("resnet*", "efficientnet_b?", "mobilenet_v2_x1_0", "densenet*", "vgg16", "inception_v?")

if __name__ == "__main__":
    compare(CHOSEN).plot(FOLDER / "comparison.svg")
    for name, file in (("efficientnet", "families"), ("ilsvrc", "winners"), ("compute", "compute"),
                       ("lineage", "lineage")):  # fmt: skip
        exhibit(name).plot(FOLDER / f"{file}.svg")
