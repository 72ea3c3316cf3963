"""What a network says of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convatlas.errors import ConvatlasError
from convatlas.weights import Weights, pretrained, read_picture
from convatlas.weights.pictures import in_folder

if TYPE_CHECKING:
    from convatlas.net import ConvNet

Picture = str | os.PathLike[str] | Image.Image | NDArray[Any]


@dataclass(frozen=True)
class Guess:
    """One class and its probability; wnid is its WordNet synset, where the labels are ImageNet's."""

    label: str
    wnid: str | None
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a network says of one picture: the likeliest classes first, or why the picture could not be read.

    path: the file, or "picture 3" for the third of pictures that came without one.
    """

    path: str
    top: tuple[Guess, ...] = ()
    error: str | None = None


def predict(
    pictures: Picture | Iterable[Picture],
    model: str | ConvNet = "efficientnet_lite0",
    weights: str | os.PathLike[str] = "default",
    *,
    top: int = 5,
    batch: int = 32,
    device: str | None = None,
) -> list[Prediction]:
    """Classify pictures with a pretrained network.

    pictures: files, folders (all pictures in them and below), PIL images or arrays (H, W, 3); one or several.
    model: a name of the atlas, a run's folder, or a network that ``pretrained`` or ``load`` gave its weights.
    weights: for a name: "default", a source's id, or a file.
    top: how many classes of each picture; batch: how many pictures at once.
    device: "cpu", "cuda", "mps" …; by default where the network is.

    A picture that cannot be read does not stop the others: its prediction carries the error.

    Raises ConvatlasError if it is the only one, if there is none, and for a model or weights that do not exist.
    """
    return list(predictions(pictures, model, weights, top=top, batch=batch, device=device))


def predictions(
    pictures: Picture | Iterable[Picture],
    model: str | ConvNet = "efficientnet_lite0",
    weights: str | os.PathLike[str] = "default",
    *,
    top: int = 5,
    batch: int = 32,
    device: str | None = None,
) -> Iterator[Prediction]:
    """``predict``, one batch at a time: for folders whose answers are not wanted all at once."""
    for option, value in (("top", top), ("batch", batch)):
        if value < 1:
            raise ConvatlasError(f"{option} is at least 1, not {value}")
    listed = _listed(pictures)
    if len(listed) == 1:  # what is wrong with it is said before a network is loaded
        listed = [(listed[0][0], read_picture(listed[0][1]))]
    net, travelling = _ready(model, weights, device)
    for start in range(0, len(listed), batch):
        group = listed[start : start + batch]
        read = [_prepared(picture, travelling, alone=len(listed) == 1) for _, picture in group]
        inputs = [x for x in read if not isinstance(x, str)]
        answers = iter(_probabilities(net, np.stack(inputs)) if inputs else ())
        for (path, _), x in zip(group, read):
            if isinstance(x, str):
                yield Prediction(path, error=x)
            else:
                yield Prediction(path, _best(next(answers), travelling, top))


# ---- pictures ---------------------------------------------------------------------------------------------


def _listed(pictures: Picture | Iterable[Picture]) -> list[tuple[str, Picture]]:
    """Every picture with its name; folders opened, arrays and images numbered."""
    if isinstance(pictures, str | os.PathLike | Image.Image) or hasattr(pictures, "__array__"):
        pictures = [pictures]  # type: ignore[list-item]
    listed: list[tuple[str, Picture]] = []
    pictures = list(pictures)
    for picture in pictures:
        if not isinstance(picture, str | os.PathLike):
            listed.append((f"picture {len(listed) + 1}", picture))
        elif not os.fspath(picture):
            raise ConvatlasError("an empty name is no picture")
        elif Path(picture).is_dir():
            # An empty folder among others is told of as a picture that cannot be read.
            found = in_folder(Path(picture)) or ([] if len(pictures) == 1 else [Path(picture)])
            if not found:
                raise ConvatlasError(f"no pictures in {picture}")
            listed += [(str(path), path) for path in found]
        else:
            listed.append((os.fspath(picture), picture))
    if not listed:
        raise ConvatlasError("no pictures were given")
    return listed


def _prepared(picture: Picture, weights: Weights, alone: bool) -> NDArray[np.float32] | str:
    """What the network reads, or what is wrong with the picture."""
    try:
        return weights.preprocess(read_picture(picture))
    except ConvatlasError as error:
        if alone:
            raise
        return str(error)


# ---- the network ------------------------------------------------------------------------------------------


def _ready(model: str | ConvNet, weights: str | os.PathLike[str], device: str | None) -> tuple[ConvNet, Weights]:
    """The network on its device, and what travels with its weights."""
    import torch

    if isinstance(model, str):
        if weights == "none":
            raise ConvatlasError("a network without weights has nothing to say of pictures")
        net = pretrained(model, weights)
    else:
        net = model
    travelling = getattr(net, "weights", None)
    if not isinstance(travelling, Weights):
        raise ConvatlasError(
            "this network has no weights: make it with convatlas.pretrained, or convatlas.weights.load"
        )
    if travelling.preprocess.channels != net.input_size[0]:
        raise ConvatlasError(f"a network for {net.input_size[0]} channels reads no ordinary pictures")
    if device is not None:
        try:
            net = net.to(torch.ones(1, device=device).cpu().new_empty(0, device=device).device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0].split(". ")[0][:200]
            raise ConvatlasError(f"device {device!r} cannot be used: {reason}") from error
    return net, travelling


def _probabilities(net: ConvNet, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C, H, W) -> (N, classes), in evaluation mode; the network's own mode stays as it was."""
    import torch

    modes = [(module, module.training) for module in net.modules()]
    try:
        with torch.inference_mode():
            like = next(net.parameters())
            logits = net.eval()(torch.from_numpy(pictures).to(like.device, like.dtype))
            answer: NDArray[np.float32] = logits.float().softmax(1).cpu().numpy()
    finally:
        for module, training in modes:
            module.training = training
    return answer


def _best(probabilities: NDArray[np.float32], weights: Weights, top: int) -> tuple[Guess, ...]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(Guess(weights.labels[i].name, weights.labels[i].wnid, float(probabilities[i])) for i in order)
