"""What a network says of pictures."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convatlas.deploy.engine import Engine
from convatlas.deploy.engine import engine as make_engine
from convatlas.errors import ConvatlasError
from convatlas.weights import Weights, read_picture
from convatlas.weights.pictures import in_folder

if TYPE_CHECKING:
    from convatlas.net import ConvNet

READERS = 2
"""Threads that read pictures."""
SEEN, MOST = 16 * 224 * 224, 64
"""Pixels that a batch has unless it is told, and pictures at most."""

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
    batch: int | None = None,
    device: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
) -> list[Prediction]:
    """Classify pictures with a pretrained network.

    pictures: files, folders (all pictures in them and below), PIL images or arrays (H, W, 3); one or several.
    model: a name of the atlas, a run's folder, an exported file, or a network that ``pretrained`` or ``load`` gave its
    weights.
    weights: for a name: "default", a source's id, or a file.
    top: how many classes of each picture; batch: how many pictures at once, by default as many as suit their size.
    device: "cpu", "cuda", "mps" …; by default where the network is.
    engine, threads: how it is run, as ``convatlas.deploy.engine`` explains; the answers are the same.

    A picture that cannot be read does not stop the others: its prediction carries the error.

    Raises ConvatlasError if it is the only one, if there is none, and for a model or weights that do not exist.
    """
    return list(predictions(pictures, model, weights, top=top, batch=batch, device=device, engine=engine,
                            threads=threads))  # fmt: skip


def predictions(
    pictures: Picture | Iterable[Picture],
    model: str | ConvNet = "efficientnet_lite0",
    weights: str | os.PathLike[str] = "default",
    *,
    top: int = 5,
    batch: int | None = None,
    device: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    watch: Callable[[int], None] = lambda total: None,
) -> Iterator[Prediction]:
    """``predict``, one batch at a time: for folders whose answers are not wanted all at once.

    watch: is told how many pictures there are before the first is answered.
    """
    for option, value in (("top", top), ("batch", batch)):
        if value is not None and value < 1:
            raise ConvatlasError(f"{option} is at least 1, not {value}")
    listed = _listed(pictures)
    watch(len(listed))
    alone = len(listed) == 1
    if alone:  # what is wrong with it is said before a network is loaded
        listed = [(listed[0][0], read_picture(listed[0][1]))]
    made, travelling = _ready(model, weights, device, engine, threads)
    batch = batch or max(1, min(MOST, SEEN // (made.input_size[1] * made.input_size[2])))
    with ThreadPoolExecutor(READERS) as readers:
        groups = [listed[start : start + batch] for start in range(0, len(listed), batch)]
        ahead: deque[list[Future[NDArray[np.float32] | str]]] = deque()
        for place, group in enumerate(groups):
            while len(ahead) < 2 and place + len(ahead) < len(groups):  # the next are read while these are answered
                following = groups[place + len(ahead)]
                ahead.append([readers.submit(_prepared, picture, travelling, alone) for _, picture in following])
            read = [one.result() for one in ahead.popleft()]
            inputs = [x for x in read if not isinstance(x, str)]
            answers = iter(softmax(made(np.stack(inputs))) if inputs else ())
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


def _ready(
    model: str | os.PathLike[str] | ConvNet,
    weights: str | os.PathLike[str],
    device: str | None,
    kind: str,
    threads: int | None,
) -> tuple[Engine, Weights]:
    """The engine, and what travels with its weights."""
    if isinstance(model, str | os.PathLike):
        if weights == "none":
            raise ConvatlasError("a network without weights has nothing to say of pictures")
    elif not isinstance(getattr(model, "weights", None), Weights):
        raise ConvatlasError(
            "this network has no weights: make it with convatlas.pretrained, or convatlas.weights.load"
        )
    if device is None and not isinstance(model, str | os.PathLike):
        device = str(next(model.parameters()).device)
    made = make_engine(model, kind, weights=weights, device=device, threads=threads)
    if made.known.preprocess.channels != made.input_size[0]:
        raise ConvatlasError(f"a network for {made.input_size[0]} channels reads no ordinary pictures")
    return made, made.known


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, classes) -> probabilities, the same shape."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    answer: NDArray[np.float32] = powers / powers.sum(1, keepdims=True)
    return answer


def _best(probabilities: NDArray[np.float32], weights: Weights, top: int) -> tuple[Guess, ...]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(Guess(weights.labels[i].name, weights.labels[i].wnid, float(probabilities[i])) for i in order)
