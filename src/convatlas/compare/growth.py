"""Accuracy against parameters and against multiply-adds, family by family: the closing figure of arXiv 1905.11946."""

from __future__ import annotations

from typing import Any

from convatlas.compare.accuracy import SOURCES
from convatlas.compare.axes import axis
from convatlas.compare.rows import Row, gather
from convatlas.compare.tables import Column, Table, words
from convatlas.errors import ConvatlasError

SERIES = {
    "AlexNet": "alexnet",
    "VGG": "vgg11 vgg13 vgg16 vgg19",
    "GoogLeNet": "googlenet",
    "Inception": "inception_v2 inception_v3 inception_v4",
    "Inception-ResNet-v2": "inception_resnet_v2",
    "ResNet": "resnet50 resnet101 resnet152",
    "ResNet v1.5": "resnet50_v1_5 resnet101_v1_5 resnet152_v1_5",
    "SqueezeNet": "squeezenet1_0",
    "PreResNet-200": "preresnet200",
    "Wide ResNet-50-2": "wide_resnet50_2",
    "DenseNet": "densenet121 densenet169 densenet201 densenet264",
    "Xception": "xception",
    "ResNeXt": "resnext50_32x4d resnext101_32x4d resnext101_64x4d",
    "MobileNetV1": "mobilenet_v1_x0_25 mobilenet_v1_x0_5 mobilenet_v1_x0_75 mobilenet_v1_x1_0",
    "ShuffleNetV1": "shufflenet_v1_x0_5_g3 shufflenet_v1_x1_0_g3 shufflenet_v1_x1_5_g3 shufflenet_v1_x2_0_g3",
    "SE-ResNet": "se_resnet50 se_resnet101 se_resnet152",
    "SE-ResNeXt": "se_resnext50_32x4d se_resnext101_32x4d",
    "SENet-154": "senet154",
    "MobileNetV2": "mobilenet_v2_x1_0 mobilenet_v2_x1_4",
    "ShuffleNetV2": "shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0",
    "MnasNet": "mnasnet_small mnasnet_b1 mnasnet_a1",
    "MobileNetV3-Small": "mobilenet_v3_small_x0_75 mobilenet_v3_small_x1_0",
    "MobileNetV3-Large": "mobilenet_v3_large_x0_75 mobilenet_v3_large_x1_0",
    "EfficientNet": " ".join(f"efficientnet_b{n}" for n in range(8)),
    "EfficientNet-Lite": " ".join(f"efficientnet_lite{n}" for n in range(5)),
}
"""Networks that differ in size alone, from small to large."""


def series(accuracy: str) -> dict[str, list[Row]]:
    """Each family's networks that have an accuracy of this source.  Raises ConvatlasError where fewer than two have."""
    wanted = [axis("top1", accuracy), axis("params"), axis("macs")]
    found = {name: gather(networks.split(), wanted)[0] for name, networks in SERIES.items()}
    if sum(map(len, found.values())) < 2:
        raise ConvatlasError(f"fewer than two networks of the families have a top-1 accuracy from {accuracy}")
    return {name: rows for name, rows in found.items() if rows}


def table(accuracy: str = "paper") -> Table:
    """A row for each network, family by family."""
    top1, params, macs = axis("top1", accuracy), axis("params"), axis("macs")
    rows: list[dict[str, Any]] = [
        {"series": name, "network": row.name, "family": row.family, "top1": row.values[top1.name],
         "tested": row.accuracies[top1.name].described, "params": row.values["params"], "macs": row.values["macs"],
         "input": row.input}
        for name, own in series(accuracy).items() for row in own
    ]  # fmt: skip
    columns = (words("series", "family"), words("network", "network"), Column("top1", top1.title, top1.form),
               words("tested", "where", wide=True, spare=1), Column("params", params.title, params.form),
               Column("macs", macs.title, macs.form), Column("input", "input", str, spare=2),
               words("family", "family", told=False))  # fmt: skip
    dense = [row["network"] for row in rows if "dense" in row["tested"]]
    notes = [
        f"Top-1 {SOURCES[accuracy]}: one network, never an ensemble. Multiply-adds are exact, at the input size tested."
    ]
    if dense:
        notes.append(f"Tested densely, which flatters beside a single crop: {', '.join(dense)}.")
    return Table("Accuracy against size and against cost, family by family", columns, tuple(rows), tuple(notes))
