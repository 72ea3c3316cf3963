"""network_of: any MODEL that is made in PyTorch, with its weights."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from convatlas.errors import ConvatlasError
from convatlas.graph.source import module_of
from convatlas.registry import create, of_record, record_of
from convatlas.weights.checkpoint import read
from convatlas.weights.loading import pretrained

if TYPE_CHECKING:
    from torch import nn


def network_of(model: str, weights: str | os.PathLike[str] = "default", seed: int = 0) -> nn.Module:
    """MODEL with its weights, "none" for random ones, which come from the seed.

    Raises what ``pretrained`` does; of a network that is not ours, weights are a file.
    """
    import torch

    ours = ":" not in model or record_of(model) is not None
    if ours and weights != "none":
        return pretrained(model, weights)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if ours:
            net = of_record(model) if record_of(model) is not None else create(model)
            net.reset_parameters()
            return net
        other = module_of(model)
        if weights not in ("default", "none"):
            try:
                other.load_state_dict(read(weights))
            except RuntimeError as error:
                raise ConvatlasError(f"{weights} does not fit {model}: {error}") from None
        elif not model.partition(":")[0].endswith(".py"):
            if weights == "default":
                raise ConvatlasError(f"{model} comes without weights: --weights FILE, or none for random ones")
            for module in other.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()  # type: ignore[operator]
        return other
