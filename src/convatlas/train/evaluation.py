"""evaluate: a network, or a run's best, on a data set."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from convatlas import registry
from convatlas.data import Data, load
from convatlas.errors import ConvatlasError
from convatlas.net import ConvNet
from convatlas.train.feed import Feed
from convatlas.train.setup import Setup, accelerator_for
from convatlas.weights.preprocess import Preprocess

RUN = "run.json"
"""What a run says of itself."""


def scores(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Loss, top-1 and, with more than five classes, top-5 accuracy, each from 0 to 1."""
    found = {
        "loss": float(F.cross_entropy(logits, labels)),
        "accuracy": float((logits.argmax(1) == labels).float().mean()),
    }
    if logits.shape[1] > 5:
        found["top5"] = float((logits.topk(5, 1).indices == labels[:, None]).any(1).float().mean())
    return found


def evaluate(
    network: str,
    data: str,
    *,
    weights: str = "default",
    split: str | None = None,
    size: int | None = None,
    batch: int = 100,
    device: str = "auto",
    workers: int = 2,
    bad_images: str = "stop",
) -> dict[str, Any]:
    """Test a network, or a run's best, on a data set: {"loss", "accuracy", "top5", "pictures", "seconds"}.

    network: a registered name with ``weights`` (an id, a file), or a run's folder, which carries its own.
    split: "test" by default where there is one; "validation" or "train" otherwise.
    size: side of the pictures in pixels; by default that of the weights.

    A folder that is not divided into splits is taken whole.  Classes are matched by their names where the network's are
    known, else by their order.  Raises ConvatlasError where they do not match.
    """
    from convatlas import weights as published

    names: tuple[str, ...] = ()
    own: Setup | None = None
    if (Path(network) / RUN).exists():
        net, preprocess, names, own = best_of(Path(network))
    else:
        net = published.pretrained(network, weights)
        preprocess = net.weights.preprocess
    if own is not None and own.data == data:  # its own pictures, divided as they were
        opened = own.open()
    else:
        opened = load(data, bad_images=bad_images, split=split or "test")
    chosen = _split(opened, split)
    order = _matched(opened, names, net.classes)
    if size is not None:
        preprocess = preprocess.at(size)
    accelerator = accelerator_for("float32", device)
    net = net.to(accelerator.device).to(memory_format=torch.channels_last).eval()
    feed = Feed(Setup("resnet18", data, "modern").recipe, preprocess, accelerator.device, workers)
    logits, answers = [], []
    start = time.perf_counter()
    with torch.no_grad():
        for pictures, truth in feed.testing(chosen, batch):
            logits.append(net(pictures.contiguous(memory_format=torch.channels_last)).float().cpu())
            answers.append(order[truth.cpu()])
    figures: dict[str, Any] = scores(torch.cat(logits), torch.cat(answers))
    return {**figures, "pictures": len(chosen), "seconds": time.perf_counter() - start}


def _matched(data: Data, names: Sequence[str], classes: int) -> torch.Tensor:
    """For each class of the data its place among the network's: by name where those are known, else by order."""
    if names and tuple(names) != tuple(data.classes):
        strange = [name for name in data.classes if name not in names]
        if strange:
            raise ConvatlasError(f"{data.spec} has classes that the network does not know: {', '.join(strange[:5])}")
        return torch.tensor([list(names).index(name) for name in data.classes])
    if len(data.classes) != classes:
        raise ConvatlasError(f"{data.spec} has {len(data.classes)} classes, the network {classes}")
    return torch.arange(classes)


def best_of(folder: Path) -> tuple[ConvNet, Preprocess, tuple[str, ...], Setup]:
    """A run's best network, its preprocessing, its classes' names, and what it was asked for."""
    from safetensors.torch import load_file

    stored = json.loads((folder / RUN).read_text(encoding="utf-8"))
    setup = Setup.from_json(stored["setup"])
    if not (folder / "best.safetensors").exists():
        raise ConvatlasError(f"the run in {folder} has no best.safetensors yet")
    net = registry.create(setup.network, **stored["options"], initialise=False)
    net.load_state_dict(load_file(folder / "best.safetensors"))
    return net, Preprocess(**_tuples(stored["preprocess"])), tuple(stored["classes"]), setup


def _tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}


def _split(data: Data, wanted: str | None) -> Any:
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    if wanted is None:
        wanted = "test" if data.test is not None else "validation"
    if splits.get(wanted) is None:
        raise ConvatlasError(
            f"{data.spec} has no split {wanted!r}; it has {', '.join(k for k, v in splits.items() if v)}"
        )
    return splits[wanted]
