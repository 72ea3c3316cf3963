"""Other libraries' checkpoints into ours: a key map per family, and every shape checked."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from convatlas import facts, registry
from convatlas.errors import ConvatlasError, UnknownName

if TYPE_CHECKING:
    from torch import Tensor

OWN = "convatlas"
"""The form of our own state dicts, which need no key map."""


@cache
def keymap(module: str) -> dict[str, Any]:
    """The key map of one module of ``nets``, by source: {source: section}.

    twins    {ours: theirs}: the networks that are the same.
    rules    [[regex, new], …]: all applied in turn by re.sub turn their names into ours.
    drop     [regex, …]: their names that have no counterpart.
    ordered  a regex of our units (blocks, or layers), where theirs are numbered through: "#N." at the start of a
             renamed key stands for such a unit, in the order of N here and in running order there.
    """
    path = files(__package__) / "keymaps" / f"{module}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def convert(name: str, state_dict: Mapping[str, Tensor], source: str | None = None) -> dict[str, Tensor]:
    """Our state dict of network ``name`` from that of its twin in ``source``.

    source: "torchvision", "timm" or another section of the family's key map; "convatlas" for a state dict of ours;
    None to find out which of them it is.

    Every key must find its place and every tensor must have our shape (a linear layer may come as a 1x1
    convolution, and the other way round).  The classifiers may have another number of classes, the first layer
    another number of input channels.  Auxiliary heads come along where the state dict has them.

    Raises ConvatlasError naming the first missing key, unknown key or wrong shape, or that the weights are another
    network's.
    """
    if source is None:
        return _recognised(name, state_dict)
    if source == OWN:
        return fitted(name, state_dict)
    section = _section(name, source)
    return fitted(name, _by_rules(state_dict, section), section.get("ordered"))


def _section(name: str, source: str) -> Mapping[str, Any]:
    """The section of the family's key map in which the network has its twin."""
    maps = keymap(registry.module_of(name))
    twins = maps.get(source, {}).get("twins", {})
    if name not in twins:
        if source not in maps and source not in _every_source():
            raise UnknownName("source of weights", source, [OWN, *_every_source()])
        owner = next((ours for ours, theirs in twins.items() if theirs == name), None)
        hint = f": {source}'s {name} is {owner} here, and these are {owner}'s weights" if owner else ""
        raise ConvatlasError(f"{name} has no twin in {source}{hint}")
    section: Mapping[str, Any] = maps[source]
    return section


def _by_rules(state_dict: Mapping[str, Tensor], section: Mapping[str, Any]) -> dict[str, Tensor]:
    drop = re.compile("|".join(f"(?:{pattern})" for pattern in section.get("drop", ())) or r"(?!)")
    rules = [(re.compile(pattern), new) for pattern, new in section.get("rules", ())]
    names = {}
    for key, tensor in state_dict.items():
        if drop.search(key):
            continue
        for pattern, new in rules:
            key = pattern.sub(new, key)
        names[key] = tensor
    return names


# ---- shapes -----------------------------------------------------------------------------------------------

Shapes = Mapping[str, tuple[int, ...]]


@cache
def shapes(name: str, aux: bool = False) -> Shapes:
    """The shape of every tensor in a network's state dict, in order."""
    net = registry.create(name, aux=True if aux else None, initialise=False)
    return {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}


def fitted(name: str, state_dict: Mapping[str, Tensor], ordered: str | None = None) -> dict[str, Tensor]:
    """The state dict in our order and shapes, or ConvatlasError saying what does not fit."""
    aux = any(key.startswith("aux.") for key in state_dict) and "aux" in registry.options(name)
    expected = shapes(name, aux)
    if ordered:
        state_dict = _in_order(state_dict, expected, ordered)
    if unknown := sorted(set(state_dict) - set(expected)):
        raise ConvatlasError(
            f"{name} has no parameter {unknown[0]!r}{_more(unknown)}: a checkpoint of another network?"
        )
    if missing := [key for key in expected if key not in state_dict and not _is_counter(key)]:
        raise ConvatlasError(f"the checkpoint lacks {name}'s {missing[0]!r}{_more(missing)}")
    first = first_layer(expected)
    return {key: _reshaped(name, key, state_dict.get(key), shape, key == first) for key, shape in expected.items()}


def _reshaped(name: str, key: str, tensor: Tensor | None, shape: tuple[int, ...], first: bool) -> Tensor:
    """One tensor in our shape, but for the number of classes or, in the first layer, of input channels."""
    if tensor is None:  # a counter, which older checkpoints do not have
        import torch

        return torch.zeros((), dtype=torch.long)
    if is_classifier(key):
        shape = (*tensor.shape[:1], *shape[1:])
    if first and tensor.dim() > 1:
        shape = (shape[0], tensor.shape[1], *shape[2:])
    if tensor.shape != shape and not _one_is_linear(tensor, shape):
        raise ConvatlasError(f"{name}'s {key!r} has shape {shape}, the checkpoint's {tuple(tensor.shape)}")
    return tensor.reshape(shape)


def _in_order(state_dict: Mapping[str, Tensor], expected: Shapes, ordered: str) -> dict[str, Tensor]:
    """Their units, numbered through ("#N."), under the names of ours, which come in the same order."""
    units = dict.fromkeys(found[0] for key in expected if (found := re.match(ordered, key)))
    numbers = sorted({int(found[1]) for key in state_dict if (found := re.match(r"#(\d+)\.", key))})
    names = {f"#{number}.": unit for number, unit in zip(numbers, units)}
    return {re.sub(r"^#\d+\.", lambda m: names.get(m[0], m[0]), key): tensor for key, tensor in state_dict.items()}


def is_classifier(key: str) -> bool:
    """Whether a parameter belongs to a layer whose outputs are the classes."""
    return ".classifier." in key


def first_layer(expected: Shapes) -> str | None:
    """The key of the first convolution's weight, whose columns are the picture's channels."""
    return next((key for key, shape in expected.items() if len(shape) == 4), None)


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _one_is_linear(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a linear layer's weight stands for a convolution's over the whole map, or the other way round."""
    if 2 not in (tensor.dim(), len(shape)) or tensor.dim() == 0:
        return False
    return (tensor.shape[0], math.prod(tensor.shape[1:])) == (shape[0], math.prod(shape[1:]))


def _more(keys: list[str]) -> str:
    return f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""


# ---- weights of unknown origin ----------------------------------------------------------------------------


def _recognised(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our own form, or one of the key maps of the network's family; else an error that says whose weights they are."""
    try:
        return fitted(name, state_dict)
    except ConvatlasError as own:
        why = own
    for section in keymap(registry.module_of(name)).values():
        if name not in section.get("twins", {}):
            continue
        theirs = _by_rules(state_dict, section)
        try:
            return fitted(name, theirs, section.get("ordered"))
        except ConvatlasError as error:
            # The complaint worth hearing is that of the map whose names fit, not of those that know none of them.
            if any(key.startswith(("trunk.", "#")) for key in theirs):
                why = error
    owner = next(_owners(state_dict), None)
    if owner:
        raise ConvatlasError(f"these are not {name}'s weights but {owner}'s") from why
    raise why


def _owners(state_dict: Mapping[str, Tensor]) -> Iterator[str]:
    """The networks that these weights fit, in any form; only those with as many parameters are tried."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    count = sum(tensor.numel() for key, tensor in state_dict.items() if not key.endswith(statistics))
    for name, entry in facts.index().items():
        if count not in (entry["params"], entry.get("with_aux", {}).get("params")):
            continue
        forms = [
            (_by_rules(state_dict, section), section.get("ordered"))
            for section in keymap(entry["module"]).values()
            if name in section.get("twins", {})
        ]
        for form, ordered in [*forms, (dict(state_dict), None)]:
            try:
                fitted(name, form, ordered)
            except ConvatlasError:
                continue
            yield name
            break


@cache
def _every_source() -> tuple[str, ...]:
    folder = files(__package__) / "keymaps"
    modules = sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml"))
    return tuple(dict.fromkeys(source for module in modules for source in keymap(module)))
