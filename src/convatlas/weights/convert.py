"""Other libraries' checkpoints into ours: a key map per family, and every shape checked."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from torch import Tensor

from convatlas import registry
from convatlas.errors import ConvatlasError


@cache
def keymap(module: str) -> dict[str, Any]:
    """The key map of one module of ``nets``: {source: {"twins": {ours: theirs}, "rules": [[regex, new]], …}}."""
    path = files(__package__) / "keymaps" / f"{module}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def convert(name: str, state_dict: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Our state dict of network ``name`` from that of its twin in ``source`` ("torchvision" or "timm").

    Every key must find its place and every tensor must have our shape (a linear layer may come as a 1x1
    convolution, and the other way round).  The head may have another number of classes.  Auxiliary heads come along
    where the state dict has them.

    Raises ConvatlasError naming the first missing key, unknown key or wrong shape, or that the twin is another
    network's.
    """
    theirs = keymap(registry.module_of(name)).get(source, {})
    twins = theirs.get("twins", {})
    if name not in twins:
        owner = next((ours for ours, other in twins.items() if other == name), None)
        hint = f"; {source}'s {name} is {owner} here" if owner else ""
        raise ConvatlasError(f"{name} has no twin in {source}{hint}")

    renamed = {}
    for key, tensor in state_dict.items():
        if any(re.search(pattern, key) for pattern in theirs.get("drop", ())):
            continue
        for pattern, new in theirs.get("rules", ()):
            key = re.sub(pattern, new, key)
        renamed[key] = tensor
    return fitted(name, renamed)


def fitted(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict in our order and shapes, or ConvatlasError saying what does not fit."""
    aux = any(key.startswith("aux.") for key in state_dict) and "aux" in registry.options(name)
    expected = registry.create(name, aux=True if aux else None, initialise=False).state_dict()
    if unknown := sorted(set(state_dict) - set(expected)):
        raise ConvatlasError(
            f"{name} has no parameter {unknown[0]!r}{_more(unknown)}: a checkpoint of another network?"
        )
    result = {}
    for key, ours in expected.items():
        if key not in state_dict:
            if key.endswith("num_batches_tracked"):
                result[key] = ours
                continue
            missing = [k for k in expected if k not in state_dict and not k.endswith("num_batches_tracked")]
            raise ConvatlasError(f"the checkpoint lacks {name}'s {key!r}{_more(missing)}")
        tensor = state_dict[key]
        rows = tensor.shape[:1] if ".classifier." in key else ours.shape[:1]
        shape = (*rows, *ours.shape[1:])
        if tensor.shape != shape and not _one_is_linear(tensor, shape):
            raise ConvatlasError(
                f"{name}'s {key!r} has shape {tuple(ours.shape)}, the checkpoint's {tuple(tensor.shape)}"
            )
        result[key] = tensor.reshape(shape)
    return result


def _one_is_linear(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a linear layer's weight stands for a convolution's over the whole map, or the other way round."""
    return 2 in (tensor.dim(), len(shape)) and (tensor.shape[0], tensor[0].numel()) == (shape[0], math.prod(shape[1:]))


def _more(keys: list[str]) -> str:
    return f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
