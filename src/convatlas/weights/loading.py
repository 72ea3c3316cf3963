"""Weights into a network: everything is checked before the first tensor changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas import facts, registry
from convatlas.errors import ConvatlasError
from convatlas.registry import FILES, RUN, record_of, record_of_run
from convatlas.weights.cache import fetch
from convatlas.weights.checkpoint import read
from convatlas.weights.convert import convert, first_layer, is_classifier
from convatlas.weights.labels import Label, named
from convatlas.weights.preprocess import Preprocess
from convatlas.weights.source import BEST, Source, find, sources

if TYPE_CHECKING:
    from torch import Tensor

    from convatlas.net import ConvNet


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """What travels with a network whose weights were loaded, as ``net.weights``.

    labels: the class of each logit; preprocess: what makes a picture fit these weights.
    notes: what is not as published (a fresh classifier, an adapted first layer …), one sentence each; also logged.
    """

    source: Source
    labels: tuple[Label, ...]
    preprocess: Preprocess
    notes: tuple[str, ...] = ()


def pretrained(
    name: str,
    weights: str | os.PathLike[str] = "default",
    *,
    classes: int | None = None,
    channels: int | None = None,
    input_size: int | None = None,
    attention: str | None = None,
    width: float | None = None,
    dropout: float | None = None,
    drop_path: float | None = None,
    aux: bool | None = None,
) -> ConvNet:
    """A network with published weights, or a file's, in evaluation mode; ``net.weights`` says what they are.

    name: a registered name, the folder of a training run, whose best weights are loaded, or an exported .safetensors.
    weights: "default", the id of one of ``sources(name)``, a file, or a run's folder.
    classes, channels: another number than the weights have gives a fresh classifier, an adapted first layer.
    The other options are those of ``create``.

    Raises ConvatlasError for weights that do not fit, cannot be fetched, or are not what was published.
    """
    given = dict(classes=classes, channels=channels, input_size=input_size, attention=attention, width=width,
                 dropout=dropout, drop_path=drop_path, aux=aux)  # fmt: skip
    options: dict[str, Any] = {option: value for option, value in given.items() if value is not None}
    name, source = source_of(name, weights)
    if source.file.endswith(".onnx"):
        raise ConvatlasError(
            f"{source.where} is a program to run, not weights to load; export the network to safetensors"
        )
    told = told_of(source)
    state = _ours(name, source, told)
    own = told["options"] if told is not None and told["network"] == name else {"classes": _rows(state)}
    net = registry.create(name, **{**own, **options}, initialise=False)
    _load(net, source, state, unset=True)
    return net.eval()


def source_of(model: str, weights: str | os.PathLike[str] = "default") -> tuple[str, Source]:
    """MODEL and --weights -> the network's name and the source of its weights.  No torch.

    Raises ConvatlasError for a folder without a run, and for weights beside those that a run or a file has.
    """
    told = record_of(model)
    if told is None:
        if os.sep in model and not model.lower().endswith(FILES):
            raise ConvatlasError(f"no run in {model}: it has no {RUN} that a run wrote")
        return model, find(model, weights)
    if weights != "default":
        raise ConvatlasError(f"{model} has weights of its own; name its network for others")
    path = Path(model)
    return told["network"], find(told["network"], path / BEST if path.is_dir() else path)


def told_of(source: Source) -> dict[str, Any] | None:
    """What the run or the exported file says of itself, whose weights these are."""
    if source.kind != "file":
        return None
    return record_of(source.where) or record_of_run(Path(source.where).parent)


def load(net: ConvNet, weights: str | os.PathLike[str] = "default") -> Weights:
    """Load published weights, or a file's, into a network that ``create`` made; its mode stays as it is.

    A classifier for another number of classes stays as it was, the weights for another number of input channels are
    adapted as ``set_channels`` does; the notes of what is returned (``net.weights``) say so.

    Raises ConvatlasError if anything else does not fit; then no tensor has changed.
    """
    if not getattr(net, "name", ""):
        raise ConvatlasError("weights are loaded into networks of the atlas; this one has no name")
    source = find(net.name, weights)
    return _load(net, source, _ours(net.name, source, told_of(source)))


def _ours(name: str, source: Source, told: dict[str, Any] | None) -> dict[str, Tensor]:
    """The tensors of a source, by our names; a run's have them, whatever options its network was built with."""
    stored = read(fetch(source))
    return stored if told is not None and name in _names(told) else convert(name, stored, source.form)


def _names(told: dict[str, Any]) -> tuple[str, ...]:
    """A run's network as it was asked for, and as it was built: resnet50 with gates is se_resnet50."""
    return told["network"], told.get("name", told["network"])


def _load(net: ConvNet, source: Source, state: dict[str, Tensor], unset: bool = False) -> Weights:
    """Load a state dict of ours; unset: the network's parameters hold nothing yet, so fill those that stay."""
    import torch
    from torch import nn

    from convatlas.blocks.init import gaussian, initialiser

    # Near 0 a new classifier first says nothing.  What the papers begin with is for their number of classes:
    # EfficientNet's would be 18 times as wide for three.
    fresh = initialiser(conv=gaussian(0.01), linear=gaussian(0.01))
    fitting, notes = _fit(net, state)
    own = net.state_dict()
    with torch.no_grad():
        for key, tensor in fitting.items():
            own[key].copy_(tensor)
    for path, module in net.named_modules() if unset else ():
        if isinstance(module, nn.Conv2d | nn.Linear) and f"{path}.weight" not in fitting:
            fill = fresh if is_classifier(f"{path}.weight") else net.fill
            fill(path, module)
    travelling = _travelling(net, source, notes)
    for note in travelling.notes:
        logger.warning("%s: %s", net.name, note)
    net.weights = travelling
    return travelling


def _fit(net: ConvNet, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors that go into this very network, and what there is to say about those that stay as they are."""
    from convatlas.net import kernels_for

    own, notes, result = net.state_dict(), [], {}
    first = first_layer({key: tuple(tensor.shape) for key, tensor in own.items()})
    for key, tensor in state.items():
        if key not in own and key.startswith("aux."):
            continue  # built without its auxiliary heads
        if key not in own:
            raise ConvatlasError(f"this {net.name} was built with other options: it has no {key!r}, its weights have")
        ours = own[key]
        if key == first and tensor.shape[1] != ours.shape[1] and tensor.shape[2:] == ours.shape[2:]:
            notes.append(f"the first layer was adapted from {tensor.shape[1]} to {ours.shape[1]} input channels")
            tensor = kernels_for(tensor, ours.shape[1])
        if tensor.shape == ours.shape:
            result[key] = tensor
        elif not is_classifier(key):
            raise ConvatlasError(_misfit(net, key, ours, tensor))
    stay = [key for key in own if key not in result]
    if strange := [key for key in stay if not (is_classifier(key) or key.startswith("aux."))]:
        raise ConvatlasError(f"this {net.name} was built with other options: its weights have no {strange[0]!r}")
    if any(key.startswith("head.") for key in stay):
        notes.append(f"the weights are for {_rows(state)} classes; the classifier for {net.classes} is untrained")
    if any(key.startswith("aux.") for key in stay):
        notes.append("the auxiliary heads, or their classifiers, are untrained")
    if _is_small(net):
        size = net.input_size[1]
        notes.append(f"built for {size}-pixel pictures: its stem does not shrink them, as that of the weights did")
    return result, notes


def _misfit(net: ConvNet, key: str, ours: Tensor, tensor: Tensor) -> str:
    sizes = f"{key!r} has shape {tuple(ours.shape)}, the weights' {tuple(tensor.shape)}"
    if _is_small(net):
        size = net.input_size[1]
        return f"this {net.name} was built for {size}-pixel pictures, with a stem that its weights do not fit: {sizes}"
    return f"this {net.name}'s {sizes}: it was built with other options"


def _is_small(net: ConvNet) -> bool:
    usual = facts.index().get(net.name, {}).get("input_size", 0)
    return net.input_size[1] < registry.SMALL_PICTURE <= usual


def _travelling(net: ConvNet, source: Source, notes: list[str]) -> Weights:
    channels, size = net.input_size[0], net.input_size[1]
    preprocess = source.preprocess
    told = told_of(source)
    if told is not None and net.name in _names(told):
        return _as_told(net, source, told, notes)
    if source.kind == "file":
        preprocess = _assumed(net.name, size)
        notes = [*notes, "a file says nothing of its preprocessing; that of the usual weights is assumed"]
    if source.kind == "file" or (source.labels == "imagenet" and source.classes != net.classes):
        source = replace(source, classes=net.classes, labels="imagenet" if net.classes == 1000 else None)
    if channels == 1 and preprocess.channels != 1:
        preprocess = preprocess.grey()
    if size != facts.index().get(net.name, {}).get("input_size", size):
        preprocess = preprocess.at(size)
    return Weights(source, named(source.labels, net.classes), preprocess, tuple(notes))


def _as_told(net: ConvNet, source: Source, told: dict[str, Any], notes: list[str]) -> Weights:
    """Of weights that a run trained, which says what it was trained on."""
    preprocess = _prepared(told)
    notes = [*notes, *(note for note in told.get("notes") or () if note not in notes)]
    side = told["options"].get("input_size", net.input_size[1])
    notes = [note for note in notes if not (side == net.input_size[1] and note.startswith("built for"))]
    labels = _labels(told) if len(told["classes"]) == net.classes else named(None, net.classes)
    source = replace(source, classes=net.classes, labels=None, preprocess=preprocess)
    return Weights(source, labels, preprocess, tuple(notes))


def of_file(path: Path, told: Mapping[str, Any]) -> Weights:
    """What travels with an exported file, by what it says of itself.  No torch."""
    preprocess, labels = _prepared(told), _labels(told)
    source = Source(told["network"], path.name, "file", str(path), path.name, classes=len(labels), labels=None, data="",
                    preprocess=preprocess)  # fmt: skip
    return Weights(source, labels, preprocess, tuple(told.get("notes") or ()))


def _prepared(told: Mapping[str, Any]) -> Preprocess:
    lists: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in told["preprocess"].items()
    }
    return Preprocess(**lists)


def _labels(told: Mapping[str, Any]) -> tuple[Label, ...]:
    classes = told["classes"]
    return tuple(map(Label, classes, told.get("wnids") or (None,) * len(classes)))


def _assumed(name: str, size: int) -> Preprocess:
    published = sources(name)
    return published[0].preprocess if published else Preprocess.for_input(size)


def _rows(state: dict[str, Tensor]) -> int:
    """For how many classes a state dict of ours is."""
    return next(tensor.shape[0] for key, tensor in state.items() if key.startswith("head.") and is_classifier(key))
