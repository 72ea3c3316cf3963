"""What an exported file is to carry: its network, classes, preprocessing, weights and run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import convatlas
from convatlas import registry
from convatlas.weights import Preprocess, Weights
from convatlas.weights.labels import named
from convatlas.weights.loading import told_of

if TYPE_CHECKING:
    from torch import nn

OF_A_RUN = ("data", "setup", "recipe", "recipe_kind", "changed", "seed", "best", "test", "started")
"""What a file carries of the record of the run that trained its weights."""


def record_of_net(net: nn.Module, input_size: tuple[int, int, int], travelling: Weights | None) -> dict[str, Any]:
    """The record that ``carried.read`` gives back.  Of a network without weights it says how pictures are usually
    prepared, and numbers the classes."""
    from convatlas.net import ConvNet

    ours = net if isinstance(net, ConvNet) else None
    if travelling is not None:
        source, labels, preprocess = travelling.source, travelling.labels, travelling.preprocess
        told = told_of(source) or {}
        published = {
            key: value for key in ("id", "where", "sha256", "licence", "data", "top1", "top5")
            if (value := getattr(source, key)) not in (None, "")
        }  # fmt: skip
        notes = list(travelling.notes)
    else:
        labels = named(None, ours.classes) if ours is not None else ()
        preprocess, told, published = Preprocess.for_input(input_size[1], input_size[0]), {}, {}
        notes = ["nobody said how pictures are prepared for it: what is usual for ImageNet is assumed"]
    name = str(getattr(net, "name", "")) or type(net).__name__
    options: dict[str, Any] = {}
    if ours is not None:  # set_classes and set_channels may have changed what it was built with
        now = {"classes": ours.classes, "channels": input_size[0]}
        options = {**ours.options, **{key: now[key] for key in registry.options(ours.name) if key in now}}
    return {
        "version": convatlas.__version__,
        "network": name if ours is not None else f"module:{name}",
        "options": options,
        "input_size": list(input_size),
        "classes": [label.name for label in labels],
        "wnids": [label.wnid for label in labels] if any(label.wnid for label in labels) else None,
        "preprocess": asdict(preprocess),
        "weights": told.get("weights", published),
        "run": told.get("run") or {key: told[key] for key in OF_A_RUN if key in told},
        "notes": notes,
    }
